//! Other processes than the main one that die of a reload, or end by it.

use super::{EffectAt, LOOSE_NS, Reloads, TOGETHER_NS, endings::Child};
use crate::model::{
    event::{DispositionKind, Effect, Event, Fate, ProcessRef, SignalSent, What},
    programs::{is_container_init, is_supervisor},
    signal::Signal,
};

impl Reloads<'_> {
    /// Whether a reload signal killed another process than the main one. What the processes of
    /// a service send each other is their own affair, but not what its main process sends, or
    /// what supervises the one that died.
    pub(super) fn kills_another(&self, sent: &SignalSent, sender: &ProcessRef, at: i64) -> bool {
        sent.fate == Fate::Killed
            && (sent.disposition != DispositionKind::Handler || sent.runtime.is_some())
            && self.is_for_another(sent, sender, at)
    }

    fn is_for_another(&self, sent: &SignalSent, sender: &ProcessRef, at: i64) -> bool {
        let supervises = || {
            let is_parent =
                |child: &Child| child.pid == sent.target.pid && child.parent == sender.pid;
            let looks_after = is_supervisor(&sender.comm) || is_container_init(&sender.comm);
            looks_after && self.children.iter().any(is_parent)
        };
        (!self.inside.contains(&sender.pid) || self.is_main(sender.pid, at) || supervises())
            && self.stopping().is_none_or(|stopping| at <= stopping)
    }

    /// What became of the service where another process than the main one took a reload signal by
    /// its handler and ended, and the main process ended after it, for want of it: nobody had told
    /// either of them to, and the main process took no reload of its own.
    pub(super) fn ends_with(
        &self,
        index: usize,
        at: i64,
        sent: &SignalSent,
        sender: &ProcessRef,
    ) -> Option<EffectAt> {
        if sent.fate != Fate::Handled {
            return None;
        }
        let taken = sent.fate_ns.unwrap_or(at);
        let settle = self.around.settle_ns;
        let soon = if self.is_loose() { settle.min(LOOSE_NS) } else { settle };
        let main = self.main_at(taken)?;
        if self.is_to_end(sent.target.pid, taken, main) {
            return None;
        }
        let own = self.end_of(sent.target.pid, taken)?;
        let end = self.end_of(main, own.at).filter(|end| end.at <= taken.saturating_add(soon))?;
        let is_child = |child: &Child| child.pid == sent.target.pid;
        let is_inside =
            self.inside.contains(&sent.target.pid) || !self.children.iter().any(is_child);
        let between =
            |event: &Event| event.at_ns >= at.saturating_sub(TOGETHER_NS) && event.at_ns <= end.at;
        let tells_to_end = |event: &Event| match &event.what {
            What::Signal(other) if other.target.pid == sent.target.pid => {
                other.signal != self.around.signal && other.signal.may_be_to_end()
            }
            _ => self.is_reload_of(event, main),
        };
        let has_cause = self.events.iter().filter(|event| between(event)).any(tells_to_end);
        if !is_inside
            || has_cause
            || !self.is_for_another(sent, sender, at)
            || self.is_main(sender.pid, at) && !self.passes_on(index, sender.pid)
            || self.was_told_to_end(index, end.at)
        {
            return None;
        }
        Some(match own.signal {
            // There was no memory left, or somebody whom nobody saw.
            Some(Signal::KILL) => return None,
            Some(signal) if self.is_crash(signal) => (Effect::Crashed, Some(end.at)),
            _ => (Effect::Ended, Some(end.at)),
        })
    }

    /// Whether a process is on its way out as it should be: another one is the main process in its
    /// place, or will be, as the daemon that it has started.
    fn is_to_end(&self, pid: u32, at: i64, main: u32) -> bool {
        let mut mains = self.around.mains.iter().take_while(|(since, _)| *since <= at);
        mains.any(|(_, before)| *before == pid) || self.is_forking() && self.descends(main, pid)
    }

    /// Whether what the main process sends is a reload that it took itself just before, and not a
    /// matter of its own, as to end its helpers.
    fn passes_on(&self, index: usize, main: u32) -> bool {
        let from = self.events[index].at_ns.saturating_sub(self.around.settle_ns);
        let before = self.events[..index].iter().rev().take_while(|event| event.at_ns >= from);
        { before }.any(|event| {
            self.is_reload_of(event, main)
                && matches!(&event.what, What::Signal(sent) if sent.fate == Fate::Handled)
        })
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
