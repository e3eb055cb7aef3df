//! libFuzzer on `pasted_token`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("pasted_token").unwrap()(bytes));
