//! What systemd has told of a service, watched or not: one that is only now seen may be gone
//! again or have been started anew, and systemd may have forgotten it.

use std::collections::{HashMap, VecDeque};

use zbus::zvariant::Value;

use super::properties::{self, Properties, Since};

/// States of a service that are kept until they are reported. The oldest give way.
const MAX_UNREPORTED: usize = 64;
/// Services kept that nobody watches. The oldest give way.
const MAX_UNWATCHED: usize = 1_024;
/// The longest text that is kept of a property, bytes. Those of [`KEPT`] are words of systemd.
const LONGEST_TEXT: usize = 128;
/// The longest list that is kept of a property. `InvocationID` has 16 bytes.
const LONGEST_LIST: usize = 16;
/// The properties that states are learned from. No others are kept.
const KEPT: [&str; 12] = [
    "ActiveState",
    "SubState",
    "InvocationID",
    "InactiveExitTimestampMonotonic",
    "ActiveEnterTimestampMonotonic",
    "ActiveExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "Result",
    "ReloadResult",
    "MainPID",
    "NRestarts",
];

/// The services that a systemd has told of, by their objects.
#[derive(Default)]
pub struct Services {
    by_object: HashMap<String, ServiceStates>,
    /// Those that nobody watches, the oldest first.
    unwatched: VecDeque<String>,
    /// How many were forgotten.
    forgotten: u64,
}

impl Services {
    /// One that is watched: it is kept from now on.
    pub fn watched(&mut self, object: &str) -> &mut ServiceStates {
        self.unwatched.retain(|unwatched| unwatched != object);
        self.by_object.entry(object.to_owned()).or_default()
    }

    /// One that something is told of. It may be watched or not.
    pub fn announced(&mut self, object: String) -> &mut ServiceStates {
        if !self.by_object.contains_key(&object) {
            if self.unwatched.len() >= MAX_UNWATCHED
                && let Some(oldest) = self.unwatched.pop_front()
            {
                self.by_object.remove(&oldest);
                self.forgotten += 1;
            }
            self.unwatched.push_back(object.clone());
        }
        self.by_object.entry(object).or_default()
    }

    /// One that has been told of.
    pub fn get(&mut self, object: &str) -> Option<&mut ServiceStates> {
        self.by_object.get_mut(object)
    }

    /// Forgets one that is watched no longer.
    pub fn forget(&mut self, object: &str) {
        self.by_object.remove(object);
    }

    /// How many of those that nobody watched had to be forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// A service as systemd has told of it.
#[derive(Default)]
pub struct ServiceStates {
    unit: Properties,
    service: Properties,
    /// `CLOCK_MONOTONIC` µs of the last state that was learned.
    learned_until: u64,
    /// States that have been learned and not reported, in order.
    unreported: VecDeque<Learned>,
}

/// A state, and the start it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The state, and since when.
    pub since: Since,
    /// `InvocationID`
    pub invocation_id: Option<String>,
}

impl ServiceStates {
    /// Takes in what has changed of the service. systemd tells this first, and then of the
    /// unit (`bus_unit_send_change_signal` in src/core/dbus-unit.c).
    pub fn service_changed(&mut self, changed: Properties) {
        keep(&mut self.service, changed);
    }

    /// Takes in what has changed of the unit, and learns its states.
    pub fn unit_changed(&mut self, changed: Properties) {
        keep(&mut self.unit, changed);
        self.learn();
    }

    /// Takes in all that systemd knows now.
    pub fn answer(&mut self, unit: Properties, service: Properties) {
        (self.unit, self.service) = Default::default();
        keep(&mut self.unit, unit);
        keep(&mut self.service, service);
        self.learn();
    }

    /// Learns the states that the properties tell and earlier ones did not.
    fn learn(&mut self) {
        let invocation_id = properties::invocation_id(&self.unit);
        for since in properties::states(&self.unit, &self.service) {
            // What it is now may have changed in the same state, such as the main process.
            let is_now = since.state.sub_state.is_some();
            let is_old = since.monotonic_us < self.learned_until
                || (since.monotonic_us == self.learned_until && !is_now);
            if is_old {
                continue;
            }
            self.learned_until = since.monotonic_us;
            if self.unreported.len() >= MAX_UNREPORTED {
                self.unreported.pop_front();
            }
            self.unreported.push_back(Learned { since, invocation_id: invocation_id.clone() });
        }
    }

    /// The states that have not been told yet, in order; the last ones if there are many.
    pub fn unreported(&mut self) -> impl Iterator<Item = Learned> {
        self.unreported.drain(..)
    }
}

/// Takes in those that are used, unless they are longer than systemd's are.
fn keep(known: &mut Properties, changed: Properties) {
    let fits = |value: &Value<'_>| match value {
        Value::Str(text) => text.len() <= LONGEST_TEXT,
        Value::Array(list) => list.len() <= LONGEST_LIST && list.element_signature() == "y",
        Value::U32(_) | Value::I32(_) | Value::U64(_) => true,
        _ => false,
    };
    let used = changed.into_iter().filter(|(name, value)| KEPT.contains(&&**name) && fits(value));
    known.extend(used);
}

#[cfg(test)]
mod tests {
    use zbus::zvariant::Value;

    use super::*;

    fn properties(pairs: Vec<(&str, Value<'_>)>) -> Properties {
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.try_into().unwrap()))
            .collect()
    }

    /// A start that began at `at`, and what has become of it `later`.
    fn start(at: u64, id: u8, later: u64, state: &str) -> Properties {
        properties(vec![
            ("ActiveState", state.into()),
            ("SubState", "x".into()),
            ("InactiveExitTimestampMonotonic", at.into()),
            ("StateChangeTimestampMonotonic", later.into()),
            ("InvocationID", vec![id].into()),
        ])
    }

    fn unreported(states: &mut ServiceStates) -> Vec<(u64, String, String)> {
        let learned = states.unreported().map(|Learned { since, invocation_id }| {
            (since.monotonic_us, since.state.active_state, invocation_id.unwrap_or_default())
        });
        learned.collect()
    }

    fn said(at: u64, state: &str, id: &str) -> (u64, String, String) {
        (at, state.to_owned(), id.to_owned())
    }

    #[test]
    fn starts_that_were_over_before_anybody_asked_keep_their_states() {
        let mut states = ServiceStates::default();
        for (at, id) in [(100, 1), (200, 2), (300, 3)] {
            states.service_changed(properties(vec![("Result", "exit-code".into())]));
            states.unit_changed(start(at, id, at, "activating"));
            states.unit_changed(start(at, id, at + 50, "failed"));
        }
        // The answer tells of the last one alone.
        states.answer(start(300, 3, 350, "failed"), Properties::new());
        assert_eq!(
            unreported(&mut states),
            [
                said(100, "activating", "01"),
                said(150, "failed", "01"),
                said(200, "activating", "02"),
                said(250, "failed", "02"),
                said(300, "activating", "03"),
                said(350, "failed", "03"),
                said(350, "failed", "03"),
            ]
        );
        assert_eq!(unreported(&mut states), []);
    }

    #[test]
    fn of_many_states_the_last_are_kept() {
        let mut states = ServiceStates::default();
        for at in 1..1_000 {
            states.unit_changed(start(at, 1, at, "activating"));
        }
        let kept = unreported(&mut states);
        assert_eq!(kept.len(), MAX_UNREPORTED);
        assert_eq!(kept.last(), Some(&said(999, "activating", "01")));
    }

    #[test]
    fn what_is_not_used_or_too_long_is_not_kept() {
        let mut states = ServiceStates::default();
        let long = "x".repeat(1 << 20);
        states.service_changed(properties(vec![
            ("Big", long.clone().into()),
            ("Result", long.into()),
            ("ExecStart", vec!["x"; 4_096].into()),
            ("MainPID", 7_u32.into()),
            ("NRestarts", Value::from((1, 2))),
        ]));
        states.unit_changed(properties(vec![
            ("InvocationID", vec![1_u8; 4_096].into()),
            ("SubState", "running".into()),
        ]));
        assert_eq!(states.service.keys().collect::<Vec<_>>(), ["MainPID"]);
        assert_eq!(states.unit.keys().collect::<Vec<_>>(), ["SubState"]);
    }

    #[test]
    fn of_one_that_is_forgotten_nothing_is_known() {
        let mut services = Services::default();
        services.announced("other".to_owned());
        services.watched("a").unit_changed(start(1, 1, 1, "active"));
        services.forget("a");
        assert!(services.get("a").is_none() && services.get("other").is_some());
    }

    #[test]
    fn the_oldest_that_nobody_watches_give_way() {
        let mut services = Services::default();
        services.watched("watched");
        services.announced("watched late".to_owned());
        services.watched("watched late");
        for number in 0..MAX_UNWATCHED + 3 {
            services.announced(number.to_string()).unit_changed(start(1, 1, 1, "active"));
        }
        assert_eq!(services.by_object.len(), MAX_UNWATCHED + 2);
        assert_eq!(services.forgotten(), 3);
        let is_kept = |object: &str| services.by_object.contains_key(object);
        assert!(is_kept("watched") && is_kept("watched late") && is_kept("3") && !is_kept("2"));
    }
}
