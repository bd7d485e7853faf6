//! A race in each format.

use super::pictures::check_xml;
use crate::{
    model::{
        document::{Host, OutcomeState, ProcessOutcome, Tool, WallTime},
        event::{DispositionKind, Event, Fate, ProcessRef, SignalSent, What},
        race::{
            By, Interval, Leftover, Outcome, Race, Reach, ReportedStep, Role, SCHEMA, SignalRace,
            StepKind, Try, Untouched,
        },
        signal::Signal,
    },
    report::{
        Style, escape,
        race::{RaceFormat, in_short, render, table::MAX_REPEATS},
        schema,
    },
};

const MS: i64 = 1_000_000;

fn process(pid: u32, comm: &str) -> ProcessRef {
    ProcessRef { pid, ns_pid: None, comm: comm.into(), exe: None, uid: None }
}

fn step(kind: StepKind, what: &str, ms: i64) -> ReportedStep {
    ReportedStep { kind, what: what.to_owned(), at_ns: ms * MS }
}

fn signal_event(ms: i64, fate: Fate) -> Event {
    let sent = SignalSent {
        signal: Signal::HUP,
        sender: None,
        target: process(4711, "server"),
        tid: None,
        unblocked: None,
        si_code: 128,
        disposition: DispositionKind::Default,
        runtime: None,
        traced: false,
        fate,
        fate_ns: None,
        effect: None,
        effect_ns: None,
    };
    Event { at_ns: ms * MS, what: What::Signal(Box::new(sent)) }
}

fn a_try(outcome: Outcome, what: &str, bad: bool, placed: Option<i64>) -> Try {
    let fate = if outcome == Outcome::Killed { Fate::Killed } else { Fate::Handled };
    Try {
        outcome,
        what: what.to_owned(),
        bad,
        placed_ns: placed.map(|ms| ms * MS),
        signal: placed.map(|ms| signal_event(ms, fate)),
        exit: None,
        reload: None,
        attempts: if placed.is_some() { 1 } else { 3 },
    }
}

fn interval(
    id: &str,
    after: ReportedStep,
    before: Option<ReportedStep>,
    reached: Reach,
    it: Try,
) -> Interval {
    Interval {
        id: format!("HUP@{id}"),
        process: process(4711, "server"),
        main: true,
        from_ns: after.at_ns,
        to_ns: before.as_ref().map_or(900 * MS, |before| before.at_ns),
        after,
        before,
        reached,
        outcome: it.outcome,
        bad: it.bad,
        counts: reached == Reach::Reached,
        steady: true,
        tries: vec![it],
    }
}

fn race() -> Race {
    let call = step(StepKind::Call, "system call 600 of 1530", 420);
    let crashed = a_try(Outcome::Crashed, "died of SEGV", true, Some(421));
    let crashed = interval("exec1.call612", call, None, Reach::Reached, crashed);
    let crashed = Interval { to_ns: 420 * MS, ..crashed };
    let rest = a_try(Outcome::Taken, "took it, and went on", false, Some(900));
    let rest = interval("rest", step(StepKind::Rest, "at rest", 900), None, Reach::Reached, rest);
    let fork = step(StepKind::Fork, "fork", -2);
    let exec = step(StepKind::Exec, "exec of server", 0);
    let handler = step(StepKind::Action, "handler set", 356);
    let ready = step(StepKind::Ready, "READY=1", 360);
    let block = step(StepKind::Block, "blocked", 500);
    let intervals = vec![
        interval(
            "fork",
            fork,
            Some(exec.clone()),
            Reach::NotByReload,
            a_try(Outcome::Killed, "died of HUP", true, Some(-1)),
        ),
        interval(
            "exec1",
            exec,
            Some(handler.clone()),
            Reach::NotByReload,
            a_try(Outcome::Killed, "died of HUP", true, Some(0)),
        ),
        interval(
            "exec1.action1",
            handler,
            Some(ready.clone()),
            Reach::NotByReload,
            a_try(Outcome::Taken, "took it, and went on", false, Some(356)),
        ),
        interval(
            "exec1.ready1",
            ready,
            Some(block.clone()),
            Reach::Reached,
            a_try(Outcome::Ended, "exited with code 1 </x> \x1b[2J", true, Some(360)),
        ),
        interval(
            "exec1.block1",
            block,
            None,
            Reach::Reached,
            a_try(Outcome::NotReached, "the step that begins it did not come", false, None),
        ),
    ];
    let mut worker = interval(
        "child1.fork",
        step(StepKind::Fork, "fork", 400),
        None,
        Reach::NotByReload,
        a_try(Outcome::Killed, "died of HUP", true, Some(400)),
    );
    (worker.main, worker.process) = (false, process(4712, "worker"));
    let intervals = intervals.into_iter().chain([worker]).collect();
    Race {
        schema: SCHEMA.to_owned(),
        tool: Tool { name: "sigready".to_owned(), version: "0.1.0".to_owned() },
        host: Host { hostname: "db1".to_owned(), kernel: "6.18.44".to_owned(), boot_id: None },
        command: vec!["./server".to_owned(), "--greeting=hello world".to_owned()],
        options: vec!["--settle".to_owned(), "1s".to_owned()],
        name: "server".to_owned(),
        unit: None,
        service_type: "notify".to_owned(),
        by: By::Kernel,
        strict: false,
        backend: "tracepoint".to_owned(),
        started_at: WallTime("2026-01-01T00:00:00Z".parse().unwrap()),
        duration_ns: 4_100_000_000,
        runs: 9,
        untouched: Untouched {
            process: process(4700, "server"),
            from_ns: -2 * MS,
            to_ns: 900 * MS,
            ready_ns: Some(360 * MS),
            stopping_ns: None,
            active_ns: None,
            can_reload: None,
            outcome: ProcessOutcome { state: OutcomeState::Running, signal: None, code: None },
            calls: Some(1_530),
        },
        leftovers: vec![Leftover { comm: "work\u{1b}er".into(), runs: 4 }],
        signals: vec![SignalRace {
            sentence: "HUP kills server from fork to 356 ms, in 2 of 5 intervals.".to_owned(),
            intervals,
            sweep: vec![crashed],
            rest: Some(rest),
            ..SignalRace::of(Signal::HUP, Role::Reload)
        }],
        bad: true,
        untested: vec!["HUP@exec1.block1: the step that begins it did not come".to_owned()],
    }
}

fn rendered(format: RaceFormat) -> String {
    render(&race(), format, Style::default()).unwrap()
}

#[test]
fn for_people_there_are_a_picture_a_table_and_what_it_comes_to() {
    insta::assert_snapshot!("race_table", rendered(RaceFormat::Table));
}

#[test]
fn narrow_and_wide_tables_keep_to_their_width() {
    for width in [60, 80, 110] {
        let text = render(&race(), RaceFormat::Table, Style { color: false, width }).unwrap();
        let lines = text.lines().filter(|line| !line.contains("sigready race "));
        for line in lines {
            assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
        }
    }
}

#[test]
fn text_from_outside_does_not_reach_the_terminal_as_it_is() {
    for format in
        [RaceFormat::Table, RaceFormat::Json, RaceFormat::Junit, RaceFormat::Svg, RaceFormat::Html]
    {
        assert!(!rendered(format).contains('\x1b'), "{format:?}");
    }
}

#[test]
fn json_is_valid_by_the_schema_and_reads_back_as_the_same() {
    let text = rendered(RaceFormat::Json);
    let validator = jsonschema::validator_for(schema::race().as_value()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    validator.validate(&value).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(serde_json::from_str::<Race>(&text).unwrap(), race());
    let mut other = value;
    other["signals"][0]["intervals"][0]["outcome"] = "burnt".into();
    assert!(!validator.is_valid(&other));
}

#[test]
fn json_of_a_race() {
    let mut race = race();
    race.signals[0].intervals.truncate(1);
    let text = render(&race, RaceFormat::Json, Style::default()).unwrap();
    insta::assert_snapshot!("race_json", text);
}

#[test]
fn a_test_case_fails_where_it_is_bad_and_counts_and_is_an_error_where_nothing_is_known() {
    insta::assert_snapshot!("race_junit", rendered(RaceFormat::Junit));
}

#[test]
fn beside_a_report_it_is_told_what_it_comes_to_and_how_to_race_again_what_counts() {
    let mut race = race();
    race.signals[0].sweep.clear();
    assert_eq!(
        in_short(&race),
        [
            "HUP kills server from fork to 356 ms, in 2 of 5 intervals.",
            "again: sigready race --settle 1s --only HUP@exec1.ready1 -- ./server \
             '--greeting=hello world'",
        ]
    );
    let bad = race.signals[0].intervals[3].clone();
    race.signals[0].intervals.extend(vec![bad; 6]);
    assert_eq!(in_short(&race).len(), 7);
    assert_eq!(in_short(&race)[6], "and 2 more, which the report has");
}

#[test]
fn a_start_that_ends_by_itself_has_no_instant_at_rest_and_is_not_failed_for_that() {
    let mut race = race();
    let it = a_try(Outcome::NotReached, "it ended by itself before it was at rest", false, None);
    let at = step(StepKind::Rest, "at rest", 900);
    race.signals[0].rest = Some(interval("rest", at, None, Reach::Reached, it));
    let case = |race: &Race| {
        let text = render(race, RaceFormat::Junit, Style::default()).unwrap();
        let from = text.find("<testcase name=\"HUP@rest\"").unwrap();
        text[from..].split("</testcase>").next().unwrap().to_owned()
    };
    race.untested = vec!["HUP@rest: it ended by itself before it was at rest".to_owned()];
    assert!(case(&race).contains("<error "), "nothing is known of it: {}", case(&race));
    race.untested.clear();
    race.untouched.outcome =
        ProcessOutcome { state: OutcomeState::Exited, signal: None, code: Some(0) };
    assert!(case(&race).contains("<skipped message=\"HUP at rest: it ended"), "{}", case(&race));
}

#[test]
fn the_picture_of_a_race_is_xml_and_says_of_each_instant_what_the_signal_did() {
    let text = rendered(RaceFormat::Svg);
    check_xml(&text);
    let race = race();
    let main = race.signals[0].intervals.iter().filter(|it| it.main);
    assert_eq!(text.matches("class=\"band").count(), main.count());
    assert!(text.contains(">READY=1<") || text.contains("360 ms: READY=1"), "{text}");
    insta::assert_snapshot!("race_svg", text);
}

#[test]
fn the_page_of_a_race_has_the_picture_and_a_row_for_each_interval_and_runs_nothing() {
    let page = rendered(RaceFormat::Html);
    assert!(page.contains("default-src 'none'") && !page.contains("<script"));
    let signal = &race().signals[0];
    for interval in signal.all() {
        assert!(page.contains(&format!("<td>{}</td>", interval.id)), "{}", interval.id);
    }
    let rows = page.matches("<tr>").count();
    assert_eq!(rows, 1 + signal.all().count());
}

/// A race in which all text from outside is `hostile`, but for its options.
fn race_with(hostile: &str) -> Race {
    let mut race = race();
    race.name = hostile.into();
    race.host.kernel = hostile.into();
    race.command = vec![hostile.into()];
    race.untested = vec![hostile.into()];
    race.leftovers[0].comm = hostile.into();
    for signal in &mut race.signals {
        signal.sentence = hostile.into();
        for interval in signal.all_mut() {
            interval.after.what = hostile.into();
            interval.id = hostile.into();
            interval.process.comm = hostile.into();
            interval.tries[0].what = hostile.into();
        }
    }
    race
}

#[test]
fn markup_from_outside_stays_text_in_a_picture_of_a_race() {
    let hostile = "</title></style><script>alert(1)</script>\"'><img src=x>&\u{1b}[2J\0\u{fffe}]]>";
    let race = race_with(hostile);
    for format in [RaceFormat::Svg, RaceFormat::Html] {
        let text = render(&race, format, Style::default()).unwrap();
        if format == RaceFormat::Svg {
            check_xml(&text);
        }
        assert!(text.contains("&lt;script&gt;"));
        for markup in ["<script", "<img", "\u{1b}", "\0"] {
            assert!(!text.contains(markup), "{format:?} {markup}");
        }
    }
}

#[test]
fn no_text_from_outside_acts_on_a_terminal_in_any_format_of_a_race() {
    let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{e0041}b";
    let mut race = race_with(hostile);
    race.options = vec![hostile.into()];
    for format in
        [RaceFormat::Table, RaceFormat::Json, RaceFormat::Junit, RaceFormat::Svg, RaceFormat::Html]
    {
        let text = render(&race, format, Style::default()).unwrap();
        assert_eq!(escape::lines(&text), text, "{format:?}");
        assert!(format == RaceFormat::Json || text.contains("\\u{202e}"), "{format:?}\n{text}");
    }
}

#[test]
fn of_intervals_that_are_bad_so_many_are_told_how_to_race_again() {
    let lines = |bad: usize| {
        let mut race = race();
        let one = race.signals[0].intervals[0].clone();
        race.signals[0] =
            SignalRace { intervals: vec![one; bad], ..SignalRace::of(Signal::HUP, Role::Reload) };
        let text = render(&race, RaceFormat::Table, Style::default()).unwrap();
        let again = text.split("To race one of them again:\n").nth(1).unwrap();
        again.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(MAX_REPEATS).len(), MAX_REPEATS);
    let more = lines(MAX_REPEATS + 3);
    assert_eq!(more.len(), MAX_REPEATS + 1);
    assert_eq!(more[MAX_REPEATS], "  … and 3 more: --only takes each id");
}
