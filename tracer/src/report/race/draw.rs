//! The picture of a race as SVG: a band for each signal, and the steps of the start.

use maud::{Markup, html};

use super::picture::{OUTCOMES, axis, ink};
use crate::{
    model::race::{Interval, Race, SignalRace},
    report::{
        axis::{Axis, Grain},
        escape,
        picture::{AXIS, CHARACTER, CHARACTERS, FINE, PLOT, Shape, percent, place, ruler},
        time,
    },
};

/// Height of a row.
const ROW: usize = 40;
/// Height of the row of steps.
const STEPS: usize = 30;

/// What it is high.
pub fn height(race: &Race) -> usize {
    race.signals.len() * ROW + STEPS + AXIS
}

/// The labels of the rows.
pub fn labels(race: &Race) -> Markup {
    html! {
        @for (index, signal) in race.signals.iter().enumerate() {
            text.label.main x="0" y=(index * ROW + 18) { (signal.signal) }
        }
        text.label x="0" y=(race.signals.len() * ROW + 18) { "steps" }
    }
}

/// What is right of the labels, to stand in an `svg` element of any width.
pub fn plot(race: &Race) -> Markup {
    let axis = axis(race, CHARACTERS * FINE, Grain::fine(FINE));
    let steps = race.signals.len() * ROW;
    html! {
        @for (index, signal) in race.signals.iter().enumerate() {
            (row(signal, &axis, index * ROW))
        }
        (step_marks(race, &axis, steps))
        (ruler(&axis, steps + STEPS))
    }
}

/// The intervals of the main process, what does more harm over what does less, and above them the
/// instants that were tried besides.
fn row(signal: &SignalRace, axis: &Axis, top: usize) -> Markup {
    let main = || signal.intervals.iter().filter(|it| it.main);
    let in_order =
        OUTCOMES.iter().flat_map(|outcome| main().filter(move |it| it.outcome == *outcome));
    let instants = signal.all().skip(signal.intervals.len());
    html! {
        line.rule x1="0" x2="100%" y1=(top + 14) y2=(top + 14) {}
        @for interval in in_order {
            @let (from, to) = (place(axis, interval.from_ns), place(axis, interval.to_ns));
            @let (x, width) = (percent(from), to.saturating_sub(from).max(15));
            @let word = interval.outcome.word();
            rect x=(x) y=(top + 4) width=(percent(width)) height="20" fill="var(--paper)" {}
            rect.band.words.(ink(interval).class()) x=(x) y=(top + 4) width=(percent(width)) height="20" {
                title { (hint(interval)) }
            }
            @if (word.len() + 1) * CHARACTER < width * PLOT / 10_000 {
                text x=(x) dx="3" y=(top + 18) { (word) }
            }
        }
        @for interval in instants {
            g {
                title { (hint(interval)) }
                use.(ink(interval).class()) href={ "#" (Shape::Signal.id()) }
                    x=(percent(place(axis, interval.from_ns))) y=(top + 30) {}
            }
        }
    }
}

/// The steps of the main process, and READY=1.
fn step_marks(race: &Race, axis: &Axis, top: usize) -> Markup {
    let all = race.signals.iter().flat_map(|signal| &signal.intervals).filter(|it| it.main);
    let mut steps: Vec<_> = all.map(|it| (it.after.at_ns, it.after.what.as_str())).collect();
    steps.sort_unstable();
    steps.dedup();
    html! {
        line.rule x1="0" x2="100%" y1=(top + 14) y2=(top + 14) {}
        @for (at, what) in steps {
            g {
                title { (time::span(at)) ": " (escape(what)) }
                use.plain href={ "#" (Shape::Disposition.id()) } x=(percent(place(axis, at)))
                    y=(top + 14) {}
            }
        }
        @if let Some(ready) = race.untouched.ready_ns {
            g {
                title { (time::span(ready)) ": READY=1" }
                use.good href={ "#" (Shape::Message.id()) } x=(percent(place(axis, ready)))
                    y=(top + 14) {}
            }
        }
    }
}

/// An interval in words.
fn hint(interval: &Interval) -> String {
    let what = interval.tries.first().map_or("", |it| it.what.as_str());
    let between = super::place(interval, " – ");
    let outcome = interval.outcome.word();
    escape(&format!("{}: {outcome}: {what} ({between})", interval.id)).into_owned()
}
