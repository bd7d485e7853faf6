//! What the kernel side says of processes, as the observations that everything else is built
//! from.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use sigready::{
    host::cgroups::{Cgroup, Hierarchies},
    model::signal::Signal,
    observation::Fact,
    probe::{
        attach::{Attached, Reach, Request, attach},
        backend::{Backend, Wanted},
        scope::ScopeMaps,
        stream::Stream,
    },
};
use tokio::runtime::Builder;

use crate::support::Compiled;

/// What is reported while `work` is done.
fn facts_of(reach: Reach, work: impl FnOnce(&mut Attached)) -> Vec<Fact> {
    let hup = Signal::HUP.set();
    let backend = match () {
        () if crate::support::wants_fentry() => Wanted::Only(Backend::Fentry),
        () if crate::support::wants_tracepoint() => Wanted::Only(Backend::Tracepoint),
        () => Wanted::Auto,
    };
    let request =
        Request { signals: hup, dispositions: hup, reach, buffer: 1 << 22, backend, places: false };
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut attached = attach(&request).unwrap();
        let mut stream = Stream::open(&mut attached, None, false).unwrap();
        work(&mut attached);
        let mut all = VecDeque::new();
        stream.take_until(usize::MAX, u64::MAX, &mut all).unwrap();
        all.into_iter().map(|observation| observation.fact).collect()
    })
}

/// What is reported of a C program, which has to exit with 0.
fn facts(source: &str) -> Vec<Fact> {
    let program = Compiled::new(source);
    // A parent of its own: other tests have children too.
    let mut parent = Command::new("/bin/sh")
        .args(["-c", "read _; \"$0\"; exit $?"])
        .arg(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    facts_of(Reach::ChildrenOf(parent.id()), |_| {
        parent.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let status = parent.wait().unwrap();
        assert!(status.success(), "{status}");
    })
}

/// Whether what waits for a thread can still be read as it ends, by what /proc says of a
/// process that has ended: newer kernels (seen in 6.18) have thrown it away by then.
fn keeps_pending() -> bool {
    let program = Compiled::new(
        "#include <signal.h>\n#include <unistd.h>\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           sigprocmask(SIG_BLOCK, &s, 0); raise(SIGHUP); _exit(0);\n\
         }",
    );
    let mut child = Command::new(program.path()).spawn().unwrap();
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        if status.contains("zombie") {
            break status;
        }
        thread::sleep(Duration::from_millis(10));
    };
    child.wait().unwrap();
    status.lines().any(|line| line == "SigPnd:\t0000000000000001")
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_thread_that_ends_takes_with_it_what_waited_for_it_alone() {
    let facts = facts(
        "#include <pthread.h>\n#include <signal.h>\n#include <unistd.h>\n\
         static void *with_hup(void *x) { pthread_kill(pthread_self(), SIGHUP); return x; }\n\
         static void *without(void *x) { return x; }\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           pthread_sigmask(SIG_BLOCK, &s, 0);\n\
           pthread_t t;\n\
           pthread_create(&t, 0, with_hup, 0); pthread_join(t, 0);\n\
           pthread_create(&t, 0, without, 0); pthread_join(t, 0);\n\
           kill(getpid(), SIGHUP);\n\
           pthread_create(&t, 0, without, 0); pthread_join(t, 0);\n\
           return 0;\n\
         }",
    );
    let of_threads = |fact: &Fact| match fact {
        Fact::ThreadExit { task, pending } => Some((task.tid != task.id.pid, *pending)),
        _ => None,
    };
    let told: Vec<_> = facts.iter().filter_map(of_threads).collect();
    let kept: &[_] = if keeps_pending() { &[(true, Signal::HUP.set())] } else { &[] };
    assert_eq!(told, kept, "what waits for the process stays");
    let at_the_end = facts.iter().find_map(|fact| match fact {
        Fact::Exit { state, .. } => Some(state.pending),
        _ => None,
    });
    assert_eq!(at_the_end, Some(Signal::HUP.set()));
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn threads_of_a_process_that_ends_as_a_whole_are_not_told_of() {
    let facts = facts(
        "#include <pthread.h>\n#include <signal.h>\n#include <unistd.h>\n\
         static void *with_hup(void *x) {\n\
           pthread_kill(pthread_self(), SIGHUP); for (;;) pause(); return x;\n\
         }\n\
         int main(void) {\n\
           sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
           pthread_sigmask(SIG_BLOCK, &s, 0);\n\
           pthread_t t; pthread_create(&t, 0, with_hup, 0);\n\
           usleep(100000); _exit(0);\n\
         }",
    );
    assert!(facts.iter().any(|fact| matches!(fact, Fact::Exit { .. })));
    assert!(!facts.iter().any(|fact| matches!(fact, Fact::ThreadExit { .. })), "{facts:#?}");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_child_with_its_parents_table_of_handlers_is_told_from_others() {
    let facts = facts(
        "#define _GNU_SOURCE\n#include <sched.h>\n#include <signal.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
         static char stack[65536] __attribute__((aligned(16)));\n\
         static int child(void *x) { (void)x; _exit(0); }\n\
         int main(void) {\n\
           int flags[] = { SIGCHLD, CLONE_VM | SIGCHLD, CLONE_VM | CLONE_SIGHAND | SIGCHLD };\n\
           for (int i = 0; i < 3; i++) {\n\
             pid_t pid = clone(child, stack + sizeof stack, flags[i], 0);\n\
             if (pid < 0 || waitpid(pid, 0, 0) != pid) return 9;\n\
           }\n\
           return 0;\n\
         }",
    );
    let shared = |fact: &Fact| match fact {
        Fact::Fork { shares_handlers, .. } => Some(*shares_handlers),
        _ => None,
    };
    let told: Vec<bool> = facts.iter().filter_map(shared).collect();
    assert_eq!(told, [false, false, false, true], "the program itself, and its three children");
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn an_init_that_takes_what_would_end_others_is_told_as_unkillable() {
    // What is blocked when it is sent is not ignored then, and is delivered later.
    let unblocks_hup = "\
        sigset_t s; sigemptyset(&s); sigaddset(&s, SIGHUP);\n\
        sigprocmask(SIG_BLOCK, &s, 0); kill(getpid(), SIGHUP); sigprocmask(SIG_UNBLOCK, &s, 0);\n";
    let facts = facts(&format!(
        "#define _GNU_SOURCE\n#include <sched.h>\n#include <signal.h>\n#include <sys/wait.h>\n#include <unistd.h>\n\
         static char stack[65536] __attribute__((aligned(16)));\n\
         static int child(void *x) {{ (void)x; {unblocks_hup} _exit(3); }}\n\
         int main(void) {{\n\
           int status;\n\
           pid_t init = clone(child, stack + sizeof stack, CLONE_NEWPID | SIGCHLD, 0);\n\
           if (init < 0 || waitpid(init, &status, 0) != init || WEXITSTATUS(status) != 3) return 9;\n\
           pid_t other = clone(child, stack + sizeof stack, SIGCHLD, 0);\n\
           if (waitpid(other, &status, 0) != other || !WIFSIGNALED(status)) return 8;\n\
           return 0;\n\
         }}"
    ));
    let unkillable = |fact: &Fact| match fact {
        Fact::Deliver { signal: Signal::HUP, unkillable, .. } => Some(*unkillable),
        _ => None,
    };
    let told: Vec<bool> = facts.iter().filter_map(unkillable).collect();
    assert_eq!(told, [true, false]);
}

/// A cgroup of a test, removed at its end.
struct Made {
    directory: PathBuf,
    cgroup: Cgroup,
}

impl Made {
    fn new(root: &Path, hierarchy: u32, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("/sigready-{name}-{}-{number}", std::process::id());
        let directory = root.join(&path[1..]);
        fs::create_dir(&directory).unwrap();
        let id = fs::metadata(&directory).unwrap().ino();
        Self { directory, cgroup: Cgroup { hierarchy, id, path } }
    }

    fn join(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// The cgroup is empty a moment after its last process has been waited for.
    fn remove(&self) {
        while fs::remove_dir(&self.directory).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A shell that runs /bin/true whenever it is told to.
struct Shell {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Shell {
    fn new() -> Self {
        let mut process = Command::new("/bin/sh")
            .args(["-c", "while read line; do /bin/true; echo $line; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut shell = Self { process, orders, answers };
        shell.run_true();
        shell
    }

    fn run_true(&mut self) {
        self.orders.write_all(b"go\n").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "go\n");
    }

    fn end(mut self) {
        drop(self.orders);
        self.process.wait().unwrap();
    }
}

/// A short word for what a fact tells of processes and cgroups.
fn word(fact: Fact) -> Option<String> {
    Some(match fact {
        Fact::Fork { .. } => "fork".to_owned(),
        Fact::Exec { filename, .. } => format!("exec {filename}"),
        Fact::Exit { .. } => "exit".to_owned(),
        Fact::CgroupAttach { path, .. } => format!("into {}", path.split('-').nth(1).unwrap()),
        Fact::CgroupPath { path, .. } => format!("made {}", path.rsplit('/').next().unwrap()),
        Fact::CgroupGone { path, .. } => format!("gone {}", path.rsplit('/').next().unwrap()),
        _ => return None,
    })
}

/// A shell that is moved into a listed cgroup and out of it again.
fn in_and_out(root: &Path, hierarchy: u32) -> Vec<String> {
    let (listed, other) =
        (Made::new(root, hierarchy, "listed"), Made::new(root, hierarchy, "other"));
    let facts = facts_of(Reach::Listed, |attached| {
        ScopeMaps::of(&mut attached.ebpf).add_cgroup(&listed.cgroup).unwrap();
        let mut shell = Shell::new();
        other.join(shell.process.id());
        shell.run_true();
        listed.join(shell.process.id());
        shell.run_true();
        other.join(shell.process.id());
        shell.run_true();
        shell.end();
    });
    listed.remove();
    other.remove();
    facts.into_iter().filter_map(word).collect()
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_process_is_followed_into_a_listed_cgroup_and_out_of_it_and_then_no_more() {
    let hierarchies = Hierarchies::find().unwrap();
    let story = ["into listed", "fork", "exec /bin/true", "exit", "into other"];
    let unified = hierarchies.unified.expect("every system these tests run on has it");
    assert_eq!(in_and_out(&unified, 0), story);
    match hierarchies.systemd {
        Some((root, hierarchy)) => assert_eq!(in_and_out(&root, hierarchy), story),
        None => println!("this system has no v1 hierarchy"),
    }
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_process_that_is_listed_itself_stays_so_wherever_it_is_moved() {
    let unified = Hierarchies::find().unwrap().unified.unwrap();
    let (one, other) = (Made::new(&unified, 0, "one"), Made::new(&unified, 0, "other"));
    let facts = facts_of(Reach::Listed, |attached| {
        let mut shell = Shell::new();
        let mut maps = ScopeMaps::of(&mut attached.ebpf);
        maps.add_process(shell.process.id()).unwrap();
        maps.add_cgroup(&one.cgroup).unwrap();
        one.join(shell.process.id());
        other.join(shell.process.id());
        shell.run_true();
        shell.end();
    });
    one.remove();
    other.remove();
    let told: Vec<String> = facts.into_iter().filter_map(word).collect();
    assert_eq!(told, ["into one", "into other", "fork", "exec /bin/true", "exit", "exit"]);
}

#[test]
#[ignore = "needs root and eBPF: run by cargo xtask test"]
fn a_cgroup_is_told_of_as_it_goes_and_its_id_is_in_scope_no_more() {
    let unified = Hierarchies::find().unwrap().unified.unwrap();
    let (listed, other) = (Made::new(&unified, 0, "listed"), Made::new(&unified, 0, "other"));
    let inner = listed.directory.join("inner");
    let facts = facts_of(Reach::Listed, |attached| {
        ScopeMaps::of(&mut attached.ebpf).add_cgroup(&listed.cgroup).unwrap();
        for _ in 0..3 {
            fs::create_dir(&inner).unwrap();
            fs::remove_dir(&inner).unwrap();
        }
        other.remove();
        listed.remove();
        let map = attached.ebpf.map("SCOPE_CGROUPS").unwrap();
        let left: aya::maps::HashMap<_, [u64; 2], u8> = map.try_into().unwrap();
        assert_eq!(left.keys().count(), 0);
    });
    let gone = |it: &Fact| match it {
        Fact::CgroupGone { hierarchy, id, path } => Some((*hierarchy, *id, path.clone())),
        _ => None,
    };
    let last = facts.iter().filter_map(gone).next_back();
    let Cgroup { hierarchy, id, path } = listed.cgroup;
    assert_eq!(last, Some((hierarchy, id, path.clone())));
    let told: Vec<String> = facts.into_iter().filter_map(word).collect();
    let listed = format!("gone {}", &path[1..]);
    let expected =
        ["made inner", "gone inner", "made inner", "gone inner", "made inner", "gone inner"];
    assert_eq!(told, [&expected[..], &[listed.as_str()]].concat());
}
