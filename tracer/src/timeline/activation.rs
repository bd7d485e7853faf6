//! The timeline that the facts of one start make.

use std::collections::HashMap;

use tracer_common::signal::SignalSet;

use super::{
    admission,
    builder::Anchor,
    collected::{Collected, fact_task},
    exposure::{self, Turn},
    fate, masks,
    notify::{self, Meaning},
    posture::{Posture, Postures},
    runtimes::{self, Runtimes},
};
use crate::{
    model::{
        document::{Activation, Milestones, Outcome, OutcomeState, WallTime},
        event::{
            Consumer, DispositionKind, Event, Fate, NotifyMessage, ProcessRef, Runtime, SignalSent,
            What,
        },
        signal::Signal,
        unit::{UnitFacts, UnitState},
    },
    observation::{Datagram, Fact, Generate, ProcessId, Task},
};

/// What a timeline is made with besides the facts.
pub struct Frame<'a> {
    /// The reload signal.
    pub signal: Signal,
    /// Signals whose dispositions become events.
    pub recorded: SignalSet,
    /// The unit's settings.
    pub facts: Option<&'a UnitFacts>,
    /// The two clocks.
    pub anchor: Anchor,
    /// `CLOCK_BOOTTIME` ns of the end of the capture.
    pub now: u64,
    /// Notify sockets that processes of the service were given.
    pub sockets: &'a [String],
}

/// The timeline of what was collected, with systemd's states of this start.
#[must_use]
pub fn timeline(
    collected: &Collected,
    frame: &Frame<'_>,
    states: &[(u64, &UnitState)],
) -> Activation {
    let facts = collected.in_order();
    let mut activation = Timeline::new(collected, frame, &facts, states).finish(&facts);
    activation.systemd = states.last().map(|(_, state)| (*state).clone());
    if let Some(state) = &mut activation.systemd
        && activation.outcome.state != OutcomeState::Running
        && state.active_state == "active"
        && state.sub_state.as_deref() == Some("running")
    {
        // That was before the end, which it has said nothing of.
        state.result = None;
    }
    activation
}

/// A timeline in the making.
struct Timeline<'a> {
    collected: &'a Collected,
    frame: &'a Frame<'a>,
    /// systemd's, with their times.
    states: &'a [(u64, &'a UnitState)],
    zero: u64,
    exes: HashMap<ProcessId, String>,
    events: Vec<Event>,
    turns: Vec<Turn>,
    ready_ns: Option<i64>,
    first_reload_ns: Option<i64>,
    outcome: Outcome,
    exit_ns: Option<i64>,
}

impl<'a> Timeline<'a> {
    fn new(
        collected: &'a Collected,
        frame: &'a Frame<'a>,
        facts: &[(u64, &Fact)],
        states: &'a [(u64, &'a UnitState)],
    ) -> Self {
        Self {
            collected,
            frame,
            states,
            zero: zero(collected, facts),
            exes: HashMap::new(),
            events: Vec::new(),
            turns: Vec::new(),
            ready_ns: None,
            first_reload_ns: None,
            outcome: Outcome { state: OutcomeState::Running, signal: None, code: None },
            exit_ns: None,
        }
    }

    fn finish(mut self, facts: &[(u64, &Fact)]) -> Activation {
        let fates = fate::tell(facts);
        let runtimes = Runtimes::find(self.frame.signal, facts.iter().copied());
        let mut postures = Postures::new(self.frame.signal, &runtimes);
        let momentary = masks::momentary(facts);
        let mut hand_overs = self.collected.mains.iter().skip(1).peekable();
        for (index, (at, fact)) in facts.iter().enumerate() {
            // The heir brings what it has set up by then.
            while let Some((since, heir)) = hand_overs.next_if(|(since, _)| since <= at) {
                let posture = postures.get(*heir);
                self.turn(Turn { at_ns: self.at(*since), posture, exec: false });
            }
            if let (Some(half), Fact::Mask { task, .. }) = (momentary.get(&index), fact) {
                postures.moment(task.id, *half);
                continue;
            }
            let before = fact_task(fact).map(|task| postures.get(task.id)).unwrap_or_default();
            let learned = postures.learn(*at, fact);
            if let Some((id, posture)) = learned
                && self.is_main(id, *at)
            {
                let exec = matches!(fact, Fact::Exec { .. });
                self.turn(Turn { at_ns: self.at(*at), posture, exec });
            }
            let after = learned.map_or(before, |(_, posture)| posture);
            match fact {
                // A mask of one thread that changes nothing for the process tells nothing.
                Fact::Mask { .. } if before == after => {}
                Fact::Generate(generate) => {
                    let outcome = fates.get(&index).copied();
                    self.signal(*at, generate, outcome, met_runtime(&postures, generate));
                }
                fact => self.event(*at, fact, before, after),
            }
        }
        for (since, heir) in hand_overs {
            let posture = postures.get(*heir);
            self.turn(Turn { at_ns: self.at(*since), posture, exec: false });
        }
        self.tell_states();
        self.activation()
    }

    /// Whether systemd has said that a service that was to say READY=1 came up after `at`.
    fn came_up_after(&self, at: u64) -> bool {
        let is_notify = self.frame.facts.is_some_and(UnitFacts::is_notify);
        let mut states = self.states.iter();
        is_notify && states.any(|(since, state)| *since >= at && state.active_state == "active")
    }

    /// Puts systemd's states among the events.
    fn tell_states(&mut self) {
        let mut last = None;
        for (at, state) in self.states {
            let result = state.result.clone().filter(|result| result != "success");
            let seen = (&state.active_state, &state.sub_state, result);
            if last.as_ref() != Some(&seen) {
                let what = What::Systemd {
                    state: state.active_state.clone(),
                    sub_state: state.sub_state.clone(),
                    result: seen.2.clone(),
                };
                self.push(*at, what);
                last = Some(seen);
            }
        }
        self.events.sort_by_key(|event| event.at_ns);
    }

    fn at(&self, at: u64) -> i64 {
        let ns = i128::from(at) - i128::from(self.zero);
        ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn is_main(&self, id: ProcessId, at: u64) -> bool {
        self.collected.main_at(at) == Some(id)
    }

    fn turn(&mut self, turn: Turn) {
        if self.turns.last().is_none_or(|last| last.posture != turn.posture || turn.exec) {
            self.turns.push(turn);
        }
    }

    fn process(&self, task: &Task) -> ProcessRef {
        ProcessRef {
            pid: task.id.pid,
            ns_pid: (task.ns_pid != 0 && task.ns_pid != task.id.pid).then_some(task.ns_pid),
            comm: task.comm.clone(),
            exe: self.exes.get(&task.id).cloned(),
            uid: None,
        }
    }

    fn sender(&self, task: &Task) -> ProcessRef {
        ProcessRef { uid: (task.uid != u32::MAX).then_some(task.uid), ..self.process(task) }
    }

    fn push(&mut self, at: u64, what: What) {
        self.events.push(Event { at_ns: self.at(at), what });
    }

    fn event(&mut self, at: u64, fact: &Fact, before: Posture, after: Posture) {
        let reload = self.frame.signal;
        let what = match fact {
            Fact::Found { task, exe, .. } => {
                if let Some(exe) = exe {
                    self.exes.insert(task.id, exe.clone());
                }
                self.found(task, after)
            }
            Fact::Fork { parent, child, .. } => {
                if let Some(exe) = self.exes.get(&parent.id).cloned() {
                    self.exes.insert(child.id, exe);
                }
                What::Fork { process: self.process(child), parent: self.process(parent) }
            }
            Fact::Exec { task, exe, filename, .. } => {
                self.exes.insert(task.id, exe.clone());
                What::Exec {
                    process: self.process(task),
                    exe: Some(exe.clone()),
                    filename: (filename != exe).then(|| filename.clone()),
                    disposition: after.disposition(),
                }
            }
            Fact::Exit { task, signal, code, core_dumped, .. } => {
                self.exit(at, task.id, *signal, *code);
                What::Exit {
                    process: self.process(task),
                    signal: *signal,
                    code: signal.is_none().then_some(*code),
                    core_dumped: *core_dumped,
                }
            }
            Fact::Disposition { signal, .. } if !self.frame.recorded.intersects(signal.set()) => {
                return;
            }
            Fact::Disposition { task, signal, disposition, once, handler, .. } => {
                let own = *signal == reload;
                let shared = runtimes::is_catch_all(*handler).then_some(Runtime::CatchAll);
                What::Disposition {
                    process: self.process(task),
                    signal: *signal,
                    disposition: *disposition,
                    consumer: None,
                    runtime: if own { after.runtime } else { shared },
                    once: *once,
                    found: false,
                }
            }
            // The handler is gone with this delivery.
            Fact::Deliver { task, signal, once: true, .. } if *signal == reload => {
                self.turned(task, after, None)
            }
            // A runtime begins to pass signals on to the program.
            Fact::Mask { task, .. } if before.runtime != after.runtime => {
                self.turned(task, after, None)
            }
            Fact::Mask { task, after: mask, .. } => What::Mask {
                process: self.process(task),
                tid: task.tid,
                signal: reload,
                blocked: mask.intersects(reload.set()),
                disposition: after.disposition(),
            },
            Fact::Consume { task, consumer, set, .. } if set.intersects(reload.set()) => {
                // A loop around sigwait says it again and again.
                if before.consumer == Some(*consumer) {
                    return;
                }
                self.turned(task, after, Some(*consumer))
            }
            Fact::Notify(datagram) => return self.notify(at, datagram),
            Fact::CgroupAttach { task, path, .. } => {
                What::Cgroup { process: Some(self.process(task)), path: path.clone() }
            }
            _ => return,
        };
        self.push(at, what);
    }

    /// What a process does on the reload signal has changed without a sigaction.
    fn turned(&self, task: &Task, now: Posture, consumer: Option<Consumer>) -> What {
        What::Disposition {
            process: self.process(task),
            signal: self.frame.signal,
            disposition: now.disposition(),
            consumer,
            runtime: now.runtime,
            once: false,
            found: false,
        }
    }

    /// What a process did on the reload signal when the capture joined.
    fn found(&self, task: &Task, now: Posture) -> What {
        let mut what = self.turned(task, now, None);
        if let What::Disposition { found, .. } = &mut what {
            *found = true;
        }
        what
    }

    fn exit(&mut self, at: u64, id: ProcessId, signal: Option<Signal>, code: u8) {
        if self.collected.main() != Some(id) {
            return;
        }
        self.exit_ns = Some(self.at(at));
        self.outcome = match signal {
            Some(signal) => {
                Outcome { state: OutcomeState::Killed, signal: Some(signal), code: None }
            }
            None => Outcome { state: OutcomeState::Exited, signal: None, code: Some(code) },
        };
    }

    fn signal(
        &mut self,
        at: u64,
        generate: &Generate,
        outcome: Option<fate::Outcome>,
        runtime: Option<Runtime>,
    ) {
        let at_ns = self.at(at);
        let is_reload = generate.signal == self.frame.signal;
        if is_reload && self.is_main(generate.target.id, at) && self.exit_ns.is_none() {
            let own = generate.sender.as_ref().is_some_and(|s| s.id == generate.target.id);
            if !own {
                self.first_reload_ns.get_or_insert(at_ns);
            }
        }
        let sent = SignalSent {
            signal: generate.signal,
            sender: generate.sender.as_ref().map(|task| self.sender(task)),
            target: self.process(&generate.target),
            tid: generate.to_thread.then_some(generate.target.tid),
            si_code: generate.si_code,
            disposition: generate.disposition,
            runtime,
            traced: generate.traced,
            fate: outcome.map_or(Fate::Pending, |outcome| outcome.fate),
            fate_ns: outcome.and_then(|outcome| outcome.at).map(|at| self.at(at)),
        };
        self.push(at, What::Signal(Box::new(sent)));
    }

    fn notify(&mut self, at: u64, datagram: &Datagram) {
        let given = self.frame.sockets.iter().map(String::as_str);
        if !notify::is_notify_socket(&datagram.destination, given) {
            return;
        }
        let message = datagram
            .payload
            .as_deref()
            .map(|payload| notify::parse(payload, datagram.length))
            .unwrap_or_default();
        let mut sender = self.sender(&datagram.sender);
        // /proc was read later, and may tell of the next program already.
        sender.exe = sender.exe.or_else(|| datagram.exe.clone());
        let claimed = admission::claimed(datagram);
        let (mut accepted, mut problem) =
            admission::judge(self.collected, self.frame.facts, at, datagram, claimed, &message);
        let ready = notify::meaning(&message.assignments) == Some(Meaning::Ready);
        if ready && accepted.is_none() && self.came_up_after(at) {
            (accepted, problem) = (Some(true), None);
        }
        if accepted != Some(false) && ready {
            let at_ns = self.at(at);
            self.ready_ns.get_or_insert(at_ns);
        }
        self.push(
            at,
            What::Notify(Box::new(NotifyMessage {
                sender,
                claimed_pid: claimed,
                destination: datagram.destination.clone(),
                assignments: message.assignments,
                length: datagram.length,
                result: datagram.errno,
                accepted,
                problem,
            })),
        );
    }

    fn activation(self) -> Activation {
        let joined_ns = self.collected.joined_at.map(|at| self.at(at));
        let execs = self.turns.iter().filter(|turn| turn.exec).map(|turn| turn.at_ns);
        let (first_exec, last_exec) = (execs.clone().min(), execs.max());
        let seen_from = first_exec.filter(|_| joined_ns.is_none()).or(joined_ns);
        let end = self.exit_ns.unwrap_or_else(|| self.at(self.frame.now));
        let found_with_handler =
            joined_ns.is_some() && self.turns.first().is_some_and(|turn| turn.posture.takes());
        let announces =
            self.ready_ns.is_some() || self.frame.facts.is_some_and(UnitFacts::is_notify);
        let milestones = Milestones {
            exec_ns: if joined_ns.is_none() { first_exec } else { None },
            last_exec_ns: last_exec.filter(|last| Some(*last) != first_exec),
            // A handler that was there already came at a time nobody saw.
            handler_ns: if found_with_handler && last_exec.is_none() {
                None
            } else {
                exposure::handler_at(&self.turns)
            },
            ready_ns: self.ready_ns,
            first_reload_ns: self.first_reload_ns,
            exit_ns: self.exit_ns,
        };
        // A service found running was announced before, if ever.
        let announces = announces && (joined_ns.is_none() || self.ready_ns.is_some());
        let from = seen_from.unwrap_or(0);
        let exposure = exposure::spans(&self.turns, self.ready_ns, announces, from, end);
        let since = self.zero.cast_signed().saturating_sub(self.frame.anchor.boot_ns.cast_signed());
        let since = jiff::SignedDuration::from_nanos(since);
        let main = self.collected.main();
        Activation {
            main_process: main
                .and_then(|main| self.collected.last_seen(main))
                .map(|task| self.process(task)),
            started_at: WallTime(self.frame.anchor.wall.saturating_add(since).unwrap_or_default()),
            invocation_id: self.collected.invocation_id.clone(),
            joined_ns,
            milestones,
            exposure,
            events: self.events,
            omitted: self.collected.omitted(),
            alerts: Vec::new(),
            outcome: self.outcome,
            systemd: None,
        }
    }
}

/// Zero of the timeline: the main process's first exec, else its start.
fn zero(collected: &Collected, facts: &[(u64, &Fact)]) -> u64 {
    let mains: Vec<ProcessId> = collected.mains.iter().map(|(_, id)| *id).collect();
    let exec = facts.iter().find_map(|(at, fact)| match fact {
        Fact::Exec { task, .. } if mains.contains(&task.id) => Some(*at),
        _ => None,
    });
    let start = facts.iter().find_map(|(_, fact)| {
        fact_task(fact).filter(|task| mains.first() == Some(&task.id)).map(|task| task.start_ns)
    });
    let exec = exec.filter(|_| collected.joined_at.is_none());
    exec.or(start).or(facts.first().map(|(at, _)| *at)).unwrap_or(0)
}

/// The runtime whose handler the signal met.
fn met_runtime(postures: &Postures<'_>, generate: &Generate) -> Option<Runtime> {
    let posture = postures.get(generate.target.id);
    posture.runtime.filter(|_| generate.disposition == DispositionKind::Handler)
}
