//! Masks that are set for a moment's work and set back, as glibc does in fork(3) and
//! pthread_create(3), and programs around sigaction(2). A timeline full of them would
//! hide the ones that matter; whether a signal met one is read from the kernel when the
//! signal is sent.

use hashbrown::HashMap;
use tracer_common::signal::SignalSet;

/// How long a moment is, ns.
pub const MOMENT_NS: u64 = 1_000_000;
/// Changes of one thread that are looked back on.
const MAX_OF_THREAD: usize = 16;
/// Threads of one process whose changes are looked back on.
const MAX_THREADS: usize = 4_096;

/// A change of a thread's mask that may turn out to be one of a moment.
#[derive(Clone, Copy, Debug)]
struct Open {
    at: u64,
    before: SignalSet,
    /// What the process blocked before.
    blocked: SignalSet,
}

/// A moment that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it began.
    pub since: u64,
    /// What the process blocked before.
    pub blocked: SignalSet,
}

/// A thread, as it told of its mask last.
#[derive(Clone, Debug)]
struct Thread {
    mask: SignalSet,
    since: u64,
    open: Vec<Open>,
}

impl Thread {
    fn is_in_moment(&self, at: u64) -> bool {
        self.open.iter().any(|earlier| at.saturating_sub(earlier.at) <= MOMENT_NS)
    }
}

/// The recent changes of the masks of a process's threads.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    threads: HashMap<u32, Thread>,
}

impl Masks {
    /// Since when a thread has had this mask, if it has told so and of no other since.
    #[must_use]
    pub fn held_since(&self, tid: u32, mask: SignalSet) -> Option<u64> {
        self.threads.get(&tid).filter(|thread| thread.mask == mask).map(|thread| thread.since)
    }

    /// A thread's mask is `mask` again: gives the moment that this ends, if it is one. What
    /// came between and was not set back has no meaning of its own.
    pub fn restored(&mut self, at: u64, tid: u32, mask: SignalSet) -> Option<Moment> {
        let thread = self.threads.get_mut(&tid)?;
        let open = &mut thread.open;
        open.retain(|earlier| at.saturating_sub(earlier.at) <= MOMENT_NS);
        let set = open.iter().rposition(|earlier| earlier.before == mask)?;
        let Open { at: since, blocked, .. } = open[set];
        open.truncate(set);
        (thread.mask, thread.since) = (mask, at);
        Some(Moment { since, blocked })
    }

    /// A thread changes its mask; the process blocked `blocked` before.
    pub fn changed(
        &mut self,
        at: u64,
        tid: u32,
        before: SignalSet,
        after: SignalSet,
        blocked: SignalSet,
    ) {
        if before == after {
            return;
        }
        let is_known = self.threads.contains_key(&tid);
        if !is_known && self.threads.len() >= MAX_THREADS {
            self.threads.retain(|_, thread| thread.is_in_moment(at));
        }
        if !is_known && self.threads.len() >= MAX_THREADS {
            return;
        }
        let new = || Thread { mask: after, since: at, open: Vec::new() };
        let thread = self.threads.entry(tid).or_insert_with(new);
        (thread.mask, thread.since) = (after, at);
        if thread.open.len() >= MAX_OF_THREAD {
            thread.open.remove(0);
        }
        thread.open.push(Open { at, before, blocked });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: SignalSet = SignalSet::EMPTY;

    fn set(mask: u64) -> SignalSet {
        SignalSet(mask)
    }

    #[test]
    fn a_moment_is_a_millisecond() {
        for (after, is_one) in [(1_000_000, true), (1_000_001, false)] {
            let mut masks = Masks::default();
            masks.changed(5, 7, NONE, set(1), NONE);
            let moment = masks.restored(5 + after, 7, NONE);
            assert_eq!(moment, is_one.then_some(Moment { since: 5, blocked: NONE }));
        }
    }

    #[test]
    fn of_one_thread_the_last_changes_are_looked_back_on() {
        let mut masks = Masks::default();
        for change in 0..=MAX_OF_THREAD as u64 {
            masks.changed(change, 7, set(change), set(change + 1), NONE);
        }
        assert_eq!(masks.threads[&7].open.len(), MAX_OF_THREAD);
        assert_eq!(masks.clone().restored(100, 7, set(0)), None, "the oldest gave way");
        assert_eq!(masks.restored(100, 7, set(1)).map(|moment| moment.since), Some(1));
    }

    #[test]
    fn threads_whose_moments_are_over_make_room_and_others_do_not() {
        let mut masks = Masks::default();
        for tid in 0..MAX_THREADS as u32 {
            masks.changed(10, tid, NONE, set(1), NONE);
        }
        masks.changed(11, 100_000, NONE, set(1), NONE);
        assert_eq!(masks.restored(12, 100_000, NONE), None, "there was no room");
        assert!(masks.restored(12, 5, NONE).is_some());
        let later = 20 + MOMENT_NS;
        masks.changed(later, 100_000, NONE, set(1), NONE);
        masks.changed(later, 100_001, NONE, set(1), NONE);
        assert_eq!(masks.threads.len(), 2);
        assert!(masks.restored(later + 1, 100_001, NONE).is_some());
    }
}
