//! The command that `run` traces, its notify socket, and what it is sent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    Observer,
    capture::Capture,
    child::{Child, Stopped},
    notify_socket::NotifySocket,
    schedule::Schedule,
    turns::{News, Subject},
};
use crate::{
    host::{
        clock,
        descendants::{self, MAX_FOLLOWED},
        procfs,
    },
    model::signal::Signal,
    observation::{Fact, Observation},
};

/// How long a command that has ended is followed at most while what it left starts others.
const LEAVING: Duration = Duration::from_millis(500);
/// The same where somebody waits for the report.
const LEAVING_INTERRUPTED: Duration = Duration::from_millis(100);
/// With none started for so long, it is done with that: a daemon forks twice in a row.
const CALM: Duration = Duration::from_millis(50);
/// For how long it is looked for what was started as it was looked.
const LOOKING: Duration = Duration::from_millis(200);

/// A command being traced.
pub struct Command {
    child: Child,
    #[allow(dead_code, reason = "messages are taken for as long as it is there")]
    socket: Option<NotifySocket>,
    schedule: Schedule,
    descendants: Descendants,
    /// It was sent an interrupt of the session.
    interrupted: bool,
}

/// The processes that a command started, and theirs, as far as they run. Of more than can be
/// remembered, the newest are not.
#[derive(Default)]
struct Descendants {
    alive: BTreeSet<u32>,
    /// How many were started.
    started: u64,
}

impl Descendants {
    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Fork { child, .. } => {
                self.started += 1;
                self.add(child.id.pid);
            }
            Fact::Exit { task, .. } => {
                self.alive.remove(&task.id.pid);
            }
            _ => {}
        }
    }

    fn add(&mut self, pid: u32) {
        if self.alive.len() < MAX_FOLLOWED {
            self.alive.insert(pid);
        }
    }

    /// Adds what runs now and was started by them, or is in the session of the command. This is
    /// for when the kernel side tells no more: who was started by a process that has ended since,
    /// in a session of its own, is not found.
    fn look(&mut self, session: u32) {
        let limit = Instant::now() + LOOKING;
        loop {
            let known = self.alive.len();
            for pid in descendants::in_session(session).filter(|pid| *pid != session) {
                self.add(pid);
            }
            descendants::follow(&mut self.alive);
            if self.alive.len() == known || Instant::now() >= limit {
                return;
            }
        }
    }
}

/// How long a command that has ended is followed.
struct Following {
    limit: Instant,
    calm_since: Instant,
    /// How many processes were started by then.
    started: u64,
}

impl Following {
    fn new(now: Instant, most: Duration, started: u64) -> Self {
        Self { limit: now + most, calm_since: now, started }
    }

    /// So many were started until now.
    fn learn(&mut self, started: u64, now: Instant) {
        if started > self.started {
            self.started = started;
            self.calm_since = now;
        }
    }

    /// How much longer: nothing once it is over.
    fn patience(&self, now: Instant) -> Duration {
        (self.calm_since + CALM).min(self.limit).saturating_duration_since(now)
    }
}

impl Command {
    /// A command that was started.
    #[must_use]
    pub fn new(child: Child, socket: Option<NotifySocket>, schedule: Schedule) -> Self {
        Self { child, socket, schedule, descendants: Descendants::default(), interrupted: false }
    }

    /// Whether it has not been waited for.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.child.has_ended()
    }

    /// Waits for its end once the session is over, and makes it end. Tells how.
    pub async fn stop(&mut self) -> Result<Stopped> {
        self.child.stop().await
    }

    /// The same, where it has so long to end before it is killed.
    pub async fn stop_within(&mut self, time: Duration) -> Result<Stopped> {
        self.child.stop_within(time).await
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Sends it a signal, unless it has ended.
    pub fn send(&self, signal: Signal) -> Result<()> {
        self.child.send(signal)
    }

    /// The processes it left running, by name and pid, but for those in `known`.
    #[must_use]
    pub fn left_running(&mut self, known: &[u32]) -> Vec<String> {
        self.descendants.look(self.child.pid());
        self.descendants
            .alive
            .iter()
            .filter(|pid| !known.contains(pid))
            .filter_map(|pid| procfs::name(*pid).map(|name| format!("{name} (pid {pid})")))
            .collect()
    }
}

impl Subject for Command {
    fn learn(&mut self, observation: &Observation) {
        let age = Duration::from_nanos(clock::boot_ns().saturating_sub(observation.at));
        self.schedule.learn(observation, age, Instant::now());
        self.descendants.learn(&observation.fact);
    }

    async fn act(&mut self, _: &mut Capture, _: &dyn Observer, now: Instant) -> Result<()> {
        for signal in self.schedule.take_due(now) {
            self.child.send(signal)?;
        }
        Ok(())
    }

    fn patience(&self, longest: Duration, now: Instant) -> Duration {
        self.schedule.patience(longest, now)
    }

    async fn news(&mut self) -> Result<News> {
        if self.child.has_ended() {
            return std::future::pending().await;
        }
        self.child.wait().await?;
        Ok(News::Ended)
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.schedule.is_settled(now)
    }

    fn is_over(&mut self, _: Instant) -> bool {
        self.child.has_ended()
    }

    fn forward(&mut self, signal: Signal, observer: &dyn Observer) -> Result<()> {
        // A hang-up of the terminal is an end, not a reload.
        let signal = if signal == Signal::HUP { Signal::TERM } else { signal };
        self.interrupted = true;
        observer.note(&format_args!("forwarding {signal} to the command; again ends at once"));
        self.child.send(signal)
    }

    /// Follows what a command that has ended left running until that starts no others.
    async fn last_news(&mut self, capture: &mut Capture) -> Vec<Observation> {
        let most = if self.interrupted { LEAVING_INTERRUPTED } else { LEAVING };
        let mut following = Following::new(Instant::now(), most, self.descendants.started);
        while self.child.has_ended() && !self.descendants.alive.is_empty() {
            let patience = following.patience(Instant::now());
            // What fails here fails again, and is told then.
            if patience.is_zero()
                || capture.wait(patience).await.is_err()
                || capture.take(following.limit, |observation| self.learn(observation)).is_err()
            {
                break;
            }
            following.learn(self.descendants.started, Instant::now());
        }
        Vec::new()
    }

    fn untested(&self) -> Vec<String> {
        Vec::new()
    }

    fn session_ended(&mut self) -> Result<()> {
        self.child.send(Signal::TERM)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use nix::{sys::signal::Signal, unistd::Pid};

    use super::*;
    use crate::observation::{ProcessId, SignalState, Task};

    fn task(pid: u32) -> Task {
        Task::of(ProcessId { pid, start_ticks: 1 })
    }

    #[test]
    fn so_many_descendants_are_remembered_and_those_that_end_make_room() {
        let fork = |pid| {
            let state = SignalState::default();
            Fact::Fork {
                parent: task(1),
                child: task(pid),
                shares_handlers: false,
                shares_memory: false,
                state,
            }
        };
        let mut descendants = Descendants::default();
        let most = u32::try_from(MAX_FOLLOWED).unwrap();
        for pid in 0..most + 10 {
            descendants.learn(&fork(pid));
        }
        assert_eq!(descendants.alive.len(), MAX_FOLLOWED);
        assert!(!descendants.alive.contains(&most));
        let state = SignalState::default();
        let ended = Fact::Exit { task: task(3), signal: None, code: 0, core_dumped: false, state };
        descendants.learn(&ended);
        descendants.learn(&fork(most));
        assert!(descendants.alive.contains(&most) && !descendants.alive.contains(&3));
    }

    #[test]
    fn a_command_is_followed_until_it_starts_none_for_a_while_and_no_longer_than_half_a_second() {
        let ms = Duration::from_millis;
        let ended = Instant::now();
        let mut following = Following::new(ended, LEAVING, 3);
        assert_eq!(following.patience(ended), ms(50));
        following.learn(3, ended + ms(40));
        assert_eq!(following.patience(ended + ms(49)), ms(1));
        assert_eq!(following.patience(ended + ms(50)), ms(0));
        for (started, at) in (4..).zip((0..=470).step_by(10)) {
            following.learn(started, ended + ms(at));
            let left = following.patience(ended + ms(at));
            assert_eq!(left, ms(50.min(500 - at)), "after {at} ms");
        }
        assert_eq!(following.patience(ended + ms(500)), ms(0));
    }

    /// `sh` starts a `sleep` that it leaves behind in its session, and another that a child of
    /// its own waits for in a session of its own.
    #[test]
    fn what_runs_is_found_by_its_parent_and_by_its_session() {
        let script = "(sleep 60 & echo $!); setsid sh -c 'sleep 60 & echo $$ $!; wait' & wait";
        let mut leader = std::process::Command::new("setsid");
        leader.args(["--wait", "sh", "-c", &format!("echo $$; {script}")]);
        let mut leader = leader.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(leader.stdout.take().unwrap()).lines();
        let words: Vec<String> = lines.take(3).map(Result::unwrap).collect();
        let pids: Vec<u32> = words.join(" ").split(' ').map(|pid| pid.parse().unwrap()).collect();
        let [session, left, waiting, child] = pids[..] else { panic!("{words:?}") };
        let mut descendants = Descendants::default();
        descendants.add(waiting);
        descendants.look(session);
        for pid in [left, waiting, child] {
            assert!(descendants.alive.contains(&pid), "{pid} of {words:?}");
            nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        }
        leader.wait().unwrap();
        assert!(!descendants.alive.contains(&session) && !descendants.alive.contains(&1));
    }
}
