//! systemd's own part in a start: what it executes before the service's program, and what that
//! forks to set things up.

use std::os::unix::ffi::OsStrExt as _;

use crate::model::raw_name;

/// What systemd (255 and later) executes first in every process it starts. It executes
/// the service's own program, with the environment that tells what that is for, and blocks
/// every signal until then.
const EXECUTOR: &str = "systemd-executor";
/// So many characters of a longer program's name systemd gives a process before its exec
/// (`rename_process_from_path` in src/basic/process-util.c, measured: 252 and 257): the last ones.
const LAST_OF_NAME: usize = 8;
/// The same of newer releases (measured: 262): the first ones, as many as a process's name has room
/// for.
const FIRST_OF_NAME: usize = 13;

/// Whether a process that systemd has named after what it is to execute, such as `(d-helper)`, is
/// none of the service's own commands: one of ExecStartPre= and the like. False where that can't
/// be told.
#[must_use]
pub fn is_for_another(comm: &str, exec_start: &[String]) -> bool {
    let Some(name) = comm.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return false;
    };
    let is_for = |line: &String| {
        let program = line.split(' ').next().unwrap_or_default();
        // With `@` before it the first word is what the program is to be called.
        let Some((_, base)) = program.rsplit_once('/').filter(|_| program.starts_with('/')) else {
            return true;
        };
        // It is cut at a byte, which may be in the middle of a letter.
        let (base, name) = (raw_name::of(base), raw_name::of(name));
        let (base, name) = (base.as_bytes(), name.as_bytes());
        let last = &base[base.len().saturating_sub(LAST_OF_NAME)..];
        let first = &base[..base.len().min(FIRST_OF_NAME)];
        name == last || name == first
    };
    !exec_start.is_empty() && !exec_start.iter().any(is_for)
}

/// Whether a program is systemd's own, and not yet the service's.
#[must_use]
pub fn is_executor(exe: &str) -> bool {
    exe.rsplit('/').next() == Some(EXECUTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_is_to_execute_is_told_by_the_end_of_its_name_or_its_begin() {
        let is_other = |comm: &str, exec_start: &[&str]| {
            let lines: Vec<String> = exec_start.iter().map(|line| (*line).to_owned()).collect();
            is_for_another(comm, &lines)
        };
        let unbound = ["/usr/sbin/unbound -d -p"];
        assert!(is_other("(d-helper)", &unbound));
        assert!(!is_other("(unbound)", &unbound));
        assert!(!is_other("(d-helper)", &["/usr/libexec/unbound-helper a"]));
        assert!(is_other("(d-helpe)", &["/usr/libexec/unbound-helper"]));
        let memcached = ["/usr/share/memcached/scripts/systemd-memcached-wrapper /etc/m.conf"];
        assert!(!is_other("(-wrapper)", &memcached));
        // The name is cut within a letter.
        let comm = raw_name::text(b"(\xb6abcdefg)");
        assert!(!is_other(&comm, &["/usr/bin/x\u{f6}abcdefg"]));
        assert!(!is_other("(systemd-memca)", &memcached));
        assert!(is_other("(systemd-memc)", &memcached));
        assert!(!is_other("(fail2ban-serv)", &["/usr/bin/fail2ban-server -xf start"]));
        assert!(is_other("(fail2ban-clie)", &["/usr/bin/fail2ban-server -xf start"]));
        // One of several commands of a oneshot.
        assert!(!is_other("(true)", &["/bin/false", "/bin/true x"]));
        // It has no such name yet, or it can't be told what that would be.
        for comm in ["systemd", "8", "unbound", "(unbound"] {
            assert!(!is_other(comm, &unbound), "{comm}");
        }
        assert!(!is_other("(d-helper)", &[]));
        assert!(!is_other("(d-helper)", &["@dbus-daemon --system"]));
        assert!(!is_other("(d-helper)", &["unbound -d"]));
    }
}
