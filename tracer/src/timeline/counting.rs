//! Which services count as the unit that was asked for: for `--until`, and for a signal that is
//! to be sent to a new main process. The others are shown, and change nothing.

use std::collections::BTreeSet;

use crate::model::document::{Owner, Service, ServiceKind};

/// Which units of a name count. What is no unit always does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// All.
    #[default]
    All,
    /// Those of the system that was named: all that are not only claimed.
    OfSystem,
    /// The host's. Of a name that the host has no unit of, one that root made: in a container
    /// that root runs, or where no systemd is.
    HostFirst {
        /// The names of which the host has units, running or not.
        of_host: BTreeSet<String>,
    },
}

impl Counting {
    /// Whether a service counts. `runs_on_host` says whether the host's systemd keeps one of
    /// that name. A unit counts once it is known whose it is.
    #[must_use]
    pub fn includes(
        &self,
        name: &str,
        kind: ServiceKind,
        owner: Option<Owner>,
        runs_on_host: bool,
    ) -> bool {
        if kind != ServiceKind::Unit {
            return true;
        }
        match self {
            Self::All => true,
            Self::OfSystem => !matches!(owner, None | Some(Owner::Claimed { .. })),
            Self::HostFirst { of_host } => match owner {
                Some(Owner::Host) => true,
                Some(Owner::Container { uid: 0 } | Owner::Unmanaged) => {
                    !runs_on_host && !of_host.contains(name)
                }
                Some(Owner::Container { .. } | Owner::User { .. } | Owner::Claimed { .. })
                | None => false,
            },
        }
    }
}

impl Counting {
    /// Whether the alerts of a service count for the exit status: not of one that is only
    /// claimed to be the unit that was asked for.
    #[must_use]
    pub fn judges(&self, owner: Option<Owner>) -> bool {
        *self == Self::All || !matches!(owner, Some(Owner::Claimed { .. }))
    }
}

/// Those of the services that count.
pub fn counted<'a>(
    counting: &'a Counting,
    services: &'a [Service],
) -> impl Iterator<Item = &'a Service> {
    let is_hosts = |service: &&Service| service.owner == Some(Owner::Host);
    let of_host: BTreeSet<&str> =
        services.iter().filter(is_hosts).map(|service| service.name.as_str()).collect();
    services.iter().filter(move |Service { name, kind, owner, .. }| {
        counting.includes(name, *kind, *owner, of_host.contains(name.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNERS: [Option<Owner>; 7] = [
        Some(Owner::Host),
        Some(Owner::Container { uid: 0 }),
        Some(Owner::Unmanaged),
        Some(Owner::Container { uid: 7 }),
        Some(Owner::User { uid: 7 }),
        Some(Owner::Claimed { uid: 7 }),
        None,
    ];

    fn service(name: &str, owner: Owner) -> Service {
        Service {
            name: name.to_owned(),
            kind: ServiceKind::Unit,
            cgroup: None,
            unit: None,
            unit_problem: None,
            owner: Some(owner),
            signal: None,
            starts_left_out: 0,
            activations: Vec::new(),
        }
    }

    #[test]
    fn a_containers_unit_counts_where_the_host_runs_none_of_its_name() {
        let container = Owner::Container { uid: 0 };
        let services = [
            service("a.service", container),
            service("a.service", Owner::Host),
            service("b.service", container),
        ];
        let counting = Counting::HostFirst { of_host: BTreeSet::new() };
        let counted: Vec<_> = super::counted(&counting, &services).collect();
        assert_eq!(counted, [&services[1], &services[2]]);
    }

    /// How many of [`OWNERS`], from the first on, count.
    fn counted(counting: &Counting, runs_on_host: bool) -> usize {
        let includes = |owner: &Option<Owner>| {
            counting.includes("a.service", ServiceKind::Unit, *owner, runs_on_host)
        };
        let count = OWNERS.iter().take_while(|owner| includes(owner)).count();
        assert!(!OWNERS[count..].iter().any(includes), "{counting:?}");
        count
    }

    #[test]
    fn whose_word_counts() {
        let of_host = |names: &[&str]| Counting::HostFirst {
            of_host: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(counted(&Counting::All, true), 7);
        assert_eq!(counted(&Counting::OfSystem, true), 5);
        assert_eq!(counted(&of_host(&[]), false), 3);
        assert_eq!(counted(&of_host(&["b.service"]), false), 3);
        assert_eq!(counted(&of_host(&["a.service"]), false), 1);
        assert_eq!(counted(&of_host(&[]), true), 1);
    }

    #[test]
    fn alerts_of_all_count_but_of_what_is_only_claimed_to_be_the_unit() {
        let judged = |counting: &Counting| OWNERS.map(|owner| counting.judges(owner));
        assert_eq!(judged(&Counting::All), [true; 7]);
        let but_the_claimed = [true, true, true, true, true, false, true];
        assert_eq!(judged(&Counting::OfSystem), but_the_claimed);
        assert_eq!(judged(&Counting::HostFirst { of_host: BTreeSet::new() }), but_the_claimed);
    }

    #[test]
    fn what_is_no_unit_is_what_was_asked_for() {
        let counting = Counting::HostFirst { of_host: BTreeSet::new() };
        for kind in [ServiceKind::Process, ServiceKind::Cgroup, ServiceKind::Command] {
            assert!(counting.includes("x", kind, None, false));
        }
    }
}
