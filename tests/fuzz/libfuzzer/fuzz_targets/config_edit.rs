//! libFuzzer on `config_edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("config_edit").unwrap()(bytes));
