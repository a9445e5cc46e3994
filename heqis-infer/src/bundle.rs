//! The model bundle: one directory, checked completely when it is loaded, replaced as a whole when it is written.
//!
//! ```text
//! models/<name>/
//!   manifest.json        what the bundle is; the only file that is trusted without a hash, and small
//!   model.onnx           hash, size and signature must agree with the manifest
//!   scaler_params.json   opaque here; hash and size must agree with the manifest, and the hash with the model's
//!   MODEL_CARD.md        optional prose for people; never read by a program
//!   <other>              optional further builds of the model (such as model.rknn), hashed like the rest
//! ```
//!
//! The hashes guard against damage and mix-ups, not against an author of evil intent: who may write the directory may
//! write the manifest too.

mod fault;
mod manifest;
mod self_test;
mod verified;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use fault::BundleFault;
pub use manifest::{FileEntry, Golden, GoldenWindow, Manifest, Precision, TrainingSpan};
pub use self_test::SelfTest;
pub use verified::{TradingDifference, Verified};
pub use write::BundleParts;

use crate::engine::BackendKind;
use crate::error::InferError;
use crate::onnx::Signature;
use crate::stream::States;
use crate::tensor::TensorSpec;

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
/// lower-case hex. A model that reads no factors, or does not know, has no such key.
pub const FACTORS_HASH_KEY: &str = "heqis.factors_sha256";

/// A bundle that has passed every check that needs no backend.
#[derive(Clone, Debug)]
pub struct Bundle {
    dir: PathBuf,
    manifest: Manifest,
    /// Contents by file name, as the manifest lists them.
    files: BTreeMap<String, Vec<u8>>,
    /// The model's `metadata_props`.
    metadata: BTreeMap<String, String>,
    /// What the model carries from one tick to the next.
    states: States,
    /// Whether backends that failed their gate may be used.
    forced: bool,
}

impl Bundle {
    /// Loads and checks a bundle directory.
    ///
    /// Checked are: the manifest's size, schema version, unknown keys and inner consistency; each listed file's plain
    /// name, kind, size and hash; the model's signature against the manifest; its states ([`crate::stream::STATE_KEY`]);
    /// and the scaler's hash against the one that the model carries.
    ///
    /// # Errors
    ///
    /// [`InferError::Bundle`] with the file and the first rule that it breaks.
    pub fn load(dir: impl AsRef<Path>) -> Result<Bundle, InferError> {
        let dir = dir.as_ref();
        let manifest_bytes = read(dir, MANIFEST_FILE, MAX_MANIFEST_BYTES)?;
        let manifest =
            Manifest::parse(&manifest_bytes).map_err(|fault| at(dir, MANIFEST_FILE, fault))?;
        let mut files = BTreeMap::new();
        for (name, entry) in &manifest.files {
            let max_bytes = match name.ends_with(".json") {
                true => MAX_JSON_BYTES,
                false => MAX_FILE_BYTES,
            };
            let bytes = read(dir, name, max_bytes)?;
            entry.check(&bytes).map_err(|fault| at(dir, name, fault))?;
            files.insert(name.clone(), bytes);
        }
        let mut bundle = Bundle {
            dir: dir.to_owned(),
            manifest,
            files,
            metadata: BTreeMap::new(),
            states: States::default(),
            forced: false,
        };
        (bundle.metadata, bundle.states) = check_model(&bundle.manifest, bundle.model())
            .map_err(|fault| at(dir, MODEL_FILE, fault))?;
        Ok(bundle)
    }

    /// Writes a bundle directory, replacing an earlier one as a whole, and returns it loaded and checked.
    ///
    /// Everything is written and checked in a sibling directory first, so a failure leaves the earlier bundle as it
    /// was. Directories cannot be swapped portably in one step: a reader that looks between the two renames finds no
    /// bundle, never half of one. The bytes written depend on `parts` alone.
    ///
    /// # Errors
    ///
    /// [`InferError::Bundle`] when the parts break a rule of [`load`](Bundle::load) or the file system refuses.
    pub fn write(dir: impl AsRef<Path>, parts: &BundleParts) -> Result<Bundle, InferError> {
        write::write(dir.as_ref(), parts)
    }

    /// Adds further builds of the model and what was measured of backends, in the place of earlier ones of the same names,
    /// and returns the bundle as it then is. What was measured of a build that is replaced is forgotten; all else stays as it
    /// was.
    ///
    /// # Errors
    ///
    /// As [`write`](Bundle::write).
    pub fn amend(
        &self,
        builds: BTreeMap<String, Vec<u8>>,
        verified: BTreeMap<BackendKind, Verified>,
    ) -> Result<Bundle, InferError> {
        let mut manifest = self.manifest.clone();
        for (file, backend) in [
            (crate::rknn::MODEL_FILE, BackendKind::Rknn),
            (crate::tensorrt::ENGINE_FILE, BackendKind::Tensorrt),
        ] {
            let new = builds.get(file).map(Vec::as_slice);
            if new.is_some() && new != self.file(file) {
                manifest.verified.remove(&backend);
            }
        }
        manifest.verified.extend(verified);
        let mut files = self.files.clone();
        files.extend(builds);
        manifest.files = files
            .iter()
            .map(|(name, bytes)| (name.clone(), FileEntry::of(bytes)))
            .collect();
        let card = match self.dir.join(CARD_FILE).exists() {
            true => read(&self.dir, CARD_FILE, MAX_MANIFEST_BYTES)?,
            false => Vec::new(),
        };
        write::put(&self.dir, &manifest, files, card)
    }

    /// Lets backends be used that failed their gate when the bundle was verified.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.forced = true;
        self
    }

    /// Returns why a backend must not be used: it failed its gate, whether that is overridden or not.
    pub(crate) fn gate(&self, backend: BackendKind) -> Option<String> {
        let verified = self.manifest.verified.get(&backend)?;
        let flips = match &verified.trading {
            Some(trading) => format!(
                ", {} of {} classes change",
                trading.class_flips, trading.bars
            ),
            None => String::new(),
        };
        (!verified.passed).then(|| {
            format!(
                "verify has refused it: largest error {} of {} allowed{flips}, by {}",
                verified.max_abs_error, verified.tolerance, verified.by
            )
        })
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.forced
    }

    /// Returns the directory that the bundle was loaded from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the bytes of `model.onnx`.
    pub fn model(&self) -> &[u8] {
        self.file(MODEL_FILE).unwrap_or_default()
    }

    /// Returns the bytes of `scaler_params.json`, whose format belongs to the market half of the project.
    pub fn scaler_params(&self) -> &[u8] {
        self.file(SCALER_FILE).unwrap_or_default()
    }

    /// Returns the SHA-256 of a file that the manifest lists, in lower-case hex.
    pub fn sha256(&self, name: &str) -> Option<&str> {
        let entry = self.manifest.files.get(name)?;
        Some(&entry.sha256)
    }

    /// Returns what the model's `metadata_props` say under a key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn states(&self) -> &States {
        &self.states
    }

    /// Returns whether the model carries a state from one tick to the next, see [`crate::stream`].
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.states != States::default()
    }

    /// Returns the inputs that a caller gives: all but those that take a state.
    pub fn inputs(&self) -> impl Iterator<Item = &TensorSpec> {
        let inputs = self.manifest.inputs.iter().enumerate();
        inputs.filter_map(|(at, spec)| (!self.states.takes(at)).then_some(spec))
    }

    /// Returns the outputs that a caller gets: all but those that give a state.
    pub fn outputs(&self) -> impl Iterator<Item = &TensorSpec> {
        let outputs = self.manifest.outputs.iter().enumerate();
        outputs.filter_map(|(at, spec)| (!self.states.gives(at)).then_some(spec))
    }

    /// Returns the bytes of any file that the manifest lists, such as a build of the model for one accelerator.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Runs the golden windows through an engine and compares its outputs with the manifest's.
    ///
    /// # Errors
    ///
    /// [`InferError::SelfTest`] at the first value outside the tolerance, [`InferError::Bundle`] when the engine's
    /// tensors are not the manifest's, and whatever the engine reports.
    pub fn self_test(&self, engine: &mut dyn crate::Engine) -> Result<SelfTest, InferError> {
        self_test::self_test(self, engine)
    }
}

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

/// Compares the model file with the manifest, and returns the model's metadata with the states that it names.
fn check_model(
    manifest: &Manifest,
    model: &[u8],
) -> Result<(BTreeMap<String, String>, States), BundleFault> {
    let signature =
        Signature::read(model).map_err(|error| BundleFault::Model(error.to_string()))?;
    check_tensors("input", &manifest.inputs, &signature.inputs)?;
    check_tensors("output", &manifest.outputs, &signature.outputs)?;
    let states = States::read(&signature.metadata, &signature.inputs, &signature.outputs)
        .map_err(BundleFault::Model)?;
    let scaler = manifest
        .files
        .get(SCALER_FILE)
        .map(|entry| entry.sha256.as_str())
        .unwrap_or_default();
    match signature.metadata.get(SCALER_HASH_KEY) {
        Some(trained_with) if trained_with != scaler => Err(BundleFault::ScalerOfAnotherModel {
            trained_with: trained_with.clone(),
            found: scaler.to_owned(),
        }),
        _ => Ok((signature.metadata, states)),
    }
}

/// Compares tensors one by one, so that the message names the first that differs.
fn check_tensors(
    kind: &'static str,
    manifest: &[TensorSpec],
    model: &[TensorSpec],
) -> Result<(), BundleFault> {
    if manifest.len() != model.len() {
        return Err(BundleFault::TensorCount {
            kind,
            manifest: manifest.len(),
            model: model.len(),
        });
    }
    match manifest
        .iter()
        .zip(model)
        .find(|(manifest, model)| manifest != model)
    {
        Some((manifest, model)) => Err(BundleFault::Tensor {
            kind,
            manifest: show(manifest),
            model: show(model),
        }),
        None => Ok(()),
    }
}

fn show(spec: &TensorSpec) -> String {
    format!("{} {} {:?}", spec.name, spec.dtype, spec.shape)
}

/// Reads a plain file of the bundle up to a limit.
///
/// `name` has been checked to be a plain file name; a symbolic link is refused because it may leave the directory.
fn read(dir: &Path, name: &str, max_bytes: u64) -> Result<Vec<u8>, InferError> {
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
    // The limit is enforced while reading: the file may grow after it was looked at.
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

fn at(dir: &Path, name: &str, fault: BundleFault) -> InferError {
    InferError::Bundle {
        file: dir.join(name).display().to_string(),
        fault,
    }
}
