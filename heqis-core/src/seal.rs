//! Bytes with a magic, a version and a checksum in front of them.

use std::io;

/// Puts `magic`, `version` and the checksum of `body` in front of it.
pub(crate) fn seal(magic: [u8; 4], version: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(body);
    bytes
}

/// The version, at most `newest`, and the body of what [`seal`] made. `what` names it in a refusal.
pub(crate) fn unseal<'b>(
    magic: [u8; 4],
    newest: u32,
    bytes: &'b [u8],
    what: &str,
) -> io::Result<(u32, &'b [u8])> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let (Some(version), Some(crc), true) = (word(4), word(8), bytes.starts_with(&magic)) else {
        return Err(invalid(format!("is not {what}")));
    };
    if !(1..=newest).contains(&version) {
        return Err(invalid(format!("version {version} is not {newest}")));
    }
    let body = &bytes[12..];
    if crc32fast::hash(body) != crc {
        return Err(invalid("its checksum does not fit"));
    }
    Ok((version, body))
}

/// An error about the content of a file.
pub(crate) fn invalid(rule: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rule.to_string())
}
