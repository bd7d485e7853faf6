//! What is observed, and how a cgroup's path names a service.

use crate::model::{document::ServiceKind, glob::Glob};

/// What is observed.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The command that process `parent` forks, and its descendants.
    Command {
        /// The forking process: the tracer.
        parent: u32,
        /// What the command is called.
        name: String,
    },
    /// Every unit and container.
    All,
    /// What at least one selector takes.
    Selected(Vec<Selector>),
}

/// One thing to observe.
#[derive(Clone, Debug)]
pub enum Selector {
    /// Units whose name the glob matches.
    Unit {
        /// Matches their names.
        name: Glob,
        /// The cgroup of the system that they are units of, as a container's is; `None` for
        /// those of any.
        system: Option<String>,
    },
    /// A process and its descendants.
    Process(u32),
    /// Everything in a cgroup, by its path from the hierarchy's root.
    Cgroup(String),
}

/// A service as a cgroup's path names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What sort of thing it is.
    pub kind: ServiceKind,
    /// The path up to and including the service's own cgroup.
    pub path: String,
}

impl Named {
    /// What tells it from others: its path, or its name where it has none.
    #[must_use]
    pub fn key(&self) -> &str {
        if self.path.is_empty() { &self.name } else { &self.path }
    }
}

impl Scope {
    /// The service in scope that owns the cgroup at `path`.
    #[must_use]
    pub fn service_at(&self, path: &str) -> Option<Named> {
        match self {
            Self::Command { .. } => None,
            Self::All => unit(path).or_else(|| container(path)),
            Self::Selected(selectors) => selectors.iter().find_map(|selector| match selector {
                Selector::Unit { name, system } => unit(path)
                    .filter(|unit| name.is_match(&unit.name))
                    .filter(|unit| system.as_ref().is_none_or(|system| below(&unit.path, system))),
                Selector::Cgroup(root) => below(path, root).then(|| Named {
                    name: root.clone(),
                    kind: ServiceKind::Cgroup,
                    path: root.clone(),
                }),
                Selector::Process(_) => None,
            }),
        }
    }

    /// Whether this process was asked for by its id.
    #[must_use]
    pub fn selects_process(&self, pid: u32) -> bool {
        matches!(self, Self::Selected(selectors) if selectors
            .iter()
            .any(|selector| matches!(selector, Selector::Process(wanted) if *wanted == pid)))
    }
}

/// The innermost unit: also inside a container's tree, and below a user's manager.
fn unit(path: &str) -> Option<Named> {
    innermost(path, |name| name.ends_with(".service"), ServiceKind::Unit)
}

/// A container, by the names that their managers give to cgroups.
fn container(path: &str) -> Option<Named> {
    const SCOPES: [&str; 4] = ["docker-", "libpod-", "cri-containerd-", "crio-"];
    const DIRECTORIES: [&str; 4] = ["docker", "lxc", "lxc.payload", "machine.slice"];
    let is_scope = |name: &str| {
        name.ends_with(".scope") && SCOPES.iter().any(|prefix| name.starts_with(prefix))
    };
    innermost(path, is_scope, ServiceKind::Container).or_else(|| {
        let mut inside = false;
        for (start, name) in components(path) {
            if inside {
                return Some(Named {
                    name: name.to_owned(),
                    kind: ServiceKind::Container,
                    path: path[..start + name.len()].to_owned(),
                });
            }
            inside = DIRECTORIES.contains(&name) || name.starts_with("lxc.payload.");
        }
        None
    })
}

fn innermost(path: &str, is_it: impl Fn(&str) -> bool, kind: ServiceKind) -> Option<Named> {
    let (start, name) = components(path).filter(|(_, name)| is_it(name)).last()?;
    Some(Named { name: name.to_owned(), kind, path: path[..start + name.len()].to_owned() })
}

/// The names in a path, each with where it begins.
fn components(path: &str) -> impl Iterator<Item = (usize, &str)> {
    path.split('/')
        .scan(0, |at, name| {
            let start = *at;
            *at += name.len() + 1;
            Some((start, name))
        })
        .filter(|(_, name)| !name.is_empty())
}

fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_innermost_service_also_inside_a_container() {
        let named = Scope::All.service_at("/payload/system.slice/patroni.service/x").unwrap();
        assert_eq!(named.name, "patroni.service");
        assert_eq!(named.path, "/payload/system.slice/patroni.service");
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service";
        assert_eq!(Scope::All.service_at(user).unwrap().name, "foo.service");
    }

    #[test]
    fn a_container_without_units_is_a_service_of_its_own() {
        let named = Scope::All.service_at("/system.slice/docker-0a1b.scope").unwrap();
        assert_eq!(
            (named.kind, named.name.as_str()),
            (ServiceKind::Container, "docker-0a1b.scope")
        );
        assert_eq!(Scope::All.service_at("/docker/0a1b/x").unwrap().path, "/docker/0a1b");
        assert_eq!(Scope::All.service_at("/user.slice/session-1.scope"), None);
    }

    #[test]
    fn units_of_one_system_leave_out_their_namesakes_in_others() {
        let of = |system: Option<&str>| {
            let name = Glob::new("web.service").unwrap();
            let system = system.map(str::to_owned);
            Scope::Selected(vec![Selector::Unit { name, system }])
        };
        let inside = "/machine.slice/one/payload/system.slice/web.service";
        let system = Some("/machine.slice/one/payload");
        assert!(of(system).service_at(inside).is_some());
        assert!(of(system).service_at("/system.slice/web.service").is_none());
        assert!(of(Some("/machine.slice/o")).service_at(inside).is_none());
        assert!(of(None).service_at(inside).is_some());
    }

    #[test]
    fn a_cgroup_takes_what_is_below_it_but_not_its_namesakes() {
        let scope = Scope::Selected(vec![Selector::Cgroup("/a/b".to_owned())]);
        assert!(scope.service_at("/a/b").is_some());
        assert!(scope.service_at("/a/b/c").is_some());
        assert!(scope.service_at("/a/bc").is_none());
    }
}
