//! What is right for each signal.

use crate::model::{
    race::{Outcome, Role},
    signal::Signal,
};

/// What is right for a signal: HUP and those in `reloads` reload; TERM, INT and QUIT end; all
/// others are to do no harm.
#[must_use]
pub fn role(signal: Signal, reloads: &[Signal]) -> Role {
    match signal {
        _ if reloads.contains(&signal) => Role::Reload,
        Signal::HUP => Role::Reload,
        Signal::TERM | Signal::INT | Signal::QUIT => Role::End,
        _ => Role::Other,
    }
}

/// Why a signal can't be placed; `None` if it can.
#[must_use]
pub fn unplaceable(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::KILL => Some("no process can do anything about it, at any instant"),
        Signal::STOP => {
            Some("no process can do anything about it, and a stopped one does not go on")
        }
        _ => None,
    }
}

/// Whether an outcome is bad for a signal of this role. `is_clean` of an end: no other exit
/// code than 0, and no process left running.
#[must_use]
pub fn is_bad(role: Role, outcome: Outcome, is_clean: bool) -> bool {
    match (role, outcome) {
        // Nothing is known of it.
        _ if outcome == Outcome::NotReached => false,
        (Role::End, Outcome::Ended | Outcome::Killed) => !is_clean,
        // It is to end.
        (Role::End, _) => true,
        (_, Outcome::Taken | Outcome::HeldBack | Outcome::Ignored | Outcome::Pending) => false,
        (Role::Reload | Role::Other, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_right_depends_on_what_a_signal_is_for() {
        use Outcome as O;
        for (role, outcome, is_clean, expected) in [
            (Role::Reload, O::Taken, true, false),
            (Role::Reload, O::HeldBack, true, false),
            (Role::Reload, O::Ignored, true, false),
            (Role::Reload, O::Pending, true, false),
            (Role::Reload, O::Killed, true, true),
            (Role::Reload, O::Ended, true, true),
            (Role::Reload, O::Hung, true, true),
            (Role::Reload, O::Crashed, true, true),
            (Role::End, O::Killed, true, false),
            (Role::End, O::Ended, true, false),
            (Role::End, O::Ended, false, true),
            (Role::End, O::Killed, false, true),
            (Role::End, O::Hung, true, true),
            (Role::End, O::Taken, true, true),
            (Role::Other, O::Ignored, true, false),
            (Role::Other, O::Killed, true, true),
            (Role::Other, O::NotReached, true, false),
        ] {
            assert_eq!(is_bad(role, outcome, is_clean), expected, "{role:?} {outcome:?}");
        }
    }

    #[test]
    fn each_signal_has_its_role_and_two_can_not_be_placed() {
        let of = |name: &str| name.parse::<Signal>().unwrap();
        assert_eq!(role(of("HUP"), &[]), Role::Reload);
        assert_eq!([role(of("TERM"), &[]), role(of("INT"), &[])], [Role::End; 2]);
        for name in ["USR1", "USR2", "PIPE", "CHLD", "WINCH", "CONT", "RTMIN+1"] {
            assert_eq!(role(of(name), &[]), Role::Other, "{name}");
            assert_eq!(role(of(name), &[of(name)]), Role::Reload, "{name}");
            assert_eq!(unplaceable(of(name)), None);
        }
        assert!(unplaceable(of("KILL")).is_some() && unplaceable(of("STOP")).is_some());
    }
}
