//! The reload signal came while it was ignored.

use super::{Case, Finding, Rule, consequence, reload::Reload, text};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Effect, Fate, SignalSent},
    runtime::Runtime,
    signal::Signal,
    unit::UnitFacts,
};

pub(super) const RULE: Rule = Rule {
    id: "reload-ignored",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/reload-ignored.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    let lost: Vec<Reload> =
        case.reloads_in_service().filter(|reload| is_lost(reload.sent)).collect();
    finding(case, &lost).into_iter().collect()
}

/// Nothing came of it: not where the service ended by what it did to another process.
fn is_lost(sent: &SignalSent) -> bool {
    let is_kept = sent.fate == Fate::Ignored || keeper(sent).is_some();
    is_kept && !matches!(sent.effect, Some(Effect::Ended | Effect::Crashed))
}

/// The runtime whose own handler took the signal and kept it from the program.
fn keeper(sent: &SignalSent) -> Option<Runtime> {
    sent.runtime.filter(|it| sent.fate == Fate::Handled && it.spares(sent.signal))
}

fn finding(case: &Case, lost: &[Reload]) -> Option<Finding> {
    let first = lost.first()?;
    let signal = first.sent.signal;
    let phase = case.phases_before(first.index).last();
    Some(Finding {
        at_ns: first.at_ns,
        events: phase
            .iter()
            .map(|phase| phase.index)
            .chain(lost.iter().map(|reload| reload.index))
            .collect(),
        message: format!(
            "{signal} from {} was lost {}: {} {}{}{}.",
            text::sender(first.sender),
            text::when(case.activation, first.at_ns),
            text::main(case),
            match keeper(first.sent) {
                Some(runtime) => format!(
                    "did not see it, as {}'s own handler took it and the program has none",
                    runtime.name()
                ),
                None => "ignored it".to_owned(),
            },
            // Nothing had asked to ignore it: it is the kernel that spares an init.
            if keeper(first.sent).is_none()
                && phase.is_none_or(
                    |phase| phase.disposition != DispositionKind::Ignored || phase.spared
                )
                && case.is_init()
            {
                ", as the init of a pid namespace does with a signal it has no handler for"
            } else {
                ""
            },
            text::and_more(lost.len())
        ),
        consequence: consequence::lost_reload(case),
        mend: mend(case, signal),
    })
}

fn mend(case: &Case, signal: Signal) -> String {
    let first = format!(
        "In the program: install the {signal} handler at once, or block {signal} until the handler \
         is in (sigprocmask), so that an early reload waits."
    );
    if case.is_init() {
        return format!(
            "{first} Or run it below an init that passes signals on (docker run --init, tini -- \
             COMMAND): there {signal} has its default action."
        );
    }
    let outside = format!(
        "Where {signal} is ignored from outside (nohup, trap '' HUP), start it without that."
    );
    let has_other = |facts: &UnitFacts| facts.exec_reload.is_some() && !case.reloads_by_signal();
    if case.is_unit() && case.facts().is_some_and(has_other) {
        return format!(
            "If the program does not reload on {signal}, don't send it: `systemctl \
             reload-or-restart` does what the unit can. If it does: {first} {outside}"
        );
    }
    format!("{first} {outside}")
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{document::Alert, event::Fate, runtime::Runtime, signal::Signal},
        rules::testing::*,
    };

    const ID: &str = "reload-ignored";

    #[test]
    fn an_ignored_reload_is_a_lost_one() {
        let alerts = activation()
            .unit("simple", "no")
            .exec(0)
            .disposition(1.ms(), Ignored)
            .signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .handler(80.ms())
            .judged(&[ID]);
        assert_eq!(alerts[0].events, [1, 2]);
        assert!(alerts[0].consequence.contains("old configuration"), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_reload_that_a_runtime_keeps_for_itself_is_lost_too() {
        let alerts = activation()
            .unit("simple", "no")
            .reloads_by(Signal::USR1)
            .exec(0)
            .handler_of(1.ms(), Runtime::Node)
            .signal(2.s(), Signal::USR1, Handler, Handled, by("kill"))
            .by_handler_of(Runtime::Node)
            .judged(&[ID]);
        let message = &alerts[0].message;
        assert!(message.contains("Node.js's own handler took it"), "{message}");
    }

    #[test]
    fn ignoring_until_the_handlers_are_in_is_fine_while_no_reload_comes() {
        activation()
            .unit("notify", "no")
            .exec(0)
            .disposition(1.ms(), Ignored)
            .handler(30.ms())
            .ready(40.ms())
            .signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"))
            .judged(&[]);
    }

    #[test]
    fn a_signal_that_the_units_reload_does_not_send_is_told_as_that() {
        let lost = |commands: &[&str]| {
            let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
            activation()
                .unit("simple", "no")
                .with(|facts| facts.exec_reload = Some(commands))
                .exec(0)
                .disposition(1.ms(), Ignored)
                .signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
        };
        for (commands, own) in [
            (&[][..], "own reload does not send it"),
            // Such a program may send any.
            (&["/usr/sbin/demo --reload"], "Whether the unit's own reload sends it is not known."),
        ] {
            let alerts = lost(commands).judged(&[ID]);
            let Alert { consequence, mend, .. } = &alerts[0];
            assert!(consequence.contains(own), "{consequence}");
            assert!(!consequence.contains("ExecReload="), "{consequence}");
            assert!(mend.contains("don't send it"), "{mend}");
        }
        let sends = lost(&["/bin/kill -HUP $MAINPID"]).reloads_by(Signal::HUP).judged(&[ID]);
        assert!(sends[0].consequence.contains("ExecReload="), "{}", sends[0].consequence);
        assert!(!sends[0].mend.contains("don't send it"), "{}", sends[0].mend);
    }

    #[test]
    fn an_init_is_said_to_be_immune() {
        let alerts = activation()
            .init()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .judged(&[ID]);
        assert!(alerts[0].message.contains("init of a pid namespace"), "{}", alerts[0].message);
    }

    #[test]
    fn ignored_by_a_child_or_on_the_way_out_is_silent() {
        activation()
            .exec(0)
            .signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .to("worker")
            .judged(&[]);
        activation()
            .exec(0)
            .handler(10.ms())
            .signal(1.s(), Signal::TERM, Handler, Handled, by("systemd"))
            .disposition(1.s() + 1, Ignored)
            .signal(2.s(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .judged(&[]);
    }

    #[test]
    fn an_init_that_asked_to_ignore_it_is_not_called_immune() {
        let alerts = activation()
            .init()
            .exec(0)
            .disposition(1.ms(), Ignored)
            .signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("kill"))
            .judged(&[ID]);
        assert!(!alerts[0].message.contains("init"), "{}", alerts[0].message);
    }
}
