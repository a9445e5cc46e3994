//! Coverage-guided runs of [`heqis_fuzz::manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::manifest(data));
