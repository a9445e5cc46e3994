//! Coverage-guided runs of [`heqis_fuzz::journal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::journal(data));
