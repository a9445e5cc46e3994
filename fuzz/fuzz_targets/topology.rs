//! Coverage-guided runs of [`heqis_fuzz::topology`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::topology(data));
