//! libFuzzer on `manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("manifest").unwrap()(bytes));
