//! `--send`: which signal is due when.

use std::time::{Duration, Instant};

use sigready::{
    model::{
        event::{Consumer, DispositionKind},
        signal::Signal,
    },
    observation::{Fact, Observation},
    timeline::notify,
};

use crate::cli::{Send, When};

/// How long the timeline goes on after the last one was sent, so that its fate is seen.
const SETTLE: Duration = Duration::from_millis(500);

/// The signals still to be sent.
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

    /// Takes news; `now` is `CLOCK_BOOTTIME` ns, the clock they carry.
    pub fn learn(&mut self, news: &[Observation], now: u64) {
        for observation in news {
            let age = Duration::from_nanos(now.saturating_sub(observation.at));
            match &observation.fact {
                Fact::Exec { task, .. } if task.id.pid == self.pid && !self.execed => {
                    self.execed = true;
                    self.came(When::Exec);
                    self.clock_starts(age);
                }
                Fact::Disposition {
                    task, signal, disposition: DispositionKind::Handler, ..
                } if task.id.pid == self.pid && *signal == self.reload_signal && self.execed => {
                    self.came(When::Handler);
                }
                Fact::Consume {
                    task,
                    set,
                    consumer: Consumer::Signalfd | Consumer::Sigwait,
                    ..
                } if task.id.pid == self.pid && set.intersects(self.reload_signal.set()) => {
                    self.came(When::Handler);
                }
                Fact::Notify(datagram)
                    if datagram.errno == 0
                        && datagram.payload.as_deref().is_some_and(notify::says_ready) =>
                {
                    self.came(When::Ready);
                }
                _ => {}
            }
        }
    }

    fn came(&mut self, moment: When) {
        let now = Instant::now();
        let due = self.waiting.extract_if(.., |send| send.when == moment);
        self.due.extend(due.map(|send| (now, send.signal)));
    }

    /// The exec was `age` ago.
    fn clock_starts(&mut self, age: Duration) {
        let now = Instant::now();
        let mut rest = Vec::new();
        for send in self.waiting.drain(..) {
            match send.when {
                When::After(span) => self.due.push((now + span.saturating_sub(age), send.signal)),
                _ => rest.push(send),
            }
        }
        self.waiting = rest;
    }

    /// The signals to send now.
    pub fn take_due(&mut self) -> Vec<Signal> {
        let now = Instant::now();
        let mut due: Vec<_> = self.due.extract_if(.., |(at, _)| *at <= now).collect();
        due.sort_by_key(|(at, _)| *at);
        if !due.is_empty() {
            self.last_sent = Some(now);
        }
        due.into_iter().map(|(_, signal)| signal).collect()
    }

    /// How long until the next one is due, `longest` at most.
    pub fn patience(&self, longest: Duration) -> Duration {
        let next = self.due.iter().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        next.min().map_or(longest, |next| next.min(longest))
    }

    /// Whether all have been sent and had time to take effect. Those that wait for a
    /// moment that has not come don't count.
    pub fn is_settled(&self) -> bool {
        let moments_left = self.waiting.iter().any(|send| send.when == When::Ready);
        self.due.is_empty()
            && !moments_left
            && self.last_sent.is_none_or(|sent| sent.elapsed() >= SETTLE)
    }
}
