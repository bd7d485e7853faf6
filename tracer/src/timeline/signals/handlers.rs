//! Whose a handler is, the program's or a language runtime's, as it shows later.

use tracer_common::signal::SignalSet;

use super::{
    ProcessSignals,
    changes::{Change, MAX_CHANGES},
    dispositions::{common, members, without},
};
use crate::{
    model::{
        disposition::Disposition,
        event::{DispositionKind, Runtime},
        signal::Signal,
    },
    observation::{Handler, Program},
    timeline::runtimes,
};

/// Handlers of runtimes that are on trial at a time: more than signals are recorded.
pub(super) const MAX_TRIALS: usize = 32;

/// How long a process lives at most after a runtime has decided to die of a signal, ns.
const RE_RAISE_NS: u64 = 1_000_000_000;

/// Whose a handler turned out to be, in hindsight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The signal that has it.
    pub signal: Signal,
    /// From when on.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// Whose it is.
    pub runtime: Option<Runtime>,
}

/// The first time that a signal came to a runtime's handler, and the process lived on: the
/// runtime passes it on to the program, unless it turns out to die of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) signal: Signal,
    /// When it came.
    pub(super) at: u64,
    /// Since when the handler is as it is now.
    pub(super) from: u64,
    /// When it was set anew.
    pub(super) until: u64,
    /// Whose it is if the process dies of the signal.
    pub(super) otherwise: Runtime,
}

/// A handler that a signal has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installed {
    pub(super) signal: Signal,
    /// Since when.
    pub(super) at: u64,
    /// When the signal came to it first, and the process lived on.
    pub(super) came: Option<u64>,
}

/// When a signal was sent to a process last, by others and by itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSent {
    pub(super) signal: Signal,
    pub(super) by_others: Option<u64>,
    pub(super) by_itself: Option<u64>,
}

impl ProcessSignals {
    /// The runtime, if it is one, that has installed a handler for a signal just now.
    pub(super) fn installer(
        &mut self,
        before: Disposition,
        signal: Signal,
        handler: Handler,
    ) -> Option<Runtime> {
        let set = signal.set();
        let is_first = !self.image.had_handler.intersects(set);
        let was_ignored = self.image.ignored_first.intersects(set);
        match self.image.program {
            Program::Plain => {
                self.image.asked_for = self.image.asked_for.union(set);
                return None;
            }
            Program::Of(runtime) if !runtimes::may_catch_all(self.image.program) => {
                let first = || runtimes::first(runtime, signal, was_ignored);
                let again = || runtimes::again(runtime, signal);
                let whose = if is_first { first() } else { again() };
                self.image.asked_for = self.image.asked_for.union(set);
                return whose;
            }
            // Go's runtime has it for itself until the program asks.
            Program::Of(runtime) if is_first && !was_ignored && self.forwards.is_none() => {
                if runtimes::may_forward(self.image.program) {
                    return Some(runtime);
                }
            }
            // The same handler again is the program's wish: `Signal.handle()` in Java.
            Program::Unread if !before.caught && runtimes::is_jvms_first(handler, signal) => {
                self.image.asked_for = without(self.image.asked_for, set);
                return Some(Runtime::Jvm);
            }
            Program::Of(_) | Program::Unread => {}
        }
        // Go leaves a HUP alone that was ignored from the start, as by nohup(1), until the
        // program asks for it. And few signals on a handler when the catch-all was complete
        // already: then it is another.
        let others = self.image.served.intersects(set) && !runtimes::is_catch_all(handler);
        if self.forwards.is_some() || others {
            self.image.asked_for = self.image.asked_for.union(set);
            return None;
        }
        self.image.asked_for = without(self.image.asked_for, set);
        runtimes::is_catch_all(handler).then(|| self.catch_all())
    }

    /// The runtime that has one handler for nearly all signals.
    fn catch_all(&self) -> Runtime {
        runtimes::known(self.image.program).unwrap_or(Runtime::CatchAll)
    }

    /// The runtime that ends the process if its handler passes a signal on to nobody.
    fn otherwise(&self, signal: Signal) -> Runtime {
        match self.image.program {
            Program::Of(runtime) => runtime,
            _ if self.image.jvms.intersects(signal.set()) => Runtime::Jvm,
            _ => Runtime::CatchAll,
        }
    }

    /// One of its handlers was seen. If it is a catch-all, so were the handlers that it serves.
    pub fn met(&mut self, handler: Handler) -> Vec<Amendment> {
        for signal in members(common(handler.serves, self.recorded)) {
            if self.image.program == Program::Unread && runtimes::is_jvms(handler, signal) {
                self.image.jvms = self.image.jvms.union(signal.set());
            }
        }
        if !runtimes::may_catch_all(self.image.program) || !runtimes::is_catch_all(handler) {
            return Vec::new();
        }
        let news = without(without(handler.serves, self.image.shown), self.image.asked_for);
        self.image.served = self.image.served.union(handler.serves);
        self.image.shown = self.image.shown.union(handler.serves);
        members(common(news, self.now().caught))
            .flat_map(|signal| self.was_catch_all(signal))
            .collect()
    }

    /// The handler of a signal has been a catch-all since it was installed. From when on the
    /// runtime passes signals on, it may pass this one on; and it has, if one came.
    fn was_catch_all(&mut self, signal: Signal) -> Vec<Amendment> {
        if self.now().runtime(signal).is_some() {
            return Vec::new();
        }
        let Installed { at: from, came, .. } = self.installed(signal);
        let came_at = came.unwrap_or(u64::MAX);
        let forwards = self.forwards.unwrap_or(u64::MAX).max(from);
        let catch_all = self.catch_all();
        let mut spans = vec![(from, forwards.min(came_at), catch_all)];
        if forwards < came_at {
            let passed_on = came.map_or(Some(Runtime::Forwarding), |_| None);
            spans.extend(passed_on.map(|runtime| (forwards, u64::MAX, runtime)));
        }
        if let Some(at) = came {
            let (from, until, otherwise) = (at.min(forwards), u64::MAX, catch_all);
            self.try_out(Trial { signal, at, from, until, otherwise });
        }
        spans
            .into_iter()
            .filter(|(from, until, _)| from < until)
            .map(|(from, until, runtime)| {
                self.amend(Amendment { signal, from, until, runtime: Some(runtime) })
            })
            .collect()
    }

    /// The handler that a signal has now.
    fn installed(&mut self, signal: Signal) -> Installed {
        if let Some(known) = self.handlers.iter().find(|it| it.signal == signal) {
            return *known;
        }
        let caught = |change: &&Change| change.now.caught.intersects(signal.set());
        let first = self.changes.iter().rev().take_while(caught).last();
        let installed = Installed { signal, at: first.map_or(0, |first| first.at), came: None };
        self.handlers.push(installed);
        installed
    }

    fn try_out(&mut self, trial: Trial) {
        if self.trials.len() >= MAX_TRIALS {
            // Of a handler that was set anew since, if there is one.
            let over = self.trials.iter().position(|trial| trial.until < u64::MAX);
            self.trials.remove(over.unwrap_or(0));
        }
        self.trials.push(trial);
    }

    /// A signal came to its handler.
    pub fn delivered(&mut self, at: u64, signal: Signal, once: bool) -> Option<Amendment> {
        let mut now = self.now();
        if once {
            // `SA_RESETHAND`: the kernel takes the handler away as it calls it.
            now.caught = without(now.caught, signal.set());
            now.keep_runtimes_of_caught();
            self.handlers.retain(|installed| installed.signal != signal);
            self.image.shown = without(self.image.shown, signal.set());
            // Of one that nothing was seen of this is not all.
            if !self.changes.is_empty() {
                self.change(at, now, false);
            }
            return None;
        }
        if !self.recorded.intersects(signal.set()) {
            return None;
        }
        // One that took another's place says nothing of that.
        let installed_at = self.installed(signal).at;
        let installed = self.handlers.iter_mut().find(|it| it.signal == signal);
        if let Some(installed) = installed {
            installed.came.get_or_insert(at);
        }
        let runtime = now.runtime(signal)?;
        let (from, otherwise) = match runtime {
            // What the table says needs no such proof.
            _ if runtime.spares(signal) => return None,
            Runtime::CatchAll | Runtime::Bash | Runtime::Go => (at, runtime),
            Runtime::Forwarding => {
                (self.since(signal, runtime).max(installed_at), self.otherwise(signal))
            }
            _ => return None,
        };
        self.try_out(Trial { signal, at, from, until: u64::MAX, otherwise });
        if from == at {
            now.set_runtime(signal, None);
            self.change(at, now, false);
        }
        Some(self.amend(Amendment { signal, from, until: u64::MAX, runtime: None }))
    }

    /// The signals that were sent to it since a time.
    pub(super) fn sent_since(&self, since: u64) -> SignalSet {
        let is_since = |at: Option<u64>| at.is_some_and(|at| at >= since);
        let sent = self.sent.iter().filter(|it| is_since(it.by_others) || is_since(it.by_itself));
        sent.fold(SignalSet::EMPTY, |set, it| set.union(it.signal.set()))
    }

    /// Since when a runtime has had the handler of a signal.
    fn since(&self, signal: Signal, runtime: Runtime) -> u64 {
        let held = |change: &&Change| change.now.runtime(signal) == Some(runtime);
        self.changes.iter().rev().take_while(held).last().map_or(0, |change| change.at)
    }

    fn amend(&mut self, amendment: Amendment) -> Amendment {
        let Amendment { signal, from, until, runtime } = amendment;
        // A handler that took another's place brought no change with it.
        for boundary in [from, until] {
            let after = self.changes.partition_point(|change| change.at < boundary);
            let covers = self.changes.get(after).is_none_or(|next| next.at > boundary);
            if boundary != u64::MAX
                && covers
                && after > 0
                && self.changes.len() < MAX_CHANGES
                && self.changes[after - 1].now.caught.intersects(signal.set())
            {
                let now = self.changes[after - 1].now;
                self.changes.insert(after, Change { at: boundary, now, exec: false });
            }
        }
        for change in self.changes.iter_mut().filter(|it| it.at >= from && it.at < until) {
            if change.now.caught.intersects(signal.set()) {
                change.now.set_runtime(signal, runtime);
            }
        }
        self.changes.dedup_by(|this, before| this.now == before.now && !this.exec);
        amendment
    }

    /// It has ended: by a signal, or with an exit code. Gives what that says of handlers.
    pub fn ended(&mut self, at: u64, by: Option<Signal>, code: u8) -> Vec<Amendment> {
        let trials = std::mem::take(&mut self.trials);
        let failed = trials.into_iter().filter(|trial| match by {
            Some(by) => by == trial.signal && !self.outlived(*trial, at),
            None => trial.otherwise.exit_code(trial.signal) == Some(code),
        });
        let failed: Vec<Trial> = failed.collect();
        let amendment = |Trial { signal, from, until, otherwise, .. }| Amendment {
            signal,
            from,
            until,
            runtime: Some(otherwise),
        };
        failed.into_iter().map(|trial| self.amend(amendment(trial))).collect()
    }

    /// Whether it died so much later that it was of another signal of that kind.
    fn outlived(&self, trial: Trial, died: u64) -> bool {
        let sent = self.sent.iter().find(|sent| sent.signal == trial.signal);
        // A script that cleans up first may take its time: nothing else came meanwhile.
        let was_last = sent.and_then(|sent| sent.by_others).is_none_or(|sent| sent <= trial.at);
        let raised = sent.and_then(|sent| sent.by_itself);
        let raised = raised.is_some_and(|raised| (trial.at..=died).contains(&raised));
        !(was_last && raised) && died.saturating_sub(trial.at) > RE_RAISE_NS
    }

    /// What it does with a signal now: the kind that the kernel sees, and whose handler it is.
    #[must_use]
    pub fn runtime_met(&self, signal: Signal, kind: DispositionKind) -> Option<Runtime> {
        self.now().runtime(signal).filter(|_| kind == DispositionKind::Handler)
    }
}
