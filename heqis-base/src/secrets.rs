//! Secrets that a peer must show.

/// Compares what was given with a secret, in a time that depends on the lengths alone.
///
/// ```
/// use heqis_base::secrets::is_equal;
///
/// assert!(is_equal(b"token", b"token"));
/// assert!(!is_equal(b"tokem", b"token") && !is_equal(b"toke", b"token"));
/// ```
#[must_use]
pub fn is_equal(given: &[u8], secret: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(secret)
        .fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == secret.len() && std::hint::black_box(differing) == 0
}
