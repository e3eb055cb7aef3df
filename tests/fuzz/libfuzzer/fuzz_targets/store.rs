//! libFuzzer on `store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("store").unwrap()(bytes));
