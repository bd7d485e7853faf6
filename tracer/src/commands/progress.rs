//! What a session says while it runs: notes, and the line on a terminal that shows that it is
//! alive.

use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use sigready::{session::Observer, timeline::Progress};

use super::messages::Messages;

/// Notes, and a line on stderr that is gone when this is dropped.
pub struct Line<'a> {
    messages: &'a Messages,
    bar: ProgressBar,
}

impl<'a> Line<'a> {
    /// Shows a line that ends with how to end the trace, if one is welcome.
    pub fn start(messages: &'a Messages, ending: &str) -> Self {
        if !messages.shows_progress() {
            return Self { messages, bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new_spinner();
        let style =
            ProgressStyle::with_template(&format!("{{spinner}} {{elapsed}} {{msg}}{ending}"));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { messages, bar }
    }
}

impl Observer for Line<'_> {
    fn note(&self, sentence: &dyn Display) {
        self.bar.suspend(|| self.messages.note(sentence));
    }

    fn progress(&self, progress: &Progress) {
        let lost =
            if progress.lost > 0 { format!(", {} lost", progress.lost) } else { String::new() };
        let handler = if progress.handler { ", handler installed" } else { "" };
        let ready = if progress.ready { ", ready" } else { "" };
        let exited = if progress.exited { ", exited" } else { "" };
        self.bar.set_message(format!(
            "{} starts, {} events{lost}{handler}{ready}{exited}",
            progress.activations, progress.events
        ));
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
