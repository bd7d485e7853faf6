//! What a unit's settings alone say: whether an early reload can hurt it. Pure: settings
//! in, findings out.

mod case;
mod death;
mod early;
mod notify_access_narrow;
mod notify_access_wide;
mod reload_ends_it;
mod reload_hits_shell;
mod reload_not_awaited;
mod reload_reaches_nobody;
mod reload_signals_all;
pub mod running;
mod start_without_limit;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, path::PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use self::{case::Case, running::Running};
use crate::{
    model::{
        document::{Severity, Tool},
        text::{shell_word, shortened},
        unit::UnitFacts,
    },
    systemd::unit_files::Commands,
};

/// The `schema` of every document this version writes.
pub const SCHEMA: &str = "sigready/lint/v1";

/// The longest text of a finding, characters: it may quote what a unit file says.
const MAX_TEXT: usize = 1_000;

/// Something that can be wrong with a unit's settings.
pub struct Check {
    /// Its stable name, in kebab case.
    pub id: &'static str,
    /// Its page: what it means, consequence, mend. Markdown.
    pub explanation: &'static str,
    /// Where it looks.
    look: Look,
}

/// Where a check looks.
enum Look {
    /// At a unit's files.
    Files(fn(&Case<'_>) -> Option<Finding>),
    /// At its running main process.
    Running(fn(&Running, &Location) -> Option<Finding>),
}

/// Every check.
pub static ALL: [Check; 9] = [
    // First, as it tells why others are of what comes later.
    reload_reaches_nobody::CHECK,
    reload_not_awaited::CHECK,
    reload_ends_it::CHECK,
    reload_hits_shell::CHECK,
    reload_signals_all::CHECK,
    notify_access_wide::CHECK,
    notify_access_narrow::CHECK,
    start_without_limit::CHECK,
    running::CHECK,
];

/// What was found in a host's units.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Lint")]
pub struct LintReport {
    /// Always `sigready/lint/v1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What wrote it.
    pub tool: Tool,
    /// Units whose settings were read.
    pub examined: usize,
    /// Those with findings, the worst first.
    pub units: Vec<Unit>,
    /// What the text of units does not tell, by name.
    pub unknown: Vec<Unknown>,
}

/// What can't be told of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unknown {
    /// The unit's name.
    pub unit: String,
    /// What, and why.
    pub what: String,
}

/// A unit as its files have it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The file and the drop-ins that its settings are from.
    pub files: Vec<String>,
    /// Its settings.
    pub facts: UnitFacts,
    /// Its commands.
    pub commands: Commands,
}

/// A unit with findings.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// The file and the drop-ins that its settings are from.
    pub files: Vec<String>,
    /// Its settings.
    pub unit: UnitFacts,
    /// What is wrong with them, the worst first.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a unit's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// What it is, in kebab case.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What can happen.
    pub message: String,
    /// What follows when it does.
    pub consequence: String,
    /// What to change.
    pub mend: String,
    /// A drop-in that does so, as far as the unit alone can.
    pub drop_in: Option<DropIn>,
}

/// A drop-in file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DropIn {
    /// Where to put it.
    pub path: String,
    /// What to put there.
    pub text: String,
}

/// Whose units are judged.
#[derive(Clone, Debug)]
pub struct Location {
    /// Where their owner puts files of their own: `/etc/systemd/system`.
    pub directory: PathBuf,
    /// The options by which sigready finds them: none, `--user ada`, or `--root DIR`.
    pub options: String,
}

impl Location {
    /// A check's drop-in: two of one unit are two files.
    fn drop_in(&self, unit: &str, check: &str, text: &str) -> DropIn {
        let path = self.directory.join(format!("{unit}.d/50-{check}.conf"));
        DropIn { path: path.display().to_string(), text: text.to_owned() }
    }

    /// The command that traces a restart of the unit.
    fn trace(&self, unit: &str, more: &str) -> String {
        let unit = match unit.split_once("@.") {
            // A template is started as an instance of it alone.
            Some((name, suffix)) => format!("{name}@INSTANCE.{suffix}"),
            None => unit.to_owned(),
        };
        let unit = shell_word(&unit);
        let words = ["sigready trace", &self.options, "--restart", more, &unit];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl LintReport {
    /// Judges units.
    #[must_use]
    pub fn of(subjects: Vec<Subject>, place: &Location) -> Self {
        let examined = subjects.len();
        let mut units = Vec::new();
        let mut unknown = Vec::new();
        for subject in subjects {
            let case = Case::new(&subject, place);
            let unit = subject.name.clone();
            unknown.extend(case.unknown().into_iter().map(|what| Unknown {
                unit: unit.clone(),
                what: shortened(&what, MAX_TEXT).into_owned(),
            }));
            let findings = findings(&case);
            if !findings.is_empty() {
                let Subject { name, files, facts, .. } = subject;
                units.push(Unit { name, files, unit: facts, findings });
            }
        }
        let mut lint = Self {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            examined,
            units,
            unknown,
        };
        lint.sort();
        lint
    }

    /// The worst first.
    fn sort(&mut self) {
        self.units.sort_by(|a, b| (b.worst(), &a.name).cmp(&(a.worst(), &b.name)));
    }

    /// Every finding.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.units.iter().flat_map(|unit| &unit.findings)
    }
}

impl Unit {
    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// What is wrong with a unit, the worst first.
fn findings(case: &Case<'_>) -> Vec<Finding> {
    found(|look| match look {
        Look::Files(check) => check(case),
        Look::Running(_) => None,
    })
}

/// What is wrong with a service that runs, the worst first.
fn running_findings(service: &Running, place: &Location) -> Vec<Finding> {
    found(|look| match look {
        Look::Running(check) => check(service, place),
        Look::Files(_) => None,
    })
}

fn found(by: impl Fn(&Look) -> Option<Finding>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = ALL.iter().filter_map(|check| by(&check.look)).collect();
    for finding in &mut findings {
        for text in [&mut finding.message, &mut finding.consequence, &mut finding.mend] {
            if let Cow::Owned(short) = shortened(text, MAX_TEXT) {
                *text = short;
            }
        }
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}
