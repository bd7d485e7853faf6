//! See `sigready_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigready_fuzz::record(bytes));
