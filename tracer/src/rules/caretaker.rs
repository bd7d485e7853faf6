//! Who looks after a service that is no unit of systemd.

use super::{case::Case, result::End, text};
use crate::model::{
    document::ServiceKind,
    event::{ProcessRef, What},
    programs::is_supervisor,
    signal::Signal,
};

/// Who looks after a service that no systemd does.
#[derive(Clone, Copy)]
pub(super) enum Caretaker<'a> {
    /// What runs the container: its main process is the first one in it.
    Container,
    /// A supervisor started it.
    Below(&'a ProcessRef),
    /// Nobody is known to.
    Alone,
}

impl<'a> Case<'a> {
    /// Who looks after it, if it is neither a unit nor a command that stands for one.
    pub(super) fn caretaker(&self) -> Option<Caretaker<'a>> {
        if matches!(self.service.kind, ServiceKind::Unit | ServiceKind::Command) {
            return None;
        }
        if self.is_init() {
            return Some(Caretaker::Container);
        }
        let started_by = self.events().find_map(|(_, event)| match &event.what {
            What::Fork { process, parent } if self.is_main(process) => Some(parent),
            _ => None,
        });
        let supervisor = started_by.filter(|parent| is_supervisor(&parent.comm));
        Some(supervisor.map_or(Caretaker::Alone, Caretaker::Below))
    }
}

impl Caretaker<'_> {
    /// What follows from an end of the main process.
    pub(super) fn death(self, end: End) -> String {
        match self {
            Self::Container => {
                let (code, on_failure) = match end {
                    End::Code(code) => (u32::from(code), code != 0),
                    End::Signal { signal, .. } => (128 + signal.number(), true),
                };
                let also = if on_failure { " and on-failure" } else { "" };
                format!(
                    "It is the first process of its container: with its end the kernel kills all \
                     others in it. What runs the container sees code {code}. Docker and Podman \
                     start it again under --restart=always{also}, and Kubernetes by \
                     restartPolicy=."
                )
            }
            Self::Below(supervisor) => format!(
                "{} looks after it and starts it again, unless it is told not to. What it was \
                 doing is cut off, and nothing says that it was the reload.",
                text::process(supervisor)
            ),
            Self::Alone => format!(
                "It is no unit of systemd, and nothing is known to start it again: what started \
                 it sees {end}."
            ),
        }
    }

    /// What follows where this signal is lost.
    pub(super) fn lost(self, signal: Signal) -> String {
        match self {
            Self::Container if [Signal::TERM, Signal::INT].contains(&signal) => {
                "What stops the container waits until its grace period is over (10 s for docker \
                 stop, 30 s in Kubernetes) and sends KILL then: nothing is shut down in order."
                    .to_owned()
            }
            _ => "Whoever sent it counts the reload as done, as a signal has no answer: the old \
                  configuration stays in force and nothing reports it."
                .to_owned(),
        }
    }

    /// How reloads can be held back until the handler is there.
    pub(super) fn hold_back(self) -> String {
        match self {
            Self::Container => "Have whoever sends it wait until the container says that it is \
                                ready (HEALTHCHECK, readinessProbe), which is to come after that."
                .to_owned(),
            Self::Below(supervisor) => format!(
                "{} sends signals as soon as it has started the program: have whoever asks it \
                 wait until the program is ready (sv check, s6-svwait -U, startsecs=).",
                supervisor.comm
            ),
            Self::Alone => "Have whoever sends it wait for that: write the pid file, or answer \
                            the first request, after it."
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::event::{Fate, ProcessRef},
        rules::testing::*,
    };

    const ID: &str = "reload-before-handler";

    fn killed(start: Start) -> crate::model::document::Alert {
        let start = start.exec(0).signal(50.ms(), Signal::HUP, Default, Killed, by("kill"));
        start.judged(&[ID]).remove(0)
    }

    #[test]
    fn where_no_systemd_is_its_settings_are_not_spoken_of() {
        let alert = killed(activation().alone());
        assert!(alert.consequence.contains("no unit of systemd"), "{}", alert.consequence);
        for text in [&alert.consequence, &alert.mend] {
            assert!(!text.contains("Restart=") && !text.contains("[Service]"), "{text}");
        }
    }

    #[test]
    fn below_a_supervisor_that_starts_it_again() {
        let alert = killed(activation().alone().forks(-1, by("runsv"), itself()));
        assert!(alert.consequence.starts_with("runsv (pid 4720) looks"), "{}", alert.consequence);
        assert!(alert.mend.contains("sv check"), "{}", alert.mend);
    }

    #[test]
    fn a_term_that_the_init_of_a_container_loses_delays_its_stop() {
        let start = activation().alone().init().exec(0);
        let start = start.judged_by(Signal::TERM);
        let lost = start.signal(50.ms(), Signal::TERM, Ignored, Fate::Ignored, by("dockerd"));
        let alert = lost.judged(&["reload-ignored"]).remove(0);
        assert!(alert.consequence.contains("grace period"), "{}", alert.consequence);
        assert!(alert.mend.contains("--init"), "{}", alert.mend);
    }

    #[test]
    fn who_started_another_process_of_it_does_not_look_after_it() {
        let worker = ProcessRef { pid: 4712, ..by("worker") };
        let alert = killed(activation().alone().forks(-1, by("runsv"), worker));
        assert!(alert.consequence.contains("no unit of systemd"), "{}", alert.consequence);
    }

    #[test]
    fn what_runs_a_container_sees_how_its_init_ended() {
        let told = |end| Caretaker::Container.death(end);
        let ended = told(End::Code(0));
        assert!(ended.contains("code 0.") && !ended.contains("on-failure"), "{ended}");
        let failed = told(End::Code(1));
        assert!(failed.contains("code 1.") && failed.contains("on-failure"), "{failed}");
        let killed = told(End::Signal { signal: Signal::HUP, core_dumped: false });
        assert!(killed.contains("code 129.") && killed.contains("on-failure"), "{killed}");
    }

    #[test]
    fn a_hup_that_the_init_of_a_container_loses_is_no_stop() {
        let start = activation().alone().init().exec(0);
        let lost = start.signal(50.ms(), Signal::HUP, Ignored, Fate::Ignored, by("dockerd"));
        let alert = lost.judged(&["reload-ignored"]).remove(0);
        assert!(alert.consequence.contains("old configuration"), "{}", alert.consequence);
    }
}
