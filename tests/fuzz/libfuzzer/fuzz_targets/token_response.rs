//! libFuzzer on `token_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("token_response").unwrap()(bytes));
