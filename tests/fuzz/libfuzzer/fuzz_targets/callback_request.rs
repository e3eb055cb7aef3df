//! libFuzzer on `callback_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("callback_request").unwrap()(bytes));
