//! libFuzzer on `pasted_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("pasted_answer").unwrap()(bytes));
