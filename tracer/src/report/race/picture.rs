//! A start along time: a row for each signal, and the steps.
//!
//! ```text
//!   HUP      ████████████████████████████████─────────────────
//!            █ killed   ─ taken
//!   steps    ││                             │    │
//!            ├───────────┼───────────┼───────────┼────────────
//!            0 ms        100 ms      200 ms      300 ms
//! ```

use crate::{
    model::race::{Interval, Outcome, Race, SignalRace},
    report::{
        axis::{Axis, Grain},
        paint::{Ink, Paint},
        text,
    },
};

/// The widest picture, labels included.
const WIDEST: usize = 78;
/// Columns before the rows.
const LABELS: usize = 11;

/// All outcomes, in the order in which they are drawn: what does more harm covers what does
/// less.
pub const OUTCOMES: [Outcome; 9] = [
    Outcome::Taken,
    Outcome::HeldBack,
    Outcome::NotReached,
    Outcome::Ignored,
    Outcome::Pending,
    Outcome::Ended,
    Outcome::Hung,
    Outcome::Crashed,
    Outcome::Killed,
];

/// How an outcome is drawn where it is right, and where it is bad.
pub fn glyph(outcome: Outcome) -> char {
    match outcome {
        Outcome::Taken => '─',
        Outcome::HeldBack => '┄',
        Outcome::NotReached => '?',
        Outcome::Ignored => '░',
        Outcome::Pending => '▁',
        Outcome::Ended => '▄',
        Outcome::Hung => '▒',
        Outcome::Crashed => '▓',
        Outcome::Killed => '█',
    }
}

/// The colour of an interval.
pub fn ink(interval: &Interval) -> Ink {
    match interval.outcome {
        _ if interval.bad => Ink::Error,
        Outcome::NotReached | Outcome::HeldBack => Ink::Faint,
        Outcome::Ignored | Outcome::Pending => Ink::Warning,
        _ => Ink::Good,
    }
}

/// The picture, in at most `width` columns.
pub fn lines(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    let columns = width.min(WIDEST).saturating_sub(LABELS);
    let main = || race.signals.iter().flat_map(|signal| &signal.intervals).filter(|it| it.main);
    if main().next().is_none() {
        return Vec::new();
    }
    let untouched = &race.untouched;
    let axis = axis(race, columns, Grain::COLUMN);
    let mut lines = Vec::new();
    for signal in &race.signals {
        lines.push(row(signal, &axis, untouched.to_ns, paint));
    }
    let label = |label: &str| format!("  {}", text::pad(label, LABELS - 2));
    lines.push(format!("{}{}", label(""), paint.ink(Ink::Faint, &legend(race))));
    let mut steps = vec![' '; columns];
    for interval in main() {
        steps[axis.column(interval.from_ns)] = '│';
    }
    let steps: String = steps.into_iter().collect();
    lines.push(format!("{}{}", label("steps"), paint.ink(Ink::Faint, steps.trim_end())));
    if let Some(ready) = untouched.ready_ns {
        let mark = format!("{}▲ READY=1", " ".repeat(axis.column(ready)));
        lines.push(format!("{}{}", label(""), paint.ink(Ink::Faint, &text::clip(&mark, columns))));
    }
    let (line, ruler) = axis.ruler();
    lines.push(format!("{}{}", label(""), paint.ink(Ink::Faint, &line)));
    lines.push(format!("{}{}", label(""), paint.ink(Ink::Faint, &ruler)));
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The axis of the start: what comes after its last step may be cut out of it.
pub fn axis(race: &Race, columns: usize, grain: Grain) -> Axis {
    let main = || race.signals.iter().flat_map(|signal| &signal.intervals).filter(|it| it.main);
    let mut moments = vec![race.untouched.from_ns, race.untouched.to_ns];
    moments.extend(main().flat_map(|it| [it.from_ns, it.to_ns]));
    let last = main().map(|it| it.from_ns).max().unwrap_or(0);
    Axis::with_grain(&moments, columns, grain, |from, _| from >= last)
}

/// What the glyphs of all rows mean.
fn legend(race: &Race) -> String {
    let rest = || {
        race.signals
            .iter()
            .filter_map(|signal| signal.rest.as_ref())
            .filter(|it| it.outcome != Outcome::NotReached)
    };
    let intervals = || race.signals.iter().flat_map(|signal| &signal.intervals);
    let all = || intervals().filter(|it| it.main).chain(rest());
    let shown = OUTCOMES.iter().rev().filter(|outcome| all().any(|it| it.outcome == **outcome));
    let entries: Vec<String> =
        shown.map(|outcome| format!("{} {}", glyph(*outcome), outcome.word())).collect();
    entries.join("   ")
}

fn row(signal: &SignalRace, axis: &Axis, end: i64, paint: Paint) -> String {
    let mut cells = vec![(' ', Ink::Plain); axis.columns()];
    let main = || signal.intervals.iter().filter(|it| it.main);
    for outcome in OUTCOMES {
        for interval in main().filter(|it| it.outcome == outcome) {
            let from = axis.column(interval.from_ns);
            let (to, last) = (axis.column(interval.to_ns), axis.column(end));
            // The last column too if it ends there; one column at least.
            let to = if to >= last { last + 1 } else { to };
            cells[from..to.max(from + 1)].fill((glyph(outcome), ink(interval)));
        }
    }
    // The instant at rest is the last column, where there is one.
    let rest = signal.rest.as_ref().filter(|it| it.outcome != Outcome::NotReached);
    if let (Some(rest), Some(last)) = (rest, cells.last_mut()) {
        *last = (glyph(rest.outcome), ink(rest));
    }
    let cells: String = cells
        .chunk_by(|one, other| one.1 == other.1)
        .map(|run| paint.ink(run[0].1, &run.iter().map(|cell| cell.0).collect::<String>()))
        .collect();
    format!("  {}{cells}", text::pad(&signal.signal.to_string(), LABELS - 2))
}
