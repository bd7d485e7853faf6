//! D-Bus properties of a unit, read as settings and states. A property that this
//! systemd does not have is unknown.

use std::{collections::HashMap, fmt::Write as _};

use zbus::zvariant::{Array, OwnedValue, Structure, Value};

use super::reload;
use crate::model::{
    signal::Signal,
    start_limit::StartLimit,
    text::{Outside, clipped},
    unit::{ExitStatuses, FactsSource, UnitFacts, UnitState},
    unit_state,
};

/// The longest text that is kept of a setting, characters.
const LONGEST_TEXT: usize = 4_096;
/// How much is kept of all command lines of a setting together, characters.
const LONGEST_COMMANDS: usize = 8_192;
/// The most exit statuses that are kept of a setting: there are 256 codes and 64 signals.
const MAX_STATUSES: usize = 512;
/// The most names of units that are kept of a list.
const MAX_NAMES: usize = 256;

/// Properties by name.
pub type Properties = HashMap<String, OwnedValue>;

/// A unit's settings, from its properties as a unit and as a service.
#[must_use]
pub fn facts(unit: &Properties, service: &Properties) -> UnitFacts {
    let service_type = text(service, "Type");
    let exec_reload = commands(service, "ExecReload");
    let exec_start = commands(service, "ExecStart");
    let by_systemd = service_type.as_deref() == Some("notify-reload");
    let reload_signal = if by_systemd {
        integer(service, "ReloadSignal").and_then(Signal::from_number)
    } else {
        exec_reload.as_ref().and_then(|commands| {
            let argvs: Vec<Vec<String>> = commands.iter().map(|c| c.argv.clone()).collect();
            reload::signal(&argvs)
        })
    };
    UnitFacts {
        service_type,
        notify_access: text(service, "NotifyAccess"),
        restart: text(service, "Restart"),
        reload_signal,
        ignores_failure: exec_start
            .as_ref()
            .map(|commands| commands.last().is_some_and(|command| command.ignores_failure)),
        exec_start: exec_start.as_deref().map(lines),
        exec_reload: exec_reload.as_deref().map(lines),
        success_exit_status: statuses(service, "SuccessExitStatus"),
        restart_prevent_exit_status: statuses(service, "RestartPreventExitStatus"),
        restart_force_exit_status: statuses(service, "RestartForceExitStatus"),
        remain_after_exit: flag(service, "RemainAfterExit"),
        pid_file: any_text(service, "PIDFile"),
        guess_main_pid: flag(service, "GuessMainPID"),
        exec_stop: commands(service, "ExecStop").as_deref().map(lines),
        // It counts in µs, and has 0 or all ones for none.
        watchdog_ns: number(service, "WatchdogUSec")
            .map(|time| if time == u64::MAX { 0 } else { time.saturating_mul(1_000) }),
        kill_mode: text(service, "KillMode"),
        kill_signal: integer(service, "KillSignal").and_then(Signal::from_number),
        restart_kill_signal: integer(service, "RestartKillSignal").and_then(Signal::from_number),
        control_group: text(service, "ControlGroup"),
        // It counts in µs, and has all ones for no limit.
        timeout_start_ns: number(service, "TimeoutStartUSec")
            .map(|time| if time == u64::MAX { 0 } else { time.saturating_mul(1_000) }),
        start_limit: start_limit(unit),
        restart_delay_ns: restart_delay(service),
        restart_never: number(service, "RestartUSec").map(|delay| delay == u64::MAX),
        systemd: None,
        source: Some(FactsSource::Dbus),
    }
}

fn start_limit(unit: &Properties) -> Option<StartLimit> {
    // It counts in µs, and has all ones for a time that does not end.
    let within = number(unit, "StartLimitIntervalUSec")?;
    Some(StartLimit {
        starts: integer(unit, "StartLimitBurst")?,
        within_ns: (within != u64::MAX).then(|| within.saturating_mul(1_000)),
        action: text(unit, "StartLimitAction"),
    })
}

fn restart_delay(service: &Properties) -> Option<u64> {
    let grows = integer(service, "RestartSteps").is_some_and(|steps| steps > 0);
    let delay = number(service, "RestartUSec").filter(|delay| !grows && *delay != u64::MAX)?;
    Some(delay.saturating_mul(1_000))
}

/// Why a unit has no settings to speak of.
#[must_use]
pub fn problem(unit: &Properties) -> Option<String> {
    let name = Outside::new(&text(unit, "Id").unwrap_or_default());
    match text(unit, "LoadState").as_deref() {
        Some("not-found") => Some(format!("systemd has no unit file of {name}")),
        Some("masked") => Some(format!("{name} is masked")),
        Some("bad-setting" | "error") => Some(format!("systemd could not read all of {name}")),
        _ => None,
    }
}

/// Where systemd keeps the unit's processes, seen from the root of its own cgroups, if that is
/// not this cgroup.
#[must_use]
pub fn kept_elsewhere(service: &Properties, cgroup: &str) -> Option<Outside> {
    // Empty while the unit is down.
    let kept = text(service, "ControlGroup")?;
    (!cgroup.ends_with(&kept)).then(|| Outside::new(&kept))
}

/// Whether systemd can reload the unit: it has `ExecReload=` or is of a type with a reload
/// of its own.
#[must_use]
pub fn can_reload(unit: &Properties) -> Option<bool> {
    flag(unit, "CanReload")
}

/// The conditions for which systemd passed over the unit's last start, as its file has
/// them; `None` if it didn't.
#[must_use]
pub fn unmet_conditions(unit: &Properties) -> Option<Outside> {
    if flag(unit, "ConditionResult") != Some(false) {
        return None;
    }
    let condition = |value: &Value| {
        // Name, whether it is one of several alternatives, whether it is negated, its
        // parameter, and how it turned out: negative if not met.
        let fields = value.downcast_ref::<&Structure>().ok()?.fields();
        let [name, alternative, negated, parameter, result] = fields else {
            return None;
        };
        if result.downcast_ref::<i32>().ok()? >= 0 {
            return None;
        }
        let mark =
            |field: &Value, mark| Some(if field.downcast_ref::<bool>().ok()? { mark } else { "" });
        Some(format!(
            "{}={}{}{}",
            name.downcast_ref::<&str>().ok()?,
            mark(alternative, "|")?,
            mark(negated, "!")?,
            parameter.downcast_ref::<&str>().ok()?
        ))
    };
    let conditions = unit.get("Conditions").and_then(|list| list.downcast_ref::<&Array>().ok());
    let unmet: Vec<String> = conditions?.inner().iter().filter_map(condition).collect();
    (!unmet.is_empty()).then(|| Outside::new(&unmet.join(", ")))
}

/// A state, since when it has been in it (`CLOCK_MONOTONIC` µs), in order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The time.
    pub monotonic_us: u64,
    /// The state.
    pub state: UnitState,
}

/// The states a unit was in, as far as its properties remember: the times of the last
/// change into and out of `active` and `inactive`, and what it is now.
#[must_use]
pub fn states(unit: &Properties, service: &Properties) -> Vec<Since> {
    let Some(now) = text(unit, "ActiveState") else {
        return Vec::new();
    };
    let sub_state = text(unit, "SubState");
    let time =
        |name: &str| number(unit, &format!("{name}TimestampMonotonic")).filter(|time| *time > 0);
    let began = time("InactiveExit").unwrap_or(0);
    let again = unit_state::is_again(sub_state.as_deref());
    // What waits for its next start has the result of the one before.
    let result = text(service, "Result");
    let failed = now == "failed" || again && result.as_deref().is_some_and(|it| it != "success");
    let over = if failed { "failed" } else { "inactive" };
    let mut states: Vec<Since> = [
        ("InactiveExit", "activating"),
        ("ActiveEnter", "active"),
        ("ActiveExit", "deactivating"),
        ("InactiveEnter", over),
    ]
    .into_iter()
    .filter_map(|(name, state)| {
        let monotonic_us = time(name)?;
        // What came before is of an earlier start.
        let counts = monotonic_us >= began || again;
        counts.then(|| Since {
            monotonic_us,
            state: UnitState { active_state: state.to_owned(), ..UnitState::default() },
        })
    })
    .collect();
    // One that was loaded only now has been in no state at any time.
    let Some(changed) = time("StateChange") else {
        return Vec::new();
    };
    let current = Since {
        monotonic_us: changed,
        state: UnitState {
            active_state: now,
            sub_state,
            result,
            reload_result: text(service, "ReloadResult"),
            main_pid: integer(service, "MainPID").filter(|pid| *pid > 0),
            restarts: integer(service, "NRestarts"),
        },
    };
    // Two at one time are one step to the later of them.
    states.sort_by_key(|since| since.monotonic_us);
    states.dedup_by(|later, earlier| {
        let same = later.monotonic_us == earlier.monotonic_us;
        if same {
            earlier.state = later.state.clone();
        }
        same
    });
    states.retain(|since| since.monotonic_us < current.monotonic_us);
    states.push(current);
    states
}

/// When the unit's last start began, `CLOCK_MONOTONIC` µs; 0 if none has.
#[must_use]
pub fn began_us(unit: &Properties) -> u64 {
    number(unit, "InactiveExitTimestampMonotonic").unwrap_or(0)
}

/// `InvocationID`, as the environment variable has it.
#[must_use]
pub fn invocation_id(unit: &Properties) -> Option<String> {
    let bytes = unit.get("InvocationID")?.downcast_ref::<Array>().ok()?;
    let bytes = bytes.inner().iter().filter_map(|byte| byte.downcast_ref::<u8>().ok());
    let hex = bytes.fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    (!hex.is_empty()).then_some(hex)
}

/// How many elements a list has.
#[must_use]
pub fn length(properties: &Properties, name: &str) -> u32 {
    let list = properties.get(name).and_then(|list| list.downcast_ref::<&Array>().ok());
    list.map_or(0, |list| u32::try_from(list.len()).unwrap_or(u32::MAX))
}

/// A list of names, as many as fit.
#[must_use]
pub fn names(properties: &Properties, name: &str) -> Vec<String> {
    let list = properties.get(name).and_then(|list| list.downcast_ref::<&Array>().ok());
    let words = list.map(|list| list.inner().iter()).into_iter().flatten().take(MAX_NAMES);
    words.filter_map(|word| Some(word.downcast_ref::<&str>().ok()?.to_owned())).collect()
}

/// A text; `None` if it is empty.
#[must_use]
pub fn text(properties: &Properties, name: &str) -> Option<String> {
    any_text(properties, name).filter(|text| !text.is_empty())
}

fn any_text(properties: &Properties, name: &str) -> Option<String> {
    let text = properties.get(name)?.downcast_ref::<&str>().ok()?;
    Some(clipped(text, LONGEST_TEXT).into_owned())
}

fn flag(properties: &Properties, name: &str) -> Option<bool> {
    properties.get(name)?.downcast_ref().ok()
}

fn number(properties: &Properties, name: &str) -> Option<u64> {
    properties.get(name)?.downcast_ref().ok()
}

/// A number of 32 bits, signed or not.
#[must_use]
pub fn integer(properties: &Properties, name: &str) -> Option<u32> {
    let value = properties.get(name)?;
    value
        .downcast_ref::<u32>()
        .ok()
        .or_else(|| value.downcast_ref::<i32>().ok().and_then(|number| u32::try_from(number).ok()))
}

/// Exit statuses: `(codes, signals)`.
fn statuses(properties: &Properties, name: &str) -> Option<ExitStatuses> {
    let pair = properties.get(name)?.downcast_ref::<&Structure>().ok()?;
    let [codes, signals] = pair.fields() else {
        return None;
    };
    let numbers = |list: &Value| -> Option<Vec<u32>> {
        let list = list.downcast_ref::<&Array>().ok()?;
        Some(
            list.inner()
                .iter()
                .take(MAX_STATUSES)
                .filter_map(|number| u32::try_from(number.downcast_ref::<i32>().ok()?).ok())
                .collect(),
        )
    };
    Some(ExitStatuses {
        codes: numbers(codes)?.into_iter().filter_map(|code| code.try_into().ok()).collect(),
        signals: numbers(signals)?.into_iter().filter_map(Signal::from_number).collect(),
    })
}

/// A command line of `ExecStart=` and its like.
struct Command {
    argv: Vec<String>,
    ignores_failure: bool,
}

/// Commands as lines, as many as fit.
fn lines(commands: &[Command]) -> Vec<String> {
    let mut room = LONGEST_COMMANDS;
    let mut lines = Vec::new();
    for command in commands {
        if room == 0 {
            break;
        }
        let line = clipped(&command.argv.join(" "), room).into_owned();
        room = room.saturating_sub(line.chars().count().max(1));
        lines.push(line);
    }
    lines
}

/// Command lines: `(path, argv, whether failure is ignored, …)`.
fn commands(properties: &Properties, name: &str) -> Option<Vec<Command>> {
    let list = properties.get(name)?.downcast_ref::<&Array>().ok()?;
    let command = |value: &Value| {
        let fields = value.downcast_ref::<&Structure>().ok()?.fields();
        let argv = fields.get(1)?.downcast_ref::<&Array>().ok()?;
        let words = argv.inner().iter().filter_map(|word| word.downcast_ref::<&str>().ok());
        Some(Command {
            argv: words.map(str::to_owned).collect(),
            ignores_failure: fields.get(2)?.downcast_ref().ok()?,
        })
    };
    Some(list.inner().iter().filter_map(command).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::systemd) fn properties(pairs: &[(&str, Value<'_>)]) -> Properties {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.try_to_owned().unwrap()))
            .collect()
    }

    fn command(argv: &[&str], ignored: bool) -> Value<'static> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let path = argv[0].clone();
        Value::from(vec![(path, argv, ignored, 0_u64)])
    }

    #[test]
    fn settings_are_read_and_what_this_systemd_has_not_is_unknown() {
        let facts = facts(
            &Properties::new(),
            &properties(&[
                ("Type", "simple".into()),
                ("Restart", "on-failure".into()),
                ("ExecReload", command(&["/bin/kill", "-HUP", "$MAINPID"], false)),
                ("ExecStart", command(&["/usr/bin/patroni"], true)),
                ("SuccessExitStatus", Value::from((vec![3_i32, 250], vec![10_i32]))),
                ("TimeoutStartUSec", u64::MAX.into()),
                ("ControlGroup", "/system.slice/patroni.service".into()),
            ]),
        );
        assert_eq!(facts.service_type.as_deref(), Some("simple"));
        assert_eq!(facts.reload_signal, Some(Signal::HUP));
        assert_eq!(facts.exec_reload, Some(vec!["/bin/kill -HUP $MAINPID".to_owned()]));
        assert_eq!(facts.ignores_failure, Some(true));
        let success = facts.success_exit_status.unwrap();
        assert_eq!((success.codes, success.signals.len()), (vec![3, 250], 1));
        assert_eq!(facts.timeout_start_ns, Some(0));
        assert_eq!(facts.control_group.as_deref(), Some("/system.slice/patroni.service"));
        assert_eq!((facts.notify_access, facts.restart_force_exit_status), (None, None));
    }

    #[test]
    fn conditions_that_were_not_met_are_named_as_in_the_unit_file() {
        let conditions = Value::from(vec![
            ("ConditionPathExists", false, false, "/nowhere", -1_i32),
            ("ConditionPathExists", true, true, "/", -1),
            ("ConditionUser", false, false, "root", 1),
            ("ConditionHost", false, false, "never-looked-at", 0),
        ]);
        let unit = properties(&[("ConditionResult", false.into()), ("Conditions", conditions)]);
        let unmet = unmet_conditions(&unit).unwrap().to_string();
        assert_eq!(unmet, "ConditionPathExists=/nowhere, ConditionPathExists=|!/");
        assert_eq!(unmet_conditions(&properties(&[("ConditionResult", true.into())])), None);
    }

    #[test]
    fn notify_reload_has_a_signal_of_its_own() {
        let facts = facts(
            &Properties::new(),
            &properties(&[("Type", "notify-reload".into()), ("ReloadSignal", 12_i32.into())]),
        );
        assert_eq!(facts.reload_signal, "USR2".parse().ok());
    }

    #[test]
    fn one_snapshot_tells_of_the_states_before_it() {
        let unit = properties(&[
            ("ActiveState", "failed".into()),
            ("SubState", "failed".into()),
            ("InactiveExitTimestampMonotonic", 100_u64.into()),
            ("ActiveEnterTimestampMonotonic", 200_u64.into()),
            ("ActiveExitTimestampMonotonic", 300_u64.into()),
            ("InactiveEnterTimestampMonotonic", 300_u64.into()),
            ("StateChangeTimestampMonotonic", 300_u64.into()),
        ]);
        let service = properties(&[("Result", "signal".into()), ("MainPID", 0_u32.into())]);
        let states = states(&unit, &service);
        let told: Vec<_> =
            states.iter().map(|s| (s.monotonic_us, s.state.active_state.as_str())).collect();
        assert_eq!(told, [(100, "activating"), (200, "active"), (300, "failed")]);
        assert_eq!(states[2].state.result.as_deref(), Some("signal"));
        assert_eq!(states[2].state.main_pid, None);
    }

    #[test]
    fn what_was_before_the_last_start_is_not_told_again() {
        let unit = properties(&[
            ("ActiveState", "active".into()),
            ("SubState", "running".into()),
            ("InactiveExitTimestampMonotonic", 500_u64.into()),
            ("ActiveEnterTimestampMonotonic", 500_u64.into()),
            ("ActiveExitTimestampMonotonic", 300_u64.into()),
            ("InactiveEnterTimestampMonotonic", 310_u64.into()),
            ("StateChangeTimestampMonotonic", 500_u64.into()),
        ]);
        let states = states(&unit, &Properties::new());
        assert_eq!(states.len(), 1);
        assert_eq!(states[0].state.sub_state.as_deref(), Some("running"));
    }

    #[test]
    fn an_invocation_id_is_written_as_in_the_environment() {
        let unit = properties(&[("InvocationID", Value::from(vec![0_u8, 0xab, 1]))]);
        assert_eq!(invocation_id(&unit).as_deref(), Some("00ab01"));
        let none = properties(&[("InvocationID", Value::from(Vec::<u8>::new()))]);
        assert_eq!(invocation_id(&none), None);
    }

    #[test]
    fn a_unit_that_was_not_loaded_well_has_a_reason() {
        let why = |state: &str| {
            let unit = [("Id", Value::from("a\x1b.service")), ("LoadState", state.into())];
            problem(&properties(&unit))
        };
        assert_eq!(why("loaded"), None);
        assert_eq!(why("masked").unwrap(), "a\\x1b.service is masked");
        assert_eq!(why("not-found").unwrap(), "systemd has no unit file of a\\x1b.service");
        for bad in ["bad-setting", "error"] {
            assert_eq!(why(bad).unwrap(), "systemd could not read all of a\\x1b.service");
        }
    }

    #[test]
    fn of_a_unit_that_is_about_to_be_restarted_the_end_before_is_told_too() {
        let unit = |sub_state: &'static str| {
            properties(&[
                ("ActiveState", "activating".into()),
                ("SubState", sub_state.into()),
                ("InactiveExitTimestampMonotonic", 400_u64.into()),
                ("ActiveEnterTimestampMonotonic", 200_u64.into()),
                ("ActiveExitTimestampMonotonic", 300_u64.into()),
                ("InactiveEnterTimestampMonotonic", 390_u64.into()),
                ("StateChangeTimestampMonotonic", 400_u64.into()),
            ])
        };
        let times = |sub_state| -> Vec<u64> {
            states(&unit(sub_state), &Properties::new()).iter().map(|it| it.monotonic_us).collect()
        };
        assert_eq!(times("auto-restart"), [200, 300, 390, 400]);
        assert_eq!(times("auto-restart-queued"), [200, 300, 390, 400], "systemd 254");
        assert_eq!(times("start"), [400]);
        let end = |result: &'static str| {
            let service = properties(&[("Result", result.into())]);
            states(&unit("auto-restart"), &service)[2].state.active_state.clone()
        };
        assert_eq!((end("exit-code"), end("success")), ("failed".into(), "inactive".into()));
    }

    #[test]
    fn a_unit_kept_elsewhere_is_not_the_one_in_this_cgroup() {
        let kept = |path: &'static str| {
            let service = properties(&[("ControlGroup", path.into())]);
            let cgroup = "/box/payload/system.slice/a.service";
            kept_elsewhere(&service, cgroup).map(|path| path.to_string())
        };
        assert_eq!(kept("/system.slice/a.service"), None);
        assert_eq!(kept("/box/payload/system.slice/a.service"), None);
        assert_eq!(kept(""), None);
        assert_eq!(kept("/b.slice/a.service").as_deref(), Some("/b.slice/a.service"));
        assert_eq!(kept("/a.service\n").as_deref(), Some("/a.service\\n"));
    }

    #[test]
    fn flags_times_and_texts_are_read_as_they_are() {
        let facts = |flag: bool, time: u64, pid_file: &'static str| {
            facts(
                &Properties::new(),
                &properties(&[
                    ("RemainAfterExit", flag.into()),
                    ("TimeoutStartUSec", time.into()),
                    ("PIDFile", pid_file.into()),
                    ("KillMode", "mixed".into()),
                    ("KillSignal", 1_i32.into()),
                    ("RestartKillSignal", 12_i32.into()),
                    ("WatchdogUSec", time.into()),
                ]),
            )
        };
        let yes = facts(true, 90_000_000, "/run/x");
        assert_eq!((yes.remain_after_exit, facts(false, 0, "").remain_after_exit), {
            (Some(true), Some(false))
        });
        let times = |facts: &UnitFacts| [facts.timeout_start_ns, facts.watchdog_ns];
        assert_eq!(times(&yes), [Some(90_000_000_000); 2]);
        assert_eq!(times(&facts(true, u64::MAX, "")), [Some(0); 2], "there is none");
        assert_eq!(times(&facts(true, 0, "")), [Some(0); 2]);
        // That there is none is known of a PIDFile=.
        let files = (yes.pid_file.as_deref(), facts(true, 0, "").pid_file);
        assert_eq!(files, (Some("/run/x"), Some(String::new())));
        assert_eq!(yes.kill_mode.as_deref(), Some("mixed"));
        let stops = ["HUP", "USR2", "TERM"].map(|name| yes.stops_by(name.parse().unwrap()));
        assert_eq!(stops, [true, true, false]);
        for can in [true, false] {
            assert_eq!(can_reload(&properties(&[("CanReload", can.into())])), Some(can));
        }
        assert_eq!(can_reload(&Properties::new()), None);
    }

    #[test]
    fn what_is_now_comes_last_and_a_unit_that_never_changed_has_no_states() {
        let unit = |inactive_exit: u64, change: u64| {
            properties(&[
                ("ActiveState", "active".into()),
                ("InactiveExitTimestampMonotonic", inactive_exit.into()),
                ("ActiveEnterTimestampMonotonic", 700_u64.into()),
                ("StateChangeTimestampMonotonic", change.into()),
            ])
        };
        let service = properties(&[("MainPID", 7_u32.into()), ("NRestarts", 2_u32.into())]);
        let told = |inactive_exit, change| -> Vec<(u64, String)> {
            let states = states(&unit(inactive_exit, change), &service);
            states.into_iter().map(|it| (it.monotonic_us, it.state.active_state)).collect()
        };
        let state = |at: u64, state: &str| (at, state.to_owned());
        // The later of what was at one time is told, and nothing from after what is now.
        assert_eq!(told(500, 600), [state(500, "activating"), state(600, "active")]);
        assert_eq!(told(700, 800), [state(700, "active"), state(800, "active")]);
        assert_eq!(told(500, 0), []);
        assert_eq!(told(0, 800), [state(700, "active"), state(800, "active")]);
        let now = states(&unit(500, 600), &service).pop().unwrap().state;
        assert_eq!((now.main_pid, now.restarts), (Some(7), Some(2)));
    }

    #[test]
    fn numbers_and_lists_are_read_and_are_nothing_where_they_are_not_told() {
        let units = Value::from(vec!["a.service", "b.service"]);
        let unit = properties(&[
            ("InactiveExitTimestampMonotonic", 500_u64.into()),
            ("RequiredBy", units),
        ]);
        assert_eq!((began_us(&unit), began_us(&Properties::new())), (500, 0));
        assert_eq!(names(&unit, "RequiredBy"), ["a.service", "b.service"]);
        assert_eq!(names(&unit, "BoundBy"), [""; 0]);
        assert_eq!((length(&unit, "RequiredBy"), length(&unit, "BoundBy")), (2, 0));
    }

    #[test]
    fn what_a_setting_says_is_bounded() {
        let long = "x".repeat(1 << 20);
        let commands =
            Value::from(vec![(long.clone(), vec![long.clone(), long.clone()], false, 0_u64); 100]);
        let statuses = Value::from((vec![1_i32; 100_000], vec![1_i32; 100_000]));
        let facts = facts(
            &Properties::new(),
            &properties(&[
                ("Type", long.as_str().into()),
                ("ExecStart", commands),
                ("SuccessExitStatus", statuses),
            ]),
        );
        assert_eq!(facts.service_type.unwrap().chars().count(), LONGEST_TEXT);
        let start = facts.exec_start.unwrap();
        assert_eq!(start.iter().map(|line| line.chars().count()).sum::<usize>(), LONGEST_COMMANDS);
        let statuses = facts.success_exit_status.unwrap();
        assert_eq!((statuses.codes.len(), statuses.signals.len()), (MAX_STATUSES, MAX_STATUSES));
        let units = Value::from(vec!["a.service"; 1_000]);
        assert_eq!(names(&properties(&[("Triggers", units)]), "Triggers").len(), MAX_NAMES);
        // A command without words takes room too.
        let empty = vec![Command { argv: Vec::new(), ignores_failure: false }];
        assert_eq!(lines(&empty), [""]);
    }

    #[test]
    fn the_limit_of_starts_may_be_none_or_for_ever_and_the_delay_may_grow() {
        let told = |burst: u32, within: u64, delay: u64, steps: u32| {
            let unit = properties(&[
                ("StartLimitBurst", burst.into()),
                ("StartLimitIntervalUSec", within.into()),
                ("StartLimitAction", "reboot".into()),
            ]);
            let service =
                properties(&[("RestartUSec", delay.into()), ("RestartSteps", steps.into())]);
            let facts = facts(&unit, &service);
            let limit = facts.start_limit.unwrap();
            assert_eq!(limit.action.as_deref(), Some("reboot"));
            (limit.starts, limit.within_ns, facts.restart_delay_ns)
        };
        assert_eq!(told(1, 10_000_000, 100_000, 0), (1, Some(10_000_000_000), Some(100_000_000)));
        assert_eq!(told(5, 0, u64::MAX, 0), (5, Some(0), None));
        assert_eq!(told(0, u64::MAX, 100_000, 3), (0, None, None));
        assert_eq!(facts(&Properties::new(), &Properties::new()).start_limit, None);
    }

    #[test]
    fn a_restart_that_never_comes_is_told_as_that() {
        let never = |delay: u64| {
            let service = properties(&[("RestartUSec", delay.into())]);
            facts(&Properties::new(), &service).restart_never
        };
        assert_eq!([never(u64::MAX), never(100_000)], [Some(true), Some(false)]);
        assert_eq!(facts(&Properties::new(), &Properties::new()).restart_never, None);
    }

    #[test]
    fn how_the_last_reload_ended_is_in_its_state() {
        let unit = properties(&[
            ("ActiveState", "active".into()),
            ("StateChangeTimestampMonotonic", 400_u64.into()),
        ]);
        let service = properties(&[("ReloadResult", "exit-code".into())]);
        let states = states(&unit, &service);
        assert_eq!(states.last().unwrap().state.reload_result.as_deref(), Some("exit-code"));
    }
}
