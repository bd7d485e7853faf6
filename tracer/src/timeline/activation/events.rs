//! The exported events of a start, and how many were left out of them.

use super::Timeline;
use crate::{
    model::{
        disposition::Disposition,
        document::LeftOut,
        event::{Consumer, Event, Fate, NotifyMessage, ProcessRef, What},
        signal::Signal,
        unit::UnitState,
    },
    timeline::{
        admission::Admission,
        events::{Group, Kind, Record, SenderFrom},
        notify::{self, Meaning},
        origin,
    },
};

/// What a process does on a signal now.
fn changed(
    process: &ProcessRef,
    signal: Signal,
    now: Disposition,
    consumer: Option<Consumer>,
    found: bool,
) -> What {
    What::Disposition {
        process: process.clone(),
        signal,
        disposition: now.kind(),
        consumer,
        runtime: now.runtime,
        once: false,
        found,
        mask_unknown: now.blocked && now.mask_unknown,
    }
}

impl Timeline<'_> {
    /// The event that a record is; `None` if it is about other signals.
    pub(super) fn event(&self, at: u64, record: &Record) -> Option<Event> {
        let reload = self.frame.signal;
        let what = match record {
            Record::Fork { process, parent } => {
                What::Fork { process: process.clone(), parent: parent.clone() }
            }
            Record::Exec { process, exe, filename, now, background } => What::Exec {
                process: process.clone(),
                exe: Some(exe.clone()),
                filename: filename.clone(),
                disposition: now.of(reload).kind(),
                background: *background,
            },
            Record::Exit { process, signal, code, core_dumped } => What::Exit {
                process: process.clone(),
                signal: *signal,
                code: signal.is_none().then_some(*code),
                core_dumped: *core_dumped,
            },
            Record::Signal { sent, sender, fate_at } => {
                let mut sent = sent.clone();
                if let (Some(told), Some(from)) = (&mut sent.sender, sender) {
                    *told = origin::sender(told.process.clone(), from);
                    if self.is_of_main(told.process.pid, from) {
                        told.asked_by = None;
                    }
                }
                sent.fate_ns = fate_at.map(|at| self.at(at));
                What::Signal(Box::new(sent))
            }
            Record::Action { process, signal, disposition, once, runtime } => {
                if *signal != reload && !self.frame.shown.intersects(signal.set()) {
                    return None;
                }
                What::Disposition {
                    process: process.clone(),
                    signal: *signal,
                    disposition: *disposition,
                    consumer: None,
                    runtime: *runtime,
                    once: *once,
                    found: false,
                    mask_unknown: false,
                }
            }
            Record::Change { process, before, now, consumer, found } => {
                let now = now.of(reload);
                if !found && before.of(reload) == now {
                    return None;
                }
                changed(process, reload, now, *consumer, *found)
            }
            Record::Mask { process, tid, mask, before, now } => {
                if before.of(reload) == now.of(reload) {
                    return None;
                }
                What::Mask {
                    process: process.clone(),
                    tid: *tid,
                    signal: reload,
                    blocked: mask.intersects(reload.set()),
                    disposition: now.of(reload).kind(),
                }
            }
            Record::Notify {
                sender,
                destination,
                assignments,
                lines_left_out,
                length,
                not_connected,
                claim,
            } => {
                let is_ready = notify::meaning(assignments) == Some(Meaning::Ready);
                let Admission { accepted, refusal, problem } = self.admission(claim, is_ready);
                What::Notify(Box::new(NotifyMessage {
                    sender: sender.clone(),
                    claimed_pid: claim.claimed,
                    destination: destination.clone(),
                    assignments: assignments.clone(),
                    lines_left_out: *lines_left_out,
                    length: *length,
                    result: claim.errno,
                    not_connected: *not_connected,
                    accepted,
                    refusal,
                    problem,
                    effect: None,
                    effect_ns: None,
                }))
            }
            Record::Cgroup { process, path } => {
                What::Cgroup { process: Some(process.clone()), path: path.clone() }
            }
        };
        Some(Event { at_ns: self.at(at), what })
    }

    /// Whether a sender is a main process, or comes from one: what it sends nobody had systemd send.
    fn is_of_main(&self, pid: u32, from: &SenderFrom) -> bool {
        let parents = &from.origin.parents;
        let mains = self.start.mains.iter().map(|(_, main)| main.id);
        { mains }.any(|id| id.pid == pid || parents.iter().any(|parent| parent.id == id))
    }

    /// Puts systemd's states among the events.
    pub(super) fn tell_states(&self, events: &mut Vec<Event>) {
        let mut last = None;
        let mut since = None;
        let mut reloads = Reloads::default();
        for (at, state) in self.states {
            let is_failure = |result: &String| result != "success";
            let result = state.result.clone().filter(is_failure);
            let reload_result = reloads.ended(state).filter(is_failure);
            let seen = (&state.active_state, &state.sub_state, result);
            // A result that comes while a state lasts has no time: it stands at the next one.
            let goes_on =
                last.as_ref().is_some_and(|(active, sub, _)| (*active, *sub) == (seen.0, seen.1));
            if goes_on && since == Some(at) {
                continue;
            }
            since = Some(at);
            if last.as_ref() != Some(&seen) || reload_result.is_some() {
                let what = What::Systemd {
                    state: state.active_state.clone(),
                    sub_state: state.sub_state.clone(),
                    result: seen.2.clone(),
                    reload_result,
                };
                events.push(Event { at_ns: self.at(*at), what });
                last = Some(seen);
            }
        }
        events.sort_by_key(|event| event.at_ns);
    }

    /// What was left out of the events, as far as it would have been shown.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let own = self.frame.signal.set().0;
        let is_shown = |group: &Group| match group.kind {
            Kind::Action => group.signals & (own | self.frame.shown.0) != 0,
            Kind::Change | Kind::Mask => group.signals & own != 0,
            _ => true,
        };
        let shown = self.start.events().left_out().filter(|(group, _)| is_shown(group));
        shown
            .map(|(group, count)| LeftOut {
                kind: word(group.kind).to_owned(),
                signal: match group.kind {
                    Kind::Change | Kind::Mask => Some(self.frame.signal),
                    _ => Signal::from_number(group.signals.trailing_zeros() + 1),
                },
                fate: group.fate.and_then(Fate::from_number),
                sender: group.sender.as_deref().map(str::to_owned),
                count,
            })
            .collect()
    }
}

/// systemd's reloads of a service, as its states tell of them.
#[derive(Default)]
struct Reloads<'a> {
    /// The last state was one of a reload.
    is_under_way: bool,
    /// What systemd had last as the result of a reload.
    result: Option<&'a str>,
}

impl<'a> Reloads<'a> {
    /// The result of the reload that ended with this state, if one did. systemd keeps it until the
    /// next reload or start, and tells a short reload by its end alone.
    fn ended(&mut self, state: &'a UnitState) -> Option<String> {
        let before = self.result;
        self.result = state.reload_result.as_deref().or(before);
        let was_under_way = self.is_under_way;
        self.is_under_way = state.active_state == "reloading";
        let is_new = was_under_way || before.is_some() && before != self.result;
        self.result.filter(|_| state.active_state == "active" && is_new).map(str::to_owned)
    }
}

/// The word that the exported events have for a sort of them.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Fork => "fork",
        Kind::Exec => "exec",
        Kind::Exit => "exit",
        Kind::Signal => "signal",
        Kind::Action | Kind::Change => "disposition",
        Kind::Mask => "mask",
        Kind::Notify => "notify",
        Kind::Cgroup => "cgroup",
    }
}
