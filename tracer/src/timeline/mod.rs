//! From observations to one timeline per service start. Pure: what goes in are
//! facts with their times, what comes out is the document.

pub mod document;
pub mod event;
pub mod observation;

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    /// `CLOCK_BOOTTIME` ns.
    pub boot_ns: u64,
    /// Wall-clock time.
    pub wall: jiff::Timestamp,
}
