//! What systemd has said of a service, and which start of it each state belongs to.

use std::{
    collections::VecDeque,
    ops::{Range, RangeBounds},
};

use hashbrown::{HashMap, HashSet};

use super::{Attribution, ServiceStarts, StartState};
use crate::{
    model::{
        document::Owner,
        unit::{UnitFacts, UnitState},
        unit_state,
    },
    observation::{ProcessId, UnitNews},
    timeline::{
        admission::KnownProcess,
        executor::{is_executor, is_for_another},
        start::{Member, Start},
    },
};

/// States kept of one service; the oldest go first.
const MAX_STATES: usize = 2_000;
/// States kept of services of which no process is known yet.
const MAX_EARLY: usize = 4_096;
/// How long before its first process a start may begin in systemd's eyes, ns.
const AHEAD_NS: u64 = 50_000_000;

/// What systemd has said of a service.
#[derive(Clone, Debug, Default)]
pub struct KnownUnit {
    /// Its settings.
    pub facts: Option<UnitFacts>,
    /// Why they are unknown, or what is doubtful about them.
    pub problem: Option<String>,
    /// Whose it is.
    pub owner: Option<Owner>,
    states: VecDeque<StateAt>,
}

#[derive(Clone, Debug)]
struct StateAt {
    at: u64,
    invocation_id: Option<String>,
    state: UnitState,
}

impl KnownUnit {
    /// Forgets the states of a start that is final.
    pub fn forget(&mut self, invocation_id: Option<&str>) {
        if invocation_id.is_some() {
            self.states.retain(|state| state.invocation_id.as_deref() != invocation_id);
        }
    }

    /// Whether the service may put itself into the background, as far as is known.
    #[must_use]
    pub fn may_fork(&self) -> bool {
        let service_type = self.facts.as_ref().and_then(|facts| facts.service_type.as_deref());
        service_type.is_none_or(|service_type| service_type == "forking")
    }

    /// Whether a start went on at `at`, by systemd's last word until then.
    pub(super) fn went_on_at(&self, invocation_id: &str, at: u64) -> bool {
        let last = self.states.iter().filter(|known| known.at <= at).max_by_key(|known| known.at);
        last.is_some_and(|last| {
            last.invocation_id.as_deref() == Some(invocation_id) && !is_over(&last.state)
        })
    }

    /// Whether systemd had a start as over at `at`.
    pub(super) fn was_over_at(&self, invocation_id: &str, at: u64) -> bool {
        let its = |known: &&StateAt| {
            known.at <= at && known.invocation_id.as_deref() == Some(invocation_id)
        };
        let last = self.states.iter().filter(its).max_by_key(|known| known.at);
        last.is_some_and(|last| is_over(&last.state))
    }

    /// Whether systemd has had the service as over at some time of these.
    pub(super) fn was_over_in(&self, time: impl RangeBounds<u64>) -> bool {
        self.states.iter().any(|known| time.contains(&known.at) && is_over(&known.state))
    }

    /// Whether systemd has started the main process of a start at `at` or since.
    pub(super) fn started_main_since(&self, invocation_id: &str, at: u64) -> bool {
        self.states.iter().any(|known| {
            let sub_state = known.state.sub_state.as_deref();
            known.at >= at
                && known.invocation_id.as_deref() == Some(invocation_id)
                && sub_state.is_some_and(|sub_state| WITH_MAIN.contains(&sub_state))
        })
    }

    /// Whether systemd was stopping a start at `at`, as far as it has said.
    pub(super) fn is_stopping(&self, invocation_id: Option<&str>, at: u64) -> bool {
        let its =
            |state: &&StateAt| state.at <= at && state.invocation_id.as_deref() == invocation_id;
        let last = self.states.iter().filter(its).max_by_key(|state| state.at);
        last.is_some_and(|last| last.state.active_state == STOPPING)
    }

    /// Whether systemd has said of a start that it went no further than its ExecCondition= and
    /// ExecStartPre=, and is over.
    fn ended_before_main(&self, invocation_id: &str) -> bool {
        let mut states = self
            .states
            .iter()
            .filter(|state| state.invocation_id.as_deref() == Some(invocation_id))
            .filter_map(|state| state.state.sub_state.as_deref())
            .skip_while(|sub_state| !BEFORE_MAIN.contains(sub_state))
            .skip_while(|sub_state| BEFORE_MAIN.contains(sub_state));
        states.next().is_some_and(|next| !WITH_MAIN.contains(&next))
    }
}

/// Whether a start is over that is in this state, or has not begun.
fn is_over(state: &UnitState) -> bool {
    unit_state::is_over(&state.active_state, state.sub_state.as_deref())
}

/// Whether no start that was over before is in this state: what is started again by Restart= has
/// yet to wait.
fn begins(state: &UnitState) -> bool {
    !is_over(state) && state.sub_state.is_some()
}

/// What a service is in, in systemd's words, before its main process is started.
const BEFORE_MAIN: [&str; 2] = ["condition", "start-pre"];
/// The same once it was started.
const WITH_MAIN: [&str; 4] = ["start", "start-post", "running", "exited"];
/// What a unit is in while it is being stopped.
const STOPPING: &str = "deactivating";

impl Attribution {
    /// Takes what was learned of a unit. It is asked for once a process of it was seen. That takes
    /// its place a moment later, and a state of long ago may come before: it is kept.
    pub(super) fn learn_unit(&mut self, at: u64, news: UnitNews) {
        let Some(number) = self.by_path.get(&news.cgroup).copied() else {
            if news.state.is_some() {
                if self.early.len() >= MAX_EARLY {
                    self.early.pop_front();
                    self.early_left_out += 1;
                }
                self.early.push_back((at, news));
            }
            return;
        };
        let Some(service) = self.services.get_mut(&number) else {
            return;
        };
        // How far a start has come may look different now.
        service.open_starts().for_each(|start| start.revision += 1);
        // What is only claimed once stays so.
        if !matches!(service.known.owner, Some(Owner::Claimed { .. })) {
            service.known.owner = news.owner.or(service.known.owner);
        }
        if let Some(mut facts) = news.facts {
            // systemd forgets it when the unit goes down.
            let before = service.known.facts.take();
            let is_first = before.is_none();
            let before = before.and_then(|facts| facts.control_group);
            facts.control_group = facts.control_group.or(before);
            service.known.facts = Some(facts);
            service.known.problem = news.problem;
            if !service.known.may_fork() {
                service.open_starts().for_each(Start::drop_guesses);
            }
            // Later ones may have been changed since: they tell nothing of what was executed.
            if is_first {
                service.drop_commands();
            }
        } else if service.known.facts.is_none() && news.problem.is_some() {
            service.known.problem = news.problem;
        }
        let Some(mut state) = news.state else {
            return;
        };
        if let Some(id) = &news.invocation_id {
            self.recognize(number, at, &state, news.own_pids, id);
        }
        if let Some(main_pid) = state.main_pid {
            let id = news.invocation_id.as_deref();
            self.follow_main_pid(number, at, main_pid, news.own_pids, id);
        }
        let Some(service) = self.services.get_mut(&number) else {
            return;
        };
        let states = &mut service.known.states;
        // Within a start a failure stays one (`service_start` alone resets it): a success looks
        // ahead to the next. Another failure may take its place, as the limit of starts does.
        let earlier =
            states.iter().rev().find(|earlier| earlier.invocation_id == news.invocation_id);
        let failed = earlier.and_then(|earlier| earlier.state.result.clone());
        let looks_ahead = matches!(state.result.as_deref(), None | Some("success"));
        if let Some(failed) = failed.filter(|result| looks_ahead && result != "success") {
            state.result = Some(failed);
        }
        if let Some(id) = news.invocation_id.as_deref().filter(|_| begins(&state)) {
            service.give_back_states(id, at);
        }
        let states = &mut service.known.states;
        if states.len() >= MAX_STATES {
            states.pop_front();
        }
        // What comes into a service that is up by itself is no main process. Nor is it while the
        // commands of ExecStartPost= run, which are told of no main process that has died. A
        // Type=idle service is 'active' before its main process is there.
        let is_past = |sub: &str| !BEFORE_MAIN.contains(&sub) && sub != "start";
        let runs_post = state.sub_state.as_deref() == Some("start-post");
        let is_up = runs_post
            || unit_state::is_up(&state.active_state)
                && state.sub_state.as_deref().is_some_and(is_past);
        let is_stopping = state.active_state == STOPPING;
        let has_lost_main = is_stopping
            && state.sub_state.is_some()
            && state.main_pid.is_none()
            && states
                .iter()
                .any(|it| it.invocation_id == news.invocation_id && it.state.main_pid.is_some());
        states.push_back(StateAt { at, invocation_id: news.invocation_id.clone(), state });
        service.drop_left_behind();
        let Some(id) = news.invocation_id else {
            return;
        };
        let had_no_main = service.known.ended_before_main(&id);
        let start = service.number_of(&id).and_then(|number| service.open_mut(number));
        if let Some(start) = start {
            if is_up {
                start.came_up(at);
            }
            if is_stopping {
                start.drop_guesses_since(at);
            }
            if has_lost_main {
                start.drop_guess_left_before(at);
            }
            if had_no_main {
                start.had_no_main();
            }
        }
    }

    /// Takes what was learned early of a service that is new.
    pub(super) fn learn_early(&mut self, service: u64) {
        let Some(ServiceStarts { named, .. }) = self.services.get(&service) else { return };
        // There may be much of others, and of most services nothing.
        if self.early.iter().all(|(_, news)| news.cgroup != named.key()) {
            return;
        }
        for (at, news) in std::mem::take(&mut self.early) {
            self.learn_unit(at, news);
        }
    }

    /// A start that was found running shows no id where its processes wrote over their
    /// environment: it is the one whose main process systemd says it is, or which systemd had as
    /// over before.
    fn recognize(&mut self, service: u64, at: u64, state: &UnitState, own_pids: bool, id: &str) {
        let Some(service) = self.services.get_mut(&service) else {
            return;
        };
        // What it is now has all its words; those of times that systemd remembers have one.
        let is_now = state.sub_state.is_some();
        let is_first = service.known.states.iter().all(|it| it.state.sub_state.is_none());
        let is_known = service.starts().any(|(_, start)| start.invocation_id() == Some(id));
        let is_its = |start: &&mut Start| match start.invocation_id.as_deref() {
            Some(its) => its == id,
            None => !is_known,
        };
        let Some(start) = service.open_starts().filter(is_its).last() else { return };
        let Some(joined) = start.joined_at else { return };
        let main = start.alive.iter().find(|process| {
            let ns_pid = self.processes.get(**process).map_or(0, |process| process.ns_pid);
            state.main_pid == Some(if own_pids { ns_pid } else { process.pid })
        });
        let was_over = is_now && is_over(state) && (at <= joined || is_first);
        if main.is_some() || was_over {
            start.invocation_id.get_or_insert_with(|| id.to_owned());
        }
    }

    /// systemd's MainPID is the main process, whatever it looked like from here.
    fn follow_main_pid(
        &mut self,
        service: u64,
        at: u64,
        main_pid: u32,
        own_pids: bool,
        invocation_id: Option<&str>,
    ) {
        let Some(service) = self.services.get_mut(&service) else {
            return;
        };
        let its = |start: &&mut Start| {
            invocation_id.is_some() && start.invocation_id.as_deref() == invocation_id
        };
        let Some(start) = service.open_starts().filter(its).last() else { return };
        let ns_pid = |id: ProcessId| self.processes.get(id).map_or(0, |process| process.ns_pid);
        let is_it = |id: &&ProcessId| {
            if own_pids { ns_pid(**id) == main_pid } else { id.pid == main_pid }
        };
        let main = start.alive.iter().find(is_it).copied();
        match main {
            Some(id) if start.main() == Some(id) => start.confirm(id),
            Some(id) => start.hand_over_by_then(at, KnownProcess { id, ns_pid: ns_pid(id) }),
            None => {}
        }
        // systemd's word may come when it is over: of a daemon that a command of ExecReload= left.
        let lived = |(id, member): &(ProcessId, &Member)| {
            let is_it = main_pid == if own_pids { member.ns_pid } else { id.pid };
            is_it && member.start_ns <= at && member.ended.is_none_or(|end| end.at >= at)
        };
        let ended = start.members().find(lived).filter(|_| main.is_none());
        let ended = ended.map(|(id, member)| KnownProcess { id, ns_pid: member.ns_pid });
        match ended {
            Some(main) if start.mains.is_empty() => return start.was_main(at, main),
            Some(main) => return start.confirm(main.id),
            None => {}
        }
        // Or when a daemon has ended that systemd read of in its file, and has yet to reap.
        let is_left = |(id, member): &(ProcessId, &Member)| {
            let is_it = main_pid == if own_pids { member.ns_pid } else { id.pid };
            is_it && member.ended.is_some_and(|end| end.at < at)
        };
        let left = start.members().filter(is_left).max_by_key(|(_, member)| member.start_ns);
        if let Some((id, member)) = left
            && main.is_none()
            && start.main_exited_well.is_some()
        {
            if start.mains.iter().any(|(_, main)| main.id == id) {
                return start.confirm(id);
            }
            let ended = member.ended.map_or(at, |end| end.at);
            start.was_main(ended, KnownProcess { id, ns_pid: member.ns_pid });
        }
    }
}

impl ServiceStarts {
    /// The settings tell what is executed as the main process: what died before its exec, and was to
    /// be something else, was a command before it.
    fn drop_commands(&mut self) {
        let facts = self.known.facts.as_ref();
        let exec_start = facts.and_then(|facts| facts.exec_start.clone()).unwrap_or_default();
        let is_command = |start: &&mut Start| {
            let main = start.main().and_then(|main| start.member(main));
            start.joined_at.is_none()
                && main.is_some_and(|main| {
                    let has_executed = main.exe.as_deref().is_some_and(|exe| !is_executor(exe));
                    main.ended.is_some() && !has_executed && is_for_another(&main.comm, &exec_start)
                })
        };
        self.open_starts().filter(is_command).for_each(Start::has_no_main_yet);
    }

    /// What was found running is no main process where systemd is in another start, or its last one
    /// is over: former starts have left it behind. What systemd had said last by then tells, or what
    /// it says first afterwards, if the process lives on.
    pub(super) fn drop_left_behind(&mut self) {
        let states = std::mem::take(&mut self.known.states);
        // What it is now has all its words; those of times that systemd remembers have one.
        let words = states.iter().filter(|it| it.state.sub_state.is_some());
        for start in self.open_starts() {
            let Some(joined) = start.joined_at else { continue };
            let before = words.clone().rfind(|it| it.at <= joined);
            let Some(said) = before.or(words.clone().next()) else { break };
            let Some(id) = &said.invocation_id else { continue };
            let is_other = start.invocation_id.as_ref().is_some_and(|its| its != id);
            if (is_other || is_over(&said.state)) && start.was_there(said.at) {
                start.had_no_main();
            }
        }
        self.known.states = states;
    }

    /// A start begins: what was said under its id of a time when one was over is of the start
    /// before it, unless the end of that was told already. systemd gives a start its id first, and
    /// tells what there was until then after that (`bus_unit_send_pending_change_signal`, called by
    /// `service_set_state`). `at` is when it begins: what comes late, of a time before its own end,
    /// begins nothing.
    fn give_back_states(&mut self, id: &str, at: u64) {
        let is_its = |state: &StateAt| state.at < at && state.invocation_id.as_deref() == Some(id);
        let states = &self.known.states;
        let Some(last) = states.iter().rposition(|state| is_its(state) && is_over(&state.state))
        else {
            return;
        };
        let over = states[last].at;
        let before = self.starts().rev().find_map(|(_, start)| {
            let other = start.invocation_id().filter(|other| *other != id)?;
            (start.began() < over).then(|| other.to_owned())
        });
        let of_before =
            || states.iter().filter(|it| before.is_some() && it.invocation_id == before);
        let knows_end = of_before().any(|it| is_over(&it.state));
        let mut results = of_before().filter_map(|it| it.state.result.clone());
        let failed = results.rfind(|result| result != "success");
        let mut index = 0;
        let mut given = Vec::new();
        self.known.states.retain(|state| {
            let is_earlier = index <= last && is_its(state);
            index += 1;
            given.extend(is_earlier.then(|| state.clone()));
            !is_earlier
        });
        for StateAt { at, mut state, .. } in given {
            // What else was said then is of the next start: its result is yet to come.
            state.main_pid = None;
            state.result = state.result.filter(|_| state.active_state != "failed");
            // A failure stays one.
            state.result = failed.clone().or(state.result);
            let said = |known: &StateAt| known.at == at && known.invocation_id == before;
            if before.is_some() && !knows_end && !self.known.states.iter().any(said) {
                let invocation_id = before.clone();
                self.known.states.push_back(StateAt { at, invocation_id, state });
            }
        }
    }

    /// The start with this invocation id. One that died before its exec never showed it.
    fn number_of(&self, id: &str) -> Option<u64> {
        let known = self.starts().find(|(_, start)| start.invocation_id() == Some(id));
        if let Some((number, _)) = known {
            return Some(number);
        }
        let (last, start) = self.starts().next_back()?;
        let is_it = start.invocation_id().is_none() && self.unshown_id(last, start) == Some(id);
        is_it.then_some(last)
    }

    /// Its starts that something may still become of, oldest first.
    fn open_starts(&mut self) -> impl Iterator<Item = &mut Start> {
        self.starts_mut().filter_map(|(_, state)| match state {
            StartState::Open(start) => Some(&mut **start),
            StartState::Final(_) => None,
        })
    }

    /// systemd's states of one of its starts, with their times, in order.
    #[must_use]
    pub fn states(&self, number: u64) -> Vec<(u64, &UnitState)> {
        let Some(start) = self.state(number) else {
            return Vec::new();
        };
        let Some(id) = start.invocation_id().or_else(|| self.unshown_id(number, start)) else {
            return Vec::new();
        };
        let mut states: Vec<(u64, &UnitState)> = self
            .known
            .states
            .iter()
            .filter(|state| state.invocation_id.as_deref() == Some(id))
            .map(|state| (state.at, &state.state))
            .collect();
        states.sort_by_key(|(at, _)| *at);
        states
    }

    /// The id of a start that died before its exec, and never showed it: the one that systemd spoke
    /// of first in its time, and that no other has. What comes after that is of later starts, of
    /// which no process was seen yet, or of the next one that shows none either.
    fn unshown_id(&self, number: u64, start: &StartState) -> Option<&str> {
        let from = start.began().saturating_sub(AHEAD_NS);
        let next = self.starts().find(|(of, _)| *of > number);
        let to = next.map_or(u64::MAX, |(_, next)| match next.invocation_id() {
            Some(_) => next.began(),
            None => next.began().saturating_sub(AHEAD_NS),
        });
        self.first_unclaimed(from..to)
    }

    /// Of the ids that no start has, the one that systemd first spoke of in this time.
    fn first_unclaimed(&self, time: Range<u64>) -> Option<&str> {
        let mut first: HashMap<&str, u64> = HashMap::new();
        for state in &self.known.states {
            if let Some(id) = state.invocation_id.as_deref() {
                let at = first.entry(id).or_insert(state.at);
                *at = state.at.min(*at);
            }
        }
        let claimed: HashSet<&str> =
            self.starts().filter_map(|(_, start)| start.invocation_id()).collect();
        let is_its = |(id, at): &(&str, u64)| time.contains(at) && !claimed.contains(id);
        first.into_iter().filter(is_its).min_by_key(|(id, at)| (*at, *id)).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd has said: when, of which start, and its words for the state.
    fn known(states: &[(u64, Option<&str>, &str, &str)]) -> KnownUnit {
        let states = states.iter().map(|(at, id, active, sub)| StateAt {
            at: *at,
            invocation_id: id.map(str::to_owned),
            state: UnitState {
                active_state: (*active).to_owned(),
                sub_state: Some((*sub).to_owned()),
                ..UnitState::default()
            },
        });
        KnownUnit { states: states.collect(), ..KnownUnit::default() }
    }

    const A: Option<&str> = Some("a");
    const B: Option<&str> = Some("b");

    #[test]
    fn the_states_of_a_start_that_is_final_are_forgotten_and_no_others() {
        let left = |id| {
            let mut unit = known(&[
                (1, A, "active", "running"),
                (2, B, "active", "running"),
                (3, None, "inactive", "dead"),
                (4, A, "inactive", "dead"),
            ]);
            unit.forget(id);
            unit.states.iter().map(|state| state.at).collect::<Vec<_>>()
        };
        assert_eq!(left(A), [2, 3]);
        assert_eq!(left(None), [1, 2, 3, 4]);
    }

    #[test]
    fn a_start_was_over_if_the_last_that_was_said_of_it_by_then_says_so() {
        let unit = known(&[
            (5, B, "active", "running"),
            (10, A, "inactive", "dead"),
            (20, B, "inactive", "dead"),
            (30, B, "active", "running"),
        ]);
        let of_b = [4, 10, 20, 29, 30].map(|at| unit.was_over_at("b", at));
        assert_eq!(of_b, [false, false, true, true, false]);
    }

    #[test]
    fn a_main_process_was_started_since_a_time_if_a_state_of_that_start_says_so() {
        let unit = known(&[
            (5, A, "activating", "start"),
            (10, B, "activating", "start-pre"),
            (20, B, "activating", "start"),
            (30, B, "deactivating", "stop-sigterm"),
        ]);
        assert!(unit.started_main_since("a", 5) && !unit.started_main_since("a", 6));
        assert!(unit.started_main_since("b", 11) && unit.started_main_since("b", 20));
        assert!(!unit.started_main_since("b", 21));
    }

    #[test]
    fn a_start_is_being_stopped_if_the_last_that_was_said_of_it_by_then_says_so() {
        let unit = known(&[
            (5, A, "active", "running"),
            (10, B, "deactivating", "stop-sigterm"),
            (20, A, "deactivating", "stop-sigterm"),
            (30, A, "inactive", "dead"),
        ]);
        let of_a = [5, 10, 19, 20, 30].map(|at| unit.is_stopping(A, at));
        assert_eq!(of_a, [false, false, false, true, false]);
        assert!(!unit.is_stopping(None, 20));
    }
}
