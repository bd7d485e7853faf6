//! What a unit's settings alone say: whether an early reload can hurt it. Pure: settings
//! in, findings out.

mod notify_access_narrow;
mod notify_access_wide;
mod reload_ends_it;
mod reload_not_awaited;
mod start_without_limit;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::{
    document::{Severity, Tool},
    unit::UnitFacts,
};

/// The `schema` of every document this version writes.
pub const SCHEMA: &str = "sigready/lint/v1";

/// Something that can be wrong with a unit's settings.
pub struct Check {
    /// Its stable name, in kebab case.
    pub id: &'static str,
    /// Its page: what it means, consequence, mend. Markdown.
    pub explanation: &'static str,
    /// Finds it in the settings of a unit of this name.
    check: fn(&str, &UnitFacts, &Place) -> Option<Finding>,
}

/// Every check.
pub static ALL: [Check; 5] = [
    reload_not_awaited::CHECK,
    reload_ends_it::CHECK,
    notify_access_wide::CHECK,
    notify_access_narrow::CHECK,
    start_without_limit::CHECK,
];

/// What was found in a host's units.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Lint {
    /// Always `sigready/lint/v1`.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// What wrote it.
    pub tool: Tool,
    /// Units whose settings were read.
    pub examined: usize,
    /// Those with findings, the worst first.
    pub units: Vec<Unit>,
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
pub struct Place {
    /// Where their owner puts files of their own: `/etc/systemd/system`.
    pub directory: PathBuf,
    /// The options by which sigready finds them: none, `--user ada`, or `--root DIR`.
    pub options: String,
}

impl Place {
    fn drop_in(&self, unit: &str, text: &str) -> DropIn {
        let path = self.directory.join(format!("{unit}.d/50-reload.conf"));
        DropIn { path: path.display().to_string(), text: text.to_owned() }
    }

    /// The command that traces a restart of the unit.
    fn trace(&self, unit: &str, more: &str) -> String {
        let words = ["sigready trace", &self.options, "--restart", more, unit];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl Lint {
    /// Judges units: name, files and settings of each.
    #[must_use]
    pub fn of(units: Vec<(String, Vec<String>, UnitFacts)>, place: &Place) -> Self {
        let examined = units.len();
        let mut units: Vec<Unit> = units
            .into_iter()
            .map(|(name, files, unit)| Unit {
                findings: findings(&name, &unit, place),
                name,
                files,
                unit,
            })
            .filter(|unit| !unit.findings.is_empty())
            .collect();
        units.sort_by(|a, b| (b.worst(), &a.name).cmp(&(a.worst(), &b.name)));
        Self {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            examined,
            units,
        }
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

/// What is wrong with a unit of this name and these settings.
fn findings(name: &str, unit: &UnitFacts, place: &Place) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        ALL.iter().filter_map(|check| (check.check)(name, unit, place)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signal::Signal;

    /// Settings with systemd's defaults.
    fn unit(service_type: &str, restart: &str, reload: Option<Signal>) -> UnitFacts {
        let notify = service_type.starts_with("notify");
        UnitFacts {
            service_type: Some(service_type.to_owned()),
            restart: Some(restart.to_owned()),
            notify_access: Some(if notify { "main" } else { "none" }.to_owned()),
            reload_signal: reload,
            ..UnitFacts::default()
        }
    }

    fn system() -> Place {
        Place { directory: "/etc/systemd/system".into(), options: String::new() }
    }

    fn ids(unit: &UnitFacts) -> Vec<(String, Severity)> {
        findings("a.service", unit, &system()).into_iter().map(|it| (it.id, it.severity)).collect()
    }

    fn found(id: &str, severity: Severity) -> Vec<(String, Severity)> {
        vec![(id.to_owned(), severity)]
    }

    #[test]
    fn a_simple_service_that_reloads_by_hup_and_stays_down_is_an_error() {
        for restart in ["no", "on-failure", "on-abnormal", "on-abort"] {
            let simple = unit("simple", restart, Some(Signal::HUP));
            assert_eq!(ids(&simple), found("reload-not-awaited", Severity::Error), "{restart}");
        }
    }

    #[test]
    fn one_that_is_restarted_is_a_warning() {
        let always = unit("exec", "always", Some(Signal::HUP));
        assert_eq!(ids(&always), found("reload-not-awaited", Severity::Warning));
        let usr1 = unit("simple", "on-failure", "USR1".parse().ok());
        assert_eq!(ids(&usr1), found("reload-not-awaited", Severity::Warning));
    }

    #[test]
    fn what_waits_for_ready_or_reloads_in_another_way_is_not_found() {
        assert_eq!(ids(&unit("notify", "no", Some(Signal::HUP))), []);
        assert_eq!(ids(&unit("notify-reload", "no", Some(Signal::HUP))), []);
        assert_eq!(ids(&unit("simple", "no", None)), []);
        assert_eq!(ids(&unit("forking", "no", Some(Signal::HUP))), []);
        assert_eq!(ids(&UnitFacts::default()), []);
    }

    #[test]
    fn a_reload_that_sends_term_is_a_stop() {
        let term = unit("notify", "always", Some(Signal::TERM));
        assert_eq!(ids(&term), found("reload-ends-it", Severity::Error));
    }

    #[test]
    fn the_drop_in_is_one_that_changes_the_prediction() {
        let simple = unit("simple", "on-failure", Some(Signal::HUP));
        let finding = &findings("a.service", &simple, &system())[0];
        let drop_in = finding.drop_in.as_ref().unwrap();
        assert_eq!(drop_in.path, "/etc/systemd/system/a.service.d/50-reload.conf");
        assert!(drop_in.text.starts_with("[Service]\n"), "{}", drop_in.text);
        assert!(drop_in.text.contains("\nRestartForceExitStatus=SIGHUP\n"), "{}", drop_in.text);
    }

    #[test]
    fn a_users_unit_is_mended_in_their_own_directory() {
        let place = Place {
            directory: "/home/ada/.config/systemd/user".into(),
            options: "--user ada".to_owned(),
        };
        let simple = unit("simple", "on-failure", Some(Signal::HUP));
        let finding = &findings("a.service", &simple, &place)[0];
        let path = &finding.drop_in.as_ref().unwrap().path;
        assert_eq!(path, "/home/ada/.config/systemd/user/a.service.d/50-reload.conf");
        let command = "sigready trace --user ada --restart --reload-during-start a.service";
        assert!(finding.mend.ends_with(command), "{}", finding.mend);
    }

    #[test]
    fn notify_access_is_too_wide_for_any_process_and_too_narrow_for_a_shells_child() {
        let all = UnitFacts { notify_access: Some("all".to_owned()), ..unit("notify", "no", None) };
        assert_eq!(ids(&all), found("notify-access-wide", Severity::Warning));
        let start = |line: &str| UnitFacts {
            exec_start: Some(vec![line.to_owned()]),
            ..unit("notify", "no", None)
        };
        let narrow = found("notify-access-narrow", Severity::Warning);
        assert_eq!(ids(&start("/bin/sh -c prepare; daemon")), narrow);
        assert_eq!(ids(&start("/bin/sh -c prepare; exec daemon")), []);
        assert_eq!(ids(&start("/usr/bin/daemon -c x")), []);
    }

    #[test]
    fn a_notify_unit_whose_start_has_no_limit_is_named() {
        let limit = |limit| UnitFacts { timeout_start_ns: limit, ..unit("notify", "no", None) };
        assert_eq!(ids(&limit(Some(0))), found("start-without-limit", Severity::Warning));
        assert_eq!(ids(&limit(Some(90_000_000_000))), []);
        assert_eq!(ids(&limit(None)), []);
        let simple = UnitFacts { timeout_start_ns: Some(0), ..unit("simple", "no", None) };
        assert_eq!(ids(&simple), []);
    }

    #[test]
    fn the_worst_unit_comes_first() {
        let units = vec![
            ("b.service".to_owned(), Vec::new(), unit("simple", "always", Some(Signal::HUP))),
            ("c.service".to_owned(), Vec::new(), unit("simple", "no", Some(Signal::HUP))),
            ("a.service".to_owned(), Vec::new(), unit("simple", "always", Some(Signal::HUP))),
            ("d.service".to_owned(), Vec::new(), unit("oneshot", "no", None)),
        ];
        let lint = Lint::of(units, &system());
        let names: Vec<_> = lint.units.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["c.service", "a.service", "b.service"]);
        assert_eq!(lint.examined, 4);
    }
}
