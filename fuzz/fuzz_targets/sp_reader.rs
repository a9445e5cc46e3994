//! Coverage-guided runs of [`heqis_fuzz::sp_reader`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::sp_reader(data));
