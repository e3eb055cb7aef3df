//! libFuzzer on `discovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("discovery").unwrap()(bytes));
