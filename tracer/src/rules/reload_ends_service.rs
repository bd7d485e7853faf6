//! The reload was taken, and it ended the service.

use std::collections::BTreeSet;

use super::{Case, Finding, Rule, consequence, mend, reload::Reload, result::End, text};
use crate::model::{
    document::Severity,
    event::{DispositionKind, Effect, Fate, ProcessRef, What},
    unit::UnitFacts,
};

pub(super) const RULE: Rule = Rule {
    id: "reload-ends-service",
    severity: Severity::Error,
    explanation: include_str!("../../docs/rules/reload-ends-service.md"),
    check,
};

fn check(case: &Case) -> Vec<Finding> {
    finding(case).into_iter().collect()
}

fn finding(case: &Case) -> Option<Finding> {
    // A unit whose reload is not this signal may well end by it; but not crash.
    let may_end = case.is_unit() && case.facts().is_some() && !case.reloads_by_signal();
    let ends = |effect| match effect {
        Effect::Crashed => true,
        Effect::Ended | Effect::Replaced => !may_end,
        _ => false,
    };
    let is_it = |reload: &Reload| was_taken(case, reload) || was_meant(case, reload);
    let reload = case.with_effect(ends).filter(is_it).last()?;
    let own = exit(case, &reload.sent.target, reload.index)?;
    if let Some(main) = main_after(case, &reload, &own) {
        return by_worker(case, &reload, &own, &main);
    }
    let Exit { index, at_ns, end } = own;
    // To be ended and started anew is how such a unit reloads.
    let is_crash = reload.sent.effect == Some(Effect::Crashed);
    if !is_crash && consequence::restarts(case, end, at_ns) == Some(true) {
        return None;
    }
    let signal = reload.sent.signal;
    let how = text::ended(end);
    let passed_on = passed_on(case, &reload, at_ns);
    // What a runtime's own handler raised, the program caught, and gave up.
    let own = reload.sent.runtime.filter(|runtime| runtime.kills(signal));
    let took = match (&passed_on, own) {
        (Some((_, to)), _) => {
            format!("passed {signal} on to {}, which died of it,", text::process(to))
        }
        (None, Some(runtime)) => {
            format!("had nothing but {}'s own handler for {signal}", runtime.name())
        }
        (None, None) => format!("took {signal}"),
    };
    let meant = if case.is_meant_to_end() { ", as its reload has it" } else { "" };
    let successor = if reload.sent.effect == Some(Effect::Replaced) {
        " It left a successor behind, which systemd does not take for the service."
    } else {
        ""
    };
    let child = passed_on.as_ref().map(|(index, _)| *index);
    let mut events: Vec<usize> =
        [Some(reload.index), child, Some(index)].into_iter().flatten().collect();
    events.sort_unstable();
    Some(Finding {
        at_ns: reload.at_ns,
        events,
        message: if was_meant(case, &reload) {
            format!(
                "{} died of {signal} from {} {}{meant}, and was not started again.",
                text::process(&reload.sent.target),
                text::sender(reload.sender),
                text::when(case.activation, reload.at_ns),
            )
        } else {
            format!(
                "{} {took} from {} {} and {how} {} later{meant}.{successor}",
                text::process(&reload.sent.target),
                text::sender(reload.sender),
                text::when(case.activation, reload.at_ns),
                text::Span(at_ns.saturating_sub(reload.settled_ns())),
            )
        },
        consequence: consequence::death(case, end, at_ns),
        mend: match (reload.sent.effect, passed_on) {
            (Some(Effect::Replaced), _) => mend::name_successor(signal),
            (Some(Effect::Crashed), _) => mend::handler_that_notes(signal),
            (_, Some((_, to))) => mend::handler_of_child(signal, &to.comm),
            _ if own.is_some() => mend::handler_first(case),
            _ => mend::stay_or_no_reload(case),
        },
    })
}

/// The end of the main process after that of another process, which took the reload and is not
/// what started it.
fn main_after(case: &Case, reload: &Reload, own: &Exit) -> Option<Exit> {
    let ended = reload.sent.effect_ns?;
    let target = &reload.sent.target;
    let main = case.main().filter(|main| main.pid != target.pid)?;
    if is_starter(case, target, main) {
        return None;
    }
    exit(case, main, own.index).filter(|end| end.at_ns == ended)
}

/// Whether a process has started the daemon of a Type=forking service, as the first of those
/// between or as one of them.
fn is_starter(case: &Case, process: &ProcessRef, daemon: &ProcessRef) -> bool {
    let mut family = BTreeSet::from([process.pid]);
    for (_, event) in case.events() {
        if let What::Fork { process, parent } = &event.what
            && family.contains(&parent.pid)
        {
            family.insert(process.pid);
        }
    }
    case.facts().is_some_and(UnitFacts::is_forking) && family.contains(&daemon.pid)
}

/// A process besides the main one took it and ended, and the service with it.
fn by_worker(case: &Case, reload: &Reload, own: &Exit, main: &Exit) -> Option<Finding> {
    let signal = reload.sent.signal;
    let is_crash = reload.sent.effect == Some(Effect::Crashed);
    if !is_crash && consequence::restarts(case, main.end, main.at_ns) == Some(true) {
        return None;
    }
    Some(Finding {
        at_ns: reload.at_ns,
        events: vec![reload.index, own.index, main.index],
        message: format!(
            "{}, a process of the service, took {signal} from {} {} and {} {} later. The main \
             process, {}, {} {} after that, and nobody had told it to.",
            text::process(&reload.sent.target),
            text::sender(reload.sender),
            text::when(case.activation, reload.at_ns),
            text::ended(own.end),
            text::Span(own.at_ns.saturating_sub(reload.settled_ns())),
            text::main(case),
            text::ended(main.end),
            text::Span(main.at_ns.saturating_sub(own.at_ns)),
        ),
        consequence: consequence::death(case, main.end, main.at_ns),
        mend: if is_crash {
            mend::handler_that_notes(signal)
        } else {
            mend::worker_stays(signal, &reload.sent.target.comm)
        },
    })
}

/// Whether the program itself took it, and no other process is known to have taken over.
fn was_taken(case: &Case, reload: &Reload) -> bool {
    let is_told =
        reload.sent.effect == Some(Effect::Replaced) && !case.is_main(&reload.sent.target);
    // A handler that makes way for the default action and raises the signal again ends it, too.
    let by_handler = reload.sent.disposition == DispositionKind::Handler
        && matches!(reload.sent.fate, Fate::Handled | Fate::Killed);
    let took = reload.sent.fate == Fate::Handled || by_handler;
    took && case.deadly(reload).is_none() && !is_told
}

/// Whether it is a signal that is there to end the program, and killed it; and no other process
/// took its place.
fn was_meant(case: &Case, reload: &Reload) -> bool {
    let killed = reload.sent.fate == Fate::Killed && reload.sent.effect == Some(Effect::Ended);
    killed && case.is_meant_to_end()
}

/// The end of a process.
struct Exit {
    index: usize,
    at_ns: i64,
    end: End,
}

/// The end of a process after the event at `from`.
fn exit(case: &Case, of: &ProcessRef, from: usize) -> Option<Exit> {
    case.events().skip(from).find_map(|(index, event)| match &event.what {
        What::Exit { process, signal, code, core_dumped } if process.pid == of.pid => {
            let end = End::of(*signal, *code, *core_dumped)?;
            Some(Exit { index, at_ns: event.at_ns, end })
        }
        _ => None,
    })
}

/// The process that the main one passed the signal on to, and that died of it.
fn passed_on<'a>(case: &Case<'a>, reload: &Reload, exit: i64) -> Option<(usize, &'a ProcessRef)> {
    let after = case.with_effect(|effect| effect == Effect::LostProcess);
    { after }
        .find(|lost| {
            lost.sender.pid == reload.sent.target.pid && (reload.at_ns..=exit).contains(&lost.at_ns)
        })
        .map(|lost| (lost.index, &lost.sent.target))
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{
            event::{Fate, ProcessRef, Runtime},
            signal::Signal,
        },
        rules::testing::*,
    };

    const ID: &str = "reload-ends-service";

    fn up(service_type: &str, restart: &str) -> Start {
        let start = activation().unit(service_type, restart).reloads_by(Signal::HUP);
        start.exec(0).handler(1.ms())
    }

    fn taken(start: Start) -> Start {
        start.signal(30.s(), Signal::HUP, Handler, Handled, by("kill"))
    }

    #[test]
    fn a_reload_that_the_program_takes_for_an_end_leaves_the_service_down() {
        let alerts = taken(up("simple", "on-failure")).exit(31.s(), 0).judged(&[ID]);
        assert!(
            alerts[0].message.contains("exited with code 0 1.00 s later"),
            "{}",
            alerts[0].message
        );
        assert!(alerts[0].consequence.contains("does not restart it"), "{}", alerts[0].consequence);
    }

    #[test]
    fn a_worker_that_takes_the_reload_for_an_end_takes_the_service_with_it() {
        let ended = |service_type: &str, restart: &str, code: u8| {
            let worker = ProcessRef { pid: 4712, ..by("worker") };
            let start = up(service_type, restart).forks(2.ms(), itself(), worker.clone());
            let start =
                start.signal_to("worker", 30.s(), Signal::HUP, Handler, Handled, by("kill"));
            start.gone(30.s() + 10.ms(), worker, None).exit(30.s() + 30.ms(), code)
        };
        let alerts = ended("simple", "on-failure", 0).judged(&[ID]);
        let (message, mend) = (&alerts[0].message, &alerts[0].mend);
        assert!(message.contains("a process of the service, took HUP from kill"), "{message}");
        assert!(message.contains("exited with code 0 20.0 ms after that"), "{message}");
        assert!(alerts[0].consequence.contains("does not restart it"), "{}", alerts[0].consequence);
        assert!(mend.contains("worker"), "{mend}");
        ended("simple", "on-failure", 1).judged(&[]);
        let daemon = &ended("forking", "no", 1).judged(&[ID])[0].message;
        assert!(daemon.contains("a process of the service, took HUP from kill"), "{daemon}");
    }

    #[test]
    fn a_starter_that_leaves_a_daemon_is_no_worker() {
        let daemon = || ProcessRef { pid: 4712, ..itself() };
        let sent = |fate| {
            let start = up("forking", "no").forks(20.ms(), itself(), daemon());
            let start = start.signal(30.ms(), Signal::HUP, Handler, fate, by("kill"));
            start.handed_over(31.ms(), daemon())
        };
        let killed = sent(Killed).gone(32.ms(), itself(), Some(Signal::HUP)).exit(60.ms(), 1);
        let message = &killed.judged(&[ID])[0].message;
        assert!(message.contains("python3 (pid 4711) took HUP from kill"), "{message}");
        assert!(message.contains("died of HUP 1.00 ms later"), "{message}");
        sent(Handled).gone(32.ms(), itself(), None).exit(60.ms(), 1).judged(&[]);
    }

    #[test]
    fn what_gives_up_on_what_its_runtimes_own_handler_raises_took_nothing() {
        let start = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        let start = start.handler_of(1.ms(), Runtime::Ruby);
        let start = start.signal(50.ms(), Signal::HUP, Handler, Handled, by("kill"));
        let alerts = start.by_handler_of(Runtime::Ruby).exit(60.ms(), 1).judged(&[ID]);
        let (message, mend) = (&alerts[0].message, &alerts[0].mend);
        assert!(message.contains("had nothing but Ruby's own handler for HUP from"), "{message}");
        assert!(mend.starts_with("In the program: install the HUP handler first"), "{mend}");
    }

    #[test]
    fn where_systemd_starts_it_again_the_end_is_how_it_reloads() {
        taken(up("simple", "always")).exit(31.s(), 0).judged(&[]);
        taken(up("simple", "on-failure")).exit(31.s(), 1).judged(&[]);
        taken(up("simple", "on-failure")).exit(31.s(), 0).judged(&[ID]);
    }

    #[test]
    fn what_ends_long_after_or_is_told_to_end_does_not_end_by_the_reload() {
        taken(up("simple", "no")).exit(40.s(), 0).judged(&[]);
        taken(up("simple", "no"))
            .signal(31.s(), Signal::TERM, Handler, Handled, by("systemd"))
            .exit(32.s(), 0)
            .judged(&[]);
    }

    #[test]
    fn what_tells_nobody_to_end_is_no_other_cause() {
        let usr1 = "USR1".parse().unwrap();
        let after = |signal, fate, sender| {
            taken(up("simple", "no")).signal(31.s(), signal, Handler, fate, sender).exit(32.s(), 0)
        };
        after(usr1, Handled, by("kill")).judged(&[ID]);
        after(Signal::TERM, Fate::Ignored, by("kill")).judged(&[ID]);
        after(Signal::TERM, Handled, itself()).judged(&[ID]);
        after(Signal::TERM, Handled, by("kill")).judged(&[]);
        // A signal of any kind that killed it did, and its own handler's raising does not count.
        let killed =
            |sender| taken(up("simple", "no")).signal(31.s(), usr1, Default, Killed, sender);
        killed(by("kill")).judged(&[]);
        killed(itself()).judged(&[ID]);
    }

    #[test]
    fn a_signal_that_ends_others_may_be_what_reloads_this_one() {
        let start = activation().unit("simple", "no").reloads_by(Signal::INT);
        let start = start.exec(0).handler(1.ms());
        start
            .signal(30.s(), Signal::INT, Handler, Handled, by("kill"))
            .exit(31.s(), 0)
            .judged(&[ID]);
    }

    #[test]
    fn a_reload_that_is_to_end_the_service_needs_no_handler_and_has_to_bring_it_back() {
        let killed = |restart: &str| {
            let start = activation().unit("forking", restart).reloads_by(Signal::TERM).exec(0);
            start.signal(30.s(), Signal::TERM, Default, Killed, by("kill"))
        };
        let alerts = killed("on-failure").judged(&[ID]);
        assert!(alerts[0].message.contains("died of TERM"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("Restart=always"), "{}", alerts[0].mend);
        killed("always").judged(&[]);
        let child = ProcessRef { pid: 4713, ..itself() };
        killed("on-failure").handed_over(30.s() + 300.ms(), child).judged(&[]);
    }

    #[test]
    fn a_handler_that_raises_the_signal_again_by_its_default_ends_the_service() {
        let start = up("simple", "on-failure");
        let alerts = start
            .signal(30.s(), Signal::HUP, Handler, Killed, by("kill"))
            .disposition(30.s() + 1, Default)
            .signal(30.s() + 2, Signal::HUP, Blocked, Killed, itself())
            .dies(30.s() + 3, Signal::HUP)
            .judged(&[ID]);
        assert!(alerts[0].message.contains("took HUP from kill"), "{}", alerts[0].message);
        assert!(alerts[0].message.contains("died of HUP"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("handler"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_command_ends_by_a_reload_within_the_settle_time() {
        let command = || taken(activation().command().exec(0).handler(1.ms()).ready(2.ms()));
        command().exit(36.s(), 0).judged(&[]);
        command().exit(30.s() + 20.ms(), 0).judged(&[ID]);
    }

    #[test]
    fn a_crash_in_the_handler_is_told_though_the_service_is_started_again() {
        let abort = "ABRT".parse().unwrap();
        let alerts = taken(up("simple", "always")).dies(30.s() + 2.ms(), abort).judged(&[ID]);
        assert!(alerts[0].message.contains("died of ABRT 2.00 ms later"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("note"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_successor_that_systemd_is_not_told_of_goes_down_with_the_unit() {
        let child = || ProcessRef { pid: 4713, ..itself() };
        let left = taken(up("simple", "on-failure")).forks(30.s() + 5.ms(), itself(), child());
        let alerts = left.clone().exit(30.s() + 300.ms(), 0).judged(&[ID]);
        assert!(alerts[0].message.contains("a successor"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("MAINPID="), "{}", alerts[0].mend);
        let told = left.handed_over(30.s() + 200.ms(), child());
        told.gone(30.s() + 300.ms(), itself(), None).judged(&[]);
    }

    #[test]
    fn an_init_that_passes_the_signal_on_ends_with_what_it_runs() {
        let child = by("sleep");
        let start = taken(activation().command().exec(0).handler(1.ms()).ready(2.ms()));
        let start = start.forks(5.ms(), itself(), ProcessRef { pid: 4712, ..child });
        let start =
            start.signal_to("sleep", 30.s() + 1.ms(), Signal::HUP, Default, Killed, itself());
        let alerts = start.exit(30.s() + 2.ms(), 129).judged(&[ID]);
        assert!(alerts[0].message.contains("passed HUP on to sleep"), "{}", alerts[0].message);
        assert!(alerts[0].mend.contains("sleep"), "{}", alerts[0].mend);
    }

    #[test]
    fn a_unit_that_reloads_in_another_way_may_end_by_the_signal() {
        let start = activation().unit("simple", "no").exec(0).handler(1.ms());
        taken(start.clone()).exit(31.s(), 0).judged(&[]);
        // It is not to crash.
        let crashed = taken(start).dies(31.s(), "SEGV".parse().unwrap()).judged(&[ID]);
        assert!(crashed[0].message.contains("died of SEGV"), "{}", crashed[0].message);
    }

    #[test]
    fn what_a_signalfd_reads_is_taken_as_by_a_handler() {
        let start = activation().unit("simple", "no").reloads_by(Signal::HUP);
        let start = start.exec(0).signalfd(1.ms());
        let start = start.signal(30.s(), Signal::HUP, Blocked, Handled, by("kill"));
        start.exit(31.s(), 0).judged(&[ID]);
    }

    #[test]
    fn a_reload_that_waited_for_the_one_that_ended_the_service_did_not_end_it() {
        let start = taken(up("simple", "no"));
        let start = start.signal(30.s() + 1, Signal::HUP, Handler, Pending, by("kill"));
        let alerts = start.exit(31.s(), 0).judged(&[ID]);
        assert_eq!((alerts[0].at_ns, &alerts[0].events[..]), (30.s(), &[2, 4][..]));
    }

    #[test]
    fn what_somebody_else_sent_to_a_child_was_not_passed_on() {
        let child = ProcessRef { pid: 4712, ..by("sleep") };
        let start = taken(up("simple", "no")).forks(5.ms(), itself(), child);
        let start =
            start.signal_to("sleep", 30.s() + 1.ms(), Signal::HUP, Default, Killed, by("kill"));
        let alerts = start.exit(30.s() + 20.ms(), 1).judged(&[ID, "reload-kills-process"]);
        let message = &alerts[0].message;
        assert!(message.contains("took HUP from kill"), "{message}");
    }
}
