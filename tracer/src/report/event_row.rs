//! One event in words.

use super::{cut, escape, paint::Ink, text, time};
use crate::model::{
    document::Activation,
    errno,
    event::{
        Consumer, DispositionKind, Effect, Event, Fate, NotifyMessage, ProcessRef, Refusal, Sender,
        SignalSent, What,
    },
    runtime::{Action, Runtime},
    signal::Signal,
};

/// The longest name shown of a process. The kernel's are 15 bytes; a document's may be anything.
const NAME: usize = 24;
/// The most shown of a text that someone else wrote (a path, a message).
const QUOTE: usize = 160;

/// What the table says of an event.
pub struct EventRow {
    /// Whom it concerns.
    pub process: String,
    /// What happened, seen from there.
    pub what: String,
    /// Good or bad.
    pub ink: Ink,
}

/// A process by name and pid: `python3[4711]`.
pub fn process(process: &ProcessRef) -> String {
    format!("{}[{}]", text::clip(&escape::text(&process.comm), NAME), process.pid)
}

/// A text that came from outside, harmless and of bearable length.
pub fn quote(raw: &str) -> String {
    text::clip(&escape::text(raw), QUOTE)
}

/// An event of `activation` in words; `reload` is the signal its masks and programs
/// are judged by.
pub fn row(event: &Event, activation: &Activation, reload: Signal) -> EventRow {
    let main = activation.main_process.as_ref().map(|process| process.pid);
    let (subject, what, ink) = match &event.what {
        What::Fork { process: child, parent } => {
            (Some(child), format!("started by {}", process(parent)), Ink::Faint)
        }
        What::Exec { process, exe, filename, disposition, background } => {
            let mut what = exec(exe.as_deref(), filename.as_deref(), *disposition, reload);
            if *background {
                what.push_str("; in the background");
            }
            (Some(process), what, Ink::Plain)
        }
        What::Exit { process, signal, code, core_dumped } => {
            let bad = signal.is_some() || code.is_some_and(|code| code != 0);
            let ink = if bad && main == Some(process.pid) { Ink::Error } else { Ink::Plain };
            (Some(process), exit(*signal, *code, *core_dumped), ink)
        }
        What::Signal(sent) => (Some(&sent.target), signal(event.at_ns, sent), signal_ink(sent)),
        What::Disposition {
            process,
            signal,
            disposition,
            consumer,
            runtime,
            once,
            found,
            mask_unknown,
        } => {
            let mut what = if *mask_unknown {
                format!("a thread waits in sigwait; whether {signal} is blocked is not seen")
            } else {
                disposition_set(*signal, *disposition, *consumer, *runtime)
            };
            if *once {
                what.push_str(", for one delivery only (SA_RESETHAND)");
            }
            if *found {
                what = format!("when the capture joined: {what}");
            }
            (Some(process), what, Ink::Plain)
        }
        What::Mask { process, tid, signal, blocked, disposition } => {
            let verb = if *blocked { "blocks" } else { "unblocks" };
            let now = would(*signal, *disposition);
            (Some(process), format!("thread {tid} {verb} {signal}; {now}"), Ink::Plain)
        }
        What::Notify(message) => {
            let refused = message.accepted == Some(false) || message.result != 0;
            let ink = if refused {
                Ink::Error
            } else if message.says("READY", "1") {
                Ink::Good
            } else {
                Ink::Plain
            };
            (Some(&message.sender), notify(event.at_ns, message), ink)
        }
        What::Cgroup { process: Some(process), path } => {
            (Some(process), format!("moved to cgroup {}", quote(path)), Ink::Faint)
        }
        What::Cgroup { process: None, path } => {
            (None, format!("cgroup {} made", quote(path)), Ink::Faint)
        }
        What::Systemd { state, sub_state, result, reload_result } => (
            None,
            systemd(state, sub_state.as_deref(), result.as_deref(), reload_result.as_deref()),
            match (result, reload_result) {
                (Some(_), _) => Ink::Error,
                (None, Some(_)) => Ink::Warning,
                (None, None) => Ink::Plain,
            },
        ),
        What::Loss { count } => {
            (None, format!("about here {count} events were lost"), Ink::Warning)
        }
    };
    EventRow { process: subject.map(process).unwrap_or_default(), what, ink }
}

fn systemd(
    state: &str,
    sub_state: Option<&str>,
    result: Option<&str>,
    reload_result: Option<&str>,
) -> String {
    let detail = sub_state.map(|detail| format!(" ({})", quote(detail))).unwrap_or_default();
    let result = result.map(|result| format!(", result '{}'", quote(result))).unwrap_or_default();
    let reload = reload_result
        .map(|result| format!(", the reload failed: '{}'", quote(result)))
        .unwrap_or_default();
    format!("systemd: {}{detail}{result}{reload}", quote(state))
}

fn exec(
    exe: Option<&str>,
    filename: Option<&str>,
    disposition: DispositionKind,
    reload: Signal,
) -> String {
    let mut what = match (exe, filename) {
        (Some(exe), Some(filename)) => format!("exec {} ({})", quote(filename), quote(exe)),
        (Some(name), None) | (None, Some(name)) => format!("exec {}", quote(name)),
        (None, None) => "exec of an unknown program".to_owned(),
    };
    if disposition != DispositionKind::Default {
        what.push_str("; ");
        what.push_str(&would(reload, disposition));
    }
    what
}

fn exit(signal: Option<Signal>, code: Option<u8>, core_dumped: bool) -> String {
    let how = match (signal, code) {
        (Some(signal), _) => format!("killed by {signal}"),
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".to_owned(),
    };
    format!("{how}{}", if core_dumped { ", core dumped" } else { "" })
}

/// What a signal would do from now on.
fn would(signal: Signal, disposition: DispositionKind) -> String {
    match disposition {
        DispositionKind::Default => format!("{signal} has its default action now"),
        DispositionKind::Ignored => format!("{signal} is ignored now"),
        DispositionKind::Handler => format!("{signal} has a handler now"),
        DispositionKind::Blocked => format!("{signal} is blocked in every thread now"),
    }
}

fn disposition_set(
    signal: Signal,
    disposition: DispositionKind,
    consumer: Option<Consumer>,
    runtime: Option<Runtime>,
) -> String {
    let by = match consumer {
        Some(Consumer::Signalfd) => return format!("{signal} is taken by a signalfd"),
        Some(Consumer::Sigwait) => return format!("{signal} is waited for (sigwait)"),
        None => match runtime {
            Some(runtime) => whose(runtime, signal),
            None => String::new(),
        },
    };
    match disposition {
        DispositionKind::Handler => format!("{signal} handler installed{by}"),
        DispositionKind::Default => format!("{signal} set to its default action"),
        DispositionKind::Ignored => format!("{signal} set to be ignored"),
        DispositionKind::Blocked => format!("{signal} blocked in every thread"),
    }
}

/// Whose a handler is that a runtime has set, and what that does.
fn whose(runtime: Runtime, signal: Signal) -> String {
    let whose = match runtime {
        Runtime::CatchAll => "the language runtime's, told from the handler alone".to_owned(),
        Runtime::Forwarding => {
            return ": the language runtime's, which passes some signals on to the program"
                .to_owned();
        }
        Runtime::Unlisted => {
            return ": the interpreter's or the script's, which can't be told apart".to_owned();
        }
        _ => format!("{}'s own", runtime.name()),
    };
    let effect = match runtime.effect(signal) {
        Some(Action::Dies) => ", which still dies of it".to_owned(),
        Some(Action::Exits(code)) => format!(", which ends the program with code {code}"),
        Some(Action::Spares) => ", which keeps it from the program".to_owned(),
        Some(Action::Unknown) | None => String::new(),
    };
    format!(": {whose}{effect}")
}

/// What became of a signal, in a word or two.
pub fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::Killed => "killed",
        Fate::Handled => "handled",
        Fate::Ignored => "lost",
        Fate::Pending => "still pending",
        Fate::Coalesced => "one was pending already",
        Fate::Dropped => "dropped",
        Fate::Stopped => "stopped",
    }
}

/// Who sent a signal: `kill[812], uid 0, 'kill -HUP 431', of logrotate.service, started by
/// sh[811] 'sh /etc/cron.daily/log' < run-parts[790] < cron[500]`
fn sender(sender: &Sender) -> String {
    let mut parts = vec![process(sender)];
    if let Some(uid) = sender.uid {
        parts.push(format!("uid {uid}"));
    }
    if let Some(command) = &sender.command {
        parts.push(format!("'{}'", quote(command)));
    }
    if let Some(unit) = &sender.unit {
        parts.push(format!("of {}", quote(unit)));
    }
    // What the nearest was started with says what for; of those above it the names are enough.
    let parents = sender.parents.iter().enumerate().map(|(number, parent)| {
        let name = format!("{}[{}]", text::clip(&escape::text(&parent.comm), NAME), parent.pid);
        match &parent.command {
            Some(command) if number == 0 => format!("{name} '{}'", quote(command)),
            _ => name,
        }
    });
    let parents = parents.collect::<Vec<_>>().join(" < ");
    if !parents.is_empty() {
        parts.push(format!("started by {parents}"));
    }
    if let Some(asker) = &sender.asked_by {
        parts.push(format!("asked for by {}", self::sender(asker)));
    }
    parts.join(", ")
}

fn signal(at: i64, sent: &SignalSent) -> String {
    let name = sent.signal;
    let from = match &sent.sender {
        Some(sender) => self::sender(sender),
        None => "the kernel".to_owned(),
    };
    let to = sent.tid.map(|tid| format!(" to thread {tid}")).unwrap_or_default();
    let met = match (sent.disposition, sent.runtime) {
        (DispositionKind::Default, _) => "default action",
        // The kernel spares an init that has no handler.
        (DispositionKind::Ignored, _) if sent.target.ns_pid == Some(1) => "ignored by the init",
        (DispositionKind::Ignored, _) => "set to be ignored",
        (DispositionKind::Handler, Some(_)) => "language runtime's handler",
        (DispositionKind::Handler, None) => "handler",
        (DispositionKind::Blocked, _) => "blocked",
    };
    let by_default = sent.disposition == DispositionKind::Default;
    let unblocked = sent.unblocked.as_ref().filter(|_| by_default);
    let unblocked = unblocked
        .map(|thread| format!(" in thread {} ({})", thread.tid, escape::text(&thread.comm)))
        .unwrap_or_default();
    let fate = fate(sent.fate);
    let later = sent
        .fate_ns
        .map(|fate| format!(" {} later", time::span(fate.saturating_sub(at))))
        .unwrap_or_default();
    let traced = if sent.traced { " (under ptrace)" } else { "" };
    // What is told of the signal itself needs no time of its own.
    let own = sent.effect_ns.filter(|effect| *effect != sent.fate_ns.unwrap_or(at));
    let effect = effect(sent.effect, own, at);
    format!("{name} from {from}{to}: {met}{unblocked}, {fate}{later}{traced}{effect}")
}

/// What became of the service after a reload at `at`, in words.
fn effect(effect: Option<Effect>, effect_at: Option<i64>, at: i64) -> String {
    let words = match effect {
        None => return String::new(),
        Some(Effect::Reloaded) => "it reloaded",
        Some(Effect::Survived) => "it survived",
        Some(Effect::Ended) => "the service ended",
        Some(Effect::Crashed) => "the service crashed",
        Some(Effect::Replaced) => "another process took over",
        Some(Effect::LostProcess) => "the service lost a process",
        Some(Effect::Unanswered) => "it did not answer",
        Some(Effect::Unfinished) => "it did not say READY=1 again",
        Some(Effect::Deferred) => "its trap waited for a command",
        Some(Effect::Unknown) => "what came of it can't be told",
    };
    let when = match effect_at.map(|effect_at| effect_at.saturating_sub(at)) {
        None => String::new(),
        // One of a group may have got the signal first.
        Some(later @ ..0) => format!(" {} before", time::span(later.saturating_neg())),
        Some(later) => format!(" {} later", time::span(later)),
    };
    format!("; {words}{when}")
}

fn signal_ink(sent: &SignalSent) -> Ink {
    match sent.fate {
        Fate::Handled if sent.effect.is_some_and(cut::harms) => Ink::Error,
        Fate::Killed => Ink::Error,
        Fate::Handled => Ink::Good,
        Fate::Ignored | Fate::Pending | Fate::Coalesced | Fate::Dropped | Fate::Stopped => {
            Ink::Warning
        }
    }
}

fn notify(at: i64, message: &NotifyMessage) -> String {
    if message.not_connected {
        let why = errno::words(message.result);
        return format!("can't connect to the notify socket: {why}");
    }
    let lines: Vec<String> =
        message.assignments.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let said = if lines.is_empty() {
        format!("a notify message of {} bytes without an assignment", message.length)
    } else {
        quote(&lines.join(" "))
    };
    let more = match message.lines_left_out {
        0 => String::new(),
        more => format!(" and {}", super::headline::counted(more as usize, "more line")),
    };
    let speaks_for =
        message.claimed_pid.map(|pid| format!(", speaking for pid {pid}")).unwrap_or_default();
    let failed = match message.result {
        0 => String::new(),
        number => format!("; the send failed: {}", errno::words(number)),
    };
    let refused = match (message.accepted, message.problem.as_deref()) {
        // That says it all.
        _ if message.refusal == Some(Refusal::Send) => String::new(),
        (Some(false), Some(why)) => format!("; refused: {}", quote(why)),
        (Some(false), None) => "; refused".to_owned(),
        (_, Some(why)) => format!(": {}", quote(why)),
        (_, None) => String::new(),
    };
    let effect = effect(message.effect, message.effect_ns, at);
    format!("{said}{more}{speaks_for}{failed}{refused}{effect}")
}
