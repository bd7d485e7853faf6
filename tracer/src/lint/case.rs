//! A unit with what its commands mean.

use super::{
    DropIn, Location, Subject,
    death::{Aftermath, aftermath, by_signal, starting_again},
    early::{self, Early},
};
use crate::{
    model::{event::Runtime, programs::runtime, signal::Signal, unit::UnitFacts},
    rules::result::End,
    systemd::commands::{
        Budget, MainProcess, Nobody, Reload, Sent, SentSignal, Stay, Stop, Takes, Target, Waiting,
        When, holds, is_shell, main_process, reload, stop,
    },
};

/// A unit that is judged.
pub(super) struct Case<'a> {
    pub name: &'a str,
    pub facts: &'a UnitFacts,
    pub place: &'a Location,
    /// Whether systemd waits for WATCHDOG=1 while it is up.
    pub has_watchdog: bool,
    /// Whether it runs as somebody else than root.
    pub has_user: bool,
    /// The main process; `None` where there is no command.
    pub main: Option<MainProcess>,
    /// What its `ExecReload=` does.
    reload: Reload,
    /// What a reload sends, first to last, with whom it reaches as far as the unit tells.
    pub sent: Vec<Sent>,
    /// The program of `ExecStart=`.
    program: Option<String>,
    /// Whether its `ExecStartPost=` keeps the unit from being up; `None` if that depends on
    /// the programs it runs.
    holds: Option<bool>,
    /// How its `ExecStop=` ends once there is no main process.
    stop: Stop,
}

impl<'a> Case<'a> {
    pub fn new(subject: &'a Subject, place: &'a Location) -> Self {
        let mut budget = Budget::default();
        let commands = &subject.commands;
        let start = commands.start.last();
        let main = start.map(|command| main_process(command, &mut budget));
        let program = match &main {
            Some(MainProcess::Program { name, .. }) => Some(name.clone()),
            _ => start.and_then(|it| it.argv.first()).cloned(),
        };
        let mut case = Self {
            name: &subject.name,
            facts: &subject.facts,
            place,
            has_watchdog: commands.has_watchdog,
            has_user: commands.has_user,
            reload: reload(&commands.reload, Some(&subject.name), &mut budget),
            sent: Vec::new(),
            program,
            main,
            holds: holds(&commands.start_post, &mut budget),
            stop: stop(&commands.stop, &mut budget),
        };
        let command_line = start.map(|it| it.argv.join(" ")).unwrap_or_default();
        case.sent = case.signals(&command_line);
        case
    }

    /// What a reload sends, to whom by these settings.
    fn signals(&self, command_line: &str) -> Vec<Sent> {
        // systemd itself sends that of notify-reload, before it runs ExecReload=
        // (`service_enter_reload` in src/core/service.c).
        let by_systemd = self.facts.reload_signal.filter(|_| self.is_type("notify-reload"));
        let by_systemd = by_systemd.map(|signal| Sent {
            signal: SentSignal::Known(signal),
            target: Target::Main,
            by: "systemd".to_owned(),
            when: When::Always,
        });
        let has_no_main = self.is_type("oneshot") || self.facts.has_no_main();
        let program = match &self.main {
            Some(MainProcess::Program { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        let target = |target: &Target| match target {
            Target::Main | Target::Group if has_no_main => Target::Nobody(Nobody::NoMain),
            // Of what stays it may be a child that has the name.
            Target::Named(..) if self.stay().is_some() => target.clone(),
            Target::Named(name, _) if target.is_program(program, command_line).is_none() => {
                Target::Unknown(name.clone())
            }
            target => target.clone(),
        };
        let by_commands =
            self.reload.sent().map(|sent| Sent { target: target(&sent.target), ..sent.clone() });
        by_systemd.into_iter().chain(by_commands).collect()
    }

    /// Whether it has this `Type=`.
    pub fn is_type(&self, name: &str) -> bool {
        self.facts.service_type.as_deref() == Some(name)
    }

    /// The signals that a reload is sure to send to the service if it gets that far.
    pub fn arriving(&self) -> impl Iterator<Item = (&Sent, Signal)> {
        let arrives = |sent: &&Sent| sent.target.is_service() && sent.when != When::Maybe;
        self.sent.iter().filter(arrives).filter_map(|sent| match sent.signal {
            SentSignal::Known(signal) => Some((sent, signal)),
            SentSignal::Unknown(_) => None,
        })
    }

    /// The one of those that decides what becomes of it: the first that is there to end it, or
    /// else does so, or stops it.
    pub fn sent(&self) -> Option<(&Sent, Signal)> {
        self.arriving().min_by_key(|(_, signal)| match early::of(*signal) {
            _ if signal.ends() => 0,
            Early::Dies => 1,
            Early::Stops => 2,
            Early::Lost => 3,
        })
    }

    /// The settings of a type that is up as soon as there is a process, and whose start
    /// nothing else holds back. systemd is `activating`, and folds reloads into the start,
    /// until `ExecStartPost=` is over (`service_enter_start_post` in src/core/service.c).
    pub fn is_up_at_once(&self) -> bool {
        is_up_at_once_by_type(self.facts) && self.holds == Some(false)
    }

    /// Whether the reload, which ends the service, starts it anew: by what systemd then takes
    /// for its main process, which it finds by `PIDFile=`.
    pub fn starts_again(&self) -> bool {
        let is_found = self.facts.pid_file.as_deref().is_some_and(|file| !file.is_empty())
            || self.facts.is_forking();
        is_found && self.reload.starts_again(self.program.as_deref())
    }

    /// The main process, if it stays and has others run.
    pub fn stay(&self) -> Option<&Stay> {
        match &self.main {
            Some(MainProcess::Stays(stay)) => Some(stay),
            _ => None,
        }
    }

    /// Whether the main process is a program that is no shell: of one that reads a file it is not
    /// told what it runs.
    pub fn runs_program(&self) -> bool {
        matches!(&self.main, Some(MainProcess::Program { name, .. }) if !is_shell(name))
    }

    /// Whether the main process begins with this signal ignored.
    pub fn ignores(&self, signal: Signal) -> bool {
        match &self.main {
            Some(MainProcess::Program { initial, .. }) => initial.ignores.contains(&signal),
            Some(MainProcess::Stays(stay)) => stay.takes(signal) == Takes::Lost,
            _ => false,
        }
    }

    /// Whether the program begins with this signal blocked.
    pub fn blocks(&self, signal: Signal) -> bool {
        matches!(&self.main, Some(MainProcess::Program { initial, .. })
            if initial.blocks.contains(&signal))
    }

    /// The runtime that the main process is, where that may end it with an exit code of its own.
    pub fn runtime(&self) -> Option<Runtime> {
        match &self.main {
            Some(MainProcess::Program { name, .. }) => runtime(name),
            Some(MainProcess::Stays(stay)) => runtime(&stay.by),
            _ => None,
        }
    }

    /// How the main process ends when a signal meets no handler of the program. An init that passes
    /// it on ends with 128 and the number once the program has died of it; and dies itself before it
    /// has begun to. What has a handler of its own for the signal ends with a code too, for longer
    /// than it has none.
    fn deaths(&self, signal: Signal) -> Vec<End> {
        let own = self.runtime().and_then(|runtime| runtime.exit_code(signal)).map(End::Code);
        let mut ends: Vec<End> = own.into_iter().chain([by_signal(signal)]).collect();
        if self.stay().is_some_and(|stay| stay.waiting == Waiting::PassesOn)
            && let Ok(number) = u8::try_from(signal.number())
        {
            ends.push(End::Code(128 + number));
        }
        ends
    }

    fn aftermath(&self, end: End) -> Option<Aftermath> {
        aftermath(self.facts, end, &self.stop)
    }

    /// What systemd makes of each way in which a signal may end the main process while the unit is
    /// up.
    pub fn ways_to_end(&self, signal: Signal) -> Vec<Aftermath> {
        self.deaths(signal).into_iter().filter_map(|end| self.aftermath(end)).collect()
    }

    /// What systemd makes of the main process's death by a signal while the unit is up.
    pub fn death(&self, signal: Signal) -> Option<Aftermath> {
        let aftermaths = self.ways_to_end(signal).into_iter();
        // The worst.
        aftermaths.min_by_key(|it| it.restarts.map_or(1, |restarts| 2 * i32::from(restarts)))
    }

    /// The settings that have systemd start it again after a death by a signal; `None` if it
    /// does so already, or none would.
    pub fn starting_again(&self, signal: Signal) -> Option<String> {
        let comes_back = self.death(signal)?.restarts == Some(true);
        if comes_back { None } else { starting_again(self.facts, &self.deaths(signal)) }
    }

    /// A check's drop-in with these lines for the service.
    pub fn drop_in(&self, check: &str, lines: &str) -> DropIn {
        self.place.drop_in(self.name, check, &format!("[Service]\n{lines}"))
    }

    /// The drop-in that has a reload signal the main process alone; `None` where that is not the
    /// program, or there is none.
    pub fn reload_by(&self, check: &str, signal: Signal) -> Option<DropIn> {
        let is_program = match &self.main {
            Some(MainProcess::Program { .. }) => true,
            Some(MainProcess::Stays(stay)) => {
                matches!(stay.takes(signal), Takes::Handled | Takes::PassedOn)
            }
            _ => false,
        };
        let has_main = !self.is_type("oneshot") && !self.facts.has_no_main();
        let lines = format!(
            "# For a program that reloads on {signal}:\nExecReload=\nExecReload=/bin/kill \
             -{signal} $MAINPID\n"
        );
        (is_program && has_main).then(|| self.drop_in(check, &lines))
    }

    /// What can't be told of it that would matter.
    pub fn unknown(&self) -> Vec<String> {
        let mut unknown = self.reload.unknown();
        for sent in &self.sent {
            if let Target::Unknown(name) = &sent.target
                && self
                    .reload
                    .sent()
                    .any(|it| matches!(&it.target, Target::Named(n, _) if n == name))
            {
                unknown
                    .push(format!("whether its reload reaches it: {} looks for '{name}'", sent.by));
            }
        }
        let Some((sent, signal)) = self.sent() else {
            unknown.extend(self.unknown_speaker());
            return unknown;
        };
        if is_up_at_once_by_type(self.facts) && self.holds.is_none() {
            unknown.push(
                "whether its ExecStartPost= waits until the program is ready: reloads are held \
                 back until it is over"
                    .to_owned(),
            );
        }
        let to_main = sent.target.is_main();
        match &self.main {
            Some(MainProcess::Unknown(why)) if to_main && !self.admits_main_alone() => {
                unknown.push(format!("which process a reload's {signal} meets: {why}"));
            }
            Some(MainProcess::Stays(stay)) if to_main && stay.takes(signal) == Takes::Unknown => {
                unknown.push(format!("what {} does with a reload's {signal}", stay.by));
            }
            _ => {}
        }
        if let Stop::Unknown(by) = &self.stop
            && self.death(signal).is_some_and(|it| it.restarts.is_none())
            && early::of(signal) == Early::Dies
        {
            unknown.push(format!(
                "whether systemd starts it again after a death by {signal}: that depends on \
                 whether {by}, of its ExecStop= or ExecStopPost=, fails then"
            ));
        }
        unknown.extend(self.unknown_speaker());
        unknown
    }

    fn unknown_speaker(&self) -> Option<String> {
        match &self.main {
            Some(MainProcess::Unknown(why)) if self.admits_main_alone() => {
                Some(format!("which process speaks for it: {why}"))
            }
            _ => None,
        }
    }

    /// Whether systemd waits for messages and takes them from the main process alone.
    pub fn admits_main_alone(&self) -> bool {
        (self.facts.is_notify() || self.has_watchdog)
            && matches!(self.facts.notify_access.as_deref(), Some("main" | "exec"))
    }
}

/// Whether it is up as soon as there is a process, by its type.
fn is_up_at_once_by_type(facts: &UnitFacts) -> bool {
    matches!(facts.service_type.as_deref(), Some("simple" | "exec" | "idle"))
}

/// Whom it is sent to, and when, in words.
pub(super) fn whom(sent: &Sent) -> String {
    let whom = match sent.target {
        Target::Group => " to the main process and its whole group",
        Target::Unit => " to every process of the unit",
        Target::Host => " to every process of the host",
        _ => "",
    };
    let when = match sent.when {
        When::Always => "",
        When::OrElse => ", if what comes before it fails,",
        When::OrEnds | When::Maybe => ", if what comes before it succeeds,",
    };
    format!("{whom}{when}")
}
