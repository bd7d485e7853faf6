//! What a session says while it runs: notes, and the line on a terminal that shows that it is
//! alive.

use std::{
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::signal::SigSet;
use sigready::{session::Observer, timeline::Progress};

use super::{messages::Messages, stderr};

/// How often the line is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Notes, and a line on stderr that is gone when this is dropped.
pub struct Line<'a> {
    messages: &'a Messages,
    bar: ProgressBar,
    text: Arc<Mutex<Option<String>>>,
    /// What draws the line ends when this is dropped.
    _drawing: Option<Sender<()>>,
}

impl<'a> Line<'a> {
    /// Shows a line that ends with how to end the trace, if one is welcome.
    pub fn start(messages: &'a Messages, ending: &str) -> Self {
        let text = Arc::default();
        if !messages.shows_progress() {
            return Self { messages, bar: ProgressBar::hidden(), text, _drawing: None };
        }
        let bar = ProgressBar::new_spinner();
        let style =
            ProgressStyle::with_template(&format!("{{spinner}} {{elapsed}} {{msg}}{ending}"));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        let (drawing, is_over) = channel();
        let (drawn, shown) = (bar.clone(), Arc::clone(&text));
        // Without a thread there is no line, which costs nothing else.
        let _ = thread::Builder::new().name("sigready-line".to_owned()).spawn(move || {
            // The session's signals are taken by a thread of their own.
            let _ = SigSet::all().thread_block();
            draw(&drawn, &shown, &is_over);
        });
        Self { messages, bar, text, _drawing: Some(drawing) }
    }
}

impl Line<'_> {
    /// Shows what is done now.
    pub fn say(&self, what: &dyn Display) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_string());
    }
}

/// Draws the line now and then, unless the terminal's output is stopped.
fn draw(bar: &ProgressBar, text: &Mutex<Option<String>>, is_over: &Receiver<()>) {
    while is_over.recv_timeout(DRAW) == Err(RecvTimeoutError::Timeout) {
        if !stderr::is_ready(Duration::ZERO) {
            continue;
        }
        let news = text.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(news) = news {
            bar.set_message(news);
        }
        bar.tick();
    }
}

impl Observer for Line<'_> {
    fn note(&self, sentence: &dyn Display) {
        if stderr::is_ready(Duration::ZERO) {
            self.bar.suspend(|| self.messages.note(sentence));
        } else {
            self.messages.note(sentence);
        }
    }

    fn progress(&self, progress: &Progress) {
        let lost =
            if progress.lost > 0 { format!(", {} lost", progress.lost) } else { String::new() };
        let handler = if progress.handler { ", handler installed" } else { "" };
        let ready = if progress.ready { ", ready" } else { "" };
        let exited = if progress.exited { ", exited" } else { "" };
        let text = format!(
            "{} starts, {} events{lost}{handler}{ready}{exited}",
            progress.activations, progress.events
        );
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !stderr::is_ready(Duration::ZERO) {
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        self.bar.finish_and_clear();
    }
}
