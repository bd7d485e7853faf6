//! What a unit file says of its service, with systemd's defaults.

use std::collections::BTreeMap;

use super::specifiers::Specifiers;
use crate::{
    model::{
        signal::Signal,
        unit::{ExitStatuses, FactsSource, UnitFacts},
    },
    systemd::reload,
};

/// The assignments of the `[Service]` section. A list has all of its values.
#[derive(Default)]
pub struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Takes in one file. systemd.syntax(7): sections, comments, lines that go on.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut whole = String::new();
        for line in text.lines() {
            let line = line.trim();
            // Comments may stand between the lines that go on.
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(line) = line.strip_suffix('\\') {
                whole.push_str(line);
                whole.push(' ');
                continue;
            }
            whole.push_str(line);
            let line = std::mem::take(&mut whole);
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((name, value)) = line.split_once('=')
                && section == "Service"
            {
                let name = match name.trim() {
                    // It sets both times, and whichever comes last counts.
                    "TimeoutSec" => "TimeoutStartSec",
                    name => name,
                };
                let values = self.values.entry(name.to_owned()).or_default();
                match value.trim() {
                    // An empty value resets a list, and a setting to its default.
                    "" => values.clear(),
                    value => values.push(value.to_owned()),
                }
            }
        }
    }

    /// The value that counts of a setting that has one.
    fn one(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn flag(&self, name: &str) -> bool {
        let value = self.one(name).map(str::to_ascii_lowercase);
        value.is_some_and(|value| ["1", "yes", "y", "true", "t", "on"].contains(&value.as_str()))
    }

    /// The settings with systemd's defaults (`service_load` and `service_add_extras` in
    /// src/core/service.c).
    pub fn facts(&self, specifiers: &Specifiers) -> UnitFacts {
        let commands = |name: &str| -> Vec<(String, Vec<String>)> {
            self.list(name)
                .iter()
                .map(|line| {
                    let command = line.trim_start_matches(PREFIXES);
                    let prefixes = &line[..line.len() - command.len()];
                    let words = shell_words::split(command).unwrap_or_default();
                    let words = words.iter().map(|word| specifiers.expand(word)).collect();
                    (prefixes.to_owned(), words)
                })
                .collect()
        };
        let service_type = self.one("Type").map_or_else(
            || {
                let is_dbus = self.one("BusName").is_some();
                let is_oneshot = self.list("ExecStart").is_empty();
                let word = match (is_dbus, is_oneshot) {
                    (true, _) => "dbus",
                    (_, true) => "oneshot",
                    _ => "simple",
                };
                word.to_owned()
            },
            str::to_owned,
        );
        let by_systemd = service_type == "notify-reload";
        let is_notify = by_systemd || service_type == "notify";
        // A watchdog has to be heard too.
        let hears = is_notify || self.one("WatchdogSec").is_some_and(|span| span != "0");
        let access = match self.one("NotifyAccess") {
            None | Some("none") if hears => "main",
            None => "none",
            Some(access) => access,
        };
        let exec_start = commands("ExecStart");
        let exec_reload: Vec<Vec<String>> =
            commands("ExecReload").into_iter().map(|(_, words)| words).collect();
        let reload_signal = if by_systemd {
            Some(self.one("ReloadSignal").and_then(|name| name.parse().ok()).unwrap_or(Signal::HUP))
        } else {
            reload::signal(&exec_reload)
        };
        let statuses = |name: &str| Some(statuses(self.list(name)));
        UnitFacts {
            notify_access: Some(access.to_owned()),
            restart: Some(self.one("Restart").unwrap_or("no").to_owned()),
            reload_signal,
            exec_reload: Some(exec_reload.iter().map(|words| words.join(" ")).collect()),
            exec_start: Some(exec_start.iter().map(|(_, words)| words.join(" ")).collect()),
            success_exit_status: statuses("SuccessExitStatus"),
            restart_prevent_exit_status: statuses("RestartPreventExitStatus"),
            restart_force_exit_status: statuses("RestartForceExitStatus"),
            remain_after_exit: Some(self.flag("RemainAfterExit")),
            ignores_failure: exec_start.last().map(|(prefixes, _)| prefixes.contains('-')),
            pid_file: Some(
                self.one("PIDFile").map_or_else(String::new, |it| specifiers.expand(it)),
            ),
            kill_mode: Some(self.one("KillMode").unwrap_or("control-group").to_owned()),
            // Made when it is started.
            control_group: None,
            timeout_start_ns: self.one("TimeoutStartSec").and_then(span),
            systemd: None,
            source: Some(FactsSource::UnitFiles),
            service_type: Some(service_type),
        }
    }
}

/// A time span in ns, 0 for none. systemd.time(7).
fn span(text: &str) -> Option<u64> {
    if text == "infinity" {
        return Some(0);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000);
    }
    let span: jiff::SignedDuration = text.parse().ok()?;
    span.as_nanos().try_into().ok()
}

/// What may stand before a command. systemd.service(5).
const PREFIXES: [char; 6] = ['-', '@', ':', '+', '!', '|'];

/// `SuccessExitStatus=3 TEMPFAIL SIGUSR1`: codes, their names, signals.
fn statuses(lines: &[String]) -> ExitStatuses {
    let mut statuses = ExitStatuses::default();
    for word in lines.iter().flat_map(|line| line.split_whitespace()) {
        let named = EXIT_NAMES.iter().find(|(name, _)| *name == word).map(|(_, code)| *code);
        if let Some(code) = named.or_else(|| word.parse().ok()) {
            statuses.codes.push(code);
        } else if let Ok(signal) = word.parse() {
            statuses.signals.push(signal);
        }
    }
    statuses
}

/// The names of exit codes that units use (sysexits.h; systemd.exec(5)).
const EXIT_NAMES: [(&str, u8); 18] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::unit_files::specifiers::Whose;

    #[test]
    fn exit_statuses_are_codes_their_names_and_signals() {
        let found = statuses(&["3 TEMPFAIL".to_owned(), "SIGUSR1 nonsense 999".to_owned()]);
        assert_eq!(found.codes, [3, 75]);
        assert_eq!(found.signals, ["USR1".parse().unwrap()]);
    }

    #[test]
    fn of_two_names_for_one_setting_the_last_counts() {
        let mut settings = Settings::default();
        settings.read("[Service]\nTimeoutStartSec=5\nTimeoutSec=7\n");
        let facts = settings.facts(&Specifiers::new("a.service", Whose::System));
        assert_eq!(facts.timeout_start_ns, Some(7_000_000_000));
    }

    #[test]
    fn a_span_is_written_in_many_ways() {
        for (text, ns) in [
            ("90", Some(90_000_000_000)),
            ("1min 30s", Some(90_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("infinity", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(span(text), ns, "{text}");
        }
    }
}
