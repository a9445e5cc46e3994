//! The crate's one public error type.

use heqis_infer::InferError;
use heqis_quant::QuantError;

/// Everything that can go wrong in the lab, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path of the file, as given.
        path: String,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// The market half refused the data; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// There are too few samples to cut the three spans.
    #[error(
        "{path}: needs at least {least} samples in each of training, validation and test, has {samples} in all"
    )]
    TooFewSamples {
        /// Path of the file, as given.
        path: String,
        /// Samples found.
        samples: usize,
        /// Samples needed in each span.
        least: usize,
    },
    /// A regression has no solution.
    #[error("{0}: the normal equations are singular")]
    Singular(&'static str),
    /// A bundle could not be made.
    #[error(transparent)]
    Infer(#[from] InferError),
}
