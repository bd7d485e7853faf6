//! How far a restart has come, for the thread that speaks to systemd and the one that tells of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Which units are not through with it, and what was not tested.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Units whose restart is not over.
    waiting: Vec<String>,
    untested: Vec<String>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The restarts of these are asked for.
    pub(super) fn begin(&self, units: &[String]) {
        units.clone_into(&mut self.state().waiting);
    }

    /// That of one is over.
    pub(super) fn is_over(&self, unit: &str) {
        self.state().waiting.retain(|it| it != unit);
    }

    /// The units whose restart is not over.
    pub(super) fn waiting(&self) -> Vec<String> {
        self.state().waiting.clone()
    }

    /// Something was not tested: a sentence that says why.
    pub(super) fn not_tested(&self, why: String) {
        self.state().untested.push(why);
    }

    /// What was not tested, and why: a sentence each.
    pub(super) fn untested(&self) -> Vec<String> {
        self.state().untested.clone()
    }
}
