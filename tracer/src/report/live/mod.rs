//! The screen of `trace --live`: what was told of a running capture, and where its reader is in
//! it. Pure: what is told and which keys are pressed goes in, a screen comes out.

mod list;
mod pen;
mod row;
mod timeline;

use std::{cmp::Reverse, collections::BTreeMap};

use ratatui::{buffer::Buffer, layout::Rect};

use self::{pen::Pen, row::Row};
use super::{
    escape,
    headline::counted,
    paint::{Ink, Paint},
    survey::Survey,
    text,
    view::View,
};
use crate::model::document::{Document, Service};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// One line up.
    Up,
    /// One line down.
    Down,
    /// Some columns to the left.
    Left,
    /// Some columns to the right.
    Right,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the first line.
    Home,
    /// To the last line.
    End,
    /// Opens the timeline of the chosen service.
    Open,
    /// Goes back to the list.
    Back,
    /// Another order.
    Sort,
}

/// In which order services are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As they appeared.
    Appearance,
    Name,
    /// The worst alerts first.
    Alerts,
    /// What something happened in last comes first.
    Latest,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Appearance => Self::Name,
            Self::Name => Self::Alerts,
            Self::Alerts => Self::Latest,
            Self::Latest => Self::Appearance,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Appearance => "appearance",
            Self::Name => "name",
            Self::Alerts => "alerts",
            Self::Latest => "latest event",
        }
    }
}

/// What the screen shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    List,
    /// The timeline of the chosen service, from a line and a column on.
    Timeline {
        top: usize,
        left: usize,
    },
}

/// Columns that a timeline is moved by.
const STEP: usize = 10;

/// What was told so far, and where its reader is in it.
pub struct Live {
    title: String,
    color: bool,
    /// The document without its services, as it was told last.
    frame: Option<Document>,
    survey: Survey,
    rows: BTreeMap<u64, Row>,
    order: Order,
    /// The chosen service's number.
    chosen: Option<u64>,
    /// The first line of the list.
    top: usize,
    /// Lines of the list, or of the timeline, that the last screen had.
    page: usize,
    shown: Shown,
    note: String,
    is_ending: bool,
}

impl Live {
    /// Of a capture that has just begun. `what` is captured.
    #[must_use]
    pub fn new(what: &str, color: bool) -> Self {
        Self {
            title: escape::text(what).into_owned(),
            color,
            frame: None,
            survey: Survey::default(),
            rows: BTreeMap::new(),
            order: Order::Appearance,
            chosen: None,
            top: 0,
            page: 1,
            shown: Shown::List,
            note: String::new(),
            is_ending: false,
        }
    }

    /// What is known of the whole capture by now: the document, without its services.
    pub fn tell(&mut self, frame: Document) {
        self.frame = Some(frame);
    }

    /// What is new of a service, which is in the frame that was told last. `starts` is how many
    /// of it there have been, `has_last` whether the last one that is told is its last.
    pub fn tell_service(&mut self, number: u64, starts: usize, has_last: bool, service: &Service) {
        let Some(frame) = &self.frame else { return };
        let start = service.activations.last().filter(|_| has_last).cloned();
        let about = service.without_starts();
        let row = match (self.rows.remove(&number), start) {
            (_, Some(start)) => Row::new(frame, &self.survey, about, starts, start),
            (Some(row), None) => row.of_service(about, starts),
            (None, None) => return,
        };
        self.rows.insert(number, row);
    }

    /// Forgets the services whose numbers are not among these.
    pub fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.rows.retain(|number, _| is_there(*number));
        if self.chosen.is_some_and(|number| !is_there(number)) {
            self.chosen = None;
            self.shown = Shown::List;
        }
    }

    /// Something to know.
    pub fn note(&mut self, sentence: &str) {
        self.note = escape::text(sentence).into_owned();
    }

    /// The capture is to end.
    pub fn end(&mut self) {
        self.is_ending = true;
    }

    /// Does what a key means.
    pub fn press(&mut self, key: Key) {
        match (self.shown, key) {
            (Shown::List, Key::Open) => {
                self.chosen = self.chosen.or(self.numbers().first().copied());
                if self.chosen.is_some() {
                    self.shown = Shown::Timeline { top: 0, left: 0 };
                }
            }
            (Shown::List, Key::Sort) => self.order = self.order.next(),
            (Shown::List, Key::Back | Key::Left | Key::Right)
            | (Shown::Timeline { .. }, Key::Open | Key::Sort) => {}
            (Shown::List, key) => self.choose(key),
            (Shown::Timeline { .. }, Key::Back) => self.shown = Shown::List,
            (Shown::Timeline { top, left }, key) => {
                let left = match key {
                    Key::Left => left.saturating_sub(STEP),
                    Key::Right => left + STEP,
                    _ => left,
                };
                self.shown = Shown::Timeline { top: self.moved(top, key), left };
            }
        }
    }

    fn choose(&mut self, key: Key) {
        let numbers = self.numbers();
        let at = numbers.iter().position(|number| Some(*number) == self.chosen);
        // The first move chooses what is at the top.
        let to = at.map_or(if key == Key::End { usize::MAX } else { 0 }, |at| self.moved(at, key));
        self.chosen = numbers.get(to.min(numbers.len().saturating_sub(1))).copied();
    }

    /// Where a key leads from a line. What is beyond the end is the end once it is drawn.
    fn moved(&self, from: usize, key: Key) -> usize {
        match key {
            Key::Up => from.saturating_sub(1),
            Key::Down => from.saturating_add(1),
            Key::PageUp => from.saturating_sub(self.page),
            Key::PageDown => from.saturating_add(self.page),
            Key::Home => 0,
            Key::End => usize::MAX,
            _ => from,
        }
    }

    /// The services' numbers in their order.
    fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.rows.keys().copied().collect();
        let row = |number: &u64| &self.rows[number];
        match self.order {
            Order::Appearance => {}
            Order::Name => numbers.sort_by_key(|number| row(number).service.name.as_str()),
            Order::Alerts => numbers.sort_by_key(|number| Reverse(row(number).alerts())),
            Order::Latest => numbers.sort_by_key(|number| Reverse(row(number).latest)),
        }
        numbers
    }

    /// Draws the screen as of `now`, ns after the beginning of the capture.
    pub fn draw(&mut self, now: u64, area: Rect, buffer: &mut Buffer) {
        if let Some(frame) = &mut self.frame {
            frame.capture.duration_ns = frame.capture.duration_ns.max(now);
        }
        let pen = Pen { color: self.color };
        let [head, body, foot] = parts(area);
        pen.line(buffer, head, 0, &self.head(now));
        let body = match self.shown {
            Shown::List => self.draw_list(body, buffer, pen),
            Shown::Timeline { top, left } => self.draw_timeline(body, buffer, pen, (top, left)),
        };
        let keys = match self.shown {
            _ if self.is_ending => "ending: the report follows".to_owned(),
            Shown::List => {
                let order = self.order.name();
                format!("q end and report   Enter timeline   s sort (by {order})   ↑↓ choose")
            }
            Shown::Timeline { .. } => {
                "q end and report   Esc back   ↑↓ scroll   ←→ move".to_owned()
            }
        };
        let has_note = !self.note.is_empty() && foot.height > 1;
        if has_note {
            pen.line(buffer, foot, 0, &Paint::Marks.ink(Ink::Warning, &self.note));
        } else if foot.height > 1 {
            pen.line(buffer, foot, 0, &Paint::Marks.ink(Ink::Faint, &body));
        }
        let keys = Paint::Marks.ink(Ink::Faint, &keys);
        pen.line(buffer, foot, foot.height.saturating_sub(1), &keys);
    }

    /// What is captured, and how far it has come.
    fn head(&self, now: u64) -> String {
        let paint = Paint::Marks;
        let mut facts = vec![format!("{} s", now / 1_000_000_000)];
        if let Some(Document { capture, .. }) = &self.frame {
            facts.push(counted(self.rows.len(), "service"));
            facts.push(counted(capture.events as usize, "event"));
            if capture.services_left_out > 0 {
                facts.push(format!("{} left out", capture.services_left_out));
            }
        }
        let lost = self.frame.as_ref().map_or(0, |frame| frame.capture.lost);
        let lost = if lost > 0 { format!("  {lost} lost") } else { String::new() };
        // What is captured may be a long list.
        let title = text::clip(&self.title, 60);
        format!(
            "{}  {}{}",
            paint.ink(Ink::Title, &format!("tracing {title}")),
            facts.join("  "),
            paint.ink(Ink::Warning, &lost)
        )
    }

    fn view<'a>(&'a self, row: &'a Row) -> Option<View<'a>> {
        Some(row.view(self.frame.as_ref()?, &self.survey))
    }
}

/// The head, the body and the foot of a screen.
fn parts(area: Rect) -> [Rect; 3] {
    let head = area.height.min(1);
    let foot = match area.height {
        0..3 => 0,
        3..8 => 1,
        8.. => 2,
    };
    let body = area.height - head - foot;
    let part = |above: u16, height: u16| Rect { y: area.y + above, height, ..area };
    [part(0, head), part(head, body), part(head + body, foot)]
}
