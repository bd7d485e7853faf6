//! What systemd has said of a service, and which start of it each state belongs to.

use super::{Attribution, Service, Start};
use crate::{
    model::{
        document::Owner,
        unit::{UnitFacts, UnitState},
    },
    observation::{ProcessId, UnitNews},
};

/// States kept of one service; the oldest go first.
const MAX_STATES: usize = 2_000;
/// How long before its first process a start may begin in systemd's eyes, ns.
const AHEAD_NS: u64 = 50_000_000;

/// What systemd has said of a service.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its settings.
    pub facts: Option<UnitFacts>,
    /// Why they are unknown, or what is doubtful about them.
    pub problem: Option<String>,
    /// Whose it is.
    pub owner: Option<Owner>,
    states: Vec<State>,
}

#[derive(Clone, Debug)]
struct State {
    at: u64,
    invocation_id: Option<String>,
    state: UnitState,
}

impl Attribution {
    /// Takes what was learned of a unit. It is asked for once a process of it was seen,
    /// so its service is known; else it is out of scope.
    pub(super) fn learn_unit(&mut self, at: u64, news: UnitNews) {
        let Some(index) = self.by_path.get(&news.cgroup).copied() else {
            return;
        };
        let service = &mut self.services[index];
        // What is only claimed once stays so.
        if !matches!(service.known.owner, Some(Owner::Claimed { .. })) {
            service.known.owner = news.owner.or(service.known.owner);
        }
        if let Some(mut facts) = news.facts {
            // systemd forgets it when the unit goes down.
            let before = service.known.facts.take().and_then(|facts| facts.control_group);
            facts.control_group = facts.control_group.or(before);
            service.known.facts = Some(facts);
            service.known.problem = news.problem;
            // How far a start has come may look different now.
            service.activations.iter_mut().for_each(|start| start.stage = None);
        } else if service.known.facts.is_none() && news.problem.is_some() {
            service.known.problem = news.problem;
        }
        let Some(mut state) = news.state else {
            return;
        };
        if let Some(main_pid) = state.main_pid {
            self.follow_main_pid(index, at, main_pid, news.own_pids, news.invocation_id.as_deref());
        }
        let states = &mut self.services[index].known.states;
        // Within a start a failure stays one (`service_start` alone resets it): what says
        // otherwise looks ahead to the next.
        let earlier = states.iter().rev().find(|earlier| {
            news.invocation_id.is_some() && earlier.invocation_id == news.invocation_id
        });
        let failed = earlier.and_then(|earlier| earlier.state.result.clone());
        if let Some(failed) = failed.filter(|result| result != "success") {
            state.result = Some(failed);
        }
        if states.len() >= MAX_STATES {
            states.remove(0);
        }
        states.push(State { at, invocation_id: news.invocation_id, state });
    }

    /// systemd's MainPID is the main process, whatever it looked like from here.
    fn follow_main_pid(
        &mut self,
        service: usize,
        at: u64,
        main_pid: u32,
        own_pids: bool,
        invocation_id: Option<&str>,
    ) {
        let starts = &self.services[service].activations;
        let Some(start) = starts.iter().rposition(|start| {
            invocation_id.is_some() && start.collected.invocation_id.as_deref() == invocation_id
        }) else {
            return;
        };
        let is_it = |id: &&ProcessId| {
            if own_pids {
                self.processes.get(**id).is_some_and(|process| process.ns_pid == main_pid)
            } else {
                id.pid == main_pid
            }
        };
        let main = starts[start].alive.iter().find(is_it).copied();
        if let Some(main) = main.filter(|main| starts[start].collected.main() != Some(*main)) {
            self.crown(service, start, at, main);
        }
    }
}

impl Service {
    /// systemd's states of one of its starts, with their times, in order.
    pub fn states(&self, index: usize) -> Vec<(u64, &UnitState)> {
        let start = &self.activations[index];
        let known = start.collected.invocation_id.as_deref();
        let from = began(start).saturating_sub(AHEAD_NS);
        let to = self.activations.get(index + 1).map_or(u64::MAX, began);
        let is_anothers = |id: &str| {
            let mut starts = self.activations.iter();
            starts.any(|start| start.collected.invocation_id.as_deref() == Some(id))
        };
        let mut states: Vec<(u64, &UnitState)> = self
            .known
            .states
            .iter()
            .filter(|state| match (known, state.invocation_id.as_deref()) {
                (Some(ours), Some(its)) => ours == its,
                // One that died before its exec never showed its invocation's id.
                (None, Some(its)) => !is_anothers(its) && (from..to).contains(&state.at),
                _ => false,
            })
            .map(|state| (state.at, &state.state))
            .collect();
        states.sort_by_key(|(at, _)| *at);
        states
    }
}

/// When the first of it was seen.
fn began(start: &Start) -> u64 {
    start.collected.first_at().unwrap_or(0)
}
