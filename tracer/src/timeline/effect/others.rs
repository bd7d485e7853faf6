//! Other processes than the main one that die of a reload.

use super::{Reloads, endings::Child};
use crate::model::{
    event::{DispositionKind, Fate, ProcessRef, SignalSent, What},
    programs::{is_container_init, is_supervisor},
};

/// How long before and after a reload another process may have been sent the signal that is
/// the same reload: what signals a group does it one by one.
const TOGETHER_NS: i64 = 100_000_000;

impl Reloads<'_> {
    /// Whether a reload signal killed another process than the main one. What the processes of
    /// a service send each other is their own affair, but not what its main process sends, or
    /// what supervises the one that died.
    pub(super) fn kills_another(&self, sent: &SignalSent, sender: &ProcessRef, at: i64) -> bool {
        let supervises = || {
            let is_parent =
                |child: &Child| child.pid == sent.target.pid && child.parent == sender.pid;
            let looks_after = is_supervisor(&sender.comm) || is_container_init(&sender.comm);
            looks_after && self.children.iter().any(is_parent)
        };
        sent.fate == Fate::Killed
            && (sent.disposition != DispositionKind::Handler || sent.runtime.is_some())
            && (!self.inside.contains(&sender.pid) || self.is_main(sender.pid, at) || supervises())
            && self.stopping().is_none_or(|stopping| at <= stopping)
    }

    /// When another process died of the same reload.
    pub(super) fn lost_with(&self, index: usize, at: i64, until: i64) -> Option<i64> {
        let What::Signal(reload) = &self.events[index].what else { return None };
        let (main, by) = (reload.target.pid, self.sender(reload)?.pid);
        self.events.iter().find_map(|event| {
            let What::Signal(sent) = &event.what else { return None };
            let sender = self.sender(sent)?;
            let together = sender.pid == by && event.at_ns.abs_diff(at) <= TOGETHER_NS as u64;
            let passed_on = sender.pid == main && (at..=until).contains(&event.at_ns);
            let is_lost = !self.is_main(sent.target.pid, event.at_ns)
                && (together || passed_on)
                && self.kills_another(sent, sender, event.at_ns);
            is_lost.then(|| sent.fate_ns.unwrap_or(event.at_ns))
        })
    }
}
