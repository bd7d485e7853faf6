//! One part of the tests: run, counted, summed up in a line.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::process;

/// Lines that are kept of what a test says as it fails.
const SAID: usize = 4;

/// Characters of each.
const SAID_LENGTH: usize = 300;

/// What test programs said of the tests they ran.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    passed: usize,
    /// Names of the tests that came to an end.
    ended: Vec<String>,
    /// Names of the tests that failed.
    failed: Vec<String>,
    /// Names of those that failed, and passed when they were run once more.
    at_second_try: Vec<String>,
    /// What each test that failed said first, by name.
    said: BTreeMap<String, Vec<String>>,
    /// The test whose words come now.
    speaker: Option<String>,
    /// Tests that were not run, each with its reason.
    ignored: Vec<String>,
    /// What tests say they have shown, for better or worse.
    proved: BTreeMap<String, bool>,
}

impl Verdict {
    /// Takes a line of the test harness into account.
    pub fn read(&mut self, line: &str) {
        if let Some((fact, answer)) =
            line.strip_prefix("PROVED ").and_then(|proved| proved.rsplit_once(": "))
        {
            self.proved.insert(fact.to_owned(), answer == "yes");
        }
        self.note(line);
        let Some(line) = line.strip_prefix("test ") else { return };
        if let Some(counts) = line.strip_prefix("result: ") {
            // "ok. 3 passed; 0 failed; …"
            let passed = counts.split(' ').nth(1).and_then(|count| count.parse().ok());
            self.passed += passed.unwrap_or(0);
        } else if let Some((name, result)) = line.rsplit_once(" ... ") {
            if result == "FAILED" {
                self.failed.push(name.to_owned());
            }
            if let "ok" | "FAILED" = result {
                self.ended.push(name.to_owned());
            } else if let Some(reason) = result.strip_prefix("ignored") {
                self.ignored.push(format!("{name}{}", reason.replacen(',', ":", 1)));
            }
        }
    }
}

impl Verdict {
    /// Keeps the first lines of what a test says as it fails: the thread has its name.
    fn note(&mut self, line: &str) {
        let thread = line.strip_prefix("thread '").filter(|line| line.contains(" panicked at "));
        if let Some((name, _)) = thread.and_then(|thread| thread.split_once('\'')) {
            self.speaker = Some(name.to_owned());
        } else if line.is_empty()
            || line.starts_with("stack backtrace")
            || line.starts_with("note:")
        {
            self.speaker = None;
        } else if let Some(name) = &self.speaker {
            let said = self.said.entry(name.clone()).or_default();
            if said.len() < SAID {
                said.push(line.chars().take(SAID_LENGTH).collect());
            }
        }
    }

    /// The same if all of these tests have run, else an error that names those that didn't.
    pub fn complete<'a>(self, expected: impl Iterator<Item = &'a String>) -> Result<Self> {
        let missing: Vec<&str> =
            expected.filter(|test| !self.ended.contains(test)).map(String::as_str).collect();
        if !missing.is_empty() {
            bail!("{} tests did not run: {}", missing.len(), missing.join(" "));
        }
        Ok(self)
    }

    /// The tests that failed.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    /// What is so after those that failed were run once more. A test that did not end then has
    /// failed still.
    #[must_use]
    pub fn after(mut self, second: &Self) -> Self {
        let passed = |name: &String| second.ended.contains(name) && !second.failed.contains(name);
        let (passed, failed): (Vec<_>, Vec<_>) = self.failed.into_iter().partition(passed);
        self.passed += passed.len();
        self.failed = failed;
        self.at_second_try.extend(passed);
        self.proved.extend(second.proved.clone());
        self.said.extend(second.said.clone());
        self
    }
}

/// Runs cargo's tests, with their output where ours goes.
pub fn cargo_test(command: &mut Command) -> Result<Verdict> {
    process::show(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo: is it installed?")?;
    let mut verdict = Verdict::default();
    for line in
        child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n'))
    {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        verdict.read(&line);
    }
    let status = child.wait()?;
    // Without a test to blame: it didn't compile, or a test program died.
    if !status.success() && verdict.failed.is_empty() {
        bail!("cargo test failed: {status}");
    }
    Ok(verdict)
}

/// A part that has run.
pub struct Suite {
    name: String,
    took: Duration,
    result: Result<Verdict>,
}

impl Suite {
    /// Runs it, and keeps what went wrong for the summary.
    pub fn run(name: &str, part: impl FnOnce() -> Result<Verdict>) -> Self {
        eprintln!("\n== tests: {name}");
        let begun = Instant::now();
        let result = part();
        Self { name: name.to_owned(), took: begun.elapsed(), result }
    }

    /// Runs several that one piece of work gives the verdicts of, in the order of their names.
    /// Each takes as long as all of them.
    pub fn run_together(
        names: Vec<String>,
        work: impl FnOnce() -> Result<Vec<Result<Verdict>>>,
    ) -> Vec<Self> {
        eprintln!("\n== tests: {}", names.join("; "));
        let begun = Instant::now();
        let results = work();
        let took = begun.elapsed();
        let mut results = match results {
            Ok(results) => results,
            Err(error) => names.iter().map(|_| Err(anyhow!("{error:#}"))).collect(),
        }
        .into_iter();
        let mut result = || results.next().unwrap_or_else(|| bail!("it gave no verdict"));
        names.into_iter().map(|name| Self { name, took, result: result() }).collect()
    }

    /// Whether all of it passed.
    pub fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(|verdict| verdict.failed.is_empty())
    }

    /// What its tests have shown; none unless all of them passed.
    pub fn proved(&self) -> Option<&BTreeMap<String, bool>> {
        self.result.as_ref().ok().filter(|_| self.passed()).map(|verdict| &verdict.proved)
    }

    /// The tests it did not run.
    pub fn ignored(&self) -> &[String] {
        self.result.as_ref().map_or(&[], |verdict| &verdict.ignored)
    }
}

/// Prints what ran, what came of it, and what was left out.
pub fn conclude(suites: &[Suite]) -> Result<()> {
    eprintln!("\nSummary");
    for suite in suites {
        eprintln!("  {suite}");
    }
    let left_out: &[String] =
        if process::is_root() { &[] } else { suites.first().map_or(&[], Suite::ignored) };
    if !left_out.is_empty() {
        eprintln!("\nLEFT OUT, {} tests, because this is not root:", left_out.len());
        for test in left_out {
            eprintln!("  {test}");
        }
    }
    if suites.iter().any(|suite| !suite.passed()) {
        bail!("not all tests passed: see the summary above");
    }
    if process::is_ci() && !process::is_root() {
        bail!("tests were left out, which must not happen where CI=true: run as root");
    }
    Ok(())
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "passed" } else { "FAILED" };
        write!(f, "{word}  {} ({} s)", self.name, self.took.as_secs())?;
        match &self.result {
            Err(error) => write!(f, ": {error:#}"),
            Ok(verdict) if verdict.passed + verdict.failed.len() == 0 => Ok(()),
            Ok(verdict) => {
                write!(f, ": {} passed, {} failed", verdict.passed, verdict.failed.len())?;
                let said = |f: &mut fmt::Formatter<'_>, name: &String| {
                    let lines = verdict.said.get(name).into_iter().flatten();
                    lines.take(SAID).try_for_each(|line| write!(f, "\n              | {line}"))
                };
                for name in &verdict.failed {
                    write!(f, "\n            {name}")?;
                    said(f, name)?;
                }
                for name in &verdict.at_second_try {
                    write!(f, "\n            failed at first, passed alone: {name}")?;
                    said(f, name)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_harness_says_is_counted() {
        let mut verdict = Verdict::default();
        for line in [
            "running 3 tests",
            "test fine ... ok",
            "test odd ... ignored, needs root",
            "PROVED that: something: yes",
            "test broken ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured",
        ] {
            verdict.read(line);
        }
        let expected = Verdict {
            passed: 5,
            ended: vec!["fine".to_owned(), "broken".to_owned()],
            failed: vec!["broken".to_owned()],
            at_second_try: Vec::new(),
            ignored: vec!["odd: needs root".to_owned()],
            said: BTreeMap::new(),
            speaker: None,
            proved: BTreeMap::from([("that: something".to_owned(), true)]),
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_test_that_did_not_run_is_missed() {
        let verdict = Verdict { ended: vec!["one".to_owned()], ..Verdict::default() };
        let error = verdict.complete(["one".to_owned(), "two".to_owned()].iter()).unwrap_err();
        assert!(error.to_string().ends_with(": two"), "{error}");
    }

    #[test]
    fn a_test_that_passes_at_the_second_try_is_named() {
        let read = |lines: &[&str]| {
            let mut verdict = Verdict::default();
            for line in lines {
                verdict.read(line);
            }
            verdict
        };
        let first = ["test late ... FAILED", "test broken ... FAILED", "test gone ... FAILED"];
        let second = read(&["test late ... ok", "test broken ... FAILED"]);
        let verdict = read(&first).after(&second);
        assert_eq!(verdict.failed(), ["broken", "gone"]);
        let told = Suite::run("example", || Ok(verdict)).to_string();
        assert!(told.contains("1 passed, 2 failed"), "{told}");
        assert!(told.ends_with("failed at first, passed alone: late"), "{told}");
    }

    #[test]
    fn what_a_test_says_as_it_fails_is_told_with_its_name() {
        let mut verdict = Verdict::default();
        for line in [
            "test a::broken ... FAILED",
            "---- a::broken stdout ----",
            "",
            "thread 'a::broken' (4711) panicked at tests/a.rs:7:5:",
            "assertion failed",
            "  left: 1",
            "stack backtrace:",
            "   0: begin",
        ] {
            verdict.read(line);
        }
        let told = Suite::run("example", || Ok(verdict)).to_string();
        let said = "a::broken\n              | assertion failed\n              |   left: 1";
        assert!(told.ends_with(said), "{told}");
    }

    #[test]
    fn a_part_with_a_failed_test_has_not_passed() {
        let verdict = Verdict { failed: vec!["broken".to_owned()], ..Verdict::default() };
        let suite = Suite::run("example", || Ok(verdict));
        assert!(!suite.passed());
        assert!(suite.to_string().contains("broken"), "{suite}");
    }
}
