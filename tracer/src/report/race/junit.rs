//! A race as JUnit XML, which continuous integration shows.

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::again::again;
use crate::{
    model::{
        race::{Interval, Outcome, Race, StepKind},
        signal::Signal,
    },
    report::escape,
};

/// The report, with a newline at its end. An interval is a test case: it fails where it is bad
/// and counts, is an error where nothing is known of it, and is skipped where it is bad and no
/// reload reaches it, and where a start has no such instant: it ends by itself and never comes to
/// rest, or has no such child.
pub fn text(race: &Race) -> Result<String> {
    let mut report = Report::new("sigready race");
    for signal in &race.signals {
        let mut suite = TestSuite::new(format!("{} {}", race.name, signal.signal));
        for interval in signal.all() {
            suite.add_test_case(case(race, signal.signal, interval));
        }
        suite.set_system_out(signal.sentence.clone());
        report.add_test_suite(suite);
    }
    let text = report.to_string().context("cannot write JUnit XML")?;
    // What XML can't hold was left out; what acts on a terminal may still be there.
    let text = escape::lines(&text);
    Ok(if text.ends_with('\n') { text.into_owned() } else { text.into_owned() + "\n" })
}

fn case(race: &Race, signal: Signal, interval: &Interval) -> TestCase {
    let between = match interval.after.kind {
        StepKind::Call => format!("at {}", interval.after.what),
        StepKind::ChildExit => format!("right after the {}", interval.after.what),
        StepKind::Second => format!("once {}", interval.after.what),
        StepKind::Rest | StepKind::Active => interval.after.what.clone(),
        _ => format!("between '{}'", super::place(interval, "' and '")),
    };
    let worst = interval.tries.iter().max_by_key(|it| (it.bad, it.outcome));
    let what = worst.map_or("the race ended before", |it| it.what.as_str());
    let sentence = format!("{signal} {between}: {what}");
    let failed = |kind: NonSuccessKind| {
        let mut status = TestCaseStatus::non_success(kind);
        status
            .set_message(sentence.clone())
            .set_type(interval.outcome.word())
            .set_description(format!("{sentence}\nagain: {}", again(race, signal, interval)));
        status
    };
    let status = match interval.outcome {
        _ if interval.bad && interval.counts => failed(NonSuccessKind::Failure),
        _ if interval.bad => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{sentence}; no reload through systemd reaches it"));
            status
        }
        // The start has no such instant.
        Outcome::NotReached if !race.left_untested(interval) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(sentence);
            status
        }
        Outcome::NotReached => failed(NonSuccessKind::Error),
        _ => TestCaseStatus::success(),
    };
    let mut case = TestCase::new(interval.id.clone(), status);
    case.set_classname(format!("sigready.race.{}", race.name));
    case
}
