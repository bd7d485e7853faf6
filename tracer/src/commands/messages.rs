//! What is said on stderr besides the report.

use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal, Write as _},
};

use env_logger::Target;
use log::{Level, LevelFilter};
use nix::sys::resource::{Resource, getrlimit};
use sigready::{
    model::{
        errno,
        text::{escaped, shortened},
    },
    report::Style,
};

use super::{fault::Fault, stderr};
use crate::cli::{self, Color};

/// Narrowest width a report is laid out for.
const MIN_WIDTH: u16 = 60;
/// Width where there is no terminal to ask.
const DEFAULT_WIDTH: u16 = 80;

/// The longest message, characters. One that quotes something should quote little of it
/// ([`sigready::model::text::Outside`]).
const LONGEST: usize = 2_000;

/// The user's wishes for stderr and colours.
pub struct Messages {
    quiet: bool,
    verbose: bool,
    color: Color,
}

impl Messages {
    /// Takes the options and sets up logging by them.
    pub fn new(options: &cli::Verbosity) -> Self {
        let level = match options.verbose {
            0 => LevelFilter::Warn,
            1 => LevelFilter::Info,
            _ => LevelFilter::Debug,
        };
        let level = if options.quiet { LevelFilter::Error } else { level };
        env_logger::Builder::new()
            .filter_module("sigready", level)
            .format(|out, record| {
                let text = record.args().to_string();
                // The kernel verifier's log has lines.
                let lines = if record.level() < Level::Debug {
                    vec![&*text]
                } else {
                    text.lines().collect()
                };
                lines.into_iter().try_for_each(|text| out.write_all(line(text).as_bytes()))
            })
            .target(Target::Pipe(Box::new(stderr::Messages)))
            .init();
        Self { quiet: options.quiet, verbose: options.verbose > 0, color: options.color }
    }

    /// Something to know that is not the report. Whoever is not there to read it
    /// does not keep the work from being done.
    pub fn note(&self, sentence: impl Display) {
        if !self.quiet {
            let _ = stderr::Messages.write_all(line(&sentence.to_string()).as_bytes());
        }
    }

    /// Says why there is no result.
    pub fn fault(fault: &Fault) {
        let sentence = match fault {
            Fault::Failed(error) => format!("{}{}", errno::chain(error), limit(error)),
            Fault::Usage(sentence) => sentence.clone(),
            Fault::Closed => return,
        };
        let _ = stderr::Messages.write_all(line(&sentence).as_bytes());
    }

    /// Whether more than usual is to be said.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether a progress line is welcome.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// How to lay out a report for this stream.
    pub fn style(&self, stream: &impl IsTerminal) -> Style {
        let color = paints(stream, self.color);
        let width = if stream.is_terminal() { terminal_size::terminal_size() } else { None }
            .map_or(DEFAULT_WIDTH, |(width, _)| width.0.max(MIN_WIDTH));
        Style { color, width }
    }
}

/// Whether colours are wanted on a stream.
pub fn paints(stream: &impl IsTerminal, wanted: Color) -> bool {
    match wanted {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            stream.is_terminal()
                && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// A line as it goes to stderr: every one of them goes through here. What came from outside is
/// made harmless for a terminal, and bounded.
fn line(text: &str) -> String {
    format!("sigready: {}\n", shortened(&escaped(text), LONGEST))
}

/// The limit that an error comes from, if it is that of open files.
fn limit(error: &anyhow::Error) -> String {
    let is_limit = error.chain().any(|cause| {
        let number = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let errno = cause.downcast_ref::<nix::errno::Errno>();
        number == Some(nix::libc::EMFILE) || errno == Some(&nix::errno::Errno::EMFILE)
    });
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((limit, _)) if is_limit => {
            format!(" (the limit of open files is {limit}: raise it with 'ulimit -n')")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_harmless_for_a_terminal() {
        assert_eq!(line("\x1b[2J\n"), "sigready: \\x1b[2J\\n\n");
    }

    #[test]
    fn a_message_is_short_whatever_it_quotes() {
        let long = line(&format!("cannot read {}: gone", "\x1b".repeat(100_000)));
        assert_eq!(long.chars().count(), "sigready: \n".len() + LONGEST);
        assert!(long.starts_with("sigready: cannot read ") && long.ends_with(": gone\n"));
    }

    #[test]
    fn too_many_open_files_are_told_with_their_limit() {
        use anyhow::Context as _;
        let refused = || io::Error::from_raw_os_error(nix::libc::EMFILE);
        let error = anyhow::Error::new(refused()).context("cannot open it");
        assert!(limit(&error).contains("ulimit -n"), "{}", limit(&error));
        let other = Err::<(), _>(io::Error::other("x")).context("cannot open it");
        assert_eq!(limit(&other.unwrap_err()), "");
    }
}
