//! Whether systemd would act on a notify message: NotifyAccess=, and what spoils a
//! message before anybody asks who sent it.

use super::{
    collected::Collected,
    notify::Message,
    observation::{Datagram, ProcessId},
};

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
/// `service_notify_message_authorized`). `access` is NotifyAccess=; `claimed` the pid it
/// was sent for, in its sender's namespace, if that is another than the sender's.
#[must_use]
pub fn judge(
    collected: &Collected,
    access: Option<&str>,
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
    let main = collected.main_at(at);
    let speaks_for_main = match claimed {
        Some(pid) => main.is_some_and(|main| collected.ns_pid(main) == pid),
        None => main == Some(datagram.sender.id),
    };
    match access {
        None => (None, None),
        Some("all") => (Some(true), None),
        Some("main" | "exec") if speaks_for_main => (Some(true), None),
        Some("none") => refused("NotifyAccess=none admits nobody".to_owned()),
        // It admits the commands of ExecStartPost= and its like too, and which processes
        // those are is not known.
        Some("exec") => (None, Some("only a command of the unit may send it".to_owned())),
        Some(access) => refused(not_admitted(access, datagram, main)),
    }
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
