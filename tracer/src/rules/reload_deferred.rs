//! A shell took the reload signal, and its trap waited for the command in its foreground.

use super::{Case, Finding, Rule, reload::Reload, text};
use crate::model::{
    document::Severity,
    event::{Effect, Fate, ProcessRef, What},
    programs::is_shell,
    signal::Signal,
};

pub(super) const RULE: Rule = Rule {
    id: "reload-deferred",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/reload-deferred.md"),
    check,
};

/// A command that runs for longer in the foreground of a shell with a trap puts reloads off, ns.
const LONG_NS: i64 = 1_000_000_000;

const CONSEQUENCE: &str = "The reload is done late, though whoever sent it counts it as done: \
    ExecReload= has returned. Further signals meanwhile become one with it.";

const NOT_DONE: &str = "The reload was not done before the shell ended, though whoever sent it counts \
    it as done: ExecReload= has returned.";

fn mend(signal: Signal) -> String {
    format!(
        "Run the command in the background and wait for it, as a trap interrupts that: COMMAND & \
         wait $!. Or let the shell give way to the service (exec COMMAND), which then needs a \
         {signal} handler of its own."
    )
}

fn check(case: &Case) -> Vec<Finding> {
    finding(case).or_else(|| would_wait(case)).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let deferred: Vec<Reload> = case.with_effect(|effect| effect == Effect::Deferred).collect();
    let first = deferred.first()?;
    let signal = first.sent.signal;
    let waited = |until: i64| text::Span(until.saturating_sub(first.settled_ns()));
    let has_ended = case.activation.milestones.exit_ns.is_some();
    let is_done = first.sent.effect_ns.is_some() || !has_ended;
    let how_long = match first.sent.effect_ns {
        Some(until) => format!("which was {} later", waited(until)),
        None => format!("which it had not {} later", waited(case.end_ns())),
    };
    Some(Finding {
        at_ns: first.at_ns,
        events: deferred.iter().map(|reload| reload.index).collect(),
        message: format!(
            "{} took {signal} from {} {}, but a shell runs its trap once the command in its \
             foreground has ended, {how_long}{}.",
            text::process(&first.sent.target),
            text::sender(first.sender),
            text::when(case.activation, first.at_ns),
            text::and_more(deferred.len()),
        ),
        consequence: if is_done { CONSEQUENCE } else { NOT_DONE }.to_owned(),
        mend: mend(signal),
    })
}

/// The reload that came found the shell between its commands, or in a short one; the next one
/// may not.
fn would_wait(case: &Case) -> Option<Finding> {
    let main = case.main()?;
    let reload = case.reloads_in_service().find(|reload| reload.sent.fate == Fate::Handled)?;
    let handler = case.first_handler()?;
    if !is_shell(main.exe.as_deref().unwrap_or(&main.comm)) {
        return None;
    }
    let commands =
        case.events().skip(handler.index).filter_map(|(index, event)| match &event.what {
            What::Exec { process, background: false, .. } if is_child(case, process, main) => {
                let end = ended(case, index, process).unwrap_or(case.end_ns());
                // One that a reload came to has shown whether it delays the trap.
                let has_shown = case.reloads().any(|it| (event.at_ns..end).contains(&it.at_ns));
                (!has_shown).then(|| (index, process, event.at_ns, end.saturating_sub(event.at_ns)))
            }
            _ => None,
        });
    let (index, command, at_ns, lasted) = { commands }.max_by_key(|(.., lasted)| *lasted)?;
    let signal = reload.sent.signal;
    let mut events = vec![reload.index, index];
    events.sort_unstable();
    (lasted >= LONG_NS).then(|| Finding {
        at_ns,
        events,
        message: format!(
            "{} has a trap for {signal}, and a shell runs its trap once the command in its \
             foreground has ended: {} ran there for {}. The {signal} from {} came when no such \
             command ran.",
            text::process(main),
            text::process(command),
            text::Span(lasted),
            text::sender(reload.sender),
        ),
        consequence: CONSEQUENCE.to_owned(),
        mend: mend(signal),
    })
}

/// Whether a process was started by another.
fn is_child(case: &Case, process: &ProcessRef, parent: &ProcessRef) -> bool {
    case.events().any(|(_, event)| {
        matches!(&event.what, What::Fork { process: child, parent: by }
            if child.pid == process.pid && by.pid == parent.pid)
    })
}

/// When a process that was there at an event ended.
fn ended(case: &Case, from: usize, process: &ProcessRef) -> Option<i64> {
    case.events().skip(from).find_map(|(_, event)| match &event.what {
        What::Exit { process: gone, .. } if gone.pid == process.pid => Some(event.at_ns),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{event::ProcessRef, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-deferred";

    fn sleep() -> ProcessRef {
        ProcessRef { pid: 4712, ..by("sleep") }
    }

    /// A shell with a trap that runs a command, and is reloaded.
    fn reloaded(shell: &str) -> Start {
        let start = activation().unit("simple", "no").exec(0).named(shell).handler(1.ms());
        let start =
            start.forks(10.ms(), main_process(shell), sleep()).runs(11.ms(), sleep(), false);
        start.signal(20.ms(), Signal::HUP, Handler, Handled, by("kill"))
    }

    fn main_process(comm: &str) -> ProcessRef {
        ProcessRef { comm: comm.into(), ..itself() }
    }

    #[test]
    fn a_trap_waits_for_the_command_in_the_foreground() {
        for shell in ["bash", "dash", "sh", "mksh"] {
            let alerts = reloaded(shell).gone(4.s(), sleep(), None).judged(&[ID]);
            assert!(alerts[0].message.contains("3.98 s later"), "{}", alerts[0].message);
        }
        let alerts = reloaded("bash").judged(&[ID]);
        assert!(alerts[0].message.contains("had not"), "{}", alerts[0].message);
    }

    #[test]
    fn a_reload_that_a_shell_had_put_off_when_it_was_killed_is_not_done() {
        let start = reloaded("bash").signal(4.s(), Signal::TERM, Default, Killed, by("systemd"));
        let alerts = start.judged(&[ID]);
        assert!(alerts[0].message.contains("had not 3.98 s later"), "{}", alerts[0].message);
        assert!(
            alerts[0].consequence.starts_with("The reload was not done before the shell ended")
        );
        let alerts = reloaded("bash").judged(&[ID]);
        assert!(alerts[0].consequence.starts_with("The reload is done late"));
    }

    #[test]
    fn what_is_no_shell_or_does_something_meanwhile_does_not_wait() {
        reloaded("python3").gone(4.s(), sleep(), None).judged(&[]);
        let passes_on = reloaded("bash").signal_to(
            "sleep",
            21.ms(),
            Signal::HUP,
            Handler,
            Handled,
            main_process("bash"),
        );
        passes_on.gone(4.s(), sleep(), None).judged(&[]);
        reloaded("bash").gone(300.ms(), sleep(), None).judged(&[]);
    }

    #[test]
    fn a_command_in_the_background_delays_no_trap() {
        let start = activation().unit("simple", "no").exec(0).named("bash").handler(1.ms());
        let start = start.forks(10.ms(), main_process("bash"), sleep());
        let start = start.runs(11.ms(), sleep(), true);
        let start = start.signal(20.ms(), Signal::HUP, Handler, Handled, by("kill"));
        start.gone(4.s(), sleep(), None).judged(&[]);
    }

    #[test]
    fn the_next_reload_may_wait_where_this_one_did_not() {
        let start = activation().unit("simple", "no").exec(0).named("bash").handler(1.ms());
        let start = start.signal(20.ms(), Signal::HUP, Handler, Handled, by("kill"));
        let start = start.forks(30.ms(), main_process("bash"), sleep());
        let start = start.runs(31.ms(), sleep(), false);
        let alerts = start.clone().gone(4.s(), sleep(), None).judged(&[ID]);
        assert!(alerts[0].message.contains("when no such command ran"), "{}", alerts[0].message);
        start.gone(900.ms(), sleep(), None).judged(&[]);
    }

    #[test]
    fn only_a_command_of_the_shell_itself_and_its_own_end_say_how_long_a_trap_may_wait() {
        let start = activation().unit("simple", "no").exec(0).named("bash").handler(1.ms());
        let start = start.signal(20.ms(), Signal::HUP, Handler, Handled, by("kill"));
        let runs = |by: ProcessRef| {
            let start = start.clone().forks(30.ms(), by, sleep()).runs(31.ms(), sleep(), false);
            start.exit_of(500.ms(), 4713).gone(4.s(), sleep(), None)
        };
        runs(main_process("bash")).judged(&[ID]);
        runs(by("systemd")).judged(&[]);
    }
}
