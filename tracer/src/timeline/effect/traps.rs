//! A shell's trap, which waits for the command in the foreground.

use super::{Reloads, TOGETHER_NS, endings::Child};
use crate::model::{
    event::{DispositionKind, SignalSent, What},
    programs::is_shell,
};

/// A trap that waits for the command in the foreground for longer is told as deferred.
const DEFERRED_NS: i64 = 500_000_000;

/// How long a trap waits.
#[derive(Clone, Copy)]
pub(super) enum Wait {
    /// Until then.
    Until(i64),
    /// It still did at the end.
    Still,
}

impl Reloads<'_> {
    /// Where the main process is a shell that has a handler: until when its trap waited for the
    /// command in the foreground. `None` where it did not wait, or not for long.
    pub(super) fn trap_waited(&self, sent: &SignalSent, settled: i64) -> Option<Wait> {
        let pid = sent.target.pid;
        let program = sent.target.exe.as_deref().unwrap_or(&sent.target.comm);
        if sent.disposition != DispositionKind::Handler || !is_shell(program) {
            return None;
        }
        // What the shell does first, if it is not the trap.
        let acts = self.events.iter().filter(|event| event.at_ns > settled);
        let acted = { acts }.find(|event| is_act_of(pid, &event.what)).map(|it| it.at_ns);
        let last = acted.unwrap_or(self.around.end_ns);
        let waited_for = self.children.iter().filter(|child| {
            child.parent == pid
                && child.at <= settled
                && self.is_in_foreground(child)
                && self.end_of(child.pid, child.at).is_none_or(|end| end.at > settled)
        });
        let ends: Vec<Option<i64>> =
            waited_for.map(|child| self.end_of(child.pid, child.at).map(|end| end.at)).collect();
        let over = ends.iter().flatten().copied().filter(|end| *end <= last).max();
        // It was killed while its trap waited: maybe the command first, by the same stop.
        let killed = self.end_of(pid, settled).filter(|end| end.signal.is_some());
        let killed = killed.map(|end| end.at).filter(|at| acted == Some(*at));
        let over =
            over.filter(|over| killed.is_none_or(|at| at.saturating_sub(*over) > TOGETHER_NS));
        let (wait, until) = match (over, acted) {
            (Some(over), _) => (Wait::Until(over), over),
            (None, Some(at)) if killed.is_some() && !ends.is_empty() => (Wait::Still, at),
            (None, None) if !ends.is_empty() => (Wait::Still, self.around.end_ns),
            // It did something while the command ran: that is not in the foreground.
            _ => return None,
        };
        (until.saturating_sub(settled) >= DEFERRED_NS).then_some(wait)
    }

    /// Whether a child of a shell is a command in its foreground, by how it was executed.
    fn is_in_foreground(&self, child: &Child) -> bool {
        let after = self.events.iter().filter(|event| event.at_ns >= child.at);
        { after }.find_map(|event| match &event.what {
            What::Exec { process, background, .. } if process.pid == child.pid => Some(!background),
            _ => None,
        }) == Some(true)
    }
}

/// Whether a process does something here.
fn is_act_of(pid: u32, what: &What) -> bool {
    match what {
        What::Fork { parent, .. } => parent.pid == pid,
        What::Exec { process, .. }
        | What::Exit { process, .. }
        | What::Disposition { process, .. }
        | What::Mask { process, .. } => process.pid == pid,
        What::Signal(sent) => sent.sender.as_ref().is_some_and(|it| it.pid == pid),
        What::Notify(message) => message.sender.pid == pid,
        What::Cgroup { .. } | What::Systemd { .. } | What::Loss { .. } => false,
    }
}
