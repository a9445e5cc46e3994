//! The files of a bundle directory: their names and limits, reading one, and naming the file in an error.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{BundleFault, InferError};

/// Name of the manifest inside a bundle directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the model inside a bundle directory.
pub const MODEL_FILE: &str = "model.onnx";
/// Name of the scaler parameters inside a bundle directory.
pub const SCALER_FILE: &str = "scaler_params.json";
/// Name of the model card inside a bundle directory.
pub const CARD_FILE: &str = "MODEL_CARD.md";
/// Manifest schema version that this crate reads and writes.
pub const SCHEMA: u32 = 1;
/// Largest manifest that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// Largest other file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 512 << 20;
/// Largest JSON file of a bundle that is read, such as its scaler, bytes.
pub const MAX_JSON_BYTES: u64 = 16 << 20;
/// Key of the model's `metadata_props` that holds the SHA-256 of the scaler it was trained with, in lower-case hex.
pub const SCALER_HASH_KEY: &str = "heqis.scaler_sha256";
/// Key of the model's `metadata_props` that holds the SHA-256 of the feature model whose factors it was trained on, in
/// lower-case hex. A model that reads no factors, or whose feature model is unknown, has no such key.
pub const FACTORS_HASH_KEY: &str = "heqis.factors_sha256";

/// Returns the SHA-256 of some bytes in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Reads a plain file of the bundle up to a limit.
///
/// `name` has been checked to be a plain file name; a symbolic link is refused because it may leave the directory.
pub(super) fn read(dir: &Path, name: &str, max_bytes: u64) -> Result<Vec<u8>, InferError> {
    let path = dir.join(name);
    let io = |error: std::io::Error| {
        at(
            dir,
            name,
            if error.kind() == std::io::ErrorKind::NotFound {
                BundleFault::Missing
            } else {
                BundleFault::Io(error)
            },
        )
    };
    let kind = std::fs::symlink_metadata(&path).map_err(io)?;
    if !kind.is_file() {
        return Err(at(dir, name, BundleFault::NotAPlainFile));
    }
    // The limit is enforced while reading: the file may grow after its size was read.
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
        .map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        return Err(at(
            dir,
            name,
            BundleFault::TooLarge {
                max_bytes,
                bytes: kind.len().max(bytes.len() as u64),
            },
        ));
    }
    Ok(bytes)
}

pub(super) fn at(dir: &Path, name: &str, fault: BundleFault) -> InferError {
    InferError::Bundle {
        file: dir.join(name).display().to_string(),
        fault,
    }
}
