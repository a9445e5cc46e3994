//! The rules of a bundle, each with the value that breaks it.

/// The rule that a bundle breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleFault {
    /// The file does not exist.
    #[error("does not exist")]
    Missing,
    /// The file system returned an error.
    #[error("{0}")]
    Io(#[source] std::io::Error),
    /// The path is a directory, a link or a device.
    #[error("must be a plain file, not a directory or a link")]
    NotAPlainFile,
    /// The file exceeds its limit.
    #[error("must have at most {max_bytes} bytes, has {bytes}")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
        /// The actual size.
        bytes: u64,
    },
    /// The manifest is not JSON of the expected form; the text names key, line and column.
    #[error("{0}")]
    Json(String),
    /// The manifest has a schema version that this program does not know.
    #[error("schema must be {expected}, got {got}")]
    Schema {
        /// The version that is known.
        expected: u32,
        /// The actual version.
        got: String,
    },
    /// The manifest does not list a file that every bundle has.
    #[error("files must list {0}")]
    FileNotListed(&'static str),
    /// A listed name is not a plain file name inside the directory, or is reserved.
    #[error(
        "files lists {0:?}, which must be a plain file name other than the manifest's and the card's"
    )]
    FileName(String),
    /// A field breaks a rule of its own.
    #[error("{field} {rule}, got {got}")]
    Field {
        /// Path of the field.
        field: String,
        /// The rule.
        rule: &'static str,
        /// The actual value.
        got: String,
    },
    /// The file's size is not the manifest's.
    #[error("must have {expected} bytes by the manifest, has {got}")]
    Size {
        /// The manifest's size.
        expected: u64,
        /// The actual size.
        got: u64,
    },
    /// The file's hash is not the manifest's.
    #[error("sha256 must be {expected} by the manifest, is {got}")]
    Hash {
        /// The manifest's hash.
        expected: String,
        /// The actual hash.
        got: String,
    },
    /// The model file is not usable.
    #[error("{0}")]
    Model(String),
    /// Manifest and model have different numbers of inputs or outputs.
    #[error("the manifest has {manifest} {kind}s, the model has {model}")]
    TensorCount {
        /// `input` or `output`.
        kind: &'static str,
        /// Number in the manifest.
        manifest: usize,
        /// Number in the model.
        model: usize,
    },
    /// Manifest and model have different tensors.
    #[error("{kind} must be {manifest} by the manifest, the model has {model}")]
    Tensor {
        /// `input` or `output`.
        kind: &'static str,
        /// Name, element type and shape in the manifest.
        manifest: String,
        /// Name, element type and shape in the model.
        model: String,
    },
    /// The bundle's scaler is not the one that the model was trained with.
    #[error(
        "the model was trained with the scaler of sha256 {trained_with}, the bundle holds {found}"
    )]
    ScalerOfAnotherModel {
        /// Hash that the model carries.
        trained_with: String,
        /// Hash of the scaler in the bundle.
        found: String,
    },
}
