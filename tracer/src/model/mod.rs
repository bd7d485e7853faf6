//! The exported document and the words it is made of. No I/O, and no analysis: everything
//! else may stand on this, and this stands on nothing.

pub mod disposition;
pub mod document;
pub mod errno;
pub mod event;
pub mod exit_status;
pub mod glob;
pub mod programs;
pub mod race;
pub mod raw_name;
pub mod runtime;
pub mod scripts;
pub mod signal;
pub mod span;
pub mod start_limit;
pub mod text;
pub mod unit;
pub mod unit_state;

/// Whether a count says that there is nothing, and is left out of the document.
fn is_zero<T: Default + PartialEq>(count: &T) -> bool {
    *count == T::default()
}
