//! The table of events.

use std::{cmp::Reverse, collections::BTreeSet};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    cut, event_row,
    paint::{Ink, Paint},
    text,
    time::Scale,
    view::View,
};
use crate::model::document::{Activation, LeftOut};

/// Kinds of events left out that are named.
const GROUPS: usize = 4;
/// The widest column of processes.
const PROCESS: usize = 36;
/// What evidence is marked with.
const MARK: &str = "►";

/// The events of an activation as a table of at most `width` columns. Evidence of
/// alerts is marked and never left out.
pub fn lines(view: View, width: usize, paint: Paint) -> Vec<String> {
    let View { activation, .. } = view;
    let events = &activation.events;
    if events.is_empty() {
        return Vec::new();
    }
    let evidence: BTreeSet<usize> = activation
        .alerts
        .iter()
        .flat_map(|alert| alert.events.iter().copied())
        .filter(|index| *index < events.len())
        .collect();
    let shown = cut::shown(activation, &evidence, view.reload());
    let furthest = shown.iter().map(|index| events[*index].at_ns.unsigned_abs()).max();
    let scale = Scale::for_times(furthest.unwrap_or(0));
    let rows: Vec<_> = shown
        .iter()
        .map(|index| event_row::row(&events[*index], activation, view.reload()))
        .collect();
    let times: Vec<String> = shown.iter().map(|index| scale.format(events[*index].at_ns)).collect();

    let time_title = format!("time/{}", scale.unit());
    let widest = |texts: &mut dyn Iterator<Item = &String>| {
        texts.map(|text| text::width(text)).max().unwrap_or(0)
    };
    let time_width = widest(&mut times.iter().chain([&time_title]));
    let rest = width.saturating_sub(2 + time_width + 2 + 2);
    let longest = widest(&mut rows.iter().map(|row| &row.process));
    let process_width = longest.clamp("process".len(), PROCESS).min(rest / 2);
    let what_width = rest - process_width;

    let mut table = Table::new();
    // Laid out here, so that the lines of each row are known when they are coloured.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.force_no_tty();
    table.set_header(["", &time_title, "process", "what"]);
    let mut inks = vec![Ink::Faint];
    let mut next = 0;
    for ((index, row), time) in shown.iter().zip(&rows).zip(&times) {
        if *index > next {
            let more = format!("… {} more events, see --format json", index - next);
            table.add_row(["", "", "", &text::wrap(&more, what_width).join("\n")]);
            inks.extend(vec![Ink::Faint; text::wrap(&more, what_width).len()]);
        }
        next = index + 1;
        let process = text::wrap(&row.process, process_width);
        let what = text::wrap(&row.what, what_width);
        let mark = if evidence.contains(index) { MARK } else { "" };
        inks.extend(vec![row.ink; process.len().max(what.len())]);
        table.add_row([mark, time, &process.join("\n"), &what.join("\n")]);
    }
    for (index, padding) in [(0, (0, 1)), (1, (0, 2)), (2, (0, 2)), (3, (0, 0))] {
        if let Some(column) = table.column_mut(index) {
            column.set_padding(padding);
        }
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut lines: Vec<String> =
        table.lines().zip(inks).map(|(line, ink)| paint.ink(ink, line.trim_end())).collect();
    if activation.omitted > 0 {
        let note = left_out(activation);
        lines.extend(text::wrap(&note, width).iter().map(|line| paint.ink(Ink::Warning, line)));
    }
    lines
}

/// What was left out of the timeline, in a sentence.
fn left_out(activation: &Activation) -> String {
    let mut groups: Vec<&LeftOut> = activation.left_out.iter().collect();
    groups.sort_by_key(|group| Reverse(group.count));
    let mut kinds: Vec<String> = groups.iter().take(GROUPS).map(|group| kind(group)).collect();
    let told = groups.iter().take(GROUPS).map(|group| group.count);
    let rest = told.fold(activation.omitted, u64::saturating_sub);
    if !kinds.is_empty() && rest > 0 {
        kinds.push(format!("{rest} others"));
    }
    let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
    format!("{} events were left out, as there were too many{kinds}.", activation.omitted)
}

/// `1200 HUP from kill (handled)`
fn kind(group: &LeftOut) -> String {
    let LeftOut { kind, signal, fate, sender, count } = group;
    let what = match signal {
        Some(signal) if kind == "signal" => signal.to_string(),
        Some(signal) => format!("{} {signal}", event_row::quote(kind)),
        None => event_row::quote(kind),
    };
    let sender = sender.as_deref().map(|sender| format!(" from {}", event_row::quote(sender)));
    let fate = fate.map(|fate| format!(" ({})", event_row::fate(fate)));
    format!("{count} {what}{}{}", sender.unwrap_or_default(), fate.unwrap_or_default())
}
