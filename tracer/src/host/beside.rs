//! Two things at a time.

use std::{panic::resume_unwind, thread};

/// Does `other` on a thread of its own, and `this` here. Where no thread can be started, one comes
/// after the other.
pub fn beside<A: Send, B>(other: impl Fn() -> A + Sync, this: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let begun = thread::Builder::new().spawn_scoped(scope, &other);
        let this = this();
        let other = begun.map_or_else(
            |_| other(),
            |begun| begun.join().unwrap_or_else(|panic| resume_unwind(panic)),
        );
        (other, this)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn both_are_done_at_one_time() {
        let met = Barrier::new(2);
        let (other, this) = beside(|| met.wait().is_leader(), || met.wait().is_leader());
        assert_ne!(other, this, "each waits for the other one");
    }
}
