//! Digests of files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::DataError;

/// Returns the SHA-256 of a file in lower-case hex.
///
/// # Errors
///
/// [`DataError::File`] when it cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, DataError> {
    let read = |source| DataError::file(path, source);
    let mut file = File::open(path).map_err(read)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(read)? {
            0 => return Ok(hex(&digest.finalize())),
            len => digest.update(&buffer[..len]),
        }
    }
}

/// Returns the SHA-256 of bytes in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
