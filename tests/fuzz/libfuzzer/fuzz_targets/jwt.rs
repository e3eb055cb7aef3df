//! libFuzzer on `jwt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("jwt").unwrap()(bytes));
