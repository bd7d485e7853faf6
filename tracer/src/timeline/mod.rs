//! From observations to one timeline per service start. Pure: what goes in are
//! facts with their times, what comes out is the document.

pub mod document;
pub mod event;
pub mod observation;
