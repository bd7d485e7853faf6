//! Words that several rules share. Names of processes are printed as they were
//! read; whoever shows them escapes them.

use std::fmt;

use crate::model::{
    document::Activation,
    event::{DispositionKind, ProcessRef, Sender, ThreadRef},
    span,
    text::clipped,
};

use super::{case::Case, result::End};

/// The length of a time, whichever way it goes.
pub(super) struct Span(pub i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span::length(self.0.unsigned_abs()))
    }
}

/// `python3 (pid 4711)`
pub(super) fn process(process: &ProcessRef) -> String {
    format!("{} (pid {})", process.comm, process.pid)
}

/// `exited with code 1`
pub(super) fn ended(end: End) -> String {
    match end {
        End::Code(code) => format!("exited with code {code}"),
        End::Signal { signal, .. } => format!("died of {signal}"),
    }
}

/// The most characters of a command line that are shown.
const COMMAND: usize = 100;

/// `thread 17 (rdk:main)`.
pub(super) fn thread(thread: &ThreadRef) -> String {
    format!("thread {} ({})", thread.tid, thread.comm)
}

/// `kill (pid 812, 'kill -HUP 431', of logrotate.service, started by 'sh /etc/cron.daily/log')`
pub(super) fn sender(sender: &Sender) -> String {
    let quoted = |command: &str| format!("'{}'", clipped(command, COMMAND));
    let mut words = vec![format!("pid {}", sender.pid)];
    words.extend(
        sender.command.as_deref().map(quoted).or_else(|| sender.exe.as_deref().map(str::to_owned)),
    );
    words.extend(sender.unit.as_ref().map(|unit| format!("of {unit}")));
    words.extend(sender.parents.first().map(|parent| {
        let by = parent.command.as_deref().map_or_else(|| parent.comm.to_string(), quoted);
        format!("started by {by}")
    }));
    words.extend(
        sender.asked_by.as_ref().map(|asker| format!("asked for by {}", self::sender(asker))),
    );
    format!("{} ({})", sender.comm, words.join(", "))
}

/// Who sent a message: `python3 (pid 4720, /usr/bin/python3)`
pub(super) fn teller(process: &ProcessRef) -> String {
    match &process.exe {
        Some(exe) => format!("{} (pid {}, {exe})", process.comm, process.pid),
        None => self::process(process),
    }
}

/// The main process, or words for it.
pub(super) fn main(case: &Case) -> String {
    case.main().map_or_else(|| "the main process".to_owned(), process)
}

/// `50.0 ms after its exec`
pub(super) fn when(activation: &Activation, at: i64) -> String {
    since("its", activation, at)
}

/// The same of another process than the main one: `50.0 ms after the service's exec`
pub(super) fn when_of_service(activation: &Activation, at: i64) -> String {
    since("the service's", activation, at)
}

fn since(whose: &str, activation: &Activation, at: i64) -> String {
    let milestones = &activation.milestones;
    let (zero, what) = match (milestones.last_exec_ns, milestones.exec_ns) {
        (Some(last), _) if last <= at => (last, "last exec"),
        (_, Some(first)) => (first, "exec"),
        _ => (0, "start"),
    };
    let order = if at < zero { "before" } else { "after" };
    format!("{} {order} {whose} {what}", Span(at.saturating_sub(zero)))
}

/// What a signal would meet.
pub(super) fn disposition(kind: DispositionKind) -> &'static str {
    match kind {
        DispositionKind::Default => "default",
        DispositionKind::Ignored => "ignored",
        DispositionKind::Handler => "handler",
        DispositionKind::Blocked => "blocked",
    }
}

/// ` and 2 more`, or nothing.
pub(super) fn and_more(count: usize) -> String {
    if count > 1 { format!(" (and {} more like it)", count - 1) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::event::ParentRef, rules::testing::*};

    #[test]
    fn a_moment_is_told_from_the_exec_before_it() {
        let told = |start: Start, at| start.asked(|case| when(case.activation, at));
        let twice = || activation().exec(1.s()).exec(3.s());
        assert_eq!(told(twice(), 4.s()), "1.00 s after its last exec");
        assert_eq!(told(twice(), 3.s()), "0 ms after its last exec");
        assert_eq!(told(twice(), 2.s()), "1.00 s after its exec");
        assert_eq!(told(twice(), 1.s()), "0 ms after its exec");
        assert_eq!(told(twice(), 0), "1.00 s before its exec");
        assert_eq!(told(activation(), 5.s()), "5.00 s after its start");
    }

    #[test]
    fn one_alone_has_no_more_like_it() {
        assert_eq!([0, 1].map(and_more), ["", ""]);
        assert_eq!(and_more(3), " (and 2 more like it)");
    }

    #[test]
    fn a_sender_is_told_with_its_command_its_unit_and_who_started_it() {
        let process = |comm: &str| ProcessRef {
            pid: 812,
            ns_pid: None,
            comm: comm.into(),
            exe: Some("/usr/bin/kill".into()),
            uid: Some(0),
        };
        let bare = Sender::from(process("kill"));
        assert_eq!(sender(&bare), "kill (pid 812, /usr/bin/kill)");
        let parent = |command: Option<&str>| ParentRef {
            pid: 7,
            comm: "logrotate".into(),
            command: command.map(str::to_owned),
        };
        let known = Sender {
            command: Some("kill -HUP 431".to_owned()),
            unit: Some("logrotate.service".to_owned()),
            parents: vec![parent(Some("sh /etc/cron.daily/log")), parent(None)],
            ..bare
        };
        let of_known = "kill (pid 812, 'kill -HUP 431', of logrotate.service, started by 'sh \
                        /etc/cron.daily/log')";
        assert_eq!(sender(&known), of_known);
        let asked = Sender { asked_by: Some(Box::new(known)), ..process("systemd").into() };
        let asked = Sender { parents: vec![parent(None)], ..asked };
        assert_eq!(
            sender(&asked),
            format!(
                "systemd (pid 812, /usr/bin/kill, started by logrotate, asked for by {of_known})"
            )
        );
    }

    #[test]
    fn a_span_is_told_as_everywhere_and_without_its_direction() {
        assert_eq!(Span(-50_000_000).to_string(), "50.0 ms");
        assert_eq!(Span(12_340_000_000).to_string(), "12.3 s");
        assert_eq!(Span(i64::MIN).to_string(), "106752 d 0 h");
    }
}
