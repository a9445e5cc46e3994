//! Text that a peer has sent, where people read it.

/// The first `most` characters of a text, on one line: control characters, which could forge lines of a log or colour a
/// terminal, become `\u{fffd}`.
///
/// ```
/// use heqis_base::text::shortened;
///
/// assert_eq!(shortened("gateway", 7), "gateway");
/// assert_eq!(shortened("gate\nway", 6), "gate\u{fffd}w…");
/// ```
#[must_use]
pub fn shortened(text: &str, most: usize) -> String {
    let mut short: String = (text.chars().take(most))
        .map(|each| if each.is_control() { '\u{fffd}' } else { each })
        .collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
