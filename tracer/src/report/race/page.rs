//! A race as a page by itself, and as its picture alone.

use maud::{DOCTYPE, Markup, html};

use super::{
    draw,
    table::{self, Row},
};
use crate::{
    model::race::{Race, SignalRace},
    report::{
        escape, html as page,
        paint::Paint,
        picture::{self, LABELS, PLOT},
        svg, text,
    },
};

/// Characters of a line of the picture.
const COLUMNS: usize = 110;
/// The most lines of text in the picture.
const LINES: usize = 200;
/// Columns of a line of the page: it is wrapped anew.
const WIDE: usize = 10_000;

/// The picture with its table as text.
pub fn picture(race: &Race) -> String {
    let plain = Paint::Plain;
    let above = table::headline(race, COLUMNS, plain);
    let mut below: Vec<String> = Vec::new();
    for part in table::below(race, COLUMNS, plain).filter(|part| !part.is_empty()) {
        if !below.is_empty() {
            below.push(String::new());
        }
        below.extend(part);
    }
    if below.len() > LINES {
        let more = below.len() - (LINES - 1);
        below.truncate(LINES - 1);
        below.push(format!("… and {more} more lines: see --format html"));
    }
    let top = above.len() * svg::LINE + 10;
    let bottom = top + draw::height(race) + 10;
    let drawn = html! {
        (svg::prose(&above, 0, |index| if index == 0 { "title" } else { "faint" }))
        g transform={ "translate(0 " (top) ")" } {
            (draw::labels(race))
            svg x=(LABELS) width=(PLOT) height=(draw::height(race)) overflow="visible" {
                (draw::plot(race))
            }
        }
        (svg::prose(&below, bottom, |_| ""))
    };
    let height = bottom + below.len() * svg::LINE;
    let title = "sigready: what a signal does at each instant of a start";
    let description = above.join(". ");
    svg::file(title, &description, height, &drawn)
}

/// The page.
pub fn page(race: &Race) -> String {
    let plain = Paint::Plain;
    let name = text::clip(&escape(&race.name), 80);
    let about = table::headline(race, WIDE, plain).split_off(1).join(" ");
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                (page::head(&format!("sigready: race of {name}"), None))
            }
            body {
                main {
                    svg width="0" height="0" aria-hidden="true" class="picture" {
                        (picture::defs())
                    }
                    h1 { "What does a signal do at each instant of a start of " (name) "?" }
                    p.about { (about.trim()) }
                    (figure(race))
                    @for part in table::conclusion(race, WIDE, plain) {
                        @for line in part { p { (line) } }
                    }
                    @for signal in &race.signals { (intervals(signal)) }
                }
            }
        }
    };
    markup.into_string() + "\n"
}

fn figure(race: &Race) -> Markup {
    let height = draw::height(race);
    html! {
        div.figure {
            svg.picture width=(LABELS) height=(height) aria-hidden="true" { (draw::labels(race)) }
            div.scroll tabindex="0" role="region" aria-label="The start" {
                svg.picture.plot height=(height) role="group" aria-label="The start" {
                    (draw::plot(race))
                }
            }
        }
    }
}

fn intervals(signal: &SignalRace) -> Markup {
    let scale = table::scale(signal);
    html! {
        section.start {
            h2 { (signal.signal) }
            table {
                thead {
                    tr {
                        th scope="col" { "bad" }
                        th scope="col" { "interval" }
                        th scope="col" { "from – to/" (scale.unit()) }
                        th scope="col" { "outcome" }
                        th scope="col" { "what became of the service" }
                    }
                }
                tbody {
                    @for interval in signal.all() {
                        @let row = Row::of(interval, scale);
                        tr {
                            td { (row.mark.trim()) }
                            td { (row.id) }
                            td.time { (row.time) }
                            td.(row.ink.class()) { (row.outcome) }
                            td { (row.what) @if !row.between.is_empty() { br; span.about { (row.between) } } }
                        }
                    }
                }
            }
        }
    }
}
