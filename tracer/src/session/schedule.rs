//! Signals that a command is sent: which is due when.

use std::time::{Duration, Instant};

use crate::{
    model::{
        event::{Consumer, DispositionKind},
        signal::Signal,
    },
    observation::{Fact, Observation},
    timeline::notify,
};

/// How long the timeline goes on after the last one was sent, so that its fate is seen,
/// and whether a reload was answered.
const SETTLE: Duration = Duration::from_millis(1_500);

/// A signal to send, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// The signal.
    pub signal: Signal,
    /// The moment it counts from.
    pub moment: Moment,
    /// How long after it.
    pub after: Duration,
}

/// A moment of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The exec.
    Exec,
    /// There is a handler for the reload signal.
    Handler,
    /// READY=1 was sent.
    Ready,
}

/// The signals still to be sent.
#[derive(Debug)]
pub struct Schedule {
    pid: u32,
    reload_signal: Signal,
    waiting: Vec<Send>,
    due: Vec<(Instant, Signal)>,
    last_sent: Option<Instant>,
    execed: bool,
}

impl Schedule {
    /// For the process `pid`.
    #[must_use]
    pub fn new(sends: &[Send], pid: u32, reload_signal: Signal) -> Self {
        Self {
            pid,
            reload_signal,
            waiting: sends.to_vec(),
            due: Vec::new(),
            last_sent: None,
            execed: false,
        }
    }

    /// Takes an observation. `age` is how old it is `now`.
    pub fn learn(&mut self, observation: &Observation, age: Duration, now: Instant) {
        match &observation.fact {
            Fact::Exec { task, .. } if task.id.pid == self.pid && !self.execed => {
                self.execed = true;
                self.came(Moment::Exec, age, now);
            }
            Fact::Disposition { task, signal, disposition: DispositionKind::Handler, .. }
                if task.id.pid == self.pid && *signal == self.reload_signal && self.execed =>
            {
                self.came(Moment::Handler, age, now);
            }
            Fact::Consume {
                task, set, consumer: Consumer::Signalfd | Consumer::Sigwait, ..
            } if task.id.pid == self.pid && set.intersects(self.reload_signal.set()) => {
                self.came(Moment::Handler, age, now);
            }
            Fact::Notify(datagram)
                if datagram.errno == 0
                    && datagram.payload.as_deref().is_some_and(notify::says_ready) =>
            {
                self.came(Moment::Ready, age, now);
            }
            _ => {}
        }
    }

    /// A moment came, `age` ago. What is due later than the clock can tell is never due.
    fn came(&mut self, moment: Moment, age: Duration, now: Instant) {
        for send in self.waiting.extract_if(.., |send| send.moment == moment) {
            let at = now.checked_add(send.after.saturating_sub(age));
            self.due.extend(at.map(|at| (at, send.signal)));
        }
    }

    /// The signals to send now, in the order of their times.
    pub fn take_due(&mut self, now: Instant) -> Vec<Signal> {
        let mut due: Vec<_> = self.due.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        if !due.is_empty() {
            self.last_sent = Some(now);
        }
        due.into_iter().map(|(_, signal)| signal).collect()
    }

    /// How long until the next one is due, `longest` at most.
    #[must_use]
    pub fn patience(&self, longest: Duration, now: Instant) -> Duration {
        let next = self.due.iter().map(|(at, _)| at.saturating_duration_since(now));
        next.min().map_or(longest, |next| next.min(longest))
    }

    /// Whether all have been sent and had time to take effect. Those that wait for a
    /// moment that has not come don't count.
    #[must_use]
    pub fn is_settled(&self, now: Instant) -> bool {
        let moments_left = self.waiting.iter().any(|send| send.moment == Moment::Ready);
        self.due.is_empty()
            && !moments_left
            && self.last_sent.is_none_or(|sent| now >= sent + SETTLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{
        Datagram, Environment, Handler, ProcessId, Program, SignalState, Task,
    };

    const MS: Duration = Duration::from_millis(1);
    const PID: u32 = 7;

    fn task(pid: u32) -> Task {
        Task::of(ProcessId { pid, start_ticks: 1 })
    }

    fn exec(pid: u32) -> Observation {
        let fact = Fact::Exec {
            task: task(pid),
            filename: "/x".to_owned(),
            exe: "/x".into(),
            file: "x".into(),
            program: Program::Unread,
            environment: Environment::default(),
            state: SignalState::default(),
        };
        Observation { at: 0, fact }
    }

    fn handler() -> Observation {
        let fact = Fact::Disposition {
            task: task(PID),
            signal: Signal::HUP,
            disposition: DispositionKind::Handler,
            once: false,
            handler: Handler::default(),
            loaded: None,
            state: SignalState::default(),
        };
        Observation { at: 0, fact }
    }

    fn ready() -> Observation {
        let fact = Fact::Notify(Box::new(Datagram {
            sender: task(PID + 1),
            exe: None,
            claimed_pid: None,
            destination: "/run/x".to_owned(),
            payload: Some(b"READY=1".to_vec()),
            length: 7,
            errno: 0,
            not_connected: false,
        }));
        Observation { at: 0, fact }
    }

    fn schedule(sends: &[(Signal, Moment, Duration)]) -> Schedule {
        let send = |(signal, moment, after): &(_, _, _)| Send {
            signal: *signal,
            moment: *moment,
            after: *after,
        };
        Schedule::new(&sends.iter().map(send).collect::<Vec<_>>(), PID, Signal::HUP)
    }

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn a_time_counts_from_the_exec_and_not_from_when_the_exec_was_heard_of() {
        let start = Instant::now();
        let mut schedule = schedule(&[(Signal::HUP, Moment::Exec, 50 * MS)]);
        assert_eq!(schedule.patience(1000 * MS, start), 1000 * MS);
        schedule.learn(&exec(PID + 1), Duration::ZERO, start);
        assert!(schedule.take_due(start + 1000 * MS).is_empty(), "another's exec");
        schedule.learn(&exec(PID), 10 * MS, start);
        assert_eq!(schedule.patience(1000 * MS, start), 40 * MS);
        assert!(schedule.take_due(start + 39 * MS).is_empty());
        assert_eq!(schedule.take_due(start + 40 * MS), [Signal::HUP]);
        assert!(schedule.take_due(start + 90 * MS).is_empty(), "once");
    }

    #[test]
    fn signals_are_sent_in_the_order_of_their_times() {
        let start = Instant::now();
        let mut schedule = schedule(&[
            (Signal::TERM, Moment::Exec, 20 * MS),
            (Signal::INT, Moment::Exec, AT_ONCE),
            (Signal::HUP, Moment::Exec, 10 * MS),
        ]);
        schedule.learn(&exec(PID), Duration::ZERO, start);
        let all = schedule.take_due(start + 30 * MS);
        assert_eq!(all, [Signal::INT, Signal::HUP, Signal::TERM]);
    }

    #[test]
    fn it_settles_a_second_and_a_half_after_the_last_one() {
        let start = Instant::now();
        let mut schedule = schedule(&[(Signal::HUP, Moment::Exec, AT_ONCE)]);
        assert!(schedule.is_settled(start), "what waits for a moment does not count");
        schedule.learn(&exec(PID), Duration::ZERO, start);
        assert!(!schedule.is_settled(start));
        assert_eq!(schedule.take_due(start), [Signal::HUP]);
        assert!(!schedule.is_settled(start + 1_499 * MS));
        assert!(schedule.is_settled(start + 1_500 * MS));
    }

    #[test]
    fn what_waits_for_ready_keeps_until_ready_from_ending_before_it() {
        let schedule = schedule(&[(Signal::HUP, Moment::Ready, AT_ONCE)]);
        assert!(!schedule.is_settled(Instant::now()));
    }

    #[test]
    fn a_time_after_a_moment_counts_from_it_and_keeps_until_ready_from_ending_before() {
        let start = Instant::now();
        let mut schedule = schedule(&[
            (Signal::HUP, Moment::Ready, 2_000 * MS),
            (Signal::TERM, Moment::Handler, 10 * MS),
        ]);
        schedule.learn(&exec(PID), AT_ONCE, start);
        assert!(schedule.take_due(start + 10_000 * MS).is_empty(), "neither has come");
        schedule.learn(&handler(), 4 * MS, start);
        assert_eq!(schedule.patience(1_000 * MS, start), 6 * MS);
        schedule.learn(&ready(), AT_ONCE, start);
        assert!(!schedule.is_settled(start));
        assert_eq!(schedule.take_due(start + 1_999 * MS), [Signal::TERM]);
        schedule.learn(&ready(), AT_ONCE, start + 1_000 * MS);
        assert_eq!(schedule.take_due(start + 2_000 * MS), [Signal::HUP], "of the first READY=1");
        assert!(!schedule.is_settled(start + 2_000 * MS));
        assert!(schedule.is_settled(start + 3_500 * MS));
    }

    #[test]
    fn a_time_that_no_clock_reaches_never_comes() {
        let start = Instant::now();
        let mut schedule = schedule(&[(Signal::HUP, Moment::Exec, Duration::MAX)]);
        schedule.learn(&exec(PID), Duration::ZERO, start);
        assert!(schedule.take_due(start + 1_000_000 * MS).is_empty());
        assert_eq!(schedule.patience(MS, start), MS);
    }
}
