//! Whether systemd would act on a notify message: NotifyAccess=, and what spoils a
//! message before anybody asks who sent it. Judged when the timeline is told: the unit's
//! settings, the sender's end and the main process may become known after the message.

use smol_str::SmolStr;

use super::notify::Message;
use crate::{
    model::{errno, event::Refusal, unit::UnitFacts},
    observation::{Datagram, ProcessId},
};

/// So long after a message its sender may end without a doubt whether it was read, ns.
pub const SOON_NS: u64 = 1_000_000_000;

/// A message as far as it matters whether it is acted on.
#[derive(Clone, Debug)]
pub struct Claim {
    /// When its sending began.
    pub at: u64,
    /// Who sent it.
    pub sender: ProcessId,
    /// The sender's name.
    pub comm: SmolStr,
    /// The pid it was sent for, in its sender's namespace, if that is another than the
    /// sender's.
    pub claimed: Option<u32>,
    /// What the send returned: 0, or a positive errno.
    pub errno: i32,
    /// Its text could not be read.
    unreadable: bool,
    /// Why systemd throws it away.
    malformed: Option<&'static str>,
    /// It is `BARRIER=1`.
    barrier: bool,
    /// When its sender ended, if that was soon.
    pub ended: Option<u64>,
    /// Its sender has waited since until it had been read.
    pub waited: bool,
}

impl Claim {
    /// What a datagram sent at `at` says, which holds `message`.
    #[must_use]
    pub fn new(at: u64, datagram: &Datagram, message: &Message) -> Self {
        let sender = &datagram.sender;
        let barrier = message.is_barrier();
        Self {
            at,
            sender: sender.id,
            comm: sender.comm.clone(),
            claimed: datagram.claimed_pid.filter(|pid| *pid != sender.ns_pid && *pid != 0),
            errno: datagram.errno,
            unreadable: datagram.payload.is_none(),
            malformed: message.malformed,
            barrier,
            ended: None,
            waited: barrier,
        }
    }
}

/// A process that systemd knows by its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownProcess {
    /// The process.
    pub id: ProcessId,
    /// Its id in its own pid namespace.
    pub ns_pid: u32,
}

impl KnownProcess {
    /// Whether it is the init of a pid namespace, which no default action ends.
    #[must_use]
    pub fn is_init(&self) -> bool {
        self.ns_pid == 1 || self.id.pid == 1
    }

    fn is_spoken_for(&self, claim: &Claim) -> bool {
        match claim.claimed {
            Some(pid) => self.ns_pid == pid,
            None => self.id == claim.sender,
        }
    }
}

/// Who may speak for a service when a message is sent.
#[derive(Clone, Copy, Debug)]
pub struct Speakers<'a> {
    /// The main process.
    pub main: Option<KnownProcess>,
    /// Processes that systemd itself started beside it.
    pub controls: &'a [KnownProcess],
    /// What a message before has made of `NotifyAccess=`.
    pub changed: Option<&'a str>,
}

/// What becomes of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// Whether it is acted on; `None` if that depends on what is unknown.
    pub accepted: Option<bool>,
    /// What refused it.
    pub refusal: Option<Refusal>,
    /// Why, or what is doubtful.
    pub problem: Option<String>,
}

impl Admission {
    fn accepted() -> Self {
        Self { accepted: Some(true), ..Self::default() }
    }

    fn refused(refusal: Refusal, why: String) -> Self {
        Self { accepted: Some(false), refusal: Some(refusal), problem: Some(why) }
    }

    fn doubtful(why: String) -> Self {
        Self { problem: Some(why), ..Self::default() }
    }
}

/// Judges a message (`manager_invoke_notify_message` and
/// `service_notify_message_authorized`). `facts` are the unit's settings.
#[must_use]
pub fn judge(speakers: Speakers<'_>, facts: Option<&UnitFacts>, claim: &Claim) -> Admission {
    if claim.errno != 0 {
        let why = errno::words(claim.errno);
        return Admission::refused(Refusal::Send, format!("the send failed: {why}"));
    }
    if claim.unreadable {
        return Admission::doubtful("its text could not be read".to_owned());
    }
    if let Some(reason) = claim.malformed {
        return Admission::refused(Refusal::Malformed, reason.to_owned());
    }
    // Answered before anybody asks who sent it (`manager_process_barrier_fd`).
    if claim.barrier {
        return Admission::accepted();
    }
    let configured = facts.and_then(|facts| facts.notify_access.as_deref());
    let access = match facts.and_then(UnitFacts::takes_notify_access) {
        Some(false) => configured,
        _ => speakers.changed.or(configured),
    };
    let for_main = speakers.main.is_some_and(|main| main.is_spoken_for(claim));
    let for_control = || speakers.controls.iter().any(|control| control.is_spoken_for(claim));
    match access {
        None => Admission::default(),
        Some("all") if for_main || for_control() => Admission::accepted(),
        Some("all") => by_cgroup(claim),
        Some("main" | "exec") if for_main => Admission::accepted(),
        // The commands of ExecStartPost= and its like, themselves and not what they start.
        Some("exec") if for_control() => Admission::accepted(),
        Some("none") => {
            Admission::refused(Refusal::NotifyAccess, "NotifyAccess=none admits nobody".to_owned())
        }
        Some(access) => {
            Admission::refused(Refusal::NotifyAccess, not_admitted(access, claim, speakers.main))
        }
    }
}

/// A message of a process that systemd does not know by its pid: it looks up the cgroup of
/// that when it reads the message, which it can't once the process has been reaped
/// (`manager_get_units_for_pidref`).
fn by_cgroup(claim: &Claim) -> Admission {
    let Some(gone) = claim.ended.and_then(|ended| ended.checked_sub(claim.at)) else {
        return Admission::accepted();
    };
    // It is told when that has been read, and waits for it (sd_notify_barrier(3)).
    if claim.waited || gone > SOON_NS {
        return Admission::accepted();
    }
    Admission::doubtful(format!(
        "{} (pid {}) ended {} µs after it: if systemd had not read it by then, it could not \
         tell whose it was",
        claim.comm,
        claim.sender.pid,
        gone / 1_000
    ))
}

fn not_admitted(access: &str, claim: &Claim, main: Option<KnownProcess>) -> String {
    let main = main.map_or_else(
        || "there is no main process".to_owned(),
        |main| format!("the main process is {}", main.id.pid),
    );
    format!(
        "sent by {} (pid {}), but NotifyAccess={access} does not admit it: {main}",
        claim.comm, claim.sender.pid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> KnownProcess {
        KnownProcess { id: ProcessId { pid, start_ticks: 1 }, ns_pid: pid }
    }

    /// READY=1 of this process.
    fn claim(sender: u32) -> Claim {
        Claim {
            at: 100,
            sender: process(sender).id,
            comm: "demo".into(),
            claimed: None,
            errno: 0,
            unreadable: false,
            malformed: None,
            barrier: false,
            ended: None,
            waited: false,
        }
    }

    fn facts(access: &str, systemd: Option<&str>) -> UnitFacts {
        UnitFacts {
            notify_access: Some(access.to_owned()),
            systemd: systemd.map(str::to_owned),
            ..UnitFacts::default()
        }
    }

    #[test]
    fn an_init_is_the_first_process_of_ours_or_of_its_own_namespace() {
        let is_init = |pid, ns_pid| KnownProcess { ns_pid, ..process(pid) }.is_init();
        assert!(is_init(1, 1) && is_init(50, 1) && is_init(1, 0));
        assert!(!is_init(50, 50) && !is_init(50, 0));
    }

    #[test]
    fn a_message_changes_who_may_speak_where_its_systemd_takes_it_or_is_not_known() {
        let accepted = |systemd, configured, changed| {
            let speakers =
                Speakers { main: Some(process(10)), controls: &[], changed: Some(changed) };
            judge(speakers, Some(&facts(configured, systemd)), &claim(10)).accepted
        };
        for systemd in [Some("254"), Some("262.1"), None] {
            assert_eq!(accepted(systemd, "main", "none"), Some(false), "{systemd:?}");
            assert_eq!(accepted(systemd, "none", "main"), Some(true), "{systemd:?}");
        }
        assert_eq!(accepted(Some("253.5"), "main", "none"), Some(true));
        assert_eq!(accepted(Some("253.5"), "none", "main"), Some(false));
    }

    #[test]
    fn whom_systemd_knows_by_its_pid_may_be_gone_when_its_message_is_read() {
        let accepted = |access, sender| {
            let speakers =
                Speakers { main: Some(process(10)), controls: &[process(20)], changed: None };
            let gone = Claim { ended: Some(101), ..claim(sender) };
            judge(speakers, Some(&facts(access, None)), &gone).accepted
        };
        assert_eq!(
            [10, 20, 30].map(|sender| accepted("all", sender)),
            [Some(true), Some(true), None]
        );
        assert_eq!(
            [10, 20, 30].map(|sender| accepted("exec", sender)),
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!(
            [10, 20, 30].map(|sender| accepted("main", sender)),
            [Some(true), Some(false), Some(false)]
        );
    }

    #[test]
    fn what_a_process_said_a_second_before_its_end_was_read_in_time() {
        let gone = |after| by_cgroup(&Claim { ended: Some(100 + after), ..claim(10) }).accepted;
        assert_eq!([0, SOON_NS, SOON_NS + 1].map(gone), [None, None, Some(true)]);
    }
}
