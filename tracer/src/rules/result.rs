//! What systemd makes of the end of a service's main process: its `Result=`, and
//! whether Restart= acts on it. `service_sigchld_event()`, `service_enter_running()` and
//! `service_shall_restart()` in systemd's src/core/service.c (the same in 252 and 257),
//! and the table under Restart= in systemd.service(5).

use std::fmt;

use crate::model::{
    signal::Signal,
    unit::{ExitStatuses, UnitFacts},
};

/// systemd's `Result=` of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceResult {
    /// `success`
    Success,
    /// `exit-code`
    ExitCode,
    /// `signal`
    Signal,
    /// `core-dump`
    CoreDump,
    /// `protocol`
    Protocol,
    /// `timeout`
    Timeout,
    /// `watchdog`
    Watchdog,
}

impl ServiceResult {
    /// systemd's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Watchdog => "watchdog",
        }
    }

    /// What systemd's word for it may be once it has refused the start that was to follow.
    #[must_use]
    pub fn after_refused_start(self, facts: &UnitFacts) -> RefusedResult {
        let kept = match (self, facts.keeps_result_at_limit()) {
            (Self::Success, _) | (_, Some(false)) => None,
            _ => Some(self.name()),
        };
        let replaced = kept.is_none() || facts.keeps_result_at_limit().is_none();
        RefusedResult { kept, replaced: replaced.then_some("start-limit-hit") }
    }

    /// Whether `Restart=setting` restarts a service with this result; `None` if
    /// there is no such setting.
    #[must_use]
    pub fn restarts(self, setting: &str) -> Option<bool> {
        Some(match setting {
            "no" => false,
            "on-watchdog" => self == Self::Watchdog,
            "always" => true,
            "on-success" => self == Self::Success,
            "on-failure" => self != Self::Success,
            "on-abnormal" => !matches!(self, Self::Success | Self::ExitCode),
            "on-abort" => matches!(self, Self::Signal | Self::CoreDump),
            _ => return None,
        })
    }
}

/// The `Result=` of a service whose next start was refused: of an end before it, or that of the
/// refusal. Both where releases differ, and which it is is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedResult {
    kept: Option<&'static str>,
    replaced: Option<&'static str>,
}

impl RefusedResult {
    /// Whether it may be this.
    #[must_use]
    pub fn may_be(self, result: &str) -> bool {
        self.kept == Some(result) || self.replaced == Some(result)
    }
}

impl fmt::Display for RefusedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kept, self.replaced) {
            (Some(kept), Some(replaced)) => {
                write!(f, "result '{kept}', or '{replaced}' under newer releases of systemd")
            }
            (one, other) => write!(f, "result '{}'", one.or(other).unwrap_or_default()),
        }
    }
}

/// How a main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal killed it.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether it dumped core: such an end is never clean.
        core_dumped: bool,
    },
    /// It called exit.
    Code(u8),
}

impl End {
    /// The one that is told by a signal, or by an exit code.
    #[must_use]
    pub fn of(signal: Option<Signal>, code: Option<u8>, core_dumped: bool) -> Option<Self> {
        signal.map(|signal| Self::Signal { signal, core_dumped }).or(code.map(Self::Code))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal { signal, .. } => write!(f, "death by {signal}"),
            Self::Code(code) => write!(f, "an exit with code {code}"),
        }
    }
}

impl End {
    /// Whether a long-running service may end so, without any `SuccessExitStatus=`.
    #[must_use]
    pub fn is_clean(self) -> bool {
        match self {
            Self::Signal { signal, core_dumped } => {
                !core_dumped
                    && [Signal::HUP, Signal::INT, Signal::TERM, Signal::PIPE].contains(&signal)
            }
            Self::Code(code) => code == 0,
        }
    }

    /// The result where it is not clean.
    #[must_use]
    pub fn unclean_result(self) -> ServiceResult {
        match self {
            Self::Signal { core_dumped: true, .. } => ServiceResult::CoreDump,
            Self::Signal { .. } => ServiceResult::Signal,
            Self::Code(_) => ServiceResult::ExitCode,
        }
    }

    fn is_signal(self) -> bool {
        matches!(self, Self::Signal { .. })
    }

    /// Whether it is in a list of exit statuses (`exit_status_set_test`).
    #[must_use]
    pub fn is_in(self, list: Option<&ExitStatuses>) -> bool {
        list.is_some_and(|list| match self {
            Self::Signal { signal, .. } => list.signals.contains(&signal),
            Self::Code(code) => list.codes.contains(&code),
        })
    }
}

/// How far the service's start was when its main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// systemd still waited: for READY=1, for the bus name, for ExecStart= to return.
    Starting,
    /// What ExecStart= ran has left a daemon behind, and its PIDFile= is not there: systemd does not
    /// know of it, nor of its end (`main_pid_good` in src/core/service.c, 252 to 262).
    Unwatched,
    /// It was up.
    Started,
    /// That is not known.
    Unknown,
}

/// What systemd does about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// Its `Result=`.
    pub result: ServiceResult,
    /// Whether it starts the service again; `None` where Restart= is unknown.
    pub restarts: Option<bool>,
    /// What decided on that.
    pub decided_by: Decider,
}

/// What decides whether a service is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// `Restart=`
    Restart,
    /// `RestartPreventExitStatus=`
    Prevent,
    /// `RestartForceExitStatus=`
    Force,
    /// `RemainAfterExit=`: to systemd it has not ended.
    Remain,
    /// `RestartSec=infinity`: it is to be started again, and waits for that for ever.
    Delay,
    /// That systemd knows no main process: it sees that nothing of the service is left.
    NoMain,
}

/// What systemd does when the main process of a unit with these settings ends; `None` if
/// that depends on what is not known.
#[must_use]
pub fn predict(facts: &UnitFacts, end: End, stage: Stage) -> Option<Prediction> {
    let result = result(facts, end, stage)?;
    let predicted = decide(facts, end, stage, result);
    let is_unknown_to_systemd = facts.has_no_main() && stage != Stage::Starting;
    Some(match predicted.decided_by {
        Decider::Restart if is_unknown_to_systemd => {
            Prediction { decided_by: Decider::NoMain, ..predicted }
        }
        _ => predicted,
    })
}

/// The same where a command of ExecStop= or ExecStopPost=, which ran once the main process had
/// ended well, ended so and failed.
#[must_use]
pub fn predict_stop(facts: &UnitFacts, end: End, stage: Stage, stop: End) -> Prediction {
    decide(facts, end, stage, stop.unclean_result())
}

/// What `Restart=` does after this result.
#[must_use]
pub fn predict_result(facts: &UnitFacts, result: ServiceResult) -> Prediction {
    let setting = facts.restart.as_deref();
    let restarts = setting.and_then(|setting| result.restarts(setting));
    delayed(facts, Prediction { result, restarts, decided_by: Decider::Restart })
}

/// What is to be started again may have to wait for that for ever.
fn delayed(facts: &UnitFacts, predicted: Prediction) -> Prediction {
    let is_never = predicted.restarts == Some(true) && facts.restart_never == Some(true);
    let never = Prediction { restarts: Some(false), decided_by: Decider::Delay, ..predicted };
    if is_never { never } else { predicted }
}

/// Whether a service with this result is started again (`service_shall_restart`).
fn decide(facts: &UnitFacts, end: End, stage: Stage, result: ServiceResult) -> Prediction {
    // The lists are about the main process, and until ExecStart= has returned there is none.
    let is_known = !matches!(stage, Stage::Starting | Stage::Unwatched);
    let has_main = !facts.has_no_main() && (!facts.is_forking() || is_known);
    let prevent = facts.restart_prevent_exit_status.as_ref().filter(|_| has_main);
    let force = facts.restart_force_exit_status.as_ref().filter(|_| has_main);
    let remains = result == ServiceResult::Success && facts.remain_after_exit == Some(true);
    let (restarts, decided_by) = if remains {
        (Some(false), Decider::Remain)
    } else if end.is_in(prevent) {
        (Some(false), Decider::Prevent)
    } else if end.is_in(force) {
        (Some(true), Decider::Force)
    } else {
        return predict_result(facts, result);
    };
    delayed(facts, Prediction { result, restarts, decided_by })
}

fn result(facts: &UnitFacts, end: End, stage: Stage) -> Option<ServiceResult> {
    if stage == Stage::Unwatched {
        return Some(ServiceResult::Timeout);
    }
    let is_clean = |daemon: bool| {
        let listed = end.is_in(facts.success_exit_status.as_ref());
        let dumped = matches!(end, End::Signal { core_dumped: true, .. });
        let clean = (end.is_clean() && (daemon || !end.is_signal())) || (listed && !dumped);
        clean || facts.ignores_failure == Some(true)
    };
    let of = |daemon| if is_clean(daemon) { ServiceResult::Success } else { end.unclean_result() };
    // systemd does not see the end, but that nothing of the service is left.
    if facts.has_no_main() && stage == Stage::Started {
        return Some(ServiceResult::Success);
    }
    Some(match facts.service_type.as_deref()? {
        // It has never been up, so it can't have ended well.
        "notify" | "notify-reload" if is_clean(true) && stage != Stage::Started => {
            let waits_on = facts.remain_after_exit == Some(true)
                && facts.notify_access.as_deref() != Some("main");
            match stage {
                Stage::Starting if !waits_on => ServiceResult::Protocol,
                _ => return None,
            }
        }
        // What ExecStart= runs may end well and leave no daemon behind: a failure where a
        // PIDFile= is due, and a success where none is.
        "forking" if is_clean(true) && stage != Stage::Started => {
            match (stage, facts.pid_file.as_deref()) {
                (Stage::Starting, Some("")) => ServiceResult::Success,
                (Stage::Starting, Some(_)) => ServiceResult::Protocol,
                _ => return None,
            }
        }
        // The loss of its name may come before the news of its end, and then it remains.
        "dbus" if !is_clean(true) && facts.remain_after_exit == Some(true) => return None,
        // No signal is a clean end for what is to finish by itself.
        "oneshot" => of(false),
        "simple" | "exec" | "idle" | "dbus" | "forking" | "notify" | "notify-reload" => of(true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(name: &str) -> End {
        End::Signal { signal: name.parse().unwrap(), core_dumped: false }
    }

    fn unit(service_type: &str) -> UnitFacts {
        UnitFacts { service_type: Some(service_type.to_owned()), ..UnitFacts::default() }
    }

    #[test]
    fn the_result_follows_type_and_signal_as_in_systemd() {
        use ServiceResult as R;
        use Stage::{Started, Starting, Unknown};
        let core = End::Signal { signal: "QUIT".parse().unwrap(), core_dumped: true };
        #[rustfmt::skip]
        let matrix = [
            // Type=          end               stage     result
            ("simple",        signal("HUP"),    Started,  Some(R::Success)),
            ("simple",        signal("INT"),    Started,  Some(R::Success)),
            ("simple",        signal("TERM"),   Started,  Some(R::Success)),
            ("simple",        signal("PIPE"),   Started,  Some(R::Success)),
            ("simple",        signal("USR1"),   Started,  Some(R::Signal)),
            ("simple",        signal("USR2"),   Started,  Some(R::Signal)),
            ("simple",        signal("KILL"),   Started,  Some(R::Signal)),
            ("simple",        core,             Started,  Some(R::CoreDump)),
            ("simple",        End::Code(0),     Started,  Some(R::Success)),
            ("simple",        End::Code(129),   Started,  Some(R::ExitCode)),
            ("exec",          signal("HUP"),    Started,  Some(R::Success)),
            ("idle",          signal("HUP"),    Started,  Some(R::Success)),
            ("dbus",          signal("HUP"),    Starting, Some(R::Success)),
            ("dbus",          signal("USR1"),   Started,  Some(R::Signal)),
            ("notify",        signal("HUP"),    Starting, Some(R::Protocol)),
            ("notify",        signal("HUP"),    Started,  Some(R::Success)),
            ("notify",        signal("USR1"),   Starting, Some(R::Signal)),
            ("notify",        signal("USR1"),   Started,  Some(R::Signal)),
            ("notify",        End::Code(0),     Starting, Some(R::Protocol)),
            ("notify",        End::Code(1),     Starting, Some(R::ExitCode)),
            ("notify-reload", signal("HUP"),    Starting, Some(R::Protocol)),
            ("notify-reload", signal("HUP"),    Started,  Some(R::Success)),
            ("oneshot",       signal("HUP"),    Starting, Some(R::Signal)),
            ("oneshot",       signal("TERM"),   Starting, Some(R::Signal)),
            ("oneshot",       End::Code(0),     Starting, Some(R::Success)),
            ("forking",       signal("HUP"),    Unknown,  None),
            ("forking",       signal("HUP"),    Starting, None),
            ("forking",       signal("USR1"),   Starting, Some(R::Signal)),
            ("forking",       signal("HUP"),    Started,  Some(R::Success)),
            ("forking",       signal("USR1"),   Unknown,  Some(R::Signal)),
            ("forking",       End::Code(0),     Unknown,  None),
            ("forking",       End::Code(0),     Started,  Some(R::Success)),
            ("of tomorrow",   signal("HUP"),    Started,  None),
        ];
        for (service_type, end, stage, expected) in matrix {
            let predicted = predict(&unit(service_type), end, stage);
            let found = predicted.map(|predicted| predicted.result);
            assert_eq!(found, expected, "{service_type}, {end:?}, {stage:?}");
        }
    }

    #[test]
    fn a_daemon_that_its_starter_never_left_fails_only_where_its_pid_is_due() {
        let told = |pid_file: &str| {
            let pid_file = Some(pid_file.to_owned());
            let facts = UnitFacts { pid_file, ..unit("forking") };
            predict(&facts, signal("HUP"), Stage::Starting).map(|predicted| predicted.result)
        };
        assert_eq!(told("/run/daemon.pid"), Some(ServiceResult::Protocol));
        assert_eq!(told(""), Some(ServiceResult::Success));
    }

    #[test]
    fn what_remains_after_its_exit_may_still_become_ready_by_another_process() {
        let told = |facts: &UnitFacts, stage| {
            predict(facts, signal("HUP"), stage).map(|predicted| predicted.result)
        };
        let notify = |access: &str, remains| UnitFacts {
            notify_access: Some(access.to_owned()),
            remain_after_exit: Some(remains),
            ..unit("notify")
        };
        assert_eq!(told(&notify("all", true), Stage::Starting), None);
        assert_eq!(told(&notify("main", true), Stage::Starting), Some(ServiceResult::Protocol));
        assert_eq!(told(&notify("all", false), Stage::Starting), Some(ServiceResult::Protocol));
        assert_eq!(told(&notify("all", false), Stage::Unknown), None);
        assert_eq!(told(&notify("all", true), Stage::Started), Some(ServiceResult::Success));
    }

    #[test]
    fn a_bus_name_that_is_lost_first_keeps_what_remains_after_its_exit() {
        let told = |name, remains| {
            let facts = UnitFacts { remain_after_exit: Some(remains), ..unit("dbus") };
            predict(&facts, signal(name), Stage::Started).map(|predicted| predicted.result)
        };
        assert_eq!(told("USR1", true), None);
        assert_eq!(told("USR1", false), Some(ServiceResult::Signal));
        assert_eq!(told("HUP", true), Some(ServiceResult::Success));
    }

    #[test]
    fn before_a_forking_service_has_a_main_process_no_list_is_about_it() {
        let hup = ExitStatuses { codes: vec![], signals: vec!["HUP".parse().unwrap()] };
        let facts = UnitFacts {
            pid_file: Some("/run/d.pid".to_owned()),
            restart: Some("no".to_owned()),
            restart_force_exit_status: Some(hup),
            ..unit("forking")
        };
        let told = |stage| predict(&facts, signal("HUP"), stage).map(|it| it.restarts);
        assert_eq!(told(Stage::Starting), Some(Some(false)));
        assert_eq!(told(Stage::Started), Some(Some(true)));
    }

    #[test]
    fn no_exit_status_makes_a_core_dump_clean() {
        let quit = "QUIT".parse().unwrap();
        let listed = ExitStatuses { codes: vec![], signals: vec![quit] };
        let facts = UnitFacts { success_exit_status: Some(listed), ..unit("simple") };
        let told = |core_dumped| {
            let end = End::Signal { signal: quit, core_dumped };
            predict(&facts, end, Stage::Started).map(|predicted| predicted.result)
        };
        assert_eq!(told(false), Some(ServiceResult::Success));
        assert_eq!(told(true), Some(ServiceResult::CoreDump));
    }

    #[test]
    fn where_systemd_knows_no_main_process_no_end_is_a_failure() {
        let facts = UnitFacts {
            pid_file: Some(String::new()),
            guess_main_pid: Some(false),
            restart: Some("on-failure".to_owned()),
            ..unit("forking")
        };
        for end in [signal("HUP"), signal("USR1"), End::Code(129)] {
            let predicted = predict(&facts, end, Stage::Started).unwrap();
            let told = (predicted.result.name(), predicted.restarts, predicted.decided_by);
            assert_eq!(told, ("success", Some(false), Decider::NoMain), "{end}");
        }
        let remains = UnitFacts { remain_after_exit: Some(true), ..facts };
        let predicted = predict(&remains, signal("USR1"), Stage::Started).unwrap();
        assert_eq!(predicted.decided_by, Decider::Remain);
    }

    #[test]
    fn a_stop_command_that_fails_makes_a_failure_of_a_clean_end() {
        let facts = UnitFacts { restart: Some("on-failure".to_owned()), ..unit("simple") };
        let predicted = predict_stop(&facts, signal("HUP"), Stage::Started, End::Code(2));
        assert_eq!((predicted.result.name(), predicted.restarts), ("exit-code", Some(true)));
    }

    #[test]
    fn listed_exit_statuses_are_clean_ends_prevent_and_force() {
        let hup: Signal = "HUP".parse().unwrap();
        let list = |codes: &[u8], signals: &[Signal]| {
            Some(ExitStatuses { codes: codes.to_vec(), signals: signals.to_vec() })
        };
        let simple = UnitFacts { restart: Some("on-failure".to_owned()), ..unit("simple") };
        let told = |facts: &UnitFacts, end| {
            let predicted = predict(facts, end, Stage::Started).unwrap();
            (predicted.result.name(), predicted.restarts, predicted.decided_by)
        };
        let more = UnitFacts { success_exit_status: list(&[3], &[]), ..simple.clone() };
        assert_eq!(told(&more, End::Code(3)), ("success", Some(false), Decider::Restart));
        let force = UnitFacts { restart_force_exit_status: list(&[], &[hup]), ..simple.clone() };
        assert_eq!(told(&force, signal("HUP")), ("success", Some(true), Decider::Force));
        let prevent = UnitFacts { restart_prevent_exit_status: list(&[1], &[]), ..simple.clone() };
        assert_eq!(told(&prevent, End::Code(1)), ("exit-code", Some(false), Decider::Prevent));
        // `service_shall_restart` asks for what prevents it first.
        let both = UnitFacts { restart_prevent_exit_status: list(&[], &[hup]), ..force.clone() };
        assert_eq!(told(&both, signal("HUP")), ("success", Some(false), Decider::Prevent));
        let ignores = UnitFacts { ignores_failure: Some(true), ..simple.clone() };
        assert_eq!(told(&ignores, signal("KILL")), ("success", Some(false), Decider::Restart));
        let remains = UnitFacts { remain_after_exit: Some(true), ..simple };
        assert_eq!(told(&remains, signal("HUP")), ("success", Some(false), Decider::Remain));
    }

    #[test]
    fn restart_follows_the_result_as_in_systemd() {
        use ServiceResult as R;
        let settings =
            ["no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"];
        #[rustfmt::skip]
        let matrix = [
            (R::Success,  [false, true, true,  false, false, false, false]),
            (R::ExitCode, [false, true, false, true,  false, false, false]),
            (R::Signal,   [false, true, false, true,  true,  true,  false]),
            (R::CoreDump, [false, true, false, true,  true,  true,  false]),
            (R::Protocol, [false, true, false, true,  true,  false, false]),
            (R::Timeout,  [false, true, false, true,  true,  false, false]),
            (R::Watchdog, [false, true, false, true,  true,  false, true]),
        ];
        for (result, row) in matrix {
            for (setting, expected) in settings.into_iter().zip(row) {
                assert_eq!(result.restarts(setting), Some(expected), "{result:?}, {setting}");
            }
            assert_eq!(result.restarts("on-whim"), None);
        }
    }

    #[test]
    fn a_refused_start_keeps_the_result_before_it_or_has_its_own() {
        let results = |version: Option<&str>| {
            let facts = UnitFacts { systemd: version.map(str::to_owned), ..unit("simple") };
            let refused = ServiceResult::ExitCode.after_refused_start(&facts);
            ["exit-code", "start-limit-hit", "signal"].map(|result| refused.may_be(result))
        };
        assert_eq!(results(Some("257.9")), [true, false, false]);
        assert_eq!(results(Some("262")), [false, true, false]);
        assert_eq!(results(None), [true, true, false]);
    }
}
