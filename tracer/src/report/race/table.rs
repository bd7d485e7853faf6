//! A race for people: the picture, a table of intervals, and what it comes to.

use super::{again::again, picture};
use crate::{
    model::race::{By, Interval, Race, SignalRace},
    report::{
        Style, escape,
        paint::{Ink, Paint},
        text,
        time::{Scale, length},
    },
};

/// Text this wide reads well.
const WIDEST: usize = 110;
/// Columns that what became of the service gets beside the rest, or lines of its own.
const LEAST: usize = 24;
/// Commands that are written out.
pub(in crate::report) const MAX_REPEATS: usize = 8;
/// What an interval is marked with that is bad and counts.
const COUNTS: &str = "►";
/// The same where it does not.
const HELD_BACK: &str = "▹";

/// It all, with a newline at its end.
pub fn text(race: &Race, style: Style) -> String {
    let width = usize::from(style.width).clamp(60, WIDEST);
    let paint = Paint::colors(style.color);
    let mut lines = headline(race, width, paint);
    let parts = [picture::lines(race, width, paint)].into_iter().chain(below(race, width, paint));
    for part in parts.filter(|part| !part.is_empty()) {
        lines.push(String::new());
        lines.extend(part);
    }
    lines.join("\n") + "\n"
}

/// What is below the picture: the tables, and what they come to.
pub fn below(race: &Race, width: usize, paint: Paint) -> impl Iterator<Item = Vec<String>> {
    let tables = race.signals.iter().map(move |signal| table(signal, width, paint));
    tables.chain(conclusion(race, width, paint))
}

/// What the tables come to.
pub fn conclusion(race: &Race, width: usize, paint: Paint) -> [Vec<String>; 4] {
    [
        held_back(race, width, paint),
        sentences(race, width, paint),
        leftovers(race, width, paint),
        repeats(race, width, paint),
    ]
}

/// What is raced, and how.
pub fn headline(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    let title = escape::text(&race.name).into_owned();
    let runs = format!(
        "Type={}, {}{} runs in {}, {} on {}",
        race.service_type,
        match race.by {
            By::Kernel => "",
            By::Kill => "signals by kill(2), ",
            By::Reload => "reloads through systemd, ",
        },
        race.runs,
        length(race.duration_ns),
        race.backend,
        escape::text(&race.host.kernel)
    );
    let mut lines = vec![paint.ink(Ink::Title, &text::clip(&title, width))];
    lines.extend(
        text::wrap(&runs, width - 2)
            .iter()
            .map(|line| format!("  {}", paint.ink(Ink::Faint, line))),
    );
    lines
}

/// The scale of a signal's times.
pub fn scale(signal: &SignalRace) -> Scale {
    let furthest = signal.all().map(|it| it.to_ns.unsigned_abs()).max();
    Scale::for_times(furthest.unwrap_or(0))
}

/// The intervals of a signal: of each a line, and a fainter one that says between which steps
/// it is.
fn table(signal: &SignalRace, width: usize, paint: Paint) -> Vec<String> {
    let scale = scale(signal);
    let rows: Vec<Row> = signal.all().map(|it| Row::of(it, scale)).collect();
    let titles = Row {
        mark: " ",
        id: "interval".to_owned(),
        time: format!("from – to/{}", scale.unit()),
        outcome: "outcome",
        what: "what became of the service".to_owned(),
        between: String::new(),
        ink: Ink::Faint,
    };
    let widest = |of: fn(&Row) -> &str| {
        rows.iter().chain([&titles]).map(|row| text::width(of(row))).max().unwrap_or(0)
    };
    let columns = [widest(|row| &row.id), widest(|row| &row.time), widest(|row| row.outcome)];
    let titles = titles.lines(columns, width, paint);
    titles.into_iter().chain(rows.iter().flat_map(|row| row.lines(columns, width, paint))).collect()
}

/// A line of the table.
pub struct Row {
    /// What it is marked with if it is bad.
    pub mark: &'static str,
    pub id: String,
    /// From when to when.
    pub time: String,
    pub outcome: &'static str,
    /// What became of the service.
    pub what: String,
    /// Between which steps it is.
    pub between: String,
    /// Good or bad.
    pub ink: Ink,
}

impl Row {
    /// Of an interval, with times in this scale.
    pub fn of(interval: &Interval, scale: Scale) -> Self {
        let counts = interval.bad && interval.counts;
        Self {
            mark: match (interval.bad, counts) {
                (true, true) => COUNTS,
                (true, false) => HELD_BACK,
                (false, _) => " ",
            },
            id: escape::text(&interval.id).into_owned(),
            time: format!("{} – {}", scale.format(interval.from_ns), scale.format(interval.to_ns)),
            outcome: interval.outcome.word(),
            what: escape::text(&what(interval)).into_owned(),
            between: escape::text(&between(interval)).into_owned(),
            ink: match picture::ink(interval) {
                // It needs no attention.
                Ink::Good => Ink::Plain,
                Ink::Error if !counts => Ink::Warning,
                ink => ink,
            },
        }
    }

    fn lines(&self, [id, time, outcome]: [usize; 3], width: usize, paint: Paint) -> Vec<String> {
        let blanks = time.saturating_sub(text::width(&self.time));
        let begin = format!(
            "{} {}  {}{}  {}  ",
            self.mark,
            text::pad(&self.id, id),
            " ".repeat(blanks),
            self.time,
            text::pad(self.outcome, outcome),
        );
        let beside = text::width(&begin);
        let mut lines = Vec::new();
        if beside + LEAST <= width {
            let indent = " ".repeat(beside);
            let what = text::wrap(&self.what, width - beside);
            lines.push(format!("{begin}{}", what[0]));
            lines.extend(what[1..].iter().map(|line| format!("{indent}{line}")));
        } else {
            lines.push(begin);
            lines
                .extend(text::wrap(&self.what, width - 4).iter().map(|line| format!("    {line}")));
        }
        let mut lines: Vec<String> =
            lines.iter().map(|line| paint.ink(self.ink, line.trim_end())).collect();
        if !self.between.is_empty() {
            let between = text::wrap(&self.between, width.saturating_sub(4));
            lines.extend(between.iter().map(|line| format!("    {}", paint.ink(Ink::Faint, line))));
        }
        lines
    }
}

/// Between which steps an interval is.
fn between(interval: &Interval) -> String {
    let process =
        if interval.main { String::new() } else { format!("{}: ", interval.process.comm) };
    format!("{process}{}", super::place(interval, " – "))
}

/// What became of the service in the tries.
fn what(interval: &Interval) -> String {
    let mut words: Vec<&str> = Vec::new();
    for it in &interval.tries {
        if !words.contains(&it.what.as_str()) {
            words.push(&it.what);
        }
    }
    words.join("; or ")
}

/// What the mark means of what is bad and does not count.
fn held_back(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    let all = || race.signals.iter().flat_map(SignalRace::all);
    let is_held = |main: bool| all().any(|it| it.main == main && it.bad && !it.counts);
    let mut lines = Vec::new();
    let mut say = |sentence: String| {
        let wrapped = text::wrap(&sentence, width);
        lines.extend(wrapped.iter().map(|line| paint.ink(Ink::Faint, line)));
    };
    if is_held(true) {
        say(format!(
            "{HELD_BACK} systemd sends no reload at that time (Type={}), so it does not count",
            race.service_type
        ));
    }
    if is_held(false) {
        say(format!(
            "{HELD_BACK} a reload that signals the main process alone does not reach it, so it \
             does not count"
        ));
    }
    lines
}

fn sentences(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    let ink = |signal: &SignalRace| {
        let bad = |it: &Interval| it.bad && it.counts;
        if signal.all().any(bad) { Ink::Error } else { Ink::Plain }
    };
    let lines = race.signals.iter().flat_map(|signal| {
        let lines = text::wrap(&escape::text(&signal.sentence), width);
        lines.into_iter().map(move |line| paint.ink(ink(signal), &line))
    });
    let mut lines: Vec<String> = lines.collect();
    for why in &race.untested {
        let text = format!("Not tested: {}", escape::text(why));
        lines.extend(text::wrap(&text, width).iter().map(|line| paint.ink(Ink::Warning, line)));
    }
    lines
}

/// What the command left running, and was ended for it.
fn leftovers(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    if race.leftovers.is_empty() {
        return Vec::new();
    }
    let each = race.leftovers.iter().map(|it| {
        let runs = if it.runs == 1 { "run" } else { "runs" };
        format!("{} (in {} {runs})", escape::text(&it.comm), it.runs)
    });
    let told = format!(
        "The command left running, and it was ended: {}",
        each.collect::<Vec<_>>().join(", ")
    );
    text::wrap(&told, width).iter().map(|line| paint.ink(Ink::Warning, line)).collect()
}

/// The commands that race what is bad again.
fn repeats(race: &Race, width: usize, paint: Paint) -> Vec<String> {
    let bad = race.signals.iter().flat_map(|signal| {
        let bad = signal.all().filter(|it| it.bad);
        bad.map(move |it| again(race, signal.signal, it))
    });
    let bad: Vec<String> = bad.map(|line| format!("  {}", escape::text(&line))).collect();
    let more = bad.len().saturating_sub(MAX_REPEATS);
    let mut lines: Vec<String> = bad.into_iter().take(MAX_REPEATS).collect();
    if more > 0 {
        lines.push(format!("  … and {more} more: --only takes each id"));
    }
    if !lines.is_empty() {
        lines.insert(0, paint.ink(Ink::Faint, &text::clip("To race one of them again:", width)));
    }
    lines
}
