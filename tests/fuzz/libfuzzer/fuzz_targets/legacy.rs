//! libFuzzer on `legacy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("legacy").unwrap()(bytes));
