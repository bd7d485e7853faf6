//! What a unit file says of its service, with systemd's defaults.

use std::collections::BTreeMap;

use super::{Commands, lines::lines, specifiers::Specifiers};
use crate::{
    model::{
        signal::Signal,
        start_limit::StartLimit,
        text::clipped,
        unit::{ExitStatuses, FactsSource, UnitFacts},
    },
    systemd::commands::{self, Budget, Command},
};

/// The longest command line that is kept among the settings, characters.
const LONGEST_LINE: usize = 8_192;

/// How often a unit may be started, and within what time, where nothing says otherwise, ns
/// (systemd-system.conf(5)).
const START_LIMIT: (u32, u64) = (5, 10_000_000_000);
/// `RestartSec=` where nothing says otherwise, ns.
const RESTART_DELAY: u64 = 100_000_000;

/// The assignments of the `[Service]` section, and the limit of starts in `[Unit]`. A list has
/// all of its values.
#[derive(Default)]
pub struct Settings {
    values: BTreeMap<String, Vec<String>>,
}

impl Settings {
    /// Takes in one file. systemd.syntax(7): sections, comments, lines that go on.
    pub fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut whole = String::new();
        for line in lines(text) {
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
            self.take(&std::mem::take(&mut whole), &mut section);
        }
        // The last line may promise another.
        self.take(&whole, &mut section);
    }

    /// Takes in a line: the head of a section, or an assignment.
    fn take(&mut self, line: &str, section: &mut String) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(section);
        } else if let Some((name, value)) = line.split_once('=')
            && (section == "Service" || section == "Unit" && name.starts_with("StartLimit"))
        {
            let name = match name.trim() {
                // It sets both times, and whichever comes last counts.
                "TimeoutSec" => "TimeoutStartSec",
                // The name that it had (`src/core/load-fragment-gperf.gperf.in`).
                "StartLimitInterval" => "StartLimitIntervalSec",
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

    /// The value that counts of a setting that has one.
    fn one(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.last().map(String::as_str)
    }

    fn signal(&self, name: &str) -> Option<Signal> {
        self.one(name)?.parse().ok()
    }

    fn list(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    fn flag(&self, name: &str) -> bool {
        let value = self.one(name).map(str::to_ascii_lowercase);
        value.is_some_and(|value| ["1", "yes", "y", "true", "t", "on"].contains(&value.as_str()))
    }

    /// The commands, and what else is told of how they are run.
    pub fn commands(&self, specifiers: &Specifiers) -> Commands {
        let values = self.environment(specifiers);
        let list = |name| {
            let mut list = commands::commands(self.list(name), |word| specifiers.expand(word));
            for command in &mut list {
                command.put_in(&values);
            }
            list
        };
        Commands {
            start: list("ExecStart"),
            start_post: list("ExecStartPost"),
            reload: list("ExecReload"),
            stop: [list("ExecStop"), list("ExecStopPost")].concat(),
            has_watchdog: self.has_watchdog(),
            has_user: self.one("User").is_some_and(|user| user != "root" && user != "0")
                || self.flag("DynamicUser"),
        }
    }

    /// What `Environment=` sets, where nothing else may set it otherwise.
    fn environment(&self, specifiers: &Specifiers) -> BTreeMap<String, String> {
        let others = ["EnvironmentFile", "UnsetEnvironment"];
        if others.iter().any(|name| !self.list(name).is_empty()) {
            return BTreeMap::new();
        }
        let words = self.list("Environment").iter().flat_map(|line| commands::words(line));
        words
            .filter_map(|word| {
                let (name, value) = word.split_once('=')?;
                Some((name.to_owned(), specifiers.expand(value)))
            })
            .collect()
    }

    fn start_limit(&self) -> StartLimit {
        let burst = self.one("StartLimitBurst").and_then(|value| value.parse().ok());
        let within_ns = match self.one("StartLimitIntervalSec") {
            Some("infinity") => None,
            value => Some(value.and_then(span).unwrap_or(START_LIMIT.1)),
        };
        let action = self.one("StartLimitAction").unwrap_or("none").to_owned();
        StartLimit { starts: burst.unwrap_or(START_LIMIT.0), within_ns, action: Some(action) }
    }

    fn restart_delay(&self) -> Option<u64> {
        let grows = self.one("RestartSteps").is_some_and(|steps| steps != "0");
        match self.one("RestartSec") {
            _ if grows => None,
            Some("infinity") => None,
            value => Some(value.and_then(span).unwrap_or(RESTART_DELAY)),
        }
    }

    fn has_watchdog(&self) -> bool {
        self.one("WatchdogSec").and_then(span).is_some_and(|span| span != 0)
    }

    /// The settings with systemd's defaults (`service_load` and `service_add_extras` in
    /// src/core/service.c).
    pub fn facts(&self, specifiers: &Specifiers) -> UnitFacts {
        let Commands { start, reload: run_by_reload, .. } = self.commands(specifiers);
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
        let hears = is_notify || self.has_watchdog();
        let access = match self.one("NotifyAccess") {
            None | Some("none") if hears => "main",
            None => "none",
            Some(access) => access,
        };
        let reload_signal = if by_systemd {
            Some(self.signal("ReloadSignal").unwrap_or(Signal::HUP))
        } else {
            let unit = Some(specifiers.unit());
            let reload = commands::reload(&run_by_reload, unit, &mut Budget::default());
            reload.to_service().map(|(_, signal)| signal)
        };
        let list = |name| commands::commands(self.list(name), |word| specifiers.expand(word));
        let line = |it: &Command| clipped(&it.argv.join(" "), LONGEST_LINE).into_owned();
        let lines = |commands: &[Command]| commands.iter().map(line).collect();
        let statuses = |name: &str| Some(statuses(self.list(name)));
        let kill_signal = self.signal("KillSignal").unwrap_or(Signal::TERM);
        UnitFacts {
            notify_access: Some(access.to_owned()),
            restart: Some(self.one("Restart").unwrap_or("no").to_owned()),
            reload_signal,
            exec_reload: Some(lines(&list("ExecReload"))),
            exec_start: Some(lines(&list("ExecStart"))),
            success_exit_status: statuses("SuccessExitStatus"),
            restart_prevent_exit_status: statuses("RestartPreventExitStatus"),
            restart_force_exit_status: statuses("RestartForceExitStatus"),
            remain_after_exit: Some(self.flag("RemainAfterExit")),
            ignores_failure: start.last().map(Command::ignores_failure),
            pid_file: Some(
                self.one("PIDFile").map_or_else(String::new, |it| specifiers.expand(it)),
            ),
            guess_main_pid: Some(
                self.one("GuessMainPID").is_none_or(|_| self.flag("GuessMainPID")),
            ),
            exec_stop: Some(lines(&list("ExecStop"))),
            watchdog_ns: Some(self.one("WatchdogSec").and_then(span).unwrap_or(0)),
            kill_signal: Some(kill_signal),
            // systemd.kill(5)
            restart_kill_signal: Some(self.signal("RestartKillSignal").unwrap_or(kill_signal)),
            kill_mode: Some(self.one("KillMode").unwrap_or("control-group").to_owned()),
            // Made when it is started.
            control_group: None,
            timeout_start_ns: self.one("TimeoutStartSec").and_then(span),
            start_limit: Some(self.start_limit()),
            restart_delay_ns: self.restart_delay(),
            restart_never: Some(self.one("RestartSec") == Some("infinity")),
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

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        settings.read(text);
        settings
    }

    #[test]
    fn a_user_is_one_besides_root() {
        let has_user = |text: &str| {
            let settings = settings(&format!("[Service]\n{text}\n"));
            settings.commands(&Specifiers::new("a.service", Whose::System)).has_user
        };
        for text in ["User=web", "User=7", "DynamicUser=yes", "User=root\nDynamicUser=yes"] {
            assert!(has_user(text), "{text}");
        }
        for text in ["", "User=root", "User=0", "DynamicUser=no"] {
            assert!(!has_user(text), "{text}");
        }
    }

    #[test]
    fn a_delay_that_grows_is_not_told() {
        let delay = |text: &str| settings(&format!("[Service]\n{text}\n")).restart_delay();
        assert_eq!(delay(""), Some(RESTART_DELAY));
        assert_eq!(delay("RestartSec=3"), Some(3_000_000_000));
        assert_eq!(delay("RestartSec=3\nRestartSteps=0"), Some(3_000_000_000));
        assert_eq!(delay("RestartSec=3\nRestartSteps=5"), None);
        assert_eq!(delay("RestartSteps=5"), None);
        assert_eq!(delay("RestartSec=infinity"), None);
    }

    #[test]
    fn of_two_names_for_one_setting_the_last_counts() {
        let mut settings = Settings::default();
        settings.read("[Service]\nTimeoutStartSec=5\nTimeoutSec=7\n");
        let facts = settings.facts(&Specifiers::new("a.service", Whose::System));
        assert_eq!(facts.timeout_start_ns, Some(7_000_000_000));
    }

    #[test]
    fn a_limit_of_one_start_forbids_what_comes_within_its_time() {
        let once = |text: &str| {
            let mut settings = Settings::default();
            settings.read(text);
            settings.facts(&Specifiers::new("a.service", Whose::System)).is_started_once()
        };
        for text in [
            "[Unit]\nStartLimitBurst=1\n",
            "[Service]\nStartLimitBurst=1\n",
            "[Unit]\nStartLimitBurst=1\nStartLimitInterval=1min\n[Service]\nRestartSec=30\n",
            "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=infinity\n[Service]\nRestartSec=1d\n",
        ] {
            assert!(once(text), "{text}");
        }
        for text in [
            "",
            "[Unit]\nStartLimitBurst=2\n",
            "[Unit]\nStartLimitBurst=0\n",
            "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=0\n",
            "[Unit]\nStartLimitBurst=1\n[Service]\nRestartSec=11\n",
            "[Unit]\nStartLimitBurst=1\n[Service]\nRestartSec=infinity\n",
            "[Install]\nStartLimitBurst=1\n",
        ] {
            assert!(!once(text), "{text}");
        }
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
