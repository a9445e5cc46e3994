//! Coverage-guided runs of [`heqis_fuzz::json_bar`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::json_bar(data));
