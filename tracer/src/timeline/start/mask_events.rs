//! Changes of masks, which are events unless they were for a moment.

use tracer_common::signal::SignalSet;

use super::{Context, Member, Start};
use crate::{
    model::event::ProcessRef,
    observation::{ProcessId, SignalState, Task},
    timeline::{
        events::{Kind, Record},
        signals::{Dispositions, ProcessSignals},
    },
};

/// Changes of masks of one process that may turn out to be of a moment.
const MAX_HELD: usize = 64;

/// A change of a mask that is an event unless it is taken back within a moment.
#[derive(Clone, Debug)]
pub struct Held {
    /// When it was.
    pub at: u64,
    tid: u32,
    mask: SignalSet,
    before: Dispositions,
    now: Dispositions,
}

impl Held {
    /// Whether it changes what the process does by what is known of that by now.
    fn is_one_still(&mut self, signals: &ProcessSignals) -> bool {
        (self.before, self.now) = signals.around(self.at);
        self.before != self.now
    }

    /// The event that it is.
    #[must_use]
    pub fn record(&self, process: ProcessRef) -> Record {
        let Self { tid, mask, before, now, .. } = *self;
        Record::Mask { process, tid, mask, before, now }
    }
}

impl Start {
    pub(super) fn masked(
        &mut self,
        context: Context<'_>,
        at: u64,
        task: &Task,
        (set, restored): (SignalSet, SignalSet),
        state: &SignalState,
    ) {
        let member = self.member_mut(context, task);
        let before = member.signals.now();
        let ended = member.signals.mask(at, task.tid, (set, restored), state);
        let now = member.signals.now();
        if let Some(since) = ended {
            // It was for a moment, and so was what the thread did meanwhile; unless another thread
            // has changed its mask too, and what the process blocks is not what it was before.
            let is_its = |held: &mut Held| held.tid == task.tid && held.at >= since;
            let first = member.held.extract_if(.., is_its).next();
            member.held.retain(|held| held.tid != task.tid || held.at < since);
            // What the others' changes came to was as long as that moment, too.
            let Member { signals, held, .. } = member;
            held.retain_mut(|held| held.at < since || held.is_one_still(signals));
            if let Some(first) = first.filter(|first| first.before.blocked != now.blocked) {
                held.push(Held { now, ..first });
            }
        } else if before != now && before.blocked == now.blocked {
            // A runtime begins to pass signals on to the program.
            self.change(context, at, task, (before, now), None, false);
        } else if before != now {
            let held = Held { at, tid: task.tid, mask: restored, before, now };
            member.held.push(held);
            if member.held.len() > MAX_HELD {
                self.let_go_of_masks(context, task.id, u64::MAX);
            }
        }
        self.revision += 1;
    }

    /// Changes of masks up to a time were for longer than a moment: they are events.
    pub(super) fn let_go_of_masks(&mut self, context: Context<'_>, id: ProcessId, until: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let events: Vec<Held> = member.held.extract_if(.., |held| held.at < until).collect();
        for held in events {
            let record = held.record(self.reference(id));
            let class = self.class(Kind::Mask, id, held.at);
            self.events.add(held.at, id, class, record, context.is_tight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::signal::Signal, timeline::masks::MOMENT_NS};

    #[test]
    fn changes_of_masks_that_there_is_no_room_for_are_events_at_once() {
        let id = ProcessId { pid: 7, start_ticks: 1 };
        let hup = Signal::HUP.set();
        let context = Context { recorded: hup, sockets: &[], is_tight: false };
        let mut start = Start::new(None);
        for change in 0..=MAX_HELD as u64 {
            assert_eq!(
                (start.events.len(), start.members.get(&id).map_or(0, |it| it.held().len())),
                (0, change as usize)
            );
            let is_blocked = change % 2 == 0;
            let after = if is_blocked { hup } else { SignalSet::EMPTY };
            let state = SignalState { blocked: after, ..SignalState::default() };
            let masks = (SignalSet(hup.0 & !after.0), after);
            start.masked(context, 2 * change * MOMENT_NS, &Task::of(id), masks, &state);
        }
        assert_eq!((start.events.len(), start.members[&id].held().len()), (MAX_HELD + 1, 0));
    }
}
