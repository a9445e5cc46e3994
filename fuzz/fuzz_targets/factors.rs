//! Coverage-guided runs of [`heqis_fuzz::factors`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::factors(data));
