//! Whether systemd would act on a notify message: NotifyAccess=, and what spoils a
//! message before anybody asks who sent it.

use super::{
    collected::Collected,
    notify::{self, Message},
};
use crate::{
    model::unit::UnitFacts,
    observation::{Datagram, ProcessId},
};

/// So long after a message its sender may end without a doubt whether it was read, ns.
const SOON_NS: u64 = 1_000_000_000;

/// Whether a message is acted on (null if that depends on settings that are unknown),
/// and why not.
pub type Admission = (Option<bool>, Option<String>);

/// The pid a message was sent for, in its sender's namespace, if that is another than
/// the sender's.
#[must_use]
pub fn claimed(datagram: &Datagram) -> Option<u32> {
    datagram.claimed_pid.filter(|pid| *pid != datagram.sender.ns_pid && *pid != 0)
}

/// Judges a message that was sent at `at` (`manager_invoke_notify_message` and
/// `service_notify_message_authorized`). `facts` are the unit's settings; `claimed` is the
/// pid it was sent for, in its sender's namespace, if that is another than the sender's.
#[must_use]
pub fn judge(
    collected: &Collected,
    facts: Option<&UnitFacts>,
    at: u64,
    datagram: &Datagram,
    claimed: Option<u32>,
    message: &Message,
) -> Admission {
    let refused = |why: String| (Some(false), Some(why));
    if datagram.errno != 0 {
        let error = nix::errno::Errno::from_raw(datagram.errno);
        return refused(format!("the send failed: {}", error.desc()));
    }
    if datagram.payload.is_none() {
        return (None, Some("its text could not be read".to_owned()));
    }
    if let Some(reason) = message.malformed {
        return refused(reason.to_owned());
    }
    // Answered before anybody asks who sent it (`manager_process_barrier_fd`).
    if message.is_barrier() {
        return (Some(true), None);
    }
    let configured = facts.and_then(|facts| facts.notify_access.as_deref());
    let access = match facts.and_then(UnitFacts::takes_notify_access) {
        Some(false) => configured,
        _ => collected.access_at(at, configured),
    };
    let main = collected.main_at(at);
    let speaks_for_main = match claimed {
        Some(pid) => main.is_some_and(|main| collected.ns_pid(main) == pid),
        None => main == Some(datagram.sender.id),
    };
    match access {
        None => (None, None),
        Some("all") if speaks_for_main || speaks_for_control(collected, datagram, claimed) => {
            (Some(true), None)
        }
        Some("all") => by_cgroup(collected, at, datagram),
        Some("main" | "exec") if speaks_for_main => (Some(true), None),
        // The commands of ExecStartPost= and its like, themselves and not what they start.
        Some("exec") if speaks_for_control(collected, datagram, claimed) => (Some(true), None),
        Some("none") => refused("NotifyAccess=none admits nobody".to_owned()),
        Some(access) => refused(not_admitted(access, datagram, main)),
    }
}

/// A message of a process that systemd does not know by its pid: it looks up the cgroup of
/// that when it reads the message, which it can't once the process has been reaped
/// (`manager_get_units_for_pidref`).
fn by_cgroup(collected: &Collected, at: u64, datagram: &Datagram) -> Admission {
    let sender = &datagram.sender;
    let Some(gone) = collected.exit_of(sender.id).and_then(|exit| exit.checked_sub(at)) else {
        return (Some(true), None);
    };
    // It is told when that has been read, and waits for it (sd_notify_barrier(3)).
    let waited = collected.messages_of(sender.id, at).any(|later| {
        let payload = later.payload.as_deref().unwrap_or_default();
        notify::parse(payload, later.length).is_barrier()
    });
    if waited || gone > SOON_NS {
        return (Some(true), None);
    }
    let why = format!(
        "{} (pid {}) ended {} µs after it: if systemd had not read it by then, it could not \
         tell whose it was",
        sender.comm,
        sender.id.pid,
        gone / 1_000
    );
    (None, Some(why))
}

fn speaks_for_control(collected: &Collected, datagram: &Datagram, claimed: Option<u32>) -> bool {
    collected.controls.iter().any(|control| match claimed {
        Some(pid) => collected.ns_pid(*control) == pid,
        None => *control == datagram.sender.id,
    })
}

fn not_admitted(access: &str, datagram: &Datagram, main: Option<ProcessId>) -> String {
    let main = main.map_or_else(
        || "there is no main process".to_owned(),
        |main| format!("the main process is {}", main.pid),
    );
    let sender = &datagram.sender;
    format!(
        "sent by {} (pid {}), but NotifyAccess={access} does not admit it: {main}",
        sender.comm, sender.id.pid
    )
}
