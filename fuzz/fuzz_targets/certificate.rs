//! Coverage-guided runs of [`heqis_fuzz::certificate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::certificate(data));
