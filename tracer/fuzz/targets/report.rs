//! See `sigready_fuzz::report`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigready_fuzz::report(bytes));
