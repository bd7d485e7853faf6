//! The picture of a start: what the reload signal would have done, behind a lane for systemd's
//! states and one for each process, with what happened in them and the signals between them.
//!
//! What is in it is here, how it looks is in `draw.rs`.

mod draw;
mod lanes;
mod marks;

pub use draw::{AXIS, CHARACTER, LABELS, PLOT, STYLE, defs, labels, percent, place, plot, ruler};
pub use marks::Shape;

use super::{
    axis::{Axis, Grain},
    harm::{self, Part},
    span::Span,
    view::View,
};
use lanes::Lanes;
use marks::{Arrow, Mark};

/// Columns of the axis for each character that is as wide as them.
pub const FINE: usize = 100;
/// Characters that fit on the narrowest plot.
pub const CHARACTERS: usize = 110;

/// One start as a picture.
pub struct Picture<'a> {
    view: View<'a>,
    axis: Axis,
    span: Span,
    parts: Vec<Part>,
    lanes: Lanes,
    marks: Vec<Mark>,
    arrows: Vec<Arrow>,
    /// Events that are not in it.
    pub events_left_out: usize,
}

impl<'a> Picture<'a> {
    /// A picture of the events with these indices, and of as many processes as there is room
    /// for.
    pub fn of(view: View<'a>, events: &[usize], processes: usize) -> Self {
        let activation = view.activation;
        let mut lanes = Lanes::of(view, events, processes);
        let span = Span::of(activation, view.end());
        let moments: Vec<i64> =
            events.iter().map(|index| activation.events[*index].at_ns).collect();
        let whole = Span {
            from: moments.iter().copied().fold(span.from, i64::min),
            to: moments.iter().copied().fold(span.to, i64::max),
            ..span
        };
        let axis =
            span.axis_within(whole, activation, &moments, CHARACTERS * FINE, Grain::fine(FINE));
        lanes.close(whole);
        let (marks, arrows) = marks::of(view, events, &lanes);
        Self {
            view,
            axis,
            span: whole,
            parts: harm::parts(activation, &span),
            lanes,
            marks,
            arrows,
            events_left_out: activation.events.len() - events.len(),
        }
    }

    /// Processes that are not in it.
    pub fn processes_left_out(&self) -> usize {
        self.lanes.left_out
    }
}
