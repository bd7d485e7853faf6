//! What is said on stderr besides the report.

use std::{
    env,
    fmt::Display,
    io::{IsTerminal, Write as _, stderr},
};

use log::LevelFilter;
use sigready::report::{Style, escape};

use super::fault::Fault;
use crate::cli::{self, Color};

/// Narrowest width a report is laid out for.
const MIN_WIDTH: u16 = 60;
/// Width where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 80;

/// The user's wishes for stderr and colours.
pub struct Talk {
    quiet: bool,
    color: Color,
}

impl Talk {
    /// Takes the options and sets up logging by them.
    pub fn new(options: &cli::Talk) -> Self {
        let level = match options.verbose {
            0 => LevelFilter::Warn,
            1 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        let level = if options.quiet { LevelFilter::Error } else { level };
        env_logger::Builder::new()
            .filter_module("sigready", level)
            .format(|out, record| writeln!(out, "sigready: {}", record.args()))
            .init();
        Self { quiet: options.quiet, color: options.color }
    }

    /// Something to know that is not the report. Whoever is not there to read it
    /// does not keep the work from being done.
    pub fn note(&self, sentence: impl Display) {
        if !self.quiet {
            let _ = writeln!(stderr(), "sigready: {}", escape(&sentence.to_string()));
        }
    }

    /// Says why there is no result.
    pub fn fault(fault: &Fault) {
        let sentence = match fault {
            Fault::Failed(error) => format!("{error:#}"),
            Fault::Usage(sentence) => sentence.clone(),
            Fault::Closed => return,
        };
        let _ = writeln!(stderr(), "sigready: {}", escape(&sentence));
    }

    /// Whether a progress line is welcome.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && stderr().is_terminal()
    }

    /// How to lay out a report for this stream.
    pub fn style(&self, stream: &impl IsTerminal) -> Style {
        let terminal = stream.is_terminal();
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                terminal
                    && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let width = if terminal { terminal_size::terminal_size() } else { None }
            .map_or(DEFAULT_WIDTH, |(width, _)| width.0.max(MIN_WIDTH));
        Style { color, width }
    }
}
