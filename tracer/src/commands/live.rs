//! `trace --live`: a screen on the terminal while a trace goes on. The trace waits for nothing
//! here: what is new is put where a thread takes it, which draws what the terminal takes.

mod drawing;
mod keys;

use std::{
    fmt::Display,
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::SigSet;
use ratatui::crossterm::{
    Command as _,
    cursor::{Hide, Show},
    style::force_color_output,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen},
};
use sigready::{
    host::terminal::{self, Absent, Taken, Terminal},
    report::live::Live,
    session::{News, Observer},
    timeline::Progress,
};

use self::drawing::{Drawing, Inbox};
use super::{fault::Fault, messages::Messages, stderr::Holding};

/// Keys and wake-ups that wait for the thread that draws.
const WAITING: usize = 64;
/// How long the last screen may take to be over.
const LAST: Duration = Duration::from_millis(500);

/// What wakes the thread that draws.
pub enum Event {
    /// A key was pressed.
    Key(keys::Key),
    /// There is something new, or the size is another.
    News,
}

/// The terminal that a screen is to be on.
///
/// # Errors
///
/// There is none.
pub fn terminal() -> Result<Terminal, Fault> {
    let advice = "leave --live out, or run it on a terminal (with ssh: ssh -t)";
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Fault::usage(format_args!(
            "--live needs a terminal with a cursor that can be moved, and TERM says 'dumb': \
             {advice}"
        )));
    }
    Terminal::find().map_err(|absent| match absent {
        Absent::None(error) => Fault::usage(format_args!(
            "--live needs a terminal, and there is none (/dev/tty: {error}): {advice}"
        )),
        Absent::Background => Fault::usage(
            "--live needs the keyboard of its terminal, and this runs in its background: bring \
             it to the foreground, or leave --live out",
        ),
    })
}

/// The screen. The terminal is as before once this is dropped, and what was said meanwhile is
/// told.
pub struct Screen<'a> {
    messages: &'a Messages,
    inbox: Arc<Inbox>,
    events: SyncSender<Event>,
    is_over: Arc<AtomicBool>,
    /// Disconnected once nothing is drawn any more.
    drawn: Receiver<()>,
    /// In this order: what was said goes to the terminal when it is as before.
    _taken: Taken,
    _holding: Holding,
}

impl<'a> Screen<'a> {
    /// Begins to draw. `what` is traced.
    pub fn start(messages: &'a Messages, terminal: Terminal, what: &str) -> Result<Self> {
        let color = messages.style(terminal.file()).color;
        force_color_output(color);
        give_back_on_panic();
        let holding = Holding::begin();
        let taken = terminal.take(&ansi(true), ansi(false)).context("cannot use the terminal")?;
        let inbox = Arc::new(Inbox::default());
        let is_over = Arc::new(AtomicBool::new(false));
        let (events, waiting) = sync_channel(WAITING);
        let (drawing, drawn) = channel::<()>();
        let (pressed, theirs) = (events.clone(), Arc::clone(&is_over));
        start("sigready-keys", move || keys::read(&pressed, &theirs))?;
        let (mail, theirs) = (Arc::clone(&inbox), Arc::clone(&is_over));
        let live = Live::new(what, color);
        start("sigready-screen", move || {
            let _drawing = drawing;
            Drawing::new(live).follow(&mail, &waiting, &theirs);
        })?;
        Ok(Self { messages, inbox, events, is_over, drawn, _taken: taken, _holding: holding })
    }

    /// Wakes the thread that draws. One that has much to do wakes by itself.
    fn wake(&self) {
        let _ = self.events.try_send(Event::News);
    }
}

impl Observer for Screen<'_> {
    fn note(&self, sentence: &dyn Display) {
        self.inbox.note(sentence.to_string());
        self.messages.note(sentence);
        self.wake();
    }

    fn progress(&self, _: &Progress) {}

    fn follows(&self) -> bool {
        true
    }

    fn news(&self, news: News) {
        self.inbox.add(news);
        self.wake();
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.wake();
        // The terminal is given back in any case.
        let _ = self.drawn.recv_timeout(LAST);
    }
}

/// Starts a thread of the screen's. The session's signals are taken by another.
fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let work = move || {
        let _ = SigSet::all().thread_block();
        work();
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).context("cannot start a thread for the screen")
}

/// What takes another screen for this, or leaves it.
fn ansi(enters: bool) -> String {
    let mut text = String::new();
    let written = if enters {
        EnterAlternateScreen.write_ansi(&mut text).and_then(|()| Hide.write_ansi(&mut text))
    } else {
        Show.write_ansi(&mut text).and_then(|()| LeaveAlternateScreen.write_ansi(&mut text))
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

/// Has a panic's message be seen.
fn give_back_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        terminal::give_back();
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use std::{env, fs, mem, process::Command, process::Stdio};

    use super::*;

    /// Set where this runs in a pseudo-terminal, and panics.
    const PANICS: &str = "SIGREADY_TEST_PANICS";

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_told_on_it() {
        if env::var_os(PANICS).is_some() {
            give_back_on_panic();
            let taken = Terminal::find().unwrap().take(&ansi(true), ansi(false)).unwrap();
            // Nothing else gives it back.
            mem::forget(taken);
            panic!("as is meant");
        }
        let directory = tempfile::tempdir().unwrap();
        let name = "commands::live::tests::a_panic_gives_the_terminal_back_and_is_told_on_it";
        let text = "stty -g > before; \"$PROGRAM\" --exact \"$NAME\" --nocapture; stty -g > after";
        let output = Command::new("script")
            .args(["--quiet", "--command", text, "/dev/null"])
            .current_dir(directory.path())
            .env("PROGRAM", env::current_exe().unwrap())
            .env("NAME", name)
            .env(PANICS, "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        let (_, after) = shown.split_once(&ansi(true)).expect("it was taken");
        let (_, after) = after.split_once(&ansi(false)).expect("it was given back");
        assert!(after.contains("as is meant"), "{shown:?}");
        let modes = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(modes("before").contains(':'), "{:?}", modes("before"));
        assert_eq!(modes("after"), modes("before"));
    }
}
