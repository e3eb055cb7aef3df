//! libFuzzer on `lock_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::target("lock_file").unwrap()(bytes));
