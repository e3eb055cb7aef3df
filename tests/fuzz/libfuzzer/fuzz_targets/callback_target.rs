//! libFuzzer on `callback_target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("callback_target").unwrap()(bytes));
