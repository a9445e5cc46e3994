//! Coverage-guided runs of [`heqis_fuzz::table_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::table_file(data));
