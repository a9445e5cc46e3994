//! The model bundle: one directory, checked completely when it is loaded and replaced as a whole when it is written.
//!
//! ```text
//! models/<name>/
//!   manifest.json        what the bundle is; the only file without a hash, and small
//!   model.onnx           hash, size and signature must agree with the manifest
//!   scaler_params.json   opaque here; hash and size must agree with the manifest, and the hash with the model's
//!   MODEL_CARD.md        optional prose for people; never read by a program
//!   <other>              optional further builds of the model (such as model.rknn), hashed like the rest
//! ```
//!
//! The hashes detect damage and mix-ups. They do not protect against an attacker with write access to the directory, who can
//! change the manifest too.

mod files;
mod load;
mod manifest;
mod self_test;
mod states;
mod verified;
mod write;

pub use crate::error::BundleFault;
pub use files::{
    CARD_FILE, FACTORS_HASH_KEY, MANIFEST_FILE, MAX_FILE_BYTES, MAX_JSON_BYTES, MAX_MANIFEST_BYTES,
    MODEL_FILE, SCALER_FILE, SCALER_HASH_KEY, SCHEMA, sha256_hex,
};
pub use load::Bundle;
pub use manifest::{FileEntry, Golden, GoldenWindow, Manifest, Precision, TrainingSpan};
pub use self_test::SelfTest;
pub use states::STATE_KEY;
pub(crate) use states::{State, States};
pub use verified::{TradingDifference, Verified};
pub use write::BundleParts;
