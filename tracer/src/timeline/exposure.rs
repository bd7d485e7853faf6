//! When the reload signal would have done harm, and the milestones of a start: both
//! follow from what the main process did on it through time.

use crate::model::{
    disposition::{Disposition, Reaction},
    document::{Exposure, ExposureKind},
    event::Fate,
};

/// What the main process does on the reload signal, from one moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// When, ns on the activation's timeline.
    pub at_ns: i64,
    /// What it is from then on, if anything was seen of that process by then.
    pub disposition: Option<Disposition>,
    /// It came with an exec.
    pub exec: bool,
    /// The main process.
    pub pid: u32,
}

/// What is blocked for less at the end may be so for a moment, as around a call of epoll_wait(2).
const HELD_NS: i64 = 1_000_000_000;

/// What shows whether a signal that is blocked to the end waits, or is taken all the same: a
/// program that waits in `ppoll` or `sigsuspend` lets it through there.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// The reload signals that were sent to the main process, and what became of each.
    pub sent: Vec<(i64, Fate)>,
    /// It was blocked in every thread when the process was looked at last.
    pub at_end: bool,
}

impl Waits {
    /// What became of the last one that was sent in this time. One that became one with an
    /// earlier one says nothing of its own.
    fn last_within(&self, from: i64, to: i64) -> Option<Fate> {
        let is_own = |fate: Fate| fate != Fate::Coalesced;
        let within = self.sent.iter().filter(|(at, _)| (from..to).contains(at));
        let mut within = within.filter(|(_, fate)| is_own(*fate));
        within.next_back().map(|(_, fate)| *fate)
    }

    /// From when on what somebody came to take, from a time to the end, waits all the same: he took
    /// the last one, or none, and came no more.
    fn given_up(&self, from: i64, to: i64) -> Option<i64> {
        let taken = self.sent.iter().rposition(|(_, fate)| *fate == Fate::Handled);
        let after = &self.sent[taken.unwrap_or(0)..];
        let (since, _) = after.iter().find(|(at, fate)| *at >= from && *fate == Fate::Pending)?;
        (to.saturating_sub(*since) >= HELD_NS).then_some(*since)
    }

    /// From when on what somebody came to take, and that is let through at `to`, kills all the same: he
    /// did not take the last one.
    fn killed_since(&self, from: i64, to: i64) -> Option<i64> {
        let within = self.sent.iter().filter(|(at, _)| (from..to).contains(at));
        let not_taken = within.rev().take_while(|(_, fate)| *fate != Fate::Handled);
        not_taken.filter(|(_, fate)| *fate == Fate::Killed).last().map(|(at, _)| *at)
    }

    /// Whether one that is blocked from a time to the end waits for as long.
    fn for_good(&self, from: i64, to: i64, disposition: Disposition) -> bool {
        let mut fates = self.sent.iter().filter(|(at, _)| *at >= from).map(|(_, fate)| *fate);
        if fates.clone().any(|fate| fate == Fate::Handled) {
            return false;
        }
        let waits = fates.any(|fate| matches!(fate, Fate::Pending | Fate::Dropped));
        let is_held = self.at_end && to.saturating_sub(from) >= HELD_NS;
        waits || is_held || !disposition.caught
    }
}

/// The first moment from which the program took the signal. What executed it may have had a
/// handler of its own; an exec after `up_ns`, when the service was up, is the program's own anew.
#[must_use]
pub fn handler_at(phases: &[Phase], waits: &Waits, up_ns: Option<i64>, to_ns: i64) -> Option<i64> {
    let is_start = |phase: &Phase| phase.exec && up_ns.is_none_or(|up| phase.at_ns <= up);
    let last_exec = phases.iter().rposition(is_start).unwrap_or(0);
    let phases = phases.get(last_exec..)?;
    let takes = |(index, phase): &(usize, &Phase)| {
        phase.takes() || is_let_through(&phases[*index..], waits, to_ns)
    };
    phases.iter().enumerate().find(takes).map(|(_, phase)| phase.at_ns)
}

/// Whether the program has a handler at the first of these phases and blocks the signal from
/// there to its end, and yet is not seen to keep it waiting: `ppoll` lets it through.
fn is_let_through(phases: &[Phase], waits: &Waits, to_ns: i64) -> bool {
    let [first, ..] = phases else {
        return false;
    };
    let is_held = |it: Disposition| it.blocked && it.unblocked().reaction() == Reaction::Takes;
    phases.iter().all(|phase| phase.pid == first.pid && phase.disposition.is_some_and(is_held))
        && harm(phases, waits, to_ns).is_none()
}

impl Phase {
    /// Whether the program itself takes the signal, as far as it was seen.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.disposition.is_some_and(|it| it.reaction() == Reaction::Takes)
    }
}

/// The spans of harm from `from_ns` (the exec, or where the capture joined) to `to_ns`
/// (the exit, or the end of the capture). `announces` says that the service is to send,
/// or has sent, READY=1.
#[must_use]
pub fn spans(
    phases: &[Phase],
    waits: &Waits,
    ready_ns: Option<i64>,
    announces: bool,
    (from_ns, to_ns): (i64, i64),
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
    // One that ends before its exec may have done nothing that tells.
    push(Some(ExposureKind::Unknown), from_ns, phases.first().map_or(to_ns, |first| first.at_ns));
    for (index, phase) in phases.iter().enumerate() {
        let end = phases.get(index + 1).map_or(to_ns, |next| next.at_ns);
        let is_last = index + 1 == phases.len();
        let is_held = phase.disposition.is_some_and(|it| it.blocked && it.consumer.is_some());
        let given_up = waits.given_up(phase.at_ns, end).filter(|_| is_last && is_held);
        let killed = waits.killed_since(phase.at_ns, end).filter(|_| is_held);
        let taken_until = given_up.or(killed).unwrap_or(end);
        match harm(&phases[index..], waits, to_ns) {
            Some(kind) => push(Some(kind), phase.at_ns, end),
            None if announces => {
                let until = ready_ns.unwrap_or(i64::MAX);
                push(Some(ExposureKind::NotReady), phase.at_ns, taken_until.min(until));
            }
            None => {}
        }
        let not_taken = given_up.map(|_| ExposureKind::Pending);
        push(not_taken.or(killed.map(|_| ExposureKind::Fatal)), taken_until, end);
    }
    spans
}

/// What the signal does at the first of these phases, whatever the service has announced.
/// One that is blocked waits: what it does then, hindsight tells.
fn harm(phases: &[Phase], waits: &Waits, to_ns: i64) -> Option<ExposureKind> {
    let [phase, later @ ..] = phases else {
        return None;
    };
    let Some(mut before) = phase.disposition else {
        return Some(ExposureKind::Unknown);
    };
    if !before.blocked {
        return harm_of(before);
    }
    if before.mask_unknown {
        return Some(ExposureKind::Unknown);
    }
    for Phase { at_ns, disposition, pid, .. } in later {
        let came = waits.last_within(phase.at_ns, *at_ns);
        // The next main process does not get what waits in the one before.
        if *pid != phase.pid && came == Some(Fate::Pending) {
            return Some(ExposureKind::Pending);
        }
        if *pid != phase.pid || disposition.is_none_or(|it| !it.blocked) {
            match came {
                // Who came to take it did not take this one: it kills from then on.
                Some(Fate::Killed) if before.consumer.is_none() => {
                    return Some(ExposureKind::Fatal);
                }
                Some(Fate::Handled) => return None,
                _ => {}
            }
        }
        let Some(disposition) = disposition else {
            return Some(ExposureKind::Unknown);
        };
        // Somebody came to take it.
        if before.blocked && before.consumer.is_some() {
            return None;
        }
        // The kernel drops what waits as it is ignored (`flush_sigqueue_mask`, called by
        // `do_sigaction`).
        if disposition.ignored && !before.ignored {
            return Some(ExposureKind::Lost);
        }
        if !disposition.blocked {
            return harm_of(*disposition);
        }
        before = *disposition;
    }
    let waits = before.consumer.is_none() && waits.for_good(phase.at_ns, to_ns, before);
    waits.then_some(ExposureKind::Pending)
}

/// What a signal does that is let through.
fn harm_of(disposition: Disposition) -> Option<ExposureKind> {
    match disposition.unblocked().reaction() {
        Reaction::Dies => Some(ExposureKind::Fatal),
        Reaction::Loses => Some(ExposureKind::Lost),
        Reaction::Unknown => Some(ExposureKind::Unknown),
        Reaction::Takes | Reaction::Waits => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{event::Consumer, runtime::Action};

    const DEFAULT: Disposition = Disposition {
        ignored: false,
        caught: false,
        blocked: false,
        mask_unknown: false,
        consumer: None,
        runtime: None,
        effect: None,
    };
    const HANDLER: Disposition = Disposition { caught: true, ..DEFAULT };

    fn phase(at_ns: i64, disposition: Disposition) -> Phase {
        Phase { at_ns, disposition: Some(disposition), exec: at_ns == 0, pid: 1 }
    }

    fn handler_of(phases: &[Phase]) -> Option<i64> {
        handler_at(phases, &Waits::default(), None, 100)
    }

    #[test]
    fn what_waits_in_a_main_process_is_not_handed_over_to_the_next() {
        let blocked = Disposition { blocked: true, ..DEFAULT };
        let phases = [phase(0, blocked), Phase { pid: 2, ..phase(50, DEFAULT) }];
        let kinds = |waits: &Waits| {
            let spans = spans(&phases, waits, None, false, (0, 100));
            spans.iter().map(|span| span.kind).collect::<Vec<_>>()
        };
        let sent = |fate| Waits { sent: vec![(20, fate)], at_end: false };
        let (pending, fatal) = (ExposureKind::Pending, ExposureKind::Fatal);
        assert_eq!(kinds(&sent(Fate::Pending)), [pending, fatal]);
        assert_eq!(kinds(&sent(Fate::Handled)), [fatal]);
        assert_eq!(kinds(&Waits::default()), [fatal]);
    }

    #[test]
    fn what_a_signalfd_is_there_for_kills_from_when_one_was_sent_that_it_did_not_take() {
        let held = Disposition { blocked: true, consumer: Some(Consumer::Signalfd), ..DEFAULT };
        let blocked = Disposition { blocked: true, ..DEFAULT };
        let phases = [phase(0, DEFAULT), phase(10, blocked), phase(20, held), phase(90, DEFAULT)];
        let spans = |sent: &[(i64, Fate)]| {
            let waits = Waits { sent: sent.to_vec(), at_end: false };
            let spans = spans(&phases, &waits, Some(30), true, (0, 100));
            let span = |span: &Exposure| (span.kind, span.from_ns, span.to_ns);
            spans.iter().map(span).collect::<Vec<_>>()
        };
        let (fatal, not_ready) = (ExposureKind::Fatal, ExposureKind::NotReady);
        let start = [(fatal, 0, 10), (not_ready, 10, 30)];
        let with = |last: &[(ExposureKind, i64, i64)]| [&start, last].concat();
        assert_eq!(spans(&[]), with(&[(fatal, 90, 100)]));
        // It goes away, and lets through what came then.
        assert_eq!(spans(&[(80, Fate::Killed)]), with(&[(fatal, 80, 100)]));
        assert_eq!(spans(&[(40, Fate::Handled), (80, Fate::Killed)]), with(&[(fatal, 80, 100)]));
    }

    #[test]
    fn fatal_lasts_until_the_handler_and_not_ready_from_there_to_ready() {
        let spans = spans(
            &[phase(0, DEFAULT), phase(30, HANDLER)],
            &Waits::default(),
            Some(40),
            true,
            (0, 100),
        );
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
        let spans = spans(
            &[phase(0, DEFAULT), phase(30, HANDLER)],
            &Waits::default(),
            None,
            false,
            (0, 100),
        );
        assert_eq!(spans.len(), 1);
    }

    #[test]
    fn a_runtimes_catch_all_is_as_fatal_as_none_at_all() {
        let catch_all = Disposition { effect: Some(Action::Dies), ..HANDLER };
        let phases = [phase(0, DEFAULT), phase(10, catch_all), phase(30, HANDLER)];
        assert_eq!(handler_of(&phases), Some(30));
        let spans = spans(&phases, &Waits::default(), None, false, (0, 100));
        assert_eq!(spans, [Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 30 }]);
    }

    #[test]
    fn an_exec_takes_the_handler_away_and_the_next_one_counts() {
        let phases = [
            phase(0, DEFAULT),
            phase(5, HANDLER),
            Phase { exec: true, ..phase(10, DEFAULT) },
            phase(50, HANDLER),
        ];
        assert_eq!(handler_of(&phases), Some(50));
    }

    const BLOCKED: Disposition = Disposition { blocked: true, ..DEFAULT };
    /// A handler, and blocked: as while a handler runs, or where `ppoll` lets it through.
    const HELD: Disposition = Disposition { blocked: true, ..HANDLER };

    #[test]
    fn what_is_blocked_with_a_handler_is_taken_unless_it_shows_otherwise() {
        let until = |sent: &[(i64, Fate)], at_end, to| {
            let waits = Waits { sent: sent.to_vec(), at_end };
            let phases = [phase(0, HANDLER), phase(10, HELD)];
            spans(&phases, &waits, None, false, (0, to)).first().map(|span| span.kind)
        };
        let of = |sent: &[(i64, Fate)], at_end| until(sent, at_end, 2_000_000_000);
        assert_eq!(until(&[], true, 500_000_000), None, "it may be for a moment");
        assert_eq!(of(&[], false), None);
        assert_eq!(of(&[], true), Some(ExposureKind::Pending));
        assert_eq!(of(&[(50, Fate::Pending)], false), Some(ExposureKind::Pending));
        assert_eq!(of(&[(50, Fate::Dropped)], false), Some(ExposureKind::Pending));
        assert_eq!(of(&[(50, Fate::Handled)], true), None, "it is let through somewhere");
        assert_eq!(of(&[(5, Fate::Pending)], false), None, "that was before");
    }

    #[test]
    fn a_handler_behind_a_mask_that_stays_is_there_from_when_it_was_set_unless_it_waits() {
        let phases = [phase(0, DEFAULT), phase(10, BLOCKED), phase(20, HELD)];
        let of = |sent: &[(i64, Fate)], at_end| {
            let waits = Waits { sent: sent.to_vec(), at_end };
            handler_at(&phases, &waits, None, 2_000_000_000)
        };
        assert_eq!(of(&[], false), Some(20), "as around ppoll");
        assert_eq!(of(&[(50, Fate::Handled)], true), Some(20));
        assert_eq!(of(&[(50, Fate::Pending)], false), None);
        assert_eq!(of(&[], true), None, "it waits");
        // Let through at a moment that was seen, it is taken from that on.
        let later = |last: Phase| handler_of(&[&phases[..], &[last]].concat());
        assert_eq!(later(phase(30, HANDLER)), Some(30));
        assert_eq!(later(phase(30, DEFAULT)), None);
        assert_eq!(later(Phase { pid: 2, ..phase(30, HELD) }), Some(30), "of the next process");
        let of_runtime = Disposition { effect: Some(Action::Dies), ..HELD };
        assert_eq!(handler_of(&[phase(0, DEFAULT), phase(10, of_runtime)]), None);
    }

    const IGNORED: Disposition = Disposition { ignored: true, ..DEFAULT };

    #[test]
    fn what_stays_blocked_waits() {
        assert_eq!(
            spans(&[phase(0, BLOCKED)], &Waits::default(), None, false, (0, 100)),
            [Exposure { kind: ExposureKind::Pending, from_ns: 0, to_ns: 100 }]
        );
        assert_eq!(handler_of(&[phase(0, BLOCKED)]), None);
    }

    #[test]
    fn what_nobody_comes_to_take_any_more_waits_from_then_on() {
        let awaited = Disposition { consumer: Some(Consumer::Sigwait), ..BLOCKED };
        let phases = [phase(0, DEFAULT), phase(10, awaited)];
        let to = 3 * HELD_NS;
        let told = |sent: &[(i64, Fate)]| {
            let waits = Waits { sent: sent.to_vec(), at_end: true };
            let spans = spans(&phases, &waits, None, false, (0, to));
            spans[1..].iter().map(|span| (span.kind, span.from_ns)).collect::<Vec<_>>()
        };
        let (handled, pending) = (Fate::Handled, Fate::Pending);
        assert_eq!(told(&[(20, handled), (30, pending)]), [(ExposureKind::Pending, 30)]);
        assert_eq!(told(&[(30, pending)]), [(ExposureKind::Pending, 30)]);
        assert_eq!(told(&[(20, pending), (30, handled)]), []);
        // There was little time to take it.
        assert_eq!(told(&[(20, handled), (to - 10, pending)]), []);
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn what_waits_does_the_harm_that_it_does_when_it_is_let_through() {
        let through = |disposition| {
            let phases = [phase(0, BLOCKED), phase(10, disposition)];
            spans(&phases, &Waits::default(), None, false, (0, 20))
                .first()
                .map(|span| (span.kind, span.from_ns))
        };
        assert_eq!(through(DEFAULT), Some((ExposureKind::Fatal, 0)));
        assert_eq!(through(IGNORED), Some((ExposureKind::Lost, 0)));
        assert_eq!(through(HANDLER), None);
    }

    #[test]
    fn what_waited_and_was_taken_tells_that_it_does_no_harm_to_wait() {
        // As far as is known then, a runtime dies of it.
        let catch_all = Disposition { effect: Some(Action::Dies), ..HANDLER };
        let held = Disposition { blocked: true, ..catch_all };
        let of = |fate| {
            let waits = Waits { sent: vec![(5, fate)], at_end: false };
            let phases = [phase(0, held), phase(10, catch_all), phase(11, HANDLER)];
            let spans = spans(&phases, &waits, None, false, (0, 20));
            spans.iter().map(|span| (span.kind, span.from_ns)).collect::<Vec<_>>()
        };
        assert_eq!(of(Fate::Handled), [(ExposureKind::Fatal, 10)]);
        assert_eq!(of(Fate::Killed), [(ExposureKind::Fatal, 0)]);
    }

    #[test]
    fn a_second_one_that_became_one_with_the_first_tells_nothing_of_its_own() {
        let waits = Waits { sent: vec![(4, Fate::Handled), (6, Fate::Coalesced)], at_end: false };
        assert_eq!(waits.last_within(0, 10), Some(Fate::Handled));
        assert_eq!(waits.last_within(5, 10), None);
    }

    #[test]
    fn a_mask_set_for_a_while_leaves_an_ignored_signal_as_lost_as_before() {
        let blocked = Disposition { blocked: true, ..IGNORED };
        let phases = [phase(0, IGNORED), phase(10, blocked), phase(15, IGNORED)];
        assert_eq!(
            spans(&phases, &Waits::default(), Some(50), true, (0, 100)),
            [Exposure { kind: ExposureKind::Lost, from_ns: 0, to_ns: 100 }]
        );
    }

    #[test]
    fn what_waits_is_lost_if_the_program_ignores_it_before_it_handles_it() {
        let ignored = Disposition { blocked: true, ..IGNORED };
        let phases = [phase(0, BLOCKED), phase(10, ignored), phase(20, HANDLER)];
        assert_eq!(
            spans(&phases, &Waits::default(), None, false, (0, 100)),
            [Exposure { kind: ExposureKind::Lost, from_ns: 0, to_ns: 10 }]
        );
    }

    #[test]
    fn what_waits_for_somebody_who_takes_it_does_no_harm() {
        let awaited = Disposition { consumer: Some(Consumer::Sigwait), ..BLOCKED };
        let phases = [phase(0, BLOCKED), phase(10, awaited), phase(20, DEFAULT)];
        assert_eq!(
            spans(&phases, &Waits::default(), None, false, (0, 100)),
            [Exposure { kind: ExposureKind::Fatal, from_ns: 20, to_ns: 100 }]
        );
    }

    #[test]
    fn where_not_every_mask_is_known_neither_is_what_a_signal_does() {
        let unsure = Disposition { mask_unknown: true, ..BLOCKED };
        assert_eq!(
            spans(
                &[phase(0, unsure), phase(20, HANDLER)],
                &Waits::default(),
                None,
                false,
                (0, 100)
            ),
            [Exposure { kind: ExposureKind::Unknown, from_ns: 0, to_ns: 20 }]
        );
    }

    #[test]
    fn before_anything_was_seen_of_the_process_it_is_unknown_what_a_signal_does() {
        let unseen = Phase { disposition: None, ..phase(5, DEFAULT) };
        let of = |phases: &[Phase]| {
            let spans = spans(phases, &Waits::default(), None, false, (0, 100));
            spans.iter().map(|span| (span.kind, span.from_ns, span.to_ns)).collect::<Vec<_>>()
        };
        let unknown = ExposureKind::Unknown;
        assert_eq!(of(&[]), [(unknown, 0, 100)]);
        assert_eq!(of(&[phase(30, HANDLER)]), [(unknown, 0, 30)]);
        assert_eq!(of(&[unseen]), [(unknown, 0, 100)]);
        assert_eq!(of(&[unseen, phase(30, HANDLER)]), [(unknown, 0, 30)]);
        assert_eq!(handler_of(&[unseen, phase(30, HANDLER)]), Some(30));
        let next = Phase { pid: 2, at_ns: 40, ..unseen };
        assert_eq!(
            of(&[phase(0, DEFAULT), next]),
            [(ExposureKind::Fatal, 0, 40), (unknown, 40, 100)]
        );
        let blocked = Disposition { blocked: true, ..DEFAULT };
        assert_eq!(of(&[phase(0, blocked), next]), [(unknown, 0, 100)], "it waits for that one");
    }

    #[test]
    fn spans_lie_between_the_exec_and_the_end() {
        let spans = spans(&[phase(-5, DEFAULT)], &Waits::default(), None, false, (0, 100));
        assert_eq!(spans, [Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 100 }]);
    }

    #[test]
    fn what_somebody_came_to_take_waits_from_the_last_that_he_did_not_take() {
        let given_up = |sent: &[(i64, Fate)], from| {
            let waits = Waits { sent: sent.to_vec(), at_end: false };
            waits.given_up(from, 10 + HELD_NS)
        };
        assert_eq!(given_up(&[(10, Fate::Pending)], 5), Some(10));
        assert_eq!(given_up(&[(4, Fate::Pending)], 5), None);
        assert_eq!(given_up(&[(6, Fate::Ignored)], 5), None);
        assert_eq!(given_up(&[(6, Fate::Handled), (10, Fate::Pending)], 5), Some(10));
        assert_eq!(given_up(&[(6, Fate::Pending), (8, Fate::Handled)], 5), None);
        assert_eq!(given_up(&[(11, Fate::Pending)], 5), None, "that is not long");
    }

    #[test]
    fn what_waits_is_told_once() {
        let held = Disposition { blocked: true, consumer: Some(Consumer::Signalfd), ..DEFAULT };
        let blocked = Disposition { blocked: true, ..DEFAULT };
        let waits = Waits { sent: vec![(10, Fate::Pending)], at_end: false };
        let end = 100 + 2 * HELD_NS;
        let pending = |from_ns, to_ns| Exposure { kind: ExposureKind::Pending, from_ns, to_ns };
        // In the main process before, which nobody asks any more; and for want of who would take it.
        let next = Phase { pid: 2, ..phase(50 + HELD_NS, HANDLER) };
        let handed_over = spans(&[phase(0, held), next], &waits, None, false, (0, end));
        assert_eq!(handed_over, [pending(0, 50 + HELD_NS)]);
        assert_eq!(spans(&[phase(0, blocked)], &waits, None, false, (0, end)), [pending(0, end)]);
        assert_eq!(spans(&[phase(0, held)], &waits, None, false, (0, end)), [pending(10, end)]);
    }

    #[test]
    fn what_kills_a_main_process_that_blocks_it_does_so_whatever_the_next_one_does() {
        let blocked = Disposition { blocked: true, ..DEFAULT };
        let next = Phase { pid: 2, ..phase(50, blocked) };
        let waits = Waits { sent: vec![(10, Fate::Killed)], at_end: false };
        let told = spans(&[phase(0, blocked), next], &waits, None, false, (0, 60));
        assert_eq!(told[0], Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 50 });
    }
}
