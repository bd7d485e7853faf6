//! What a reload would do now to services that run: by what the kernel holds of their main
//! processes. Pure: what /proc and systemd say in, findings out.

use tracer_common::signal::SignalSet;

use super::{
    DropIn, Finding, LintReport, Location, Look, SCHEMA, Unit, Unknown,
    death::{aftermath, by_signal, starting_again},
    early::{self, Early},
};
use crate::{
    model::{
        document::{Severity, Tool},
        runtime::Criterion,
        signal::Signal,
        unit::UnitFacts,
    },
    observation::Program,
    systemd::commands::Stop,
};

pub(super) const CHECK: super::Check = super::Check {
    id: "reload-kills-now",
    explanation: include_str!("../../docs/lint/reload-kills-now.md"),
    look: Look::Running(check),
};

/// A service that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// The file and the drop-ins that its settings are from.
    pub files: Vec<String>,
    /// Its settings.
    pub facts: UnitFacts,
    /// systemd's `ActiveState` of it.
    pub state: String,
    /// Its main process.
    pub main: Live,
}

/// A process as it is now.
#[derive(Clone, Debug)]
pub struct Live {
    /// Its pid.
    pub pid: u32,
    /// The program it runs, if that can be told.
    pub exe: Option<String>,
    /// The signals that it ignores.
    pub ignored: SignalSet,
    /// Those that it has a handler for.
    pub caught: SignalSet,
    /// Those that all of its threads block.
    pub blocked: SignalSet,
    /// Those that it has signalfds for.
    pub read: SignalSet,
    /// Whether it is the init of a pid namespace below this one: what it has no handler for
    /// does nothing to it (`sig_task_ignored` in the kernel).
    pub is_init: bool,
    /// What runs in it.
    pub program: Program,
}

/// What the reload signal meets.
enum Meets {
    /// A handler that is the program's own.
    Handler,
    Ignored,
    Default(Early),
    /// That can't be told: why not.
    Unknown(String),
}

/// ILL BUS FPE SEGV: where all of them are caught, a shell has its handler for traps on EXIT.
const FAULTS: [u32; 4] = [4, 7, 8, 11];

impl Live {
    fn meets(&self, signal: Signal) -> Meets {
        let number = signal.number();
        if self.ignored.contains(number) {
            return Meets::Ignored;
        }
        if self.blocked.contains(number) && self.read.contains(number) {
            return Meets::Handler;
        }
        if self.blocked.contains(number) {
            return Meets::Unknown(format!(
                "{signal} is blocked: whether something takes it (sigwait) is not seen"
            ));
        }
        if !self.caught.contains(number) {
            return Meets::Default(if self.is_init { Early::Lost } else { early::of(signal) });
        }
        self.whose(signal)
    }

    /// Whose a handler is that is there.
    fn whose(&self, signal: Signal) -> Meets {
        let runtime = match self.program {
            Program::Plain => return Meets::Handler,
            Program::Of(runtime) => runtime,
            Program::Unread => {
                return Meets::Unknown(format!(
                    "its executable can't be read: whether the handler of {signal} is the \
                     program's or that of a language runtime is not seen"
                ));
            }
        };
        let told = runtime.row().map(|row| row.criterion);
        let has_all = FAULTS.iter().all(|fault| self.caught.contains(*fault));
        match runtime.effect(signal) {
            None => Meets::Handler,
            // A trap for the signal alone.
            Some(_) if told == Some(Criterion::ByShared) && !has_all => Meets::Handler,
            Some(_) => Meets::Unknown(format!(
                "{} has a handler for {signal} of its own: whether the program asked for {signal} \
                 is not seen",
                runtime.name()
            )),
        }
    }
}

impl LintReport {
    /// Judges services that run.
    #[must_use]
    pub fn of_running(services: Vec<Running>, place: &Location) -> Self {
        let mut lint = Self {
            schema: SCHEMA.to_owned(),
            tool: Tool {
                name: env!("CARGO_PKG_NAME").to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            examined: services.len(),
            units: Vec::new(),
            unknown: Vec::new(),
        };
        for service in services {
            if let Some(signal) = service.facts.reload_signal
                && let Meets::Unknown(what) = service.main.meets(signal)
            {
                let what = format!("what its reload would do now: {what}");
                lint.unknown.push(Unknown { unit: service.name.clone(), what });
            }
            let findings = super::running_findings(&service, place);
            if !findings.is_empty() {
                let Running { name, files, facts, .. } = service;
                lint.units.push(Unit { name, files, unit: facts, findings });
            }
        }
        lint.sort();
        lint
    }
}

fn check(service: &Running, place: &Location) -> Option<Finding> {
    let facts = &service.facts;
    let signal = facts.reload_signal?;
    // systemd folds a reload into the start.
    if service.state == "activating" {
        return None;
    }
    let Live { pid, exe, .. } = &service.main;
    let program = exe.as_deref().map_or_else(String::new, |exe| format!(" ({exe})"));
    let meets = service.main.meets(signal);
    let (what, severity, consequence) = match meets {
        Meets::Handler | Meets::Unknown(_) => return None,
        Meets::Default(Early::Dies) => {
            let aftermath = aftermath(facts, by_signal(signal), &stop(facts))?;
            let severity = match aftermath.restarts {
                Some(false) => Severity::Error,
                _ => Severity::Warning,
            };
            let consequence = format!("Reloaded now, it dies {}.", aftermath.words);
            ("has no handler for it", severity, consequence)
        }
        Meets::Default(Early::Stops) => (
            "has no handler for it",
            Severity::Error,
            "Reloaded now, it stops until it is sent CONT.".to_owned(),
        ),
        Meets::Default(Early::Lost) => (
            "has no handler for it",
            Severity::Warning,
            format!("Reloaded now, nothing happens: {signal} does nothing to it by default."),
        ),
        Meets::Ignored => (
            "ignores it",
            Severity::Warning,
            "Reloaded now, nothing happens: the reload is lost.".to_owned(),
        ),
    };
    let drop_in = matches!(meets, Meets::Default(Early::Dies))
        .then(|| starting_again(facts, &[by_signal(signal)]))
        .flatten()
        .map(|lines| -> DropIn {
            place.drop_in(&service.name, CHECK.id, &format!("[Service]\n{lines}"))
        });
    Some(Finding {
        id: CHECK.id.to_owned(),
        severity,
        message: format!("A reload sends {signal}, and the main process {pid}{program} {what}."),
        consequence,
        mend: format!(
            "Wait for the handler if it is still starting; if it never has one, reload it in \
             another way. See which: {}",
            place.trace(&service.name, "--reload-during-start")
        ),
        drop_in,
    })
}

/// How `ExecStop=` ends once there is no main process: whether its failure counts is not told by
/// what systemd says of it here.
fn stop(facts: &UnitFacts) -> Stop {
    let first = facts.exec_stop.iter().flatten().next();
    let program = first.and_then(|line| line.split_whitespace().next());
    program.map_or(Stop::Well, |program| Stop::Unknown(program.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::runtime::Runtime;

    fn service(program: &str, caught: &[u32], restart: &str) -> Running {
        let set = |signals: &[u32]| {
            signals.iter().fold(SignalSet::EMPTY, |set, signal| set.union(SignalSet::of(*signal)))
        };
        Running {
            name: "a.service".to_owned(),
            files: Vec::new(),
            facts: UnitFacts {
                service_type: Some("notify".to_owned()),
                restart: Some(restart.to_owned()),
                reload_signal: Some(Signal::HUP),
                ..UnitFacts::default()
            },
            state: "active".to_owned(),
            main: Live {
                pid: 7,
                exe: Some(format!("/usr/bin/{program}")),
                ignored: SignalSet::EMPTY,
                caught: set(caught),
                blocked: SignalSet::EMPTY,
                read: SignalSet::EMPTY,
                is_init: false,
                program: Program::Plain,
            },
        }
    }

    fn judged(service: Running) -> (Option<Severity>, usize) {
        let place = Location { directory: "/etc/systemd/system".into(), options: String::new() };
        let lint = LintReport::of_running(vec![service], &place);
        let severity = lint.findings().next().map(|finding| finding.severity);
        (severity, lint.unknown.len())
    }

    #[test]
    fn what_a_reload_meets_is_what_the_kernel_holds() {
        assert_eq!(judged(service("daemon", &[15], "on-failure")), (Some(Severity::Error), 0));
        assert_eq!(judged(service("daemon", &[15], "always")), (Some(Severity::Warning), 0));
        assert_eq!(judged(service("daemon", &[1, 15], "no")), (None, 0));
        let mut ignoring = service("daemon", &[], "no");
        ignoring.main.ignored = SignalSet::of(1);
        assert_eq!(judged(ignoring), (Some(Severity::Warning), 0));
        let mut blocking = service("daemon", &[], "no");
        blocking.main.blocked = SignalSet::of(1);
        assert_eq!(judged(blocking.clone()), (None, 1));
        blocking.main.read = SignalSet::of(1);
        assert_eq!(judged(blocking), (None, 0), "a signalfd takes it");
        let mut init = service("daemon", &[], "no");
        init.main.is_init = true;
        assert_eq!(judged(init), (Some(Severity::Warning), 0));
        let mut starting = service("daemon", &[], "no");
        starting.state = "activating".to_owned();
        assert_eq!(judged(starting), (None, 0));
        let mut other = service("daemon", &[], "no");
        other.facts.reload_signal = None;
        assert_eq!(judged(other), (None, 0));
    }

    #[test]
    fn a_runtimes_own_handler_says_nothing() {
        let of = |program: Program, caught: &[u32]| {
            let mut service = service("daemon", caught, "no");
            service.main.program = program;
            judged(service)
        };
        let all: Vec<u32> = (1..=31).filter(|signal| ![9, 19].contains(signal)).collect();
        let (unknown, dies, none) = ((None, 1), (Some(Severity::Error), 0), (None, 0));
        assert_eq!(of(Program::Plain, &all), none, "one handler for all, the program's");
        for (runtime, caught, expected) in [
            (Runtime::Go, &all[..], unknown),
            (Runtime::Ruby, &[1, 2, 15], unknown),
            (Runtime::Ruby, &[2, 15], dies),
            (Runtime::Jvm, &[1, 2, 15], unknown),
            (Runtime::Zsh, &[1], unknown),
            (Runtime::Php, &[1, 15], unknown),
            (Runtime::Python, &[1, 2], none),
            (Runtime::Perl, &[1], none),
            (Runtime::Node, &[1, 2, 15], none),
            (Runtime::Bash, &[1, 2], none),
            (Runtime::Bash, &all, unknown),
            (Runtime::Dotnet, &[1, 2], unknown),
        ] {
            assert_eq!(of(Program::Of(runtime), caught), expected, "{runtime:?} {caught:?}");
        }
        assert_eq!(of(Program::Unread, &[1, 15]), unknown);
        assert_eq!(of(Program::Unread, &[15]), dies);
    }
}
