//! libFuzzer on `sessions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("sessions").unwrap()(bytes));
