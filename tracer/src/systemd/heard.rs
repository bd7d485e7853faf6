//! What systemd has told of a service, watched or not: one that is only now seen may be gone
//! again or have been started anew, and systemd may have forgotten it.

use std::collections::VecDeque;

use super::properties::{self, Properties, Since};

/// States that are kept until they are told.
const MAX_UNTOLD: usize = 64;

/// A service as systemd has told of it.
#[derive(Default)]
pub struct Heard {
    unit: Properties,
    service: Properties,
    /// `CLOCK_MONOTONIC` µs of the last state that was learned.
    learned_until: u64,
    /// States that have been learned and not told, in order.
    untold: VecDeque<Learned>,
}

/// A state, and the start it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// The state, and since when.
    pub since: Since,
    /// `InvocationID`
    pub invocation_id: Option<String>,
}

impl Heard {
    /// Takes in what has changed of the service. systemd tells this first, and then of the
    /// unit (`bus_unit_send_change_signal` in src/core/dbus-unit.c).
    pub fn service_changed(&mut self, changed: Properties) {
        self.service.extend(changed);
    }

    /// Takes in what has changed of the unit, and learns its states.
    pub fn unit_changed(&mut self, changed: Properties) {
        self.unit.extend(changed);
        self.learn();
    }

    /// Takes in all that systemd knows now.
    pub fn answer(&mut self, unit: Properties, service: Properties) {
        (self.unit, self.service) = (unit, service);
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
            if self.untold.len() >= MAX_UNTOLD {
                self.untold.pop_front();
            }
            self.untold.push_back(Learned { since, invocation_id: invocation_id.clone() });
        }
    }

    /// The states that have not been told yet, in order; the last ones if there are many.
    pub fn untold(&mut self) -> impl Iterator<Item = Learned> {
        self.untold.drain(..)
    }
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

    fn untold(heard: &mut Heard) -> Vec<(u64, String, String)> {
        let learned = heard.untold().map(|Learned { since, invocation_id }| {
            (since.monotonic_us, since.state.active_state, invocation_id.unwrap_or_default())
        });
        learned.collect()
    }

    fn said(at: u64, state: &str, id: &str) -> (u64, String, String) {
        (at, state.to_owned(), id.to_owned())
    }

    #[test]
    fn starts_that_were_over_before_anybody_asked_keep_their_states() {
        let mut heard = Heard::default();
        for (at, id) in [(100, 1), (200, 2), (300, 3)] {
            heard.service_changed(properties(vec![("Result", "exit-code".into())]));
            heard.unit_changed(start(at, id, at, "activating"));
            heard.unit_changed(start(at, id, at + 50, "failed"));
        }
        // The answer tells of the last one alone.
        heard.answer(start(300, 3, 350, "failed"), Properties::new());
        assert_eq!(
            untold(&mut heard),
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
        assert_eq!(untold(&mut heard), []);
    }

    #[test]
    fn of_many_states_the_last_are_kept() {
        let mut heard = Heard::default();
        for at in 1..1_000 {
            heard.unit_changed(start(at, 1, at, "activating"));
        }
        let kept = untold(&mut heard);
        assert_eq!(kept.len(), MAX_UNTOLD);
        assert_eq!(kept.last(), Some(&said(999, "activating", "01")));
    }
}
