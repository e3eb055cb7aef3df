//! libFuzzer on `retry_after`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("retry_after").unwrap()(bytes));
