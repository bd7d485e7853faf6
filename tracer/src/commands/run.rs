//! `sigready run`: start a command as a service would be started, and trace it.

use std::{io::stderr, path::Path, process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result};
use sigready::{
    host::{clock, procfs},
    model::{
        document::{Document, EndedBy},
        signal::Signal,
        unit::{FactsSource, UnitFacts},
    },
    observation::{Fact, Observation},
    probe::attach::{Attached, Reach, attach},
    timeline::{Builder, Counting, Scope, Setup},
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::{
    Verdict,
    capture::{Asked, Capture, Deadline, Recorded},
    child::{Child, Startable},
    fault::Fault,
    notify_socket::NotifySocket,
    output, privileges, progress,
    schedule::Schedule,
    talk::Talk,
};
use crate::cli::{Run, ServiceType, Until};

/// The longest a loop waits for news before it looks at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long after the command's end its last events may take to arrive.
const LAST_EVENTS: Duration = Duration::from_millis(500);
/// How long the command may take to end after it was told to by a forwarded signal.
const INTERRUPTED: Duration = Duration::from_secs(5);

/// Runs the command.
pub fn run(options: &Run, talk: &Talk) -> Result<Verdict, Fault> {
    let startable = Startable::check(&options.command, options.user.as_deref())?;
    let recorded = Recorded::asked(&options.signals)?;
    let request = recorded.request(Reach::ChildrenOf(std::process::id()));
    // Before the first thread: attaching may use one with mounts of its own.
    let mut attached = attach(&request)?;
    let anchor = clock::anchor();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the event loop")?;
    runtime.block_on(async {
        let builder = Builder::new(Setup {
            scope: Scope::Command { parent: std::process::id(), name: name(options) },
            reload_signal: options.signals.reload(),
            units_choose: false,
            fresh: false,
            counting: Counting::All,
            recorded: recorded.dispositions,
            shown: recorded.shown,
            facts: Some(facts(options)),
            anchor,
        });
        let asked = Asked {
            command: "run",
            arguments: arguments(options),
            signal: options.signals.reload(),
        };
        let capture = Capture::begin(asked, builder, &mut attached, anchor, None)?;
        let mut session = Session::start(options, &startable, capture, talk)?;
        let ended_by = session.follow(talk).await?;
        session.finish(ended_by, attached, talk).await
    })
}

/// A command being traced.
struct Session<'a> {
    options: &'a Run,
    capture: Capture,
    child: Child,
    socket: Option<NotifySocket>,
    schedule: Schedule,
    interrupts: Interrupts,
    /// Processes the command started, with their parents' ids.
    descendants: Vec<u32>,
}

/// Signals that end a trace.
struct Interrupts {
    int: SignalStream,
    term: SignalStream,
    hup: SignalStream,
}

impl Interrupts {
    fn new() -> Result<Self> {
        let open = |kind| signal(kind).context("cannot take signals");
        Ok(Self {
            int: open(SignalKind::interrupt())?,
            term: open(SignalKind::terminate())?,
            hup: open(SignalKind::hangup())?,
        })
    }

    /// The next one, as it is to be forwarded: a hang-up of the terminal is an end, not
    /// a reload.
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.int.recv() => Signal::INT,
            _ = self.term.recv() => Signal::TERM,
            _ = self.hup.recv() => Signal::TERM,
        }
    }
}

impl<'a> Session<'a> {
    fn start(
        options: &'a Run,
        startable: &Startable,
        capture: Capture,
        talk: &Talk,
    ) -> Result<Self, Fault> {
        let socket = match options.service_type {
            ServiceType::Simple => None,
            _ => Some(NotifySocket::bind(startable.user())?),
        };
        // Before the command can be running: an interrupt must find someone to stop it.
        let interrupts = Interrupts::new()?;
        let child = startable.start(socket.as_ref())?;
        privileges::drop_unneeded();
        let schedule = Schedule::new(&options.send, child.pid(), options.signals.reload());
        if !options.send.is_empty() {
            talk.note(format_args!(
                "will send {} to process {}",
                join(options.send.iter().map(|send| send.signal)),
                child.pid()
            ));
        }
        Ok(Self { options, capture, child, socket, schedule, interrupts, descendants: Vec::new() })
    }

    /// Takes in what happens until the trace is to end.
    async fn follow(&mut self, talk: &Talk) -> Result<EndedBy, Fault> {
        let line = progress::Line::start(talk, " (Ctrl-C ends)");
        let until = self.options.until.unwrap_or(match self.options.service_type {
            ServiceType::Simple => Until::Exit,
            _ => Until::Ready,
        });
        let mut deadline = Deadline::after(Some(self.options.timeout));
        let mut timed_out = EndedBy::Timeout;
        let mut interrupted = false;
        loop {
            for signal in self.schedule.take_due() {
                self.child.send(signal)?;
            }
            let patience = self.schedule.patience(deadline.patience(TICK));
            tokio::select! {
                biased;
                signal = self.interrupts.next() => {
                    if interrupted {
                        return Ok(EndedBy::Interrupt);
                    }
                    talk.note(format_args!("forwarding {signal} to the command; again ends at once"));
                    self.child.send(signal)?;
                    interrupted = true;
                    deadline = Deadline::after(Some(INTERRUPTED));
                    timed_out = EndedBy::Interrupt;
                }
                status = self.child.wait(), if !self.child.has_ended() => {
                    self.last_events(&status?).await?;
                    return Ok(if interrupted { EndedBy::Interrupt } else { EndedBy::Exit });
                }
                news = self.capture.advance(patience) => self.learn(&news?),
                () = take_messages(self.socket.as_ref()) => {}
            }
            line.show(&self.capture.progress());
            if !interrupted && self.is_reached(until) {
                return Ok(EndedBy::Until);
            }
            if deadline.has_passed() {
                return Ok(timed_out);
            }
        }
    }

    fn is_reached(&mut self, until: Until) -> bool {
        self.schedule.is_settled()
            && match until {
                Until::Ready => self.capture.progress().ready,
                Until::Alert => self.capture.has_alert(self.options.output.fail_on),
                Until::Exit => false,
            }
    }

    fn learn(&mut self, news: &[Observation]) {
        self.schedule.learn(news, clock::boot_ns());
        for observation in news {
            match &observation.fact {
                Fact::Fork { child, .. } => self.descendants.push(child.id.pid),
                Fact::Exit { task, .. } => self.descendants.retain(|pid| *pid != task.id.pid),
                _ => {}
            }
        }
    }

    /// The command has been waited for, so its exit is in the ring or about to be.
    async fn last_events(&mut self, _ended: &ExitStatus) -> Result<()> {
        let patience = Deadline::after(Some(LAST_EVENTS));
        while !self.capture.progress().exited && !patience.has_passed() {
            let news = self.capture.advance(patience.patience(TICK)).await?;
            self.learn(&news);
        }
        Ok(())
    }

    /// Reports, stops the command if it still runs, and lets go of the kernel.
    async fn finish(
        mut self,
        ended_by: EndedBy,
        attached: Attached,
        talk: &Talk,
    ) -> Result<Verdict, Fault> {
        let running = !self.child.has_ended();
        let document = self.capture.end(ended_by)?;
        let verdict = output::write(&document, &self.options.output, stderr(), talk);
        if running {
            let pid = self.child.pid();
            if self.child.stop().await? {
                talk.note(format_args!("process {pid} did not stop on TERM within 5 s: killed"));
            } else {
                talk.note(format_args!("the trace is over: stopped process {pid} with TERM"));
            }
        }
        drop(attached);
        tell_survivors(&self.descendants, ended_by, &document, talk);
        verdict
    }
}

async fn take_messages(socket: Option<&NotifySocket>) {
    match socket {
        Some(socket) => socket.take_messages().await,
        None => std::future::pending().await,
    }
}

/// Names what the command left running: nothing is left behind without a word.
fn tell_survivors(descendants: &[u32], ended_by: EndedBy, document: &Document, talk: &Talk) {
    let main = document
        .services
        .iter()
        .flat_map(|service| &service.activations)
        .filter_map(|activation| activation.main_process.as_ref())
        .map(|process| process.pid);
    let main: Vec<u32> = main.collect();
    let alive: Vec<String> = descendants
        .iter()
        .filter(|pid| !main.contains(pid))
        .filter_map(|pid| procfs::name(*pid).map(|name| format!("{name} (pid {pid})")))
        .collect();
    if alive.is_empty() {
        return;
    }
    let advice = if ended_by == EndedBy::Exit {
        ". A service that puts itself into the background is best run in the foreground here"
    } else {
        ""
    };
    talk.note(format_args!("the command left processes running: {}{advice}", alive.join(", ")));
}

fn name(options: &Run) -> String {
    let program = options.command.first().map(Path::new);
    program
        .and_then(Path::file_name)
        .map_or_else(|| "command".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn arguments(options: &Run) -> Vec<String> {
    options.command.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn facts(options: &Run) -> UnitFacts {
    let access = match options.service_type {
        ServiceType::Simple => "none",
        _ => options.notify_access.name(),
    };
    UnitFacts {
        service_type: Some(options.service_type.name().to_owned()),
        notify_access: Some(access.to_owned()),
        source: Some(FactsSource::CommandLine),
        ..UnitFacts::default()
    }
}

fn join(signals: impl Iterator<Item = Signal>) -> String {
    signals.map(|signal| signal.to_string()).collect::<Vec<_>>().join(", ")
}
