//! When the reload signal would have done harm, and the milestones of a start: both
//! follow from the main process's posture through time.

use super::{
    document::{Exposure, ExposureKind},
    event::Runtime,
    posture::Posture,
};

/// A change of the main process's posture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When, ns on the activation's timeline.
    pub at_ns: i64,
    /// What it is from then on.
    pub posture: Posture,
    /// It came with an exec.
    pub exec: bool,
}

/// The first moment after the last exec from which the program took the signal.
#[must_use]
pub fn handler_at(turns: &[Turn]) -> Option<i64> {
    let last_exec = turns.iter().rposition(|turn| turn.exec).unwrap_or(0);
    turns.get(last_exec..)?.iter().find(|turn| turn.posture.takes()).map(|turn| turn.at_ns)
}

/// The spans of harm from `from_ns` (the exec, or where the capture joined) to `to_ns`
/// (the exit, or the end of the capture). `announces` says that the service is to send,
/// or has sent, READY=1.
#[must_use]
pub fn spans(
    turns: &[Turn],
    ready_ns: Option<i64>,
    announces: bool,
    from_ns: i64,
    to_ns: i64,
) -> Vec<Exposure> {
    let mut spans: Vec<Exposure> = Vec::new();
    let mut push = |kind: Option<ExposureKind>, from: i64, to: i64| {
        let (from, to) = (from.max(from_ns), to.min(to_ns));
        let Some(kind) = kind.filter(|_| from < to) else {
            return;
        };
        match spans.last_mut() {
            Some(last) if last.kind == kind && last.to_ns == from => last.to_ns = to,
            _ => spans.push(Exposure { kind, from_ns: from, to_ns: to }),
        }
    };
    for (index, turn) in turns.iter().enumerate() {
        let end = turns.get(index + 1).map_or(to_ns, |next| next.at_ns);
        match harm(turn.posture) {
            Some(kind) => push(Some(kind), turn.at_ns, end),
            None if announces => {
                let until = ready_ns.unwrap_or(i64::MAX);
                push(Some(ExposureKind::NotReady), turn.at_ns, end.min(until));
            }
            None => {}
        }
    }
    spans
}

/// What the signal does whatever the service has announced.
fn harm(posture: Posture) -> Option<ExposureKind> {
    if posture.blocked {
        None
    } else if posture.ignored {
        Some(ExposureKind::Lost)
    } else if !posture.caught {
        Some(ExposureKind::Fatal)
    } else {
        match posture.runtime {
            Some(Runtime::CatchAll) => Some(ExposureKind::Fatal),
            Some(Runtime::Forwarding) => Some(ExposureKind::Unknown),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Posture =
        Posture { ignored: false, caught: false, blocked: false, consumer: None, runtime: None };
    const HANDLER: Posture = Posture { caught: true, ..DEFAULT };

    fn turn(at_ns: i64, posture: Posture) -> Turn {
        Turn { at_ns, posture, exec: at_ns == 0 }
    }

    #[test]
    fn fatal_lasts_until_the_handler_and_not_ready_from_there_to_ready() {
        let spans = spans(&[turn(0, DEFAULT), turn(30, HANDLER)], Some(40), true, 0, 100);
        assert_eq!(
            spans,
            [
                Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 30 },
                Exposure { kind: ExposureKind::NotReady, from_ns: 30, to_ns: 40 },
            ]
        );
    }

    #[test]
    fn a_service_that_announces_nothing_is_safe_with_its_handler() {
        let spans = spans(&[turn(0, DEFAULT), turn(30, HANDLER)], None, false, 0, 100);
        assert_eq!(spans.len(), 1);
    }

    #[test]
    fn a_runtimes_catch_all_is_as_fatal_as_none_at_all() {
        let catch_all = Posture { runtime: Some(Runtime::CatchAll), ..HANDLER };
        let turns = [turn(0, DEFAULT), turn(10, catch_all), turn(30, HANDLER)];
        assert_eq!(handler_at(&turns), Some(30));
        let spans = spans(&turns, None, false, 0, 100);
        assert_eq!(spans, [Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 30 }]);
    }

    #[test]
    fn an_exec_takes_the_handler_away_and_the_next_one_counts() {
        let turns = [
            turn(0, DEFAULT),
            turn(5, HANDLER),
            Turn { exec: true, ..turn(10, DEFAULT) },
            turn(50, HANDLER),
        ];
        assert_eq!(handler_at(&turns), Some(50));
    }

    #[test]
    fn what_is_blocked_is_not_fatal() {
        let blocked = Posture { blocked: true, ..DEFAULT };
        assert_eq!(spans(&[turn(0, blocked)], None, false, 0, 100), []);
        assert_eq!(handler_at(&[turn(0, blocked)]), None);
    }

    #[test]
    fn spans_lie_between_the_exec_and_the_end() {
        let spans = spans(&[turn(-5, DEFAULT)], None, false, 0, 100);
        assert_eq!(spans, [Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 100 }]);
    }
}
