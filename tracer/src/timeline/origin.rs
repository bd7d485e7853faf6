//! Where the sender of a signal comes from: its unit, and its parents up to the process that the
//! unit or the login was started with.

use super::events::SenderFrom;
use crate::{
    model::event::{ParentRef, ProcessRef, Sender},
    observation::{Asker, Origin, Parent, unit_of},
};

/// The sender of a signal as it is told.
pub(super) fn sender(process: ProcessRef, from: &SenderFrom) -> Sender {
    told(process, from.cgroup_id, &from.origin)
}

fn told(process: ProcessRef, cgroup_id: u64, origin: &Origin) -> Sender {
    // A parent that is still there tells the path of the cgroup that both were in.
    let beside = || {
        let same = |parent: &&Parent| cgroup_id != 0 && parent.cgroup_id == cgroup_id;
        origin.parents.iter().filter(same).find_map(|parent| parent.cgroup.as_deref())
    };
    let cgroup = origin.cgroup.as_deref().or_else(beside);
    let unit = cgroup.and_then(unit_of);
    let parents = origin.parents.iter().take_while(|parent| {
        let is_beside = match parent.cgroup.as_deref() {
            Some(its) => unit.is_none() || unit_of(its) == unit,
            None => parent.cgroup_id == cgroup_id,
        };
        // An init, of the host or of a container, starts what it is asked to.
        let is_init = parent.ns_pid == 1 || parent.id.pid == 1;
        is_beside && !is_init
    });
    let parent = |parent: &Parent| ParentRef {
        pid: parent.id.pid,
        comm: parent.comm.clone(),
        command: parent.command.clone(),
    };
    Sender {
        process,
        command: origin.command.clone(),
        unit: unit.map(str::to_owned),
        parents: parents.map(parent).collect(),
        asked_by: origin.asked_by.as_deref().map(|asker| Box::new(asked(asker))),
    }
}

fn asked(asker: &Asker) -> Sender {
    let process = ProcessRef {
        pid: asker.id.pid,
        ns_pid: (asker.ns_pid != 0 && asker.ns_pid != asker.id.pid).then_some(asker.ns_pid),
        comm: asker.comm.clone(),
        exe: None,
        uid: (asker.uid != u32::MAX).then_some(asker.uid),
    };
    told(process, 0, &asker.origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::ProcessId;

    const CRON: &str = "/system.slice/cron.service";

    fn parent(pid: u32, comm: &str, cgroup_id: u64, cgroup: Option<&str>) -> Parent {
        Parent {
            id: ProcessId { pid, start_ticks: 1 },
            ns_pid: pid,
            cgroup_id,
            comm: comm.into(),
            command: Some(format!("{comm} -x")),
            cgroup: cgroup.map(str::to_owned),
        }
    }

    fn kill(cgroup: Option<&str>, parents: Vec<Parent>) -> Sender {
        let process =
            ProcessRef { pid: 9, ns_pid: None, comm: "kill".into(), exe: None, uid: None };
        let origin = Origin {
            command: Some("kill -HUP 431".to_owned()),
            cgroup: cgroup.map(str::to_owned),
            parents,
            asked_by: None,
        };
        sender(process, &SenderFrom { cgroup_id: 7, origin: origin.into() })
    }

    fn names(sender: &Sender) -> Vec<&str> {
        sender.parents.iter().map(|parent| parent.comm.as_str()).collect()
    }

    #[test]
    fn the_parents_go_up_to_the_first_process_of_the_unit() {
        let told = kill(
            Some(CRON),
            vec![
                parent(8, "sh", 7, Some(CRON)),
                parent(5, "cron", 7, Some(CRON)),
                parent(1, "systemd", 1, Some("/init.scope")),
            ],
        );
        assert_eq!(told.unit.as_deref(), Some("cron.service"));
        assert_eq!(names(&told), ["sh", "cron"]);
        assert_eq!(told.parents[0].command.as_deref(), Some("sh -x"));
    }

    #[test]
    fn a_parent_in_the_same_cgroup_tells_the_unit_of_a_sender_that_is_gone() {
        let told = kill(None, vec![parent(8, "sh", 7, None), parent(5, "cron", 7, Some(CRON))]);
        assert_eq!(told.unit.as_deref(), Some("cron.service"));
        assert_eq!(names(&told), ["sh", "cron"]);
        let told = kill(Some("system.slice/cron.service"), vec![parent(8, "sh", 3, None)]);
        assert_eq!(told.unit.as_deref(), Some("cron.service"), "the end of its path is enough");
        assert_eq!(names(&told), [""; 0], "one in a cgroup that nobody knows");
    }

    #[test]
    fn a_login_is_a_unit_too_and_who_is_above_it_is_another() {
        let session = "/user.slice/user-7.slice/session-3.scope";
        let sshd = "/system.slice/ssh.service";
        let shell = parent(8, "bash", 7, Some(session));
        let told = kill(Some(session), vec![shell, parent(5, "sshd", 2, Some(sshd))]);
        assert_eq!(told.unit.as_deref(), Some("session-3.scope"));
        assert_eq!(names(&told), ["bash"]);
    }

    #[test]
    fn without_units_they_go_up_to_the_init() {
        let mut init = parent(40, "init", 0, Some("/"));
        init.ns_pid = 1;
        let told = kill(Some("/"), vec![parent(8, "sh", 0, Some("/")), init]);
        assert_eq!((told.unit.as_deref(), names(&told)), (None, vec!["sh"]));
    }

    #[test]
    fn who_asked_for_it_is_told_with_user_and_own_id_where_these_are_known() {
        let asked_by = |ns_pid, uid| {
            let origin = Origin { cgroup: Some(CRON.to_owned()), ..Origin::default() };
            let id = ProcessId { pid: 30, start_ticks: 1 };
            let told = asked(&Asker { id, ns_pid, comm: "systemctl".into(), uid, origin });
            assert_eq!(told.unit.as_deref(), Some("cron.service"));
            (told.process.ns_pid, told.process.uid)
        };
        assert_eq!(asked_by(7, 1000), (Some(7), Some(1000)));
        assert_eq!(asked_by(30, 0), (None, Some(0)), "it is the same");
        assert_eq!(asked_by(0, u32::MAX), (None, None), "they are not known");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let process =
            ProcessRef { pid: 9, ns_pid: None, comm: "kill".into(), exe: None, uid: None };
        let told = kill(None, Vec::new());
        assert_eq!((told.unit, told.parents), (None, Vec::new()));
        let bare: Sender = process.into();
        assert_eq!((bare.command, bare.asked_by), (None, None));
    }

    #[test]
    fn a_parent_in_a_cgroup_that_is_not_known_tells_nothing_of_where_the_sender_was() {
        let unknown = |of_sender| {
            let process =
                ProcessRef { pid: 9, ns_pid: None, comm: "kill".into(), exe: None, uid: None };
            let parents = vec![parent(5, "cron", 0, Some(CRON))];
            let origin = Origin { parents, ..Origin::default() };
            sender(process, &SenderFrom { cgroup_id: of_sender, origin: origin.into() }).unit
        };
        assert_eq!([0, 7].map(unknown), [None, None]);
    }
}
