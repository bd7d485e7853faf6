//! The line on a terminal that shows that a trace is alive.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sigready::timeline::Progress;

use super::talk::Talk;

/// A line on stderr, gone when dropped.
pub struct Line(ProgressBar);

impl Line {
    /// Shows a line that ends with how to end the trace, if one is welcome.
    pub fn start(talk: &Talk, ending: &str) -> Self {
        if !talk.shows_progress() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        let style =
            ProgressStyle::with_template(&format!("{{spinner}} {{elapsed}} {{msg}}{ending}"));
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Shows how far the trace has come.
    pub fn show(&self, progress: &Progress) {
        let lost =
            if progress.lost > 0 { format!(", {} lost", progress.lost) } else { String::new() };
        let handler = if progress.handler { ", handler installed" } else { "" };
        let ready = if progress.ready { ", ready" } else { "" };
        let exited = if progress.exited { ", exited" } else { "" };
        self.0.set_message(format!(
            "{} starts, {} events{lost}{handler}{ready}{exited}",
            progress.activations, progress.events
        ));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
