//! What happened, as marks in the lanes.

use super::lanes::{Lanes, subject};
use crate::{
    model::event::{DispositionKind, Event, What},
    report::{event_row, paint::Ink, strip, time, view::View},
};

/// What a mark looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A process began, or its program.
    Begin,
    /// What a signal does was changed.
    Disposition,
    /// A notify message.
    Message,
    /// A signal came.
    Signal,
    /// A process ended by itself.
    End,
    /// A signal killed it.
    Death,
    /// Anything else.
    Other,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Begin,
        Self::Disposition,
        Self::Message,
        Self::Signal,
        Self::End,
        Self::Death,
        Self::Other,
    ];

    /// The id of its drawing.
    pub fn id(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Disposition => "disposition",
            Self::Message => "message",
            Self::Signal => "signal",
            Self::End => "end",
            Self::Death => "death",
            Self::Other => "other",
        }
    }
}

/// An event in its lane.
#[derive(Debug)]
pub struct Mark {
    pub at: i64,
    /// The lane; systemd's own for none.
    pub lane: Option<usize>,
    pub shape: Shape,
    pub ink: Ink,
    /// A word or two beside it.
    pub label: Option<String>,
    /// All there is to say of it.
    pub title: String,
    /// Index of the event.
    pub event: usize,
}

/// A signal from one lane to another.
#[derive(Debug)]
pub struct Arrow {
    pub at: i64,
    pub from: usize,
    pub to: usize,
    pub ink: Ink,
}

/// The marks and arrows of these events. What has no lane is left out, but for systemd's states
/// and losses.
pub fn of(view: View, events: &[usize], lanes: &Lanes) -> (Vec<Mark>, Vec<Arrow>) {
    let activation = view.activation;
    let (mut marks, mut arrows) = (Vec::new(), Vec::new());
    for index in events {
        let event = &activation.events[*index];
        let process = subject(&event.what);
        let lane = process.and_then(|process| lanes.at(process.pid, event.at_ns));
        if process.is_some() && lane.is_none() {
            continue;
        }
        if let (What::Signal(sent), Some(to)) = (&event.what, lane)
            && let Some(sender) = &sent.sender
            && let Some(from) = lanes.at(sender.pid, event.at_ns).filter(|from| *from != to)
        {
            arrows.push(Arrow { at: event.at_ns, from, to, ink: strip::ink_of(sent.fate) });
        }
        let row = event_row::row(event, activation, view.reload());
        let who = if row.process.is_empty() { String::new() } else { format!("{}: ", row.process) };
        let (shape, label) = look(event);
        marks.push(Mark {
            at: event.at_ns,
            lane,
            shape,
            ink: row.ink,
            label,
            title: format!("{} {who}{}", time::span(event.at_ns), row.what),
            event: *index,
        });
    }
    (marks, arrows)
}

/// Its shape, and the words beside it.
fn look(event: &Event) -> (Shape, Option<String>) {
    match &event.what {
        What::Fork { .. } => (Shape::Begin, None),
        What::Exec { exe, filename, .. } => {
            let program = filename.as_deref().or(exe.as_deref());
            let name = program.map(|path| path.rsplit('/').next().unwrap_or(path));
            (Shape::Begin, name.map(|name| format!("exec {}", short(name))))
        }
        What::Exit { signal: Some(signal), .. } => {
            (Shape::Death, Some(format!("killed by {signal}")))
        }
        What::Exit { code, .. } => {
            (Shape::End, code.filter(|code| *code != 0).map(|code| format!("exit {code}")))
        }
        What::Signal(sent) => {
            let words = format!("{} {}", sent.signal, strip::fate_word(sent.fate));
            (Shape::Signal, Some(words))
        }
        // Of the second what it does is not known.
        What::Mask { .. } | What::Disposition { mask_unknown: true, .. } => {
            (Shape::Disposition, None)
        }
        What::Disposition { signal, disposition, .. } => {
            let does = match disposition {
                DispositionKind::Default => "default",
                DispositionKind::Ignored => "ignored",
                DispositionKind::Handler => "handler",
                DispositionKind::Blocked => "blocked",
            };
            (Shape::Disposition, Some(format!("{signal} {does}")))
        }
        What::Notify(message) => {
            let said = ["READY", "RELOADING", "STOPPING", "MAINPID"]
                .into_iter()
                .find_map(|key| message.value(key).map(|value| format!("{key}={}", short(value))));
            (Shape::Message, said)
        }
        What::Systemd { state, sub_state, .. } => {
            (Shape::Other, Some(short(sub_state.as_deref().unwrap_or(state))))
        }
        What::Loss { count } => (Shape::Other, Some(format!("{count} lost"))),
        What::Cgroup { .. } => (Shape::Other, None),
    }
}

/// A text from outside that is to be a label.
fn short(raw: &str) -> String {
    crate::report::text::clip(&event_row::quote(raw), 20)
}
