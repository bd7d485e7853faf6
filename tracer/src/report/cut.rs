//! Which events the table shows where there are too many: by what they mean for the service.

use std::collections::BTreeSet;

use crate::model::{
    document::Activation,
    event::{Effect, Event, Fate, What},
    signal::Signal,
};

/// A list up to this long is shown whole; a longer one is cut to as many.
const ROWS: usize = 30;

/// How much an event matters, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Never left out: ends of processes by signals, what reloads harmed, what is evidence, the
    /// main process's programs and its end, what was lost.
    Always,
    /// What the service said, what systemd did, the signals to the main process.
    Story,
    /// What the main process did on signals, and signals to others.
    Detail,
    /// The rest: other processes that came and went well.
    Others,
}

/// The indices of the events to show. Evidence always is; `reload` is the reload signal.
pub fn shown(activation: &Activation, evidence: &BTreeSet<usize>, reload: Signal) -> Vec<usize> {
    let events = &activation.events;
    if events.len() <= ROWS {
        return (0..events.len()).collect();
    }
    let mut shown = evidence.clone();
    let milestones = milestones(activation);
    for wanted in [Weight::Always, Weight::Story, Weight::Detail, Weight::Others] {
        let of_weight: Vec<usize> = (0..events.len())
            .filter(|index| !shown.contains(index))
            .filter(|index| {
                let is_milestone = milestones.contains(index);
                let weight = weight(&events[*index], activation, reload);
                (if is_milestone { Weight::Always } else { weight }) == wanted
            })
            .collect();
        let room = ROWS.saturating_sub(shown.len());
        if wanted == Weight::Always || of_weight.len() <= room {
            shown.extend(of_weight);
            continue;
        }
        // The beginning tells more than the end.
        let last = room / 3;
        shown.extend(&of_weight[..room - last]);
        shown.extend(&of_weight[of_weight.len() - last..]);
    }
    // A gap of one takes as much room as the event that it hides.
    let single: Vec<usize> =
        shown.iter().map(|index| index + 1).filter(|gap| shown.contains(&(gap + 1))).collect();
    shown.extend(single);
    shown.into_iter().collect()
}

fn weight(event: &Event, activation: &Activation, reload: Signal) -> Weight {
    let main = activation.main_process.as_ref().map(|process| process.pid);
    let is_main = |pid: u32| main == Some(pid);
    match &event.what {
        What::Exit { signal: Some(_), .. } | What::Loss { .. } => Weight::Always,
        What::Exec { process, .. } | What::Exit { process, .. } if is_main(process.pid) => {
            Weight::Always
        }
        What::Signal(sent) => {
            let harms = sent.fate == Fate::Killed || sent.effect.is_some_and(harms);
            if harms && (sent.signal == reload || is_main(sent.target.pid)) {
                Weight::Always
            } else if is_main(sent.target.pid) {
                Weight::Story
            } else {
                Weight::Detail
            }
        }
        What::Notify(message) => {
            let speaks = ["READY", "RELOADING", "STOPPING", "MAINPID"];
            let is_state = speaks.iter().any(|key| message.value(key).is_some());
            if is_state || message.accepted == Some(false) { Weight::Story } else { Weight::Others }
        }
        What::Systemd { .. } => Weight::Story,
        What::Disposition { process, .. } | What::Mask { process, .. } if is_main(process.pid) => {
            Weight::Detail
        }
        What::Cgroup { process: Some(process), .. } if is_main(process.pid) => Weight::Detail,
        What::Fork { .. }
        | What::Exec { .. }
        | What::Exit { .. }
        | What::Disposition { .. }
        | What::Mask { .. }
        | What::Cgroup { .. } => Weight::Others,
    }
}

/// Whether a reload with this effect did harm.
pub fn harms(effect: Effect) -> bool {
    match effect {
        Effect::Ended
        | Effect::Crashed
        | Effect::Replaced
        | Effect::LostProcess
        | Effect::Unanswered
        | Effect::Unfinished
        | Effect::Deferred => true,
        Effect::Reloaded | Effect::Survived | Effect::Unknown => false,
    }
}

/// The events at which a milestone was reached, at most one each.
fn milestones(activation: &Activation) -> BTreeSet<usize> {
    let milestones = &activation.milestones;
    [
        // That of a daemon in the background is its starter's.
        milestones.exec_ns,
        milestones.handler_ns,
        milestones.ready_ns,
        milestones.first_reload_ns,
    ]
    .into_iter()
    .flatten()
    .filter_map(|at| activation.events.iter().position(|event| event.at_ns == at))
    .collect()
}
