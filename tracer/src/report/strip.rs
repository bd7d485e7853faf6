//! The strip: one activation along time, in a few rows.
//!
//! ```text
//!   HUP would  ███████████████████████████░░░░░░──────────────
//!   handler                               ├─ 300 ms ──────────
//!   READY=1                                     ├─ 350 ms ────
//!   signals               ▲HUP                       ▲HUP handled
//!              ├───────────┼───────────┼───────────┼──────────
//!              0 ms        100 ms      200 ms      300 ms
//! ```

use super::{
    axis::{Axis, Grain},
    harm::{self, Harm},
    paint::{Ink, Paint},
    span::{Span, signals},
    text, time,
    view::View,
};
use crate::model::{
    document::{Activation, ExposureKind, OutcomeState},
    event::{Fate, SignalSent, What},
};

/// The widest strip, labels included.
const WIDEST: usize = 78;
/// Rows for signals that would overlap on one.
const SIGNAL_ROWS: usize = 3;

/// A bar with fewer columns has no gaps cut out.
const CUT_FROM: usize = 20;
/// Where a process has died.
const DEATH: char = 'X';
/// Where a signal was sent.
const SIGNAL: char = '▲';

/// One column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    glyph: char,
    ink: Ink,
}

const BLANK: Cell = Cell { glyph: ' ', ink: Ink::Plain };

/// A row of cells with a label before it.
struct Row {
    label: String,
    cells: Vec<Cell>,
}

/// The strip of an activation in at most `width` columns; nothing where there is
/// nothing to show.
pub fn lines(view: View, width: usize, paint: Paint) -> Vec<String> {
    let View { service, activation, .. } = view;
    let sent = signals(activation);
    if is_empty(activation, &sent) {
        return Vec::new();
    }
    let first_label = format!("{} would", view.reload());
    let labels = first_label.len().max("handler".len()) + 4;
    let span = Span::of(activation, view.end());
    let within = |at: &i64| (span.from..=span.to).contains(at);
    let moments: Vec<i64> = sent.iter().map(|(at, _)| *at).filter(within).collect();
    let axis = span.axis(activation, &moments, width.min(WIDEST) - labels, Grain::COLUMN);

    let none_seen = if view.joined_late() { "none since the capture joined" } else { "none seen" };
    let (exposure, legend) = exposure(activation, view.is_by_name(), &span, &axis);
    let mut rows = vec![Row { label: first_label, cells: exposure }];
    rows.push(Row {
        label: "handler".into(),
        cells: reached(handler(view, &span), no_handler(view, &span, none_seen), &span, &axis),
    });
    let unit = service.unit.as_ref();
    let announces = unit.is_none_or(|unit| unit.service_type.is_none() || unit.awaited().is_some());
    if announces || activation.milestones.ready_ns.is_some() {
        rows.push(Row {
            label: if view.is_by_name() { "bus name" } else { "READY=1" }.into(),
            cells: reached(activation.milestones.ready_ns, none_seen, &span, &axis),
        });
    }
    rows.extend(signal_rows(&sent, &axis));

    let (line, ruler) = axis.ruler();
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            format!("  {}{}", text::pad(&row.label, labels - 2), paint_cells(&row.cells, paint))
        })
        .collect();
    let indent = " ".repeat(labels);
    let legend = pack(&legend, axis.columns());
    lines
        .splice(1..1, legend.iter().map(|line| format!("{indent}{}", paint.ink(Ink::Faint, line))));
    lines.push(format!("{indent}{}", paint.ink(Ink::Faint, &line)));
    lines.push(format!("{indent}{}", paint.ink(Ink::Faint, &ruler)));
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether there is nothing to show: no signal, and nothing known of what one would have done; or there
/// was no main process for one.
fn is_empty(activation: &Activation, sent: &[(i64, &SignalSent)]) -> bool {
    let is_unknown = activation.main_process.is_none() && activation.exposure.is_empty();
    is_unknown && sent.is_empty() || activation.ended_at().is_some()
}

/// The first row alone, with the signals on it, in so many columns; nothing where there is
/// nothing to show.
pub fn bar(view: View, columns: usize) -> Vec<(char, Ink)> {
    let activation = view.activation;
    let sent = signals(activation);
    if columns == 0 || is_empty(activation, &sent) {
        return Vec::new();
    }
    let span = Span::of(activation, view.end());
    let sent = sent.into_iter().filter(|(at, _)| (span.from..=span.to).contains(at));
    let sent: Vec<(i64, &SignalSent)> = sent.collect();
    let moments: Vec<i64> = sent.iter().map(|(at, _)| *at).collect();
    let axis = if columns < CUT_FROM {
        Axis::new(&[span.from, span.to], columns, |_, _| false)
    } else {
        span.axis(activation, &moments, columns, Grain::BAR)
    };
    let (mut cells, _) = exposure(activation, view.is_by_name(), &span, &axis);
    for (at, sent) in sent {
        let cell = &mut cells[axis.column(at)];
        if cell.glyph != DEATH {
            *cell = Cell { glyph: SIGNAL, ink: ink_of(sent.fate) };
        }
    }
    cells.into_iter().map(|cell| (cell.glyph, cell.ink)).collect()
}

/// What the glyphs of a bar mean, as many as fit into so many columns.
pub fn legend(columns: usize) -> String {
    let harms = Harm::ALL.iter().rev();
    let harms = harms.map(|harm| format!("{} {}", glyph(*harm), harm.legend(false)));
    let others = [format!("{SIGNAL} signal"), format!("{DEATH} death")];
    pack(&harms.chain(others).collect::<Vec<_>>(), columns).swap_remove(0)
}

/// The first row, and what its glyphs mean.
fn exposure(
    activation: &Activation,
    by_name: bool,
    span: &Span,
    axis: &Axis,
) -> (Vec<Cell>, Vec<String>) {
    let mut harms = vec![None; axis.columns()];
    let mut draw = |harm: Harm, from: i64, to: i64| {
        let from = axis.column(from);
        // The last column too if it ends there; one column at least.
        let (to, last) = (axis.column(to), axis.column(span.to));
        let to = if to >= last { last + 1 } else { to };
        harms[from..to.max(from + 1)].fill(Some(harm));
    };
    for (harm, from, to) in harm::parts(activation, span) {
        draw(harm, from, to);
    }
    let mut legend: Vec<String> = Harm::ALL
        .iter()
        .rev()
        .filter(|harm| harms.contains(&Some(**harm)))
        .map(|harm| format!("{} {}", glyph(*harm), harm.legend(by_name)))
        .collect();
    let mut cells: Vec<Cell> = harms.into_iter().map(|harm| harm.map_or(BLANK, cell)).collect();
    if activation.outcome.state == OutcomeState::Killed {
        cells[axis.column(span.to)] = Cell { glyph: DEATH, ink: Ink::Error };
        legend.push(format!("{DEATH} death"));
    }
    (cells, legend)
}

fn cell(harm: Harm) -> Cell {
    Cell { glyph: glyph(harm), ink: harm.ink() }
}

fn glyph(harm: Harm) -> char {
    match harm {
        Harm::Unseen => '?',
        Harm::Unknown => '~',
        Harm::Safe => '─',
        Harm::NotReady => '░',
        Harm::Pending => '▁',
        Harm::Lost => '▒',
        Harm::Fatal => '█',
    }
}

/// As many entries a line as fit.
fn pack(entries: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in entries {
        match lines.last_mut() {
            Some(line) if text::width(line) + 3 + text::width(entry) <= columns => {
                line.push_str("   ");
                line.push_str(entry);
            }
            _ => lines.push(entry.clone()),
        }
    }
    lines
}

/// Since when there is a handler: a program that takes the signal as the capture joins had one
/// before that.
fn handler(view: View, span: &Span) -> Option<i64> {
    let activation = view.activation;
    let main = activation.main_process.as_ref();
    // Other processes of the service may have been looked at before it.
    let looked = activation.events.iter().find(|event| {
        matches!(&event.what, What::Disposition { process, signal, found: true, .. }
            if *signal == view.reload() && main.is_some_and(|main| main.pid == process.pid))
    });
    let looked = looked.map_or(span.seen, |event| event.at_ns.max(span.seen));
    let is_harmed = activation.exposure.iter().any(|it| {
        it.kind != ExposureKind::NotReady
            && (it.from_ns..it.to_ns.max(it.from_ns.saturating_add(1))).contains(&looked)
    });
    let had = view.joined_late() && span.seen > span.from && !is_harmed;
    let had = had && activation.main_process.is_some();
    // One that is set anew, as after an exec, is not the first.
    if had { Some(span.seen) } else { activation.milestones.handler_ns }
}

/// What is said where no time of a handler is known: one that takes the signal since it was unknown
/// what it does had it at a time nobody saw.
fn no_handler<'a>(view: View, span: &Span, none_seen: &'a str) -> &'a str {
    let harm = || view.activation.exposure.iter().filter(|it| it.kind != ExposureKind::NotReady);
    let unknown = harm().find(|it| it.kind == ExposureKind::Unknown);
    let is_taken = |until: i64| until < span.to && !harm().any(|it| it.from_ns == until);
    match unknown.filter(|it| view.joined_late() && is_taken(it.to_ns)) {
        Some(_) => "since when can't be told",
        None => none_seen,
    }
}

/// A row for something that is reached once: from there on, with its time.
fn reached(at: Option<i64>, never: &str, span: &Span, axis: &Axis) -> Vec<Cell> {
    let mut cells = vec![BLANK; axis.columns()];
    let Some(at) = at else {
        write(&mut cells, 0, never, Ink::Faint);
        return cells;
    };
    let column = axis.column(at);
    let end = axis.column(span.to);
    cells[column..=end.max(column)].fill(Cell { glyph: '─', ink: Ink::Good });
    cells[column].glyph = '├';
    let label = if at <= span.seen && span.seen > span.from {
        " before the capture ".to_owned()
    } else {
        format!(" {} ", time::span(at))
    };
    let length = text::width(&label);
    if column + 2 + length <= cells.len() {
        write(&mut cells, column + 2, &label, Ink::Good);
    } else if let Some(start) = column.checked_sub(length) {
        write(&mut cells, start, &label, Ink::Good);
    }
    cells
}

/// The signals, each at its time with its fate, on as many rows as it takes to
/// keep them apart.
fn signal_rows(sent: &[(i64, &SignalSent)], axis: &Axis) -> Vec<Row> {
    let mut rows = vec![vec![BLANK; axis.columns()]];
    let mut hidden = 0;
    for (at, sent) in sent {
        let column = axis.column(*at);
        let ink = ink_of(sent.fate);
        let words = format!("{} {}", sent.signal, fate_word(sent.fate));
        let after = (column, format!("{SIGNAL}{words}"));
        let before =
            column.checked_sub(words.len()).map(|start| (start, format!("{words}{SIGNAL}")));
        let fits = |row: &[Cell], start: usize, label: &str| {
            let (from, to) = (start.saturating_sub(1), start + text::width(label));
            row.get(from..to).is_some_and(|cells| cells.iter().all(|cell| *cell == BLANK))
        };
        let places = || [Some(after.clone()), before.clone()].into_iter().flatten();
        let place = rows.iter().position(|row| places().any(|(at, label)| fits(row, at, &label)));
        let index = match place {
            Some(index) => index,
            None if rows.len() < SIGNAL_ROWS => {
                rows.push(vec![BLANK; axis.columns()]);
                rows.len() - 1
            }
            None => {
                hidden += 1;
                continue;
            }
        };
        let row = &mut rows[index];
        if let Some((at, label)) = places().find(|(at, label)| fits(row, *at, label)) {
            write(row, at, &label, ink);
        }
    }
    let mut rows: Vec<Row> =
        rows.into_iter().map(|cells| Row { label: String::new(), cells }).collect();
    if hidden > 0 {
        let mut cells = vec![BLANK; axis.columns()];
        write(&mut cells, 0, &format!("… and {hidden} more"), Ink::Faint);
        rows.push(Row { label: String::new(), cells });
    }
    if sent.is_empty() {
        write(&mut rows[0].cells, 0, "none sent", Ink::Faint);
    }
    rows[0].label = "signals".into();
    rows
}

/// Good or bad.
pub fn ink_of(fate: Fate) -> Ink {
    match fate {
        Fate::Killed => Ink::Error,
        Fate::Handled => Ink::Good,
        Fate::Ignored | Fate::Pending | Fate::Coalesced | Fate::Dropped | Fate::Stopped => {
            Ink::Warning
        }
    }
}

/// The vocabulary's word for a fate.
pub fn fate_word(fate: Fate) -> &'static str {
    match fate {
        Fate::Killed => "killed",
        Fate::Handled => "handled",
        Fate::Ignored => "ignored",
        Fate::Pending => "pending",
        Fate::Coalesced => "coalesced",
        Fate::Dropped => "dropped",
        Fate::Stopped => "stopped",
    }
}

/// Writes text of one column a character.
fn write(cells: &mut [Cell], at: usize, text: &str, ink: Ink) {
    for (cell, glyph) in cells.iter_mut().skip(at).zip(text.chars()) {
        *cell = Cell { glyph, ink };
    }
}

fn paint_cells(cells: &[Cell], paint: Paint) -> String {
    let used = cells.iter().rposition(|cell| *cell != BLANK).map_or(0, |last| last + 1);
    cells[..used]
        .chunk_by(|a, b| a.ink == b.ink)
        .map(|run| {
            let text: String = run.iter().map(|cell| cell.glyph).collect();
            paint.ink(run[0].ink, &text)
        })
        .collect()
}
