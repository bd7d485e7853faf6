//! Programs that are known by their names.

use super::event::Runtime;

/// Shells: a trap of theirs waits for the command in the foreground (POSIX, "Signals and Error
/// Handling" in the Shell Command Language).
const SHELLS: [&str; 14] = [
    "sh", "dash", "ash", "bash", "rbash", "busybox", "ksh", "ksh93", "mksh", "lksh", "yash",
    "posh", "zsh", "zsh5",
];

/// Programs that run others and look after them: what they send those is meant for the service,
/// and what ends is started again, except by the init of a container.
const SUPERVISORS: [&str; 9] = [
    "runsv",
    "s6-supervise",
    "supervise",
    "perpd",
    "supervisord",
    "circusd",
    "monit",
    "nosh",
    "service-manager",
];

/// The inits of containers, which pass on what they get.
const INITS: [&str; 7] =
    ["tini", "tini-static", "dumb-init", "catatonit", "docker-init", "podman-init", "init"];

/// Virtual machines and shells that have handlers of their own, which end them with an exit code.
const RUNTIMES: [(&str, Runtime); 6] = [
    ("java", Runtime::Jvm),
    ("beam.smp", Runtime::Erlang),
    ("zsh", Runtime::Zsh),
    ("zsh5", Runtime::Zsh),
    ("mksh", Runtime::Mksh),
    ("lksh", Runtime::Mksh),
];

/// The runtime that a program is, by its path or name, where that ends with an exit code of its own
/// on some signals.
#[must_use]
pub fn runtime(program: &str) -> Option<Runtime> {
    let name = name(program);
    RUNTIMES.iter().find(|(known, _)| *known == name).map(|(_, runtime)| *runtime)
}

/// The name of a program, without the folder it is in.
pub(super) fn name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Whether this is a shell, by its path or name.
#[must_use]
pub fn is_shell(program: &str) -> bool {
    SHELLS.contains(&name(program))
}

/// Whether this looks after other programs and starts them again.
#[must_use]
pub fn is_supervisor(program: &str) -> bool {
    SUPERVISORS.contains(&name(program))
}

/// Whether this is the init of a container, which passes signals on.
#[must_use]
pub fn is_container_init(program: &str) -> bool {
    INITS.contains(&name(program))
}
