//! A command of ExecReload= failed, or took too long: the reload did not take place, or not whole.

use super::{Case, Finding, Rule, text};
use crate::model::{
    document::Severity,
    event::{Effect, Event, ProcessRef, What},
    signal::Signal,
    text::clipped,
};

pub(super) const RULE: Rule = Rule {
    id: "reload-failed",
    severity: Severity::Warning,
    explanation: include_str!("../../docs/rules/reload-failed.md"),
    check,
};

/// The exit code of what could not execute its program (`EXIT_EXEC` in src/basic/exit-status.h).
const NOT_EXECUTED: u8 = 203;
/// systemd starts the first command a moment before it has the unit as reloading, ns.
const AHEAD_NS: i64 = 100_000_000;
/// The most characters of a command that are shown.
const COMMAND: usize = 100;

fn check(case: &Case) -> Vec<Finding> {
    let failures: Vec<Failure> = failures(case).collect();
    finding(case, &failures).into_iter().collect()
}

/// A reload that systemd says has failed.
struct Failure<'a> {
    /// When systemd began it, and where that is among the events; what can be told of a reload
    /// that systemd told of by its end alone begins with the start.
    began: Option<(usize, i64)>,
    /// The same of its end.
    index: usize,
    at_ns: i64,
    /// `ReloadResult`
    result: &'a str,
}

/// How a command ended.
#[derive(Clone, Copy)]
enum End {
    Code(u8),
    Signal(Signal),
    /// It had not when systemd gave up waiting for it.
    Late,
}

/// The command that failed.
struct Command<'a> {
    process: &'a ProcessRef,
    /// When it was executed, and where that is among the events.
    exec: Option<(usize, i64)>,
    /// Its end among the events, where it had ended.
    exit: Option<usize>,
    end: End,
}

/// Those that systemd waited for an answer for are told by other rules.
fn failures<'a>(case: &Case<'a>) -> impl Iterator<Item = Failure<'a>> + use<'a> {
    let case = *case;
    let mut began = None;
    case.events().filter_map(move |(index, event)| {
        let What::Systemd { state, reload_result, .. } = &event.what else { return None };
        if state == "reloading" {
            began.get_or_insert((index, event.at_ns));
            return None;
        }
        let began = began.take();
        let result = reload_result.as_deref()?;
        let failure = Failure { began, index, at_ns: event.at_ns, result };
        (!is_told_elsewhere(&case, &failure)).then_some(failure)
    })
}

fn is_told_elsewhere(case: &Case, failure: &Failure) -> bool {
    let is_unanswered =
        |effect: &Option<Effect>| matches!(effect, Some(Effect::Unanswered | Effect::Unfinished));
    case.events().take(failure.index).any(|(_, event)| match &event.what {
        What::Signal(sent) => is_unanswered(&sent.effect),
        What::Notify(message) => is_unanswered(&message.effect),
        _ => false,
    })
}

fn finding(case: &Case, failures: &[Failure]) -> Option<Finding> {
    let first = failures.first()?;
    let command = command(case, first);
    let began = first.began.map(|(index, _)| index);
    let exec = command.as_ref().and_then(|command| command.exec).map(|(index, _)| index);
    let exit = command.as_ref().and_then(|command| command.exit);
    let mut events: Vec<usize> =
        [began, exec, exit, Some(first.index)].into_iter().flatten().collect();
    events.sort_unstable();
    Some(Finding {
        at_ns: first.began.map_or(first.at_ns, |(_, at)| at),
        events,
        message: format!(
            "the reload that ended {} failed: {}.{}{}",
            text::when(case.activation, first.at_ns),
            why(case, first, command.as_ref()),
            taken(case, first, command.as_ref()),
            text::and_more(failures.len()),
        ),
        consequence: consequence(case, first, command.as_ref()),
        mend: mend(command.as_ref()).to_owned(),
    })
}

/// The command of ExecReload= that failed: the last one that ended, and not well; or the one that
/// systemd gave up waiting for.
fn command<'a>(case: &Case<'a>, failure: &Failure) -> Option<Command<'a>> {
    let during = || during(case, failure);
    if failure.result == "timeout" {
        let (process, exec) = during().filter_map(executed).last()?;
        return Some(Command { process, exec: Some(exec), exit: None, end: End::Late });
    }
    let failed = |(index, event): (usize, &'a Event)| match &event.what {
        What::Exit { process, signal, code, .. } => {
            let end = signal.map(End::Signal).or(code.map(End::Code))?;
            (!matches!(end, End::Code(0))).then_some((process, index, end))
        }
        _ => None,
    };
    let (process, exit, end) = during().filter_map(failed).last()?;
    let exec = during().filter_map(executed).filter(|(by, _)| by.pid == process.pid).last();
    Some(Command { process, exec: exec.map(|(_, exec)| exec), exit: Some(exit), end })
}

/// What a process executed, and when.
fn executed((index, event): (usize, &Event)) -> Option<(&ProcessRef, (usize, i64))> {
    match &event.what {
        What::Exec { process, .. } => Some((process, (index, event.at_ns))),
        _ => None,
    }
}

/// What the commands of ExecReload= did during a reload: neither the main process, nor what others
/// than systemd have started.
fn during<'a>(
    case: &Case<'a>,
    failure: &Failure,
) -> impl Iterator<Item = (usize, &'a Event)> + use<'a> {
    let (case, until) = (*case, failure.index);
    let from = failure.began.map_or(i64::MAX, |(_, at)| at.saturating_sub(AHEAD_NS));
    let before = move || case.events().take(until);
    before().filter(move |(_, event)| {
        let (What::Exec { process, .. } | What::Exit { process, .. }) = &event.what else {
            return false;
        };
        let is_child = |(_, event): (usize, &Event)| {
            matches!(&event.what, What::Fork { process: child, parent }
                if child.pid == process.pid && parent.comm != "systemd")
        };
        event.at_ns >= from && !case.is_main(process) && !before().any(is_child)
    })
}

/// What failed, and how.
fn why(case: &Case, failure: &Failure, command: Option<&Command>) -> String {
    let Some(command) = command else {
        let result = failure.result;
        let is_seen = failure.began.is_some() && during(case, failure).next().is_none();
        return if is_seen {
            format!(
                "systemd says ReloadResult={result} of it, and no command of ExecReload= was seen \
                 to be executed: what it names may not be there"
            )
        } else {
            format!(
                "systemd says ReloadResult={result} of it; which command of ExecReload= that was \
                 is not seen"
            )
        };
    };
    let name = match line(case, command) {
        Some(line) => {
            format!("'{}' of ExecReload= (pid {})", clipped(line, COMMAND), command.process.pid)
        }
        None => format!("{}, a command of ExecReload=,", text::process(command.process)),
    };
    match command.end {
        End::Late => {
            let since = command.exec.map_or(failure.at_ns, |(_, at)| at);
            format!(
                "{name} had not ended after {}, when TimeoutStartSec= was over",
                text::Span(failure.at_ns.saturating_sub(since))
            )
        }
        End::Code(NOT_EXECUTED) => format!("{name} could not be executed (exit code 203)"),
        End::Code(code) => format!("{name} exited with code {code}"),
        End::Signal(signal) => format!("{name} died of {signal}"),
    }
}

/// The line of ExecReload= that a command is: the one that names its program.
fn line<'a>(case: &Case<'a>, command: &Command) -> Option<&'a str> {
    let lines = case.facts()?.exec_reload.as_ref()?;
    if let [line] = lines.as_slice() {
        return Some(line);
    }
    let (exec, _) = command.exec?;
    let What::Exec { exe, filename, .. } = &case.activation.events.get(exec)?.what else {
        return None;
    };
    let program = filename.as_deref().or(exe.as_deref())?;
    let mut its = lines.iter().filter(|line| line.split(' ').next() == Some(program));
    let line = its.next()?;
    its.next().is_none().then_some(line)
}

/// Whether the program was sent the reload signal all the same.
fn taken(case: &Case, failure: &Failure, command: Option<&Command>) -> String {
    let Some((_, began)) = failure.began else { return String::new() };
    let from = began.saturating_sub(AHEAD_NS);
    let mut reloads = case
        .with_effect(|_| true)
        .filter(|reload| reload.at_ns >= from && reload.index < failure.index);
    let Some(reload) = reloads.next() else {
        return match command {
            Some(_) if case.reloads_by_signal() => {
                format!(" {} was not sent.", case.reload_signal())
            }
            _ => String::new(),
        };
    };
    format!(
        " {} had come to {} by then: it has its reload, though systemd has it as failed.",
        reload.sent.signal,
        text::process(&reload.sent.target)
    )
}

fn consequence(case: &Case, failure: &Failure, command: Option<&Command>) -> String {
    let lines = case.facts().and_then(|facts| facts.exec_reload.as_ref());
    let is_one_of_many = lines.is_some_and(|lines| lines.len() > 1);
    let rest = match command {
        Some(_) if is_one_of_many => " The commands of ExecReload= after it are not run.",
        _ => "",
    };
    if let Some((at, end)) = case.ended_by_itself(failure.at_ns) {
        return format!(
            "systemctl reload fails, and whoever asked for it is the only one to hear. The unit \
             was still active, but its main process {} {} later, which nobody had told it to.{rest}",
            text::ended(end),
            text::Span(at.saturating_sub(failure.at_ns))
        );
    }
    format!(
        "systemctl reload fails, and whoever asked for it is the only one to hear: the unit stays \
         active, with Result=success, and goes on with what it has loaded. Only its \
         ReloadResult={} tells, until the next reload or start.{rest}",
        failure.result
    )
}

fn mend(command: Option<&Command>) -> &'static str {
    match command.map(|command| command.end) {
        Some(End::Late) => {
            "Let the command end before TimeoutStartSec= is over, or set that higher; where it \
             waits for the program, look at what keeps that from reloading."
        }
        Some(End::Code(NOT_EXECUTED)) => {
            "Name a program in ExecReload= that is there and can be executed by the unit's user."
        }
        _ => {
            "Look at what was said (journalctl -u UNIT), mend that, and reload again. Where \
             a command's failure does not matter, put - in front of it: ExecReload=-COMMAND."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::document::Alert, rules::testing::*};

    const ID: &str = "reload-failed";
    const CHECK: &str = "/usr/sbin/demod -t";
    const HUP: &str = "/bin/kill -HUP $MAINPID";

    fn demod() -> ProcessRef {
        by("demod")
    }

    /// A unit that is up, and reloads by these commands.
    fn up(commands: &[&str]) -> Start {
        let start = activation().unit("simple", "no").reloads_by(Signal::HUP).exec(0);
        let lines = commands.iter().map(|line| (*line).to_owned()).collect();
        let start = start.with(|facts| facts.exec_reload = Some(lines)).handler(1.ms());
        start.systemd(2.ms(), "active", Some("running"), "success")
    }

    fn reloading(commands: &[&str]) -> Start {
        up(commands).systemd(20.s(), "reloading", Some("reload"), "success")
    }

    /// The check is executed and ends.
    fn checked(commands: &[&str], code: u8) -> Start {
        let executed = ProcessRef { exe: Some("/usr/sbin/demod".into()), ..demod() };
        let start = reloading(commands).runs(20.s() + 1.ms(), executed, false);
        start.left(20.s() + 2.ms(), demod(), code)
    }

    fn told(start: Start, result: &str) -> Alert {
        let alerts = start.reload_ended(20.s() + 3.ms(), result).judged(&[ID]);
        alerts[0].clone()
    }

    #[test]
    fn the_command_that_failed_is_told_with_its_code_and_that_nothing_was_sent() {
        let alert = told(checked(&[CHECK, HUP], 1), "exit-code");
        assert_eq!(
            alert.message,
            "the reload that ended 20.0 s after its exec failed: '/usr/sbin/demod -t' of \
             ExecReload= (pid 4720) exited with code 1. HUP was not sent."
        );
        let rest = "The commands of ExecReload= after it are not run.";
        assert!(alert.consequence.ends_with(rest), "{}", alert.consequence);
        assert_eq!(alert.severity, Severity::Warning);
        assert_eq!(alert.events.len(), 4);
        let alone = told(checked(&[CHECK], 1), "exit-code");
        assert!(!alone.consequence.contains(rest), "{}", alone.consequence);
    }

    #[test]
    fn a_service_that_ends_right_after_does_not_stay_active() {
        let told = |start: Start| {
            let alerts = start.reload_ended(20.s() + 3.ms(), "exit-code").judged(&[ID]);
            alerts[0].consequence.clone()
        };
        let ended = told(checked(&[CHECK], 1).exit(20.s() + 19.ms(), 1));
        assert!(ended.contains("exited with code 1 16.0 ms later, which nobody"), "{ended}");
        let by = by("systemd");
        let stopped =
            checked(&[CHECK], 1).signal(20.s() + 10.ms(), Signal::TERM, Handler, Handled, by);
        let stopped = told(stopped.exit(20.s() + 19.ms(), 0));
        assert!(stopped.contains("the unit stays active"), "{stopped}");
    }

    #[test]
    fn a_program_that_has_its_reload_is_told_to_have_it() {
        let sent = reloading(&[HUP, CHECK]).signal(
            20.s() + 1.ms(),
            Signal::HUP,
            Handler,
            Handled,
            by("kill"),
        );
        let alert = told(sent.left(20.s() + 2.ms(), demod(), 3), "exit-code");
        assert!(alert.message.contains("it has its reload, though"), "{}", alert.message);
    }

    #[test]
    fn a_command_that_is_not_there_or_is_killed_or_takes_too_long_is_told_as_that() {
        let gone = told(reloading(&[CHECK]).left(20.s() + 2.ms(), demod(), 203), "exit-code");
        assert!(gone.message.contains("could not be executed"), "{}", gone.message);
        assert!(gone.mend.starts_with("Name a program in ExecReload="), "{}", gone.mend);
        let killed = reloading(&[CHECK]).gone(20.s() + 2.ms(), demod(), Some(Signal::KILL));
        let killed = told(killed, "signal");
        assert!(killed.message.contains("died of KILL"), "{}", killed.message);
        let late = reloading(&[CHECK]).runs(20.s() + 1.ms(), demod(), false);
        // systemd kills it, and has the reload as over then.
        let late = late.reload_ended(26.s(), "timeout").gone(26.s(), demod(), Some(Signal::KILL));
        let late = late.judged(&[ID]);
        let text = "had not ended after 6.00 s, when TimeoutStartSec= was over";
        assert!(late[0].message.contains(text), "{}", late[0].message);
        assert!(late[0].mend.contains("before TimeoutStartSec= is over"), "{}", late[0].mend);
    }

    #[test]
    fn a_command_may_be_executed_before_systemd_has_the_unit_as_reloading() {
        let early = up(&[CHECK]).runs(20.s() - 2.ms(), demod(), false);
        let early = early.systemd(20.s(), "reloading", Some("reload"), "success");
        let alert = told(early.left(20.s() + 2.ms(), demod(), 1), "exit-code");
        assert!(alert.message.contains("exited with code 1"), "{}", alert.message);
        assert_eq!(alert.events.len(), 4);
        assert!(alert.events.is_sorted(), "{:?}", alert.events);
    }

    #[test]
    fn what_is_not_seen_is_said_to_be_not_seen() {
        let alert = told(reloading(&[CHECK]), "exit-code");
        let text = "ReloadResult=exit-code of it, and no command of ExecReload= was seen to be";
        assert!(alert.message.contains(text), "{}", alert.message);
        assert!(!alert.message.contains("was not sent"), "{}", alert.message);
        // The end of a reload that was told of by that alone.
        let alert = told(up(&[CHECK]), "exit-code");
        assert!(alert.message.contains("is not seen"), "{}", alert.message);
    }

    #[test]
    fn what_a_command_starts_and_the_main_process_are_not_the_command() {
        let start = reloading(&[CHECK]).forks(20.s() + 1.ms(), by("sh"), demod());
        let alert = told(start.left(20.s() + 2.ms(), demod(), 1), "exit-code");
        assert!(alert.message.contains("no command of ExecReload="), "{}", alert.message);
        let start = checked(&[CHECK], 0);
        assert!(told(start, "exit-code").message.contains("is not seen"));
    }

    #[test]
    fn of_commands_of_one_program_none_is_named() {
        let alert = told(checked(&["/usr/sbin/demod -t", "/usr/sbin/demod -r"], 1), "exit-code");
        let text = "demod (pid 4720), a command of ExecReload=, exited with code 1";
        assert!(alert.message.contains(text), "{}", alert.message);
    }

    #[test]
    fn one_that_succeeds_or_goes_unanswered_is_not_told() {
        checked(&[CHECK], 0).systemd(21.s(), "active", Some("running"), "success").judged(&[]);
        let start = activation().unit("notify-reload", "no").reloads_by(Signal::HUP).exec(0);
        let start = start.handler(1.ms()).ready(2.ms());
        let start = start.signal(20.s(), Signal::HUP, Handler, Handled, by("systemd"));
        let start = start.systemd(20.s() + 1.ms(), "reloading", Some("reload-signal"), "success");
        start.reload_ended(50.s(), "timeout").judged(&["reload-unanswered"]);
    }

    #[test]
    fn what_happened_before_the_reload_is_not_of_it() {
        let before = up(&[CHECK]).signal(10.s(), Signal::HUP, Handler, Handled, by("kill"));
        let before = before.left(10.s() + 1.ms(), demod(), 1);
        let start = before.systemd(20.s(), "reloading", Some("reload"), "success");
        let alert = told(start.clone(), "exit-code");
        assert!(alert.message.contains("no command of ExecReload="), "{}", alert.message);
        assert!(!alert.message.contains("had come to"), "{}", alert.message);
        let failed = told(start.left(20.s() + 2.ms(), demod(), 3), "exit-code");
        assert!(failed.message.ends_with("exited with code 3. HUP was not sent."));
    }

    #[test]
    fn what_the_main_process_executes_is_no_command_of_the_reload() {
        let start = reloading(&[CHECK]).runs(20.s() + 1.ms(), itself(), false);
        let alert = told(start, "timeout");
        assert!(alert.message.contains("no command of ExecReload="), "{}", alert.message);
    }

    #[test]
    fn a_signal_that_the_reload_does_not_send_is_not_missed() {
        let alert =
            told(checked(&[CHECK], 1).with(|facts| facts.reload_signal = None), "exit-code");
        assert!(alert.message.ends_with("exited with code 1."), "{}", alert.message);
    }

    #[test]
    fn a_reload_that_the_service_began_and_did_not_finish_is_told_as_that() {
        let start = activation().unit("notify", "no").exec(0).handler(1.ms()).ready(2.ms());
        let start = start.notify(20.s(), itself(), &[("RELOADING", "1")]);
        let start = start.systemd(20.s() + 1.ms(), "reloading", Some("reload-notify"), "success");
        start.reload_ended(50.s(), "timeout").judged(&["reloading-malformed"]);
    }
}
