//! The lanes of a picture: one for each process.

use std::collections::BTreeSet;

use crate::{
    model::event::{ProcessRef, What},
    report::{event_row, span::Span, view::View},
};

/// A process along time.
#[derive(Debug)]
pub struct Lane {
    /// Its name and pid.
    pub label: String,
    pub pid: u32,
    pub is_main: bool,
    /// From its first event, or from the left edge if it was there before.
    pub from: i64,
    /// To its end, or to the right edge.
    pub to: i64,
    /// Whether it ended.
    pub ended: bool,
    /// It is known as a sender alone, so that nothing is known of its time.
    pub is_sender: bool,
}

/// The processes of a picture.
#[derive(Debug, Default)]
pub struct Lanes {
    pub lanes: Vec<Lane>,
    /// Processes that there was no room for.
    pub left_out: usize,
}

impl Lanes {
    /// Of the processes in these events, the main one first, then by their first event.
    pub fn of(view: View, events: &[usize], most: usize) -> Self {
        let activation = view.activation;
        let main = activation.main_process.as_ref().map(|process| process.pid);
        let mut wanted = BTreeSet::new();
        for index in events {
            match &activation.events[*index].what {
                What::Signal(sent) => {
                    wanted.insert(sent.target.pid);
                    wanted.extend(sent.sender.as_ref().map(|sender| sender.pid));
                }
                what => wanted.extend(subject(what).map(|process| process.pid)),
            }
        }
        wanted.extend(main);
        let mut all: Vec<Lane> = Vec::new();
        for event in &activation.events {
            let at = event.at_ns;
            if let What::Signal(sent) = &event.what
                && let Some(sender) = &sent.sender
                && wanted.contains(&sender.pid)
                && !all.iter().any(|lane| lane.pid == sender.pid && !lane.ended)
            {
                all.push(Lane { is_sender: true, ..Lane::new(sender, at, main) });
            }
            let Some(process) = subject(&event.what).filter(|it| wanted.contains(&it.pid)) else {
                continue;
            };
            let known = all.iter_mut().rfind(|lane| lane.pid == process.pid && !lane.ended);
            let lane = if let Some(lane) = known {
                lane
            } else {
                // Whoever was not seen to begin, or to come into the cgroup, was there before.
                let began = matches!(
                    event.what,
                    What::Fork { .. } | What::Exec { .. } | What::Cgroup { .. }
                );
                let from = if began { at } else { i64::MIN };
                all.push(Lane::new(process, from, main));
                let Some(lane) = all.last_mut() else { continue };
                lane
            };
            lane.label = event_row::process(process);
            lane.is_sender = false;
            if let What::Exit { .. } = &event.what {
                (lane.to, lane.ended) = (at, true);
            }
        }
        if let Some(process) = &activation.main_process
            && !all.iter().any(|lane| lane.pid == process.pid)
        {
            all.push(Lane::new(process, i64::MIN, main));
        }
        all.sort_by_key(|lane| !lane.is_main);
        let left_out = all.len().saturating_sub(most);
        all.truncate(most);
        Self { lanes: all, left_out }
    }

    /// Nothing goes on beyond the edges.
    pub fn close(&mut self, span: Span) {
        for lane in &mut self.lanes {
            lane.from = lane.from.clamp(span.from, span.to);
            lane.to = lane.to.clamp(lane.from, span.to);
        }
    }

    /// The lane of a process at a moment.
    pub fn at(&self, pid: u32, at: i64) -> Option<usize> {
        let of_pid = |lane: &&Lane| lane.pid == pid;
        let holds = |lane: &Lane| of_pid(&lane) && (lane.from..=lane.to).contains(&at);
        self.lanes
            .iter()
            .position(holds)
            .or_else(|| self.lanes.iter().position(|lane| of_pid(&lane)))
    }
}

impl Lane {
    fn new(process: &ProcessRef, from: i64, main: Option<u32>) -> Self {
        Self {
            label: event_row::process(process),
            pid: process.pid,
            is_main: main == Some(process.pid),
            from,
            to: i64::MAX,
            ended: false,
            is_sender: false,
        }
    }
}

/// Whose event it is.
pub fn subject(what: &What) -> Option<&ProcessRef> {
    match what {
        What::Fork { process, .. }
        | What::Exec { process, .. }
        | What::Exit { process, .. }
        | What::Disposition { process, .. }
        | What::Mask { process, .. } => Some(process),
        What::Signal(sent) => Some(&sent.target),
        What::Notify(message) => Some(&message.sender),
        What::Cgroup { process, .. } => process.as_ref(),
        What::Systemd { .. } | What::Loss { .. } => None,
    }
}
