//! Loading a bundle, and what a loaded bundle offers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{
    MANIFEST_FILE, MAX_FILE_BYTES, MAX_JSON_BYTES, MAX_MANIFEST_BYTES, MODEL_FILE, SCALER_FILE,
    SCALER_HASH_KEY, at, read,
};
use super::manifest::Manifest;
use super::states::States;
use crate::backend::BackendKind;
use crate::error::{BundleFault, InferError};
use crate::onnx::{OPSETS, Signature};
use crate::tensor::TensorSpec;

/// A bundle that has passed every check that needs no backend.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    /// Contents by file name, as the manifest lists them.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The model's `metadata_props`.
    metadata: BTreeMap<String, String>,
    /// The tensors that carry the model's state.
    states: States,
    /// Whether backends that failed their gate may be used.
    forced: bool,
}

impl Bundle {
    /// Loads and checks a bundle directory.
    ///
    /// Checked are: the manifest's size, schema version, unknown keys and inner consistency; each listed file's plain
    /// name, kind, size and hash; the model's signature against the manifest; its states ([`STATE_KEY`](super::STATE_KEY));
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

    /// Allows backends that failed their gate when the bundle was verified.
    #[must_use]
    pub fn force(mut self) -> Self {
        self.forced = true;
        self
    }

    /// Returns the reason when a backend failed its gate, whether that is overridden or not.
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

    /// Returns the bytes of `scaler_params.json`, whose format is defined by `heqis-quant`.
    pub fn scaler_params(&self) -> &[u8] {
        self.file(SCALER_FILE).unwrap_or_default()
    }

    /// Returns the SHA-256 of a file that the manifest lists, in lower-case hex.
    pub fn sha256(&self, name: &str) -> Option<&str> {
        let entry = self.manifest.files.get(name)?;
        Some(&entry.sha256)
    }

    /// Returns the value of a key in the model's `metadata_props`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(crate) fn states(&self) -> &States {
        &self.states
    }

    /// Returns whether the model carries a state from one step to the next, see [`STATE_KEY`](super::STATE_KEY).
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.states != States::default()
    }

    /// Returns the inputs that a caller passes: all but the state inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &TensorSpec> {
        let inputs = self.manifest.inputs.iter().enumerate();
        inputs.filter_map(|(at, spec)| (!self.states.takes(at)).then_some(spec))
    }

    /// Returns the outputs that a caller receives: all but the state outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &TensorSpec> {
        let outputs = self.manifest.outputs.iter().enumerate();
        outputs.filter_map(|(at, spec)| (!self.states.gives(at)).then_some(spec))
    }

    /// Returns the bytes of any file that the manifest lists, such as a build of the model for one accelerator.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Returns the model's build for a backend, if the backend has one and the bundle carries it.
    pub fn build(&self, backend: BackendKind) -> Option<&[u8]> {
        self.file(backend.info().build_file?)
    }
}

/// Compares the model file with the manifest, and returns the model's metadata and its states.
fn check_model(
    manifest: &Manifest,
    model: &[u8],
) -> Result<(BTreeMap<String, String>, States), BundleFault> {
    let signature =
        Signature::read(model).map_err(|error| BundleFault::Model(error.to_string()))?;
    if !signature
        .opset
        .is_some_and(|version| OPSETS.contains(&version))
    {
        let got = signature
            .opset
            .map_or_else(|| "none".to_owned(), |version| version.to_string());
        let (oldest, newest) = (OPSETS.start(), OPSETS.end());
        return Err(BundleFault::Model(format!(
            "the operator set must be of version {oldest} to {newest}, got {got}"
        )));
    }
    manifest.check_tensors(&signature.inputs, &signature.outputs)?;
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
