//! What a reload would do now to services that run: by what the kernel holds of their main
//! processes. Pure: what /proc and systemd say in, findings out.

use tracer_common::signal::SignalSet;

use super::{
    DropIn, Finding, Lint, Look, Place, SCHEMA, Unit, Unknown,
    case::{aftermath, starting_again},
    early::{self, Early},
};
use crate::{
    model::{
        document::{Severity, Tool},
        signal::Signal,
        unit::UnitFacts,
    },
    rules::result::{End, Stage, predict},
};

pub(super) const CHECK: super::Check = super::Check {
    id: "reload-kills-now",
    explanation: include_str!("../../../docs/lint/reload-kills-now.md"),
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
    /// Whether it is the init of a pid namespace below this one: what it has no handler for
    /// does nothing to it (`sig_task_ignored` in the kernel).
    pub is_init: bool,
    /// Whether it has a Java virtual machine loaded.
    pub has_jvm: bool,
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

/// From how many signals on, the faults among them, handlers are a language runtime's.
const CATCH_ALL: u32 = 12;
/// ILL BUS FPE SEGV.
const FAULTS: [u32; 4] = [4, 7, 8, 11];
/// Interpreters and virtual machines that set handlers of their own: names of programs and
/// the signals that say nothing of the program.
const RUNTIMES: [(&str, &[&str]); 6] = [
    ("ruby", &["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM"]),
    ("java", &["HUP", "INT", "TERM", "QUIT"]),
    ("node", &["USR1"]),
    ("zsh", &["HUP"]),
    ("mono", &["HUP", "QUIT", "USR1", "USR2"]),
    ("beam", &["HUP", "TERM", "QUIT", "USR1"]),
];

impl Live {
    fn meets(&self, signal: Signal) -> Meets {
        let number = signal.number();
        if self.ignored.contains(number) {
            return Meets::Ignored;
        }
        if self.blocked.contains(number) {
            return Meets::Unknown(format!(
                "{signal} is blocked: whether something takes it (signalfd, sigwait) is not seen"
            ));
        }
        if !self.caught.contains(number) {
            return Meets::Default(if self.is_init { Early::Lost } else { early::of(signal) });
        }
        let catches_all = self.caught.0.count_ones() >= CATCH_ALL
            && FAULTS.iter().all(|fault| self.caught.contains(*fault));
        let exe = self.exe.as_deref().unwrap_or_default();
        let program = exe.rsplit('/').next().unwrap_or_default();
        let runtime = RUNTIMES.iter().find(|(name, signals)| {
            let is_it = program.starts_with(name) || *name == "java" && self.has_jvm;
            is_it && signals.contains(&signal.to_string().as_str())
        });
        if catches_all {
            return Meets::Unknown(format!(
                "the handler of {signal} is one for nearly all signals, as a language runtime \
                 sets it: whether the program asked for {signal} is not seen"
            ));
        }
        match runtime {
            Some((name, _)) => Meets::Unknown(format!(
                "{name} has a handler for {signal} of its own: whether the program has one is not \
                 seen"
            )),
            None => Meets::Handler,
        }
    }
}

impl Lint {
    /// Judges services that run.
    #[must_use]
    pub fn of_running(services: Vec<Running>, place: &Place) -> Self {
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

fn check(service: &Running, place: &Place) -> Option<Finding> {
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
            let end = End::Signal { signal, core_dumped: false };
            let predicted = predict(facts, end, Stage::Started)?;
            let severity = match predicted.restarts {
                Some(true) => Severity::Warning,
                _ => Severity::Error,
            };
            let consequence = format!("Reloaded now, it dies {}.", aftermath(facts, predicted));
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
        .then(|| starting_again(facts, signal))
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

#[cfg(test)]
mod tests {
    use super::*;

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
                is_init: false,
                has_jvm: false,
            },
        }
    }

    fn judged(service: Running) -> (Option<Severity>, usize) {
        let place = Place { directory: "/etc/systemd/system".into(), options: String::new() };
        let lint = Lint::of_running(vec![service], &place);
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
        assert_eq!(judged(blocking), (None, 1));
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
        let go: Vec<u32> = (1..=31).filter(|signal| ![9, 19].contains(signal)).collect();
        assert_eq!(judged(service("prometheus", &go, "no")), (None, 1));
        assert_eq!(judged(service("ruby3.1", &[1, 2, 15], "no")), (None, 1));
        assert_eq!(judged(service("ruby3.1", &[2, 15], "no")), (Some(Severity::Error), 0));
        let mut jvm = service("jsvc", &[1, 2, 15], "no");
        jvm.main.has_jvm = true;
        assert_eq!(judged(jvm), (None, 1));
        assert_eq!(judged(service("python3.11", &[1, 2], "no")), (None, 0));
    }
}
