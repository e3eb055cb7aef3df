//! libFuzzer on `plugin`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("plugin").unwrap()(bytes));
