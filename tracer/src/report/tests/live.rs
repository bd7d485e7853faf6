//! The screen of `trace --live`, as a terminal shows it.

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, layout::Rect};

use super::fixtures::{self, all};
use crate::{
    model::{
        document::{Document, Exposure, ExposureKind},
        event::{Event, What},
    },
    report::live::{Key, Live},
};

const SECOND: u64 = 1_000_000_000;

/// Tells all services of a document, from a number on.
fn tell(live: &mut Live, first: u64, document: &Document) {
    live.tell(document.without_services());
    for (number, service) in (first..).zip(&document.services) {
        let starts = service.activations.len();
        live.tell_service(number, starts, starts > 0, service);
    }
}

/// A screen with the services of every fixture, long enough after the beginning for each.
fn filled(color: bool) -> Live {
    let mut live = Live::new("patroni.service, nginx.service", color);
    for (number, (_, document)) in (0..).zip(all()) {
        tell(&mut live, 10 * number, &document);
    }
    live
}

/// What a terminal of this size shows.
fn screen(live: &mut Live, now: u64, (columns, rows): (u16, u16)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| live.draw(now, frame.area(), frame.buffer_mut())).unwrap();
    terminal.backend().buffer().clone()
}

/// The same as text.
fn text(live: &mut Live, now: u64, size: (u16, u16)) -> String {
    let buffer = screen(live, now, size);
    let row = |y| (0..size.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..size.1).map(|y| row(y).trim_end().to_owned() + "\n").collect()
}

fn press(live: &mut Live, keys: &[Key]) {
    for key in keys {
        live.press(*key);
        screen(live, 0, (80, 24));
    }
}

/// The names in the order in which they are shown, without the number of starts.
fn names(live: &mut Live) -> Vec<String> {
    let text = text(live, 0, (120, 24));
    let rows = text.lines().skip(2).take_while(|line| !line.is_empty());
    rows.map(|line| line.trim_start_matches('▶').split_whitespace().next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_list_has_a_line_for_each_service_that_fits_the_terminal() {
    for size in [(140, 16), (80, 16), (40, 12), (20, 8)] {
        let name = format!("live_list_{}", size.0);
        insta::assert_snapshot!(name, text(&mut filled(false), 61 * SECOND, size));
    }
}

#[test]
fn enter_opens_the_timeline_of_the_chosen_service_and_escape_leads_back() {
    let mut live = filled(false);
    let list = text(&mut live, 61 * SECOND, (100, 40));
    press(&mut live, &[Key::Down, Key::Open]);
    insta::assert_snapshot!("live_timeline_100", text(&mut live, 61 * SECOND, (100, 40)));
    press(&mut live, &[Key::Back]);
    let back = text(&mut live, 61 * SECOND, (100, 40));
    assert_eq!(back.replace('▶', " "), list);
    assert!(back.contains("▶ patroni.service"), "{back}");
}

#[test]
fn no_terminal_is_too_small_and_none_gets_what_outside_text_says() {
    let mut live = filled(true);
    live.note("a \x1b[2J note");
    for open in [false, true] {
        if open {
            live.press(Key::End);
            live.press(Key::Up);
            live.press(Key::Open);
        }
        for columns in [1, 2, 3, 7, 19, 20, 60, 200] {
            for rows in [1, 2, 3, 4, 7, 8, 30] {
                let buffer = screen(&mut live, 5 * SECOND, (columns, rows));
                for cell in buffer.content() {
                    let text = cell.symbol();
                    assert!(!text.contains(char::is_control), "{text:?} in {columns}x{rows}");
                    assert!(!text.contains('\u{202e}'), "{columns}x{rows}");
                }
            }
        }
    }
    assert!(text(&mut live, 0, (120, 30)).contains(r"a \x1b[2J note"));
}

#[test]
fn without_colours_nothing_is_coloured() {
    let is_plain = |live: &mut Live| {
        let buffer = screen(live, 0, (140, 30));
        buffer.content().iter().all(|cell| cell.fg == ratatui::style::Color::Reset)
    };
    assert!(is_plain(&mut filled(false)));
    assert!(!is_plain(&mut filled(true)));
}

#[test]
fn what_has_not_ended_goes_on_to_the_end_of_its_strip() {
    let mut document = fixtures::good_start();
    let start = &mut document.services[0].activations[0];
    start.events.truncate(2);
    start.milestones.handler_ns = None;
    start.milestones.ready_ns = None;
    start.milestones.first_reload_ns = None;
    // The capture has begun 100 ms before the start, and was told a second after.
    start.exposure = vec![Exposure { kind: ExposureKind::Fatal, from_ns: 0, to_ns: 900_000_000 }];
    document.capture.duration_ns = SECOND;
    let mut live = Live::new("x", false);
    tell(&mut live, 0, &document);
    let text = text(&mut live, 40 * SECOND, (120, 10));
    let row = text.lines().nth(2).unwrap();
    let bar = row.split_whitespace().nth(1).unwrap();
    assert!(bar.chars().count() > 20 && bar.chars().all(|glyph| glyph == '█'), "{text}");
}

#[test]
fn the_order_is_by_appearance_name_alerts_or_latest_event_and_the_choice_stays() {
    let mut live = Live::new("x", false);
    let named = |name: &str, mut document: Document| {
        document.services.truncate(1);
        document.services[0].name = name.to_owned();
        document
    };
    tell(&mut live, 0, &named("c", fixtures::good_start()));
    tell(&mut live, 1, &named("a", fixtures::patroni_killed()));
    tell(&mut live, 2, &named("b", fixtures::joined_late()));
    press(&mut live, &[Key::Down, Key::Down, Key::Down]);
    assert_eq!(names(&mut live), ["c", "a", "b"]);
    let chosen = |live: &mut Live| {
        let text = text(live, 0, (80, 24));
        text.split("▶ ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(chosen(&mut live), "b");
    let mut orders = Vec::new();
    for _ in 0..3 {
        live.press(Key::Sort);
        orders.push(names(&mut live).concat());
        assert_eq!(chosen(&mut live), "b");
    }
    assert_eq!(orders, ["abc", "acb", "cba"]);
    live.press(Key::Sort);
    assert_eq!(names(&mut live), ["c", "a", "b"]);
}

#[test]
fn hundreds_of_services_are_scrolled_through() {
    let mut live = Live::new("all", false);
    let mut document = fixtures::good_start();
    let service = document.services.remove(0);
    live.tell(document);
    for number in 0..700 {
        let mut service = service.clone();
        service.name = format!("s{number:03}");
        live.tell_service(number, 1, true, &service);
    }
    assert_eq!(names(&mut live).first().unwrap(), "s000");
    press(&mut live, &[Key::End]);
    let end = text(&mut live, 0, (80, 24));
    assert!(end.contains("▶ s699") && end.contains("680 above, 0 below"), "{end}");
    press(&mut live, &[Key::PageUp, Key::Up]);
    let up = text(&mut live, 0, (80, 24));
    assert!(up.contains("▶ s678"), "{up}");
    press(&mut live, &[Key::Home]);
    assert!(text(&mut live, 0, (80, 24)).contains("▶ s000"));
    // They give way to others.
    live.keep(|number| number >= 690);
    assert_eq!(names(&mut live).len(), 10);
}

#[test]
fn a_timeline_grows_with_what_is_told_and_stays_where_its_reader_is() {
    let mut document = fixtures::forty_processes();
    let mut live = Live::new("x", false);
    tell(&mut live, 0, &document);
    press(&mut live, &[Key::Open]);
    let before = text(&mut live, 0, (80, 200));
    let last = document.services[0].activations[0].events.last().unwrap().at_ns;
    let what = What::Systemd {
        state: "failed".into(),
        sub_state: None,
        result: None,
        reload_result: None,
    };
    document.services[0].activations[0].events.push(Event { at_ns: last + 1, what });
    tell(&mut live, 0, &document);
    let after = text(&mut live, 0, (80, 200));
    assert!(!before.contains("systemd: failed") && after.contains("systemd: failed"), "{after}");
    press(&mut live, &[Key::Down, Key::Down]);
    let moved = text(&mut live, 0, (80, 10));
    let third = after.lines().nth(3).unwrap();
    assert_eq!(moved.lines().nth(1).unwrap(), third);
    // Beyond the end is the end, and one step up from there is seen.
    for key in [Key::End, Key::Down, Key::Down] {
        live.press(key);
        let end = text(&mut live, 0, (80, 10));
        assert!(end.contains(" lines above, 0 below"), "{end}");
    }
    live.press(Key::Up);
    let up = text(&mut live, 0, (80, 10));
    assert!(up.contains(" lines above, 1 below"), "{up}");
}

#[test]
fn a_narrow_terminal_shows_the_part_of_a_timeline_that_it_is_moved_to() {
    let mut live = filled(false);
    press(&mut live, &[Key::Down, Key::Open]);
    let first = |live: &mut Live| {
        let text = text(live, 0, (20, 10));
        text.lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(first(&mut live), "patroni.service: kil");
    live.press(Key::Right);
    assert_eq!(first(&mut live), "rvice: killed by HUP");
    live.press(Key::Left);
    live.press(Key::Left);
    assert_eq!(first(&mut live), "patroni.service: kil");
}

#[test]
fn a_screen_of_nothing_says_so() {
    let mut live = Live::new("x", false);
    let text = text(&mut live, 0, (60, 10));
    assert!(text.contains("tracing x  0 s") && text.contains("nothing has started yet"), "{text}");
    live.press(Key::Open);
    live.press(Key::Down);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 60, 10));
    live.draw(0, Rect::new(0, 0, 60, 10), &mut buffer);
}
