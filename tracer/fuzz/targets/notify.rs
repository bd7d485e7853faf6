//! See `sigready_fuzz::notify`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sigready_fuzz::notify(bytes));
