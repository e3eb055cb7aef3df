//! libFuzzer on `directive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("directive").unwrap()(bytes));
