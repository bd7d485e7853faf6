//! The time axis of the strip: from moments to columns.
//!
//! A start takes milliseconds and a capture may take minutes. Once the start is
//! over, long quiet gaps are cut out of the axis (`//`), so that the start keeps
//! most of the columns.

use std::cmp::Reverse;

use super::{text, time};

/// How fine the columns are.
#[derive(Clone, Copy, Debug)]
pub struct Grain {
    /// The most cuts: more would leave too little between them.
    cuts: usize,
    /// Columns of a cut.
    cut: usize,
    /// The least a part beside a cut gets.
    part: usize,
    /// Columns from one labelled tick to the next, at least.
    tick: usize,
}

impl Grain {
    /// A column is a character. A cut is a blank, two slashes, a blank.
    pub const COLUMN: Self = Self { cuts: 2, cut: 4, part: 10, tick: 12 };

    /// The same for a bar among others, where every column counts.
    pub const BAR: Self = Self { cuts: 2, cut: 1, part: 3, tick: Self::COLUMN.tick };

    /// So many columns are as wide as a character.
    pub const fn fine(columns: usize) -> Self {
        let Self { cut, part, tick, .. } = Self::COLUMN;
        Self { cuts: 4, cut: cut * columns, part: part * columns, tick: tick * columns }
    }
}

/// Moments on a row of columns.
#[derive(Debug)]
pub struct Axis {
    parts: Vec<Part>,
    /// Which of them has the start.
    with_start: usize,
    columns: usize,
    grain: Grain,
}

/// A stretch of the axis with one scale.
#[derive(Debug)]
struct Part {
    from: i64,
    to: i64,
    start: usize,
    columns: usize,
    /// Columns before its first moment.
    lead: usize,
}

impl Part {
    fn duration(&self) -> u128 {
        duration(self.from, self.to)
    }

    fn column(&self, at: i64) -> usize {
        let into = duration(self.from, at.clamp(self.from, self.to));
        let columns = self.columns as u128;
        let column = (into * columns).checked_div(self.duration()).unwrap_or(0) as usize;
        self.start + self.lead + column.min(self.columns.saturating_sub(1 + self.lead))
    }
}

fn duration(from: i64, to: i64) -> u128 {
    (i128::from(to) - i128::from(from)).unsigned_abs()
}

impl Axis {
    /// An axis that shows every one of `moments`. Gaps between two of them may be
    /// cut where `quiet` says so of their ends.
    pub fn new(moments: &[i64], columns: usize, quiet: impl Fn(i64, i64) -> bool) -> Self {
        Self::with_grain(moments, columns, Grain::COLUMN, quiet)
    }

    /// The same with finer columns.
    pub fn with_grain(
        moments: &[i64],
        columns: usize,
        grain: Grain,
        quiet: impl Fn(i64, i64) -> bool,
    ) -> Self {
        let mut moments = moments.to_vec();
        moments.sort_unstable();
        moments.dedup();
        let (cuts, with_start) = cuts(&moments, grain.cuts, quiet);
        let mut parts: Vec<Part> = Vec::new();
        for (index, at) in moments.iter().enumerate() {
            match parts.last_mut() {
                Some(part) if !cuts.contains(&(index - 1)) => part.to = *at,
                _ => parts.push(Part { from: *at, to: *at, start: 0, columns: 0, lead: 0 }),
            }
        }
        let mut axis = Self { parts, with_start, columns, grain };
        axis.share_columns();
        axis
    }

    /// Gives every part its columns: the least each, and the rest by duration.
    fn share_columns(&mut self) {
        let count = self.parts.len();
        let room = self.columns.saturating_sub(self.grain.cut * count.saturating_sub(1));
        let rest = room.saturating_sub(self.grain.part * count) as u128;
        let total: u128 = self.parts.iter().map(Part::duration).sum();
        // The start is what this is about: half of the room is its own.
        let own = self.parts.get(self.with_start).map_or(0, Part::duration);
        let has_half = own > 0 && own * 2 < total;
        let mut start = 0;
        for (index, part) in self.parts.iter_mut().enumerate() {
            let share = match (has_half, index == self.with_start) {
                (false, _) => (part.duration() * rest).checked_div(total).unwrap_or(0),
                (true, true) => rest / 2,
                (true, false) => (part.duration() * (rest - rest / 2)) / (total - own),
            };
            part.start = start;
            part.columns = self.grain.part + share as usize;
            if index + 1 == count {
                part.columns = self.columns.saturating_sub(start);
                // The end alone is a single column, at the edge.
                if index > 0 && part.duration() == 0 {
                    part.lead = part.columns.saturating_sub(1);
                }
            }
            start += part.columns + self.grain.cut;
        }
    }

    /// Whether the moments of a part are told in round numbers: what begins at hours says no more
    /// by them.
    fn is_round(&self, index: usize) -> bool {
        let is_at_zero = |part: &Part| part.from <= 0 && part.to >= 0;
        index == self.with_start && (index == 0 || self.parts.get(index).is_some_and(is_at_zero))
    }

    /// How many columns it has.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The column of a moment; the nearest for one that is not on the axis.
    pub fn column(&self, at: i64) -> usize {
        let part = self.parts.iter().rev().find(|part| part.from <= at).or(self.parts.first());
        part.map_or(0, |part| {
            // Within a cut: its middle.
            if at > part.to && part.start + part.columns + self.grain.cut <= self.columns {
                part.start + part.columns + self.grain.cut / 2
            } else {
                part.column(at)
            }
        })
    }

    /// Its labelled moments: their columns, and what they are.
    pub fn labels(&self) -> Vec<(usize, String)> {
        let parts = self.parts.iter().enumerate();
        parts
            .flat_map(|(index, part)| {
                let at = ticks(part, self.is_round(index), self.grain).into_iter();
                at.map(|at| (part.column(at), label(at)))
            })
            .collect()
    }

    /// Where something is cut out of it: from and to which column.
    pub fn cuts(&self) -> Vec<(usize, usize)> {
        self.parts.iter().skip(1).map(|part| (part.start - self.grain.cut, part.start)).collect()
    }

    /// The line with the ticks, and the line with their labels.
    pub fn ruler(&self) -> (String, String) {
        let mut line = vec!['─'; self.columns];
        let mut labels = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                let cut = part.start - self.grain.cut;
                line[cut..part.start].copy_from_slice(&[' ', '/', '/', ' ']);
            }
            let end = part.start + part.columns;
            for at in ticks(part, self.is_round(index), self.grain) {
                let column = part.column(at);
                let label = label(at);
                // At the end of its part a label stands left of its tick.
                let start = column.min(end.saturating_sub(text::width(&label)));
                if text::width(&labels) > start {
                    continue;
                }
                line[column] = if column == part.start { '├' } else { '┼' };
                labels = text::pad(&labels, start) + &label + " ";
            }
        }
        (line.into_iter().collect(), labels.trim_end().to_owned())
    }
}

/// The gaps to cut, by the index of the moment before each, in order, and how many of them are
/// before the start. They are quiet and last longer than twice all that is not: those next to
/// the start, as they would take its columns, and the longest others.
fn cuts(moments: &[i64], most: usize, quiet: impl Fn(i64, i64) -> bool) -> (Vec<usize>, usize) {
    let gaps: Vec<(u128, bool)> = moments
        .windows(2)
        .map(|ends| (duration(ends[0], ends[1]), quiet(ends[0], ends[1])))
        .collect();
    let busy: u128 = gaps.iter().filter(|(_, quiet)| !quiet).map(|(gap, _)| gap).sum();
    let Some(start) = gaps.iter().position(|(_, quiet)| !quiet).filter(|_| busy > 0) else {
        return (Vec::new(), 0);
    };
    let is_long = |index: &usize| gaps[*index].1 && gaps[*index].0 > 2 * busy;
    let mut before: Vec<usize> = (0..start).rev().filter(is_long).collect();
    let mut after: Vec<usize> = (start..gaps.len()).filter(is_long).collect();
    let next_to_it = [&mut after, &mut before].into_iter();
    let mut cuts: Vec<usize> =
        next_to_it.filter(|side| !side.is_empty()).map(|side| side.remove(0)).collect();
    let mut others = [after, before].concat();
    others.sort_by_key(|index| Reverse(gaps[*index].0));
    cuts.extend(others);
    cuts.truncate(most);
    cuts.sort_unstable();
    let before = cuts.iter().filter(|index| **index < start).count();
    (cuts, before)
}

/// The moments to label: round ones, or only where the part begins.
fn ticks(part: &Part, is_round: bool, grain: Grain) -> Vec<i64> {
    if !is_round || part.duration() == 0 {
        return vec![part.from];
    }
    let least = part.duration() * grain.tick as u128 / part.columns.max(1) as u128;
    let Some(step) = round_steps().find(|step| *step as u128 >= least.max(1)) else {
        return vec![part.from];
    };
    let mut at = part.from.div_euclid(step).saturating_mul(step);
    let mut ticks = Vec::new();
    while at <= part.to {
        if at >= part.from {
            ticks.push(at);
        }
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    ticks
}

/// 1, 2, 5, 10, … ns up to a second, then what people divide minutes and hours into.
fn round_steps() -> impl Iterator<Item = i64> {
    const S: i64 = 1_000_000_000;
    let decimal = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_i64.pow(power)));
    decimal
        .chain([1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800].map(|s| s * S))
        .chain([1, 2, 3, 6, 12, 24].map(|h| h * 3_600 * S))
        .chain(
            (0..5).flat_map(|power| [2, 5, 10].map(|days| days * 10_i64.pow(power) * 86_400 * S)),
        )
}

/// A time without the digits that say nothing: `1.50 s` is `1.5 s`.
fn label(at: i64) -> String {
    let text = time::span(at);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn a_short_capture_is_one_scale_from_edge_to_edge() {
        let axis = Axis::new(&[0, 50 * MS, 100 * MS], 60, |_, _| true);
        assert_eq!((axis.column(0), axis.column(50 * MS), axis.column(100 * MS)), (0, 30, 59));
        assert_eq!(axis.ruler().1, "0 ms        20 ms       40 ms       60 ms       80 ms 100 ms");
    }

    #[test]
    fn a_long_quiet_gap_is_cut_and_the_start_keeps_its_columns() {
        let moments = [0, 300 * MS, 312 * MS, 60_000 * MS];
        let axis = Axis::new(&moments, 60, |from, _| from >= 312 * MS);
        assert_eq!(axis.column(312 * MS), 45);
        assert_eq!(axis.column(30_000 * MS), 48);
        let (line, labels) = axis.ruler();
        assert_eq!(line.chars().skip(46).take(4).collect::<String>(), " // ");
        assert!(labels.ends_with("1 min 0 s"), "{labels}");
    }

    #[test]
    fn what_is_long_before_the_start_leaves_it_its_columns_too() {
        let moments = [-8_000, -6_000, -2_000, 0, 400, 4_000_000].map(|at| at * 1_000);
        let axis = Axis::new(&moments, 60, |from, to| to <= 0 || from >= 400_000);
        let [begin, end] = [0, 400_000].map(|at| axis.column(at));
        assert!(end - begin >= 20, "{begin} to {end}");
        assert_eq!(axis.cuts().len(), 2, "one before it and one after");
        let (_, labels) = axis.ruler();
        assert!(labels.starts_with("-8 ms") && labels.contains("0 ms"), "{labels}");
    }

    #[test]
    fn after_the_gap_next_to_the_start_the_longest_is_cut() {
        let moments = [0, 1, 6, 11, 16, 60_000].map(|at| at * MS);
        let axis = Axis::new(&moments, 60, |from, _| from >= MS);
        let columns = [6, 11, 16].map(|at| axis.column(at * MS));
        assert!(columns[0] < columns[1] && columns[1] < columns[2], "{columns:?}");
        assert_eq!(axis.cuts().len(), 2);
    }

    #[test]
    fn the_way_to_a_signal_is_never_cut() {
        let axis = Axis::new(&[0, 50 * MS, 50 * MS + 200_000], 60, |_, _| false);
        assert_eq!(axis.column(50 * MS), 59);
        assert!(!axis.ruler().0.contains('/'));
    }

    #[test]
    fn the_furthest_moments_there_are_have_columns() {
        for moments in [&[i64::MIN, 0, i64::MAX][..], &[i64::MAX], &[]] {
            let axis = Axis::new(moments, 49, |_, _| true);
            for at in [i64::MIN, -1, 0, 1, i64::MAX] {
                assert!(axis.column(at) < 49);
            }
            assert_eq!(axis.ruler().0.chars().count(), 49);
        }
    }
}
