//! Coverage-guided runs of [`heqis_fuzz::tls_handshake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heqis_fuzz::tls_handshake(data));
