//! Masks that are set for a moment's work and set back, as glibc does in fork(3) and
//! pthread_create(3). A timeline full of them would hide the ones that matter; whether
//! a signal met one is read from the kernel when the signal is sent.

use std::collections::HashSet;

use super::observation::Fact;

/// How long a moment is, ns.
const MOMENT_NS: u64 = 1_000_000;

/// The indices of facts that are one half of a momentary change.
#[must_use]
pub fn momentary(facts: &[(u64, &Fact)]) -> HashSet<usize> {
    let mut found = HashSet::new();
    for (index, (at, fact)) in facts.iter().enumerate() {
        let Fact::Mask { task, before, .. } = fact else {
            continue;
        };
        if found.contains(&index) {
            continue;
        }
        let soon = facts[index + 1..].iter().take_while(|(later, _)| later - at <= MOMENT_NS);
        let back = soon.enumerate().find(|(_, (_, later))| {
            matches!(later, Fact::Mask { task: same, after, .. }
                if same.id == task.id && same.tid == task.tid && after == before)
        });
        if let Some((distance, _)) = back {
            found.extend([index, index + 1 + distance]);
        }
    }
    found
}
