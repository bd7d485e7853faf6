//! The result of a race: for people, as JSON, and as JUnit XML.

mod again;
mod draw;
mod junit;
mod page;
mod picture;
pub(in crate::report) mod table;

use anyhow::{Context as _, Result};

use super::{Style, escape};
use crate::model::race::{Interval, Race, StepKind};

/// How the result of a race is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RaceFormat {
    /// For people, on a terminal
    Table,
    /// One JSON document
    Json,
    /// JUnit XML: a test case for each interval
    Junit,
    /// A picture of the start, with the table below it
    Svg,
    /// A page by itself: the picture, what it comes to, and the table
    Html,
}

/// The steps that an interval is between, with `and` in the middle; of an instant, which it is.
fn place(interval: &Interval, and: &str) -> String {
    let after = &interval.after;
    let is_instant = matches!(
        after.kind,
        StepKind::Call | StepKind::ChildExit | StepKind::Second | StepKind::Rest | StepKind::Active
    );
    if is_instant {
        return after.what.clone();
    }
    let before = interval.before.as_ref().map_or("the end of the start", |step| &step.what);
    format!("{}{and}{before}", after.what)
}

/// The most commands that are told beside a report.
const MAX_TOLD: usize = 5;

/// What a race came to, for whom its report goes into a file: the sentence of each signal, and the
/// commands that race again what is bad and counts.
#[must_use]
pub fn in_short(race: &Race) -> Vec<String> {
    let sentences = race.signals.iter().map(|signal| signal.sentence.clone());
    let bad = race.signals.iter().flat_map(|signal| {
        let bad = signal.all().filter(|it| it.bad && it.counts);
        bad.map(|it| format!("again: {}", again::again(race, signal.signal, it)))
    });
    let bad: Vec<String> = bad.collect();
    let more = bad.len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("and {more} more, which the report has"));
    let all = sentences.chain(bad.into_iter().take(MAX_TOLD)).chain(more);
    all.map(|line| escape::text(&line).into_owned()).collect()
}

/// The result in a format, with a newline at its end.
///
/// # Errors
///
/// It can't be written as that.
pub fn render(race: &Race, format: RaceFormat, style: Style) -> Result<String> {
    match format {
        RaceFormat::Table => Ok(table::text(race, style)),
        RaceFormat::Json => {
            let text = serde_json::to_string_pretty(race).context("cannot write JSON")?;
            Ok(escape::json(&text).into_owned() + "\n")
        }
        RaceFormat::Junit => junit::text(race),
        RaceFormat::Svg => Ok(page::picture(race)),
        RaceFormat::Html => Ok(page::page(race)),
    }
}
