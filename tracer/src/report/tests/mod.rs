//! Tests of the formats on whole documents.

mod arbitrary;
mod fixtures;
mod live;
mod pictures;
mod races;
mod reading;
mod round_trip;
mod schemas;
mod tables;
mod trace_events;
