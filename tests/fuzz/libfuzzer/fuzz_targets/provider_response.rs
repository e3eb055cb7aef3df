//! libFuzzer on `provider_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("provider_response").unwrap()(bytes));
