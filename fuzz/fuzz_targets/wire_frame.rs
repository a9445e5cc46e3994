//! Coverage-guided runs of [`heqis_fuzz::wire_frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::wire_frame(data));
