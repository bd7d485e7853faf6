//! Who was started by whom, and who is in a session, as far as the kernel still tells it: a
//! process whose parent has ended is another's child, in the same session.

use std::collections::BTreeSet;

use nix::unistd::{Pid, getsid};

use super::procfs;

/// The most processes that are followed from one on.
pub const MAX_FOLLOWED: usize = 65_536;

/// Adds to `known` what was started by those in it, and what those started, until there are
/// [`MAX_FOLLOWED`].
pub fn follow(known: &mut BTreeSet<u32>) {
    follow_most(known, MAX_FOLLOWED);
}

fn follow_most(known: &mut BTreeSet<u32>, most: usize) {
    let mut parents: Vec<u32> = known.iter().copied().collect();
    while let Some(parent) = parents.pop() {
        for child in procfs::children(parent) {
            if known.len() >= most {
                return;
            }
            if known.insert(child) {
                parents.push(child);
            }
        }
    }
}

/// The processes of a session (setsid(2)), its leader among them.
pub fn in_session(session: u32) -> impl Iterator<Item = u32> {
    procfs::pids().into_iter().filter(move |pid| session_of(*pid) == Some(session))
}

fn session_of(pid: u32) -> Option<u32> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    getsid(Some(pid)).ok().map(|session| session.as_raw().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use nix::sys::signal::{Signal, kill};

    use super::*;

    /// A shell that starts another, which starts `sleep`: the pids, in that order.
    #[test]
    fn what_a_child_has_started_is_found_until_there_are_as_many_as_may_be() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'sleep 60 & echo $$ $!; wait' & wait"]);
        let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
        let of = |most| {
            let mut known = BTreeSet::from([shell.id()]);
            follow_most(&mut known, most);
            known
        };
        let found = [of(1), of(2), of(3), of(9)];
        let session = session_of(std::process::id()).unwrap();
        let members: Vec<u32> = in_session(session).collect();
        for pid in pids.iter().chain([&shell.id()]) {
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        }
        shell.wait().unwrap();
        let all = [shell.id(), pids[0], pids[1]];
        for (found, count) in found.iter().zip([1, 2, 3, 3]) {
            assert_eq!(*found, all[..count].iter().copied().collect());
        }
        assert!(all.iter().all(|pid| members.contains(pid)));
    }
}
