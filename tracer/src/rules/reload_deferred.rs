//! A shell took the reload signal, and its trap waited for the command in its foreground.

use super::{Case, Finding, Rule, reload::Reload, text};
use crate::model::{document::Severity, event::Effect};

pub(super) const RULE: Rule = Rule {
    id: "reload-deferred",
    severity: Severity::Warning,
    explanation: include_str!("../../../docs/rules/reload-deferred.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    let deferred: Vec<Reload> = case.with_effect(|effect| effect == Effect::Deferred).collect();
    let first = deferred.first()?;
    let signal = first.sent.signal;
    let waited = |until: i64| text::Span(until.saturating_sub(first.settled_ns()));
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
        consequence: "The reload is done late, though whoever sent it counts it as done: \
                      ExecReload= has returned. Further signals meanwhile become one with it."
            .to_owned(),
        mend: format!(
            "Run the command in the background and wait for it, as a trap interrupts that: \
             COMMAND & wait $!. Or let the shell give way to the service (exec COMMAND), which \
             then needs a {signal} handler of its own."
        ),
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
        start.fork(10.ms(), main_process(shell), sleep()).signal(
            20.ms(),
            Signal::HUP,
            Handler,
            Handled,
            by("kill"),
        )
    }

    fn main_process(comm: &str) -> ProcessRef {
        ProcessRef { comm: comm.to_owned(), ..itself() }
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
}
