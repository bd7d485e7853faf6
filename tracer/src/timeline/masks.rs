//! Masks that are set for a moment's work and set back, as glibc does in fork(3) and
//! pthread_create(3), and programs around sigaction(2). A timeline full of them would
//! hide the ones that matter; whether a signal met one is read from the kernel when the
//! signal is sent.

use std::collections::{HashMap, VecDeque};

use tracer_common::signal::SignalSet;

use crate::observation::{Fact, ProcessId};

/// How long a moment is, ns.
const MOMENT_NS: u64 = 1_000_000;
/// Changes of one thread that are looked back on.
const MAX_OPEN: usize = 16;

/// A half of a momentary change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The mask is changed.
    Set,
    /// It is changed back.
    Restored,
}

/// A change that may turn out to be one of a moment.
struct Open {
    index: usize,
    at: u64,
    before: SignalSet,
}

/// The facts that are one half of a momentary change, by index.
#[must_use]
pub fn momentary(facts: &[(u64, &Fact)]) -> HashMap<usize, Half> {
    let mut found = HashMap::new();
    let mut open: HashMap<(ProcessId, u32), VecDeque<Open>> = HashMap::new();
    for (index, (at, fact)) in facts.iter().enumerate() {
        let Fact::Mask { task, before, after, .. } = fact else {
            continue;
        };
        let of_thread = open.entry((task.id, task.tid)).or_default();
        of_thread.retain(|earlier| at - earlier.at <= MOMENT_NS);
        if let Some(set) = of_thread.iter().rposition(|earlier| earlier.before == *after) {
            found.insert(of_thread[set].index, Half::Set);
            found.insert(index, Half::Restored);
            // What came between and was not set back has no meaning of its own.
            of_thread.truncate(set);
        } else if before != after {
            if of_thread.len() >= MAX_OPEN {
                of_thread.pop_front();
            }
            of_thread.push_back(Open { index, at: *at, before: *before });
        }
    }
    found
}
