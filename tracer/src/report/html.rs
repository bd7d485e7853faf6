//! A page by itself: an overview of all starts, and for each its picture, its alerts and its
//! events. It asks no network. What can be chosen is chosen by its style; its one script filters
//! events by a text, and is named by its hash in the page's policy.
//!
//! The document is gone through four times, so that what it says first need not be kept: for
//! the overview, for starts with errors, for those with warnings, for the others.

pub(in crate::report) mod details;
mod overview;
mod script;
mod style;

use std::io::Write;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    picture,
    source::{PassError, Source},
    summary::{self, Alerted},
    survey::Survey,
    table, text,
};
use crate::model::document::Document;
use details::{Details, Which};
use overview::Overview;

/// Characters of a line of the summary: it is wrapped anew.
const COLUMNS: usize = 10_000;

/// Nothing is loaded or sent, and nothing run but what is named.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// What the table of events can be restricted to: an id, and what it is called.
const KINDS: [(&str, &str); 6] = [
    ("process", "processes"),
    ("signal", "signals"),
    ("disposition", "dispositions"),
    ("notify", "messages"),
    ("systemd", "systemd"),
    ("other", "others"),
];

/// How far the pictures can be drawn out, in hundreds of percent.
const ZOOMS: [u32; 5] = [1, 2, 4, 8, 16];

/// Writes the page.
///
/// # Errors
///
/// The document can't be read, or `out` can't be written to.
pub fn write(
    source: &mut dyn Source,
    survey: &Survey,
    out: &mut dyn Write,
) -> Result<(), PassError> {
    let mut overview = Overview::new(&mut *out, survey);
    source.each(&mut overview)?;
    let document = overview.into_document();
    if survey.all_starts == 0 {
        let note = html! { p.warning { (table::nothing_seen(survey)) } };
        out.write_all(note.into_string().as_bytes())?;
    }
    let mut written = 0;
    for which in Which::ALL {
        let mut details = Details::new(&mut *out, survey, which, written);
        source.each(&mut details)?;
        written = details.written();
    }
    if let Some(document) = document {
        let plain = super::paint::Paint::Plain;
        let lines = summary::lines(&document, survey, Alerted::default(), COLUMNS, plain);
        let end = html! { footer { @for line in lines { p { (line) } } } };
        out.write_all(end.into_string().as_bytes())?;
    }
    let script = html! { script { (PreEscaped(script::SCRIPT)) } };
    out.write_all(script.into_string().as_bytes())?;
    Ok(out.write_all(b"</main></body></html>\n")?)
}

/// What is in the head of every page: its policy, with the script of this hash, and its style.
pub fn head(title: &str, script: Option<&str>) -> Markup {
    let script = script.map(|hash| format!("; script-src '{hash}'"));
    html! {
        meta charset="utf-8";
        meta http-equiv="Content-Security-Policy" content={ (POLICY) (script.unwrap_or_default()) };
        meta name="viewport" content="width=device-width,initial-scale=1";
        meta name="color-scheme" content="light dark";
        link rel="icon" href="data:,";
        title { (title) }
        style { (PreEscaped(picture::STYLE)) (PreEscaped(style::STYLE)) }
    }
}

/// The beginning of the page, up to the overview.
fn beginning(document: &Document) -> String {
    let title = text::clip(&super::escape(&document.host.hostname), 80);
    let markup = html! {
        (DOCTYPE)
        (PreEscaped("<html lang=\"en\"><head>"))
        (head(&format!("sigready: signals on {title}"), Some(script::HASH)))
        style { (PreEscaped(style::choices())) }
        (PreEscaped("</head><body><main>"))
        svg width="0" height="0" aria-hidden="true" class="picture" { (picture::defs()) }
        h1 { "Were services ready for their signals?" }
        form.choices aria-label="What is shown" {
            fieldset {
                legend { "Events" }
                @for (id, name) in KINDS {
                    label { input type="checkbox" id={ "kind-" (id) } checked; (name) }
                }
            }
            // The script shows it: without that it would do nothing.
            fieldset id="filter" hidden {
                legend { "Events with" }
                input type="search" aria-label="Show only events with this text";
                " "
                output {}
            }
            fieldset {
                legend { "Width of pictures" }
                @for zoom in ZOOMS {
                    label {
                        input type="radio" name="zoom" id={ "zoom-" (zoom) } checked[zoom == 1];
                        (zoom) "×"
                    }
                }
            }
        }
    };
    markup.into_string()
}
