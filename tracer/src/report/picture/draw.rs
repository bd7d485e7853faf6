//! How a picture looks: SVG, in which moments are percentages of the plot's width.
//!
//! Text from outside is escaped twice: for terminals, as everywhere, so that what is not seen
//! shows, and then for markup by the macro.

use maud::{Markup, PreEscaped, html};

use super::{
    Picture,
    marks::{Mark, Shape},
};
use crate::report::{axis::Axis, harm::Harm, text};

/// Width of the labels before the plot.
pub const LABELS: usize = 168;
/// Width of the plot, at least.
pub const PLOT: usize = 772;
/// Height of the row that says what the signal would do.
const BAND: usize = 34;
/// Height of a lane.
const LANE: usize = 34;
/// Height of the axis.
pub const AXIS: usize = 24;
/// Width of a character of labels.
pub const CHARACTER: usize = 6;
/// Columns for a lane's label.
const LABEL: usize = 24;

/// Colours of light and dark readers, and of paper.
pub const STYLE: &str = "\
:root{--paper:#fff;--ink:#1f2328;--faint:#59636e;--good:#1a7f37;--warning:#9a6700;--error:#cf222e;\
--line:#d1d9e0}\
@media (prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#e6edf3;--faint:#9198a1;\
--good:#3fb950;--warning:#d29922;--error:#ff7b72;--line:#3d444d}}\
@media print{:root{--paper:#fff;--ink:#000;--faint:#444;--good:#1a7f37;--warning:#9a6700;\
--error:#cf222e;--line:#bbb}}\
.picture text{font:10px ui-monospace,monospace;fill:var(--ink)}\
.picture .faint{fill:var(--faint);stroke:var(--faint)}\
.picture .good{fill:var(--good);stroke:var(--good)}\
.picture .warning{fill:var(--warning);stroke:var(--warning)}\
.picture .error{fill:var(--error);stroke:var(--error)}\
.picture .plain{fill:var(--ink);stroke:var(--ink)}\
.picture text.faint,.picture text.good,.picture text.warning,.picture text.error,\
.picture text.plain{stroke:none}\
.picture .label{font-size:11px}\
.picture .main{font-weight:bold}\
.picture .rule{stroke:var(--line);stroke-width:1}\
.picture .life{stroke:none;fill:var(--faint);fill-opacity:.35}\
.picture .life.main{fill:var(--ink);fill-opacity:.45}\
.picture .behind{stroke:none;fill-opacity:.1}\
.picture .band{stroke:none;fill-opacity:.8}\
.picture .band.good{fill-opacity:.35}\
.picture .band.words{fill-opacity:.45}\
.picture .arrow{stroke-width:1.2;stroke-dasharray:3 2}\
.picture a:focus-visible{outline:2px solid var(--ink);outline-offset:2px}";

/// Where the marks of events lead to.
pub type Links<'a> = Option<&'a dyn Fn(usize) -> String>;

/// The drawings of the marks: once for all pictures of a file.
pub fn defs() -> Markup {
    html! {
        defs {
            @for shape in Shape::ALL {
                path id=(shape.id()) d=(path(shape)) stroke-width="1.5" {}
            }
        }
    }
}

fn path(shape: Shape) -> &'static str {
    match shape {
        Shape::Begin => "M-1 -7H1V7H-1Z",
        Shape::Disposition => "M0 -6L6 0L0 6L-6 0Z",
        Shape::Message => "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0Z",
        Shape::Signal => "M0 -3L5 7H-5Z",
        Shape::End => "M-4 -4H4V4H-4Z",
        Shape::Death => "M-5 -5L5 5M-5 5L5 -5",
        Shape::Other => "M-2 0A2 2 0 1 0 2 0A2 2 0 1 0 -2 0Z",
    }
}

impl Picture<'_> {
    /// What it is high.
    pub fn height(&self) -> usize {
        self.top(self.lanes.lanes.len()) + AXIS
    }

    fn has_systemd(&self) -> bool {
        self.marks.iter().any(|mark| mark.lane.is_none())
    }

    /// Where a lane begins.
    fn top(&self, lane: usize) -> usize {
        BAND + (usize::from(self.has_systemd()) + lane) * LANE
    }

    /// Where the line of a mark's lane is.
    fn line(&self, lane: Option<usize>) -> usize {
        lane.map_or(BAND, |lane| self.top(lane)) + 20
    }

    /// A moment, in a hundredth of a percent.
    fn place(&self, at: i64) -> usize {
        place(&self.axis, at.clamp(self.span.from, self.span.to))
    }

    fn x(&self, at: i64) -> String {
        percent(self.place(at))
    }

    /// What the signal would have done, in the order of harm, as far as it shows.
    fn legend(&self) -> Vec<Harm> {
        let mut shown = vec![None; self.axis.columns()];
        for (harm, from, to) in &self.parts {
            let (from, to) = (self.axis.column(*from), self.axis.column(*to));
            if let Some(columns) = shown.get_mut(from..to.max(from + 1)) {
                columns.fill(Some(*harm));
            }
        }
        Harm::ALL.into_iter().rev().filter(|harm| shown.contains(&Some(*harm))).collect()
    }
}

/// A moment on an axis, in a hundredth of a percent.
pub fn place(axis: &Axis, at: i64) -> usize {
    axis.column(at) * 10_000 / axis.columns().max(1)
}

/// A place as SVG has it.
pub fn percent(hundredths: usize) -> String {
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// The labels of the lanes, as wide as [`LABELS`].
pub fn labels(picture: &Picture) -> Markup {
    let label = |y: usize, words: &str, class: &str| {
        html! { text.label.(class) x="0" y=(y) { (text::clip(words, LABEL)) } }
    };
    html! {
        (label(14, &format!("{} would", picture.view.reload()), "main"))
        @if picture.has_systemd() { (label(BAND + 24, "systemd", "")) }
        @for (index, lane) in picture.lanes.lanes.iter().enumerate() {
            (label(picture.top(index) + 24, &lane.label, if lane.is_main { "main" } else { "" }))
        }
    }
}

/// What is right of the labels, to stand in an `svg` element of any width.
pub fn plot(picture: &Picture, links: Links) -> Markup {
    let lanes_end = picture.top(picture.lanes.lanes.len());
    let lanes = picture.lanes.lanes.iter().enumerate();
    html! {
        @for (harm, from, to) in &picture.parts {
            @let (from, to) = (picture.place(*from), picture.place(*to));
            @let width = percent(to.saturating_sub(from).max(15));
            // What covers another has to hide it.
            rect x=(percent(from)) y="4" width=(width) height=(lanes_end - 4)
                fill="var(--paper)" {}
            rect.behind.(harm.ink().class()) x=(percent(from)) y="20" width=(width)
                height=(lanes_end - 20) {}
            rect.band.(harm.ink().class()) x=(percent(from)) y="4" width=(width) height="14" {
                title { (picture.view.reload()) " would " (harm.legend(picture.view.is_by_name())) }
            }
        }
        (legend(picture))
        @for (index, lane) in lanes {
            @let y = picture.line(Some(index));
            line.rule x1="0" x2="100%" y1=(y) y2=(y) {}
            @if !lane.is_sender {
                @let (from, to) = (picture.place(lane.from), picture.place(lane.to));
                rect.life.main[lane.is_main] x=(percent(from)) y=(y - 4)
                    width=(percent(to.saturating_sub(from))) height="8" {
                    title { (lane.label) }
                }
            }
        }
        @if picture.has_systemd() {
            @let y = picture.line(None);
            line.rule x1="0" x2="100%" y1=(y) y2=(y) {}
        }
        @for arrow in &picture.arrows {
            line.arrow.(arrow.ink.class()) x1=(picture.x(arrow.at)) x2=(picture.x(arrow.at))
                y1=(picture.line(Some(arrow.from))) y2=(picture.line(Some(arrow.to))) {}
        }
        (marks(picture, links))
        (ruler(&picture.axis, lanes_end))
    }
}

fn legend(picture: &Picture) -> Markup {
    let mut x = 0;
    let entries: Vec<(usize, Harm, &str)> = picture
        .legend()
        .into_iter()
        .map(|harm| {
            let words = harm.legend(picture.view.is_by_name());
            let start = x;
            x += (words.len() + 4) * CHARACTER;
            (start, harm, words)
        })
        .collect();
    html! {
        @for (x, harm, words) in entries {
            rect.band.(harm.ink().class()) x=(x) y="22" width="8" height="8" {}
            text x=(x + 12) y="30" { (words) }
        }
    }
}

fn marks(picture: &Picture, links: Links) -> Markup {
    let lanes = picture.lanes.lanes.len() + 1;
    // How far each lane is full of labels, at the least width of the plot.
    let mut full = vec![0; lanes];
    html! {
        @for mark in &picture.marks {
            @let label = label(picture, mark, &mut full[mark.lane.map_or(0, |lane| lane + 1)]);
            @if let Some(links) = links {
                a href=(links(mark.event)) { (drawn(picture, mark)) (label) }
            } @else {
                g { (drawn(picture, mark)) (label) }
            }
        }
    }
}

fn drawn(picture: &Picture, mark: &Mark) -> Markup {
    html! {
        title { (mark.title) }
        use.(mark.ink.class()) href={ "#" (mark.shape.id()) } x=(picture.x(mark.at))
            y=(picture.line(mark.lane)) {}
    }
}

/// The words beside a mark, if there is room for them.
fn label(picture: &Picture, mark: &Mark, full: &mut usize) -> Markup {
    let Some(words) = &mark.label else { return PreEscaped(String::new()) };
    let width = text::width(words) * CHARACTER;
    let x = picture.place(mark.at) * PLOT / 10_000;
    let is_at_edge = x + width > PLOT;
    let start = if is_at_edge { x.saturating_sub(width) } else { x };
    if start < *full {
        return PreEscaped(String::new());
    }
    *full = start + width + CHARACTER;
    let anchor = if is_at_edge { "end" } else { "start" };
    html! {
        text.(mark.ink.class()) x=(picture.x(mark.at)) y=(picture.line(mark.lane) - 10)
            text-anchor=(anchor) { (words) }
    }
}

/// An axis, below what ends at `top`. It is as high as [`AXIS`].
pub fn ruler(axis: &Axis, top: usize) -> Markup {
    let columns = axis.columns().max(1);
    let place = |column: usize| percent(column * 10_000 / columns);
    html! {
        line.rule x1="0" x2="100%" y1=(top + 4) y2=(top + 4) {}
        @for (from, to) in axis.cuts() {
            rect x=(place(from)) y=(top) width=(place(to - from)) height="9" fill="var(--paper)" {}
            text.faint x=(place(usize::midpoint(from, to))) y=(top + 8) text-anchor="middle" { "//" }
        }
        @for (column, label) in axis.labels() {
            @let is_at_edge = column * 100 > columns * 94;
            line.rule x1=(place(column)) x2=(place(column)) y1=(top) y2=(top + 8) {}
            text.faint x=(place(column)) y=(top + 20)
                text-anchor=(if is_at_edge { "end" } else { "start" }) { (label) }
        }
    }
}
