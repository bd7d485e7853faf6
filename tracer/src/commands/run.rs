//! `sigready run`: start a command as a service would be started, and trace it.

use std::io::stderr;

use anyhow::Result;
use sigready::{
    host::{beside::beside, clock},
    model::{
        document::{Document, EndedBy},
        signal::Signal,
        text::Outside,
        unit::{FactsSource, UnitFacts},
    },
    probe::attach::{Reach, attach},
    session::{
        Asked, Capture, Command, Ending, Held, Interrupts, NotifySocket, Observer as _, Recorded,
        Schedule, Session, Startable, Stopped, Streams, Wanted, drop_unneeded, heed,
    },
    systemd::reload,
    timeline::{Builder, Counting, Scope, Setup},
};

use super::{
    Verdict, fault::Fault, given_command, in_event_loop, messages::Messages, nanoseconds, output,
    progress, unit_names::main_pattern,
};
use crate::cli::{Run, ServiceType, Until};

/// Processes left running that are named one by one.
const MAX_NAMED: usize = 20;

/// Runs the command.
pub fn run(options: &Run, messages: &Messages) -> Result<Verdict, Fault> {
    heed();
    let main = main_pattern(options.main.as_deref())?;
    let facts = facts(options)?;
    let mut wanted = Wanted::from(&options.signals);
    wanted.signal = wanted.signal.or(facts.reload_signal);
    let recorded = Recorded::asked(&wanted)?;
    // Before the first thread that stays: attaching may use one with mounts of its own. The command
    // is looked for meanwhile, which takes a process.
    let (startable, attached) = beside(
        || Startable::check(&options.command, options.user.as_deref()),
        || attach(&recorded.request(Reach::ChildrenOf(std::process::id()))),
    );
    let (startable, mut attached) = (startable?, attached?);
    let anchor = clock::anchor();
    in_event_loop(async {
        let builder = Builder::new(Setup {
            scope: Scope::Command {
                parent: std::process::id(),
                name: given_command::name(&options.command),
            },
            reload_signal: wanted.reload(),
            units_choose: false,
            fresh: false,
            counting: Counting::All,
            recorded: recorded.dispositions,
            shown: recorded.shown,
            facts: Some(facts),
            settle_ns: nanoseconds(options.settle),
            placed: false,
            main: main.clone(),
            anchor,
        });
        let asked = Asked {
            command: "run",
            arguments: given_command::words(&options.command),
            signal: wanted.reload(),
        };
        let mut capture = Capture::begin(asked, builder, &mut attached, anchor, None)?;
        // Before the command can be running: an interrupt must find someone to stop it.
        let held = Held::now(options.timeout)?;
        let socket = match options.service_type {
            ServiceType::Simple => None,
            _ => Some(NotifySocket::bind()?),
        };
        let child = startable.start(socket.as_ref().map(NotifySocket::path), Streams::Ours)?;
        capture.set_command(child.pid());
        // Before the first thread that stays: it would keep what is given up here.
        drop_unneeded();
        let interrupts = Interrupts::start(held.block()?)?;
        let line = progress::Line::start(messages, " (Ctrl-C ends)");
        socket.as_ref().map(NotifySocket::take_messages).transpose()?;
        if !options.send.is_empty() {
            line.note(&format_args!(
                "will send {} to process {}",
                join(options.send.iter().map(|send| send.signal)),
                child.pid()
            ));
        }
        let schedule = Schedule::new(&options.send, child.pid(), wanted.reload());
        let command = Command::new(child, socket, schedule);
        let mut session = Session::new(capture, command, ending(options), interrupts, &line);
        let ended_by = session.follow().await?;
        let (mut command, document) = session.end(ended_by, attached).await?;
        drop(line);
        let verdict =
            output::write_live(&document, &options.output, &Counting::All, stderr(), messages);
        if command.is_running() {
            let pid = command.pid();
            match command.stop().await? {
                Stopped::ByTerm => messages
                    .note(format_args!("the trace is over: stopped process {pid} with TERM")),
                Stopped::ByKill => messages
                    .note(format_args!("process {pid} did not stop on TERM within 5 s: killed")),
                Stopped::Not => messages.note(format_args!(
                    "process {pid} was killed and is still there: it waits for a file system or a \
                     device, and ends when that answers"
                )),
            }
        }
        name_survivors(&mut command, ended_by, &document, messages);
        verdict
    })
}

fn ending(options: &Run) -> Ending {
    let until = options.until.unwrap_or(match options.service_type {
        ServiceType::Simple => Until::Exit,
        _ => Until::Ready,
    });
    // The end of the command itself ends the session anyway.
    let until = Some(until).filter(|until| *until != Until::Exit);
    let until = until.map(|until| until.counting(options.output.fail_on));
    Ending::new(until, Some(options.timeout), true, std::time::Instant::now())
}

/// Names what the command left running: nothing is left behind without a word.
fn name_survivors(
    command: &mut Command,
    ended_by: EndedBy,
    document: &Document,
    messages: &Messages,
) {
    let main = document
        .services
        .iter()
        .flat_map(|service| &service.activations)
        .filter_map(|activation| activation.main_process.as_ref())
        .map(|process| process.pid);
    let mut alive = command.left_running(&main.collect::<Vec<u32>>());
    if alive.is_empty() {
        return;
    }
    let more = alive.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        alive.truncate(MAX_NAMED);
        alive.push(format!("and {more} more"));
    }
    let advice = if ended_by == EndedBy::Exit {
        ". A service that puts itself into the background is best run in the foreground here"
    } else {
        ""
    };
    messages.note(format_args!("the command left processes running: {}{advice}", alive.join(", ")));
}

/// The unit that the command line stands for.
fn facts(options: &Run) -> Result<UnitFacts, Fault> {
    let access = match options.service_type {
        ServiceType::Simple => "none",
        _ => options.notify_access.name(),
    };
    let reload = options.exec_reload.as_deref().map(|value| {
        reload::setting(value).ok_or_else(|| {
            Fault::usage(format_args!(
                "--exec-reload '{}' is no command line that systemd takes (systemd.service(5))",
                Outside::new(value)
            ))
        })
    });
    let reload = reload.transpose()?;
    if let Some(unknown) = reload.as_ref().and_then(|it| it.unknown.as_ref())
        && options.signals.signal.is_none()
    {
        log::warn!("--exec-reload does not tell {unknown}: --signal says which signal it is");
    }
    let (exec_reload, reload_signal) = reload.map(|it| (it.command_lines, it.signal)).unzip();
    Ok(UnitFacts {
        service_type: Some(options.service_type.name().to_owned()),
        notify_access: Some(access.to_owned()),
        restart: options.restart.map(|policy| policy.name().to_owned()),
        exec_reload,
        reload_signal: reload_signal.flatten(),
        source: Some(FactsSource::CommandLine),
        ..UnitFacts::default()
    })
}

fn join(signals: impl Iterator<Item = Signal>) -> String {
    signals.map(|signal| signal.to_string()).collect::<Vec<_>>().join(", ")
}
