//! See `sigready_fuzz::unit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigready_fuzz::unit(bytes));
