//! Writing a bundle directory as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::files::{
    CARD_FILE, MANIFEST_FILE, MAX_MANIFEST_BYTES, MODEL_FILE, SCALER_FILE, SCHEMA, at, read,
};
use super::load::Bundle;
use super::manifest::{FileEntry, Golden, Manifest, Precision, TrainingSpan};
use super::verified::Verified;
use crate::backend::BackendKind;
use crate::error::{BundleFault, InferError};
use crate::onnx::Signature;

/// The parts of a bundle. Hashes, tensors and schema version are derived from them.
#[derive(Clone, Debug)]
pub struct BundleParts {
    /// Name of the bundle.
    pub name: String,
    /// What the model does.
    pub task: String,
    /// The command that makes the bundle.
    pub created_by: String,
    /// Numeric precision of the weights.
    pub precision: Precision,
    /// Content of `model.onnx`.
    pub model: Vec<u8>,
    /// Content of `scaler_params.json`.
    pub scaler_params: Vec<u8>,
    /// Further builds of the model, by plain file name.
    pub other_files: BTreeMap<String, Vec<u8>>,
    /// Content of `MODEL_CARD.md`.
    pub model_card: String,
    /// Names of the features, in the order of the last axis of the input.
    pub feature_names: Vec<String>,
    /// Number of bars in one window.
    pub window_bars: usize,
    /// The span that scaler and weights were fitted on.
    pub training_span: TrainingSpan,
    /// Out-of-sample figures.
    pub figures: BTreeMap<String, serde_json::Value>,
    /// Golden windows.
    pub golden: Golden,
}

impl Bundle {
    /// Writes a bundle directory, replacing an earlier one as a whole, and returns it loaded and checked.
    ///
    /// Everything is written and checked in a sibling directory first, so a failure leaves the earlier bundle as it
    /// was. Directories cannot be swapped portably in one step: a reader between the two renames finds no bundle, but never
    /// a partial one. The bytes written depend on `parts` alone.
    ///
    /// # Errors
    ///
    /// [`InferError::Bundle`] when the parts break a rule of [`load`](Bundle::load) or the file system refuses.
    pub fn write(dir: impl AsRef<Path>, parts: &BundleParts) -> Result<Bundle, InferError> {
        write(dir.as_ref(), parts)
    }

    /// Adds or replaces builds of the model and measurements of backends, and returns the amended bundle. Replacing a build
    /// removes its earlier measurement; everything else is kept.
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
        for &backend in BackendKind::ALL {
            let new = backend.info().build_file.and_then(|file| builds.get(file));
            if new.is_some_and(|new| self.build(backend) != Some(new)) {
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
        put(&self.dir, &manifest, files, card)
    }
}

fn write(dir: &Path, parts: &BundleParts) -> Result<Bundle, InferError> {
    let mut files = parts.other_files.clone();
    files.insert(MODEL_FILE.to_owned(), parts.model.clone());
    files.insert(SCALER_FILE.to_owned(), parts.scaler_params.clone());
    let signature = Signature::read(&parts.model)
        .map_err(|error| at(dir, MODEL_FILE, BundleFault::Model(error.to_string())))?;
    let manifest = Manifest {
        schema: SCHEMA,
        name: parts.name.clone(),
        task: parts.task.clone(),
        created_by: parts.created_by.clone(),
        precision: parts.precision,
        files: files
            .iter()
            .map(|(name, bytes)| (name.clone(), FileEntry::of(bytes)))
            .collect(),
        inputs: signature.inputs,
        outputs: signature.outputs,
        feature_names: parts.feature_names.clone(),
        window_bars: parts.window_bars,
        training_span: parts.training_span.clone(),
        figures: parts.figures.clone(),
        golden: parts.golden.clone(),
        verified: BTreeMap::new(),
    };
    put(dir, &manifest, files, parts.model_card.clone().into_bytes())
}

/// Writes a bundle of this manifest, these files and this card, and replaces an earlier one.
fn put(
    dir: &Path,
    manifest: &Manifest,
    mut files: BTreeMap<String, Vec<u8>>,
    card: Vec<u8>,
) -> Result<Bundle, InferError> {
    // Before anything is created: a NaN would silently become null in JSON, and a bad name could leave the directory.
    manifest
        .check()
        .map_err(|fault| at(dir, MANIFEST_FILE, fault))?;
    files.insert(
        MANIFEST_FILE.to_owned(),
        manifest
            .to_json()
            .map_err(|fault| at(dir, MANIFEST_FILE, fault))?,
    );
    files.insert(CARD_FILE.to_owned(), card);

    let new = sibling(dir, "new")?;
    let old = sibling(dir, "old")?;
    let written = fill(&new, &files)
        .and_then(|()| Bundle::load(&new))
        .and_then(|bundle| swap(dir, &new, &old).map(|()| bundle));
    match written {
        Ok(mut bundle) => {
            bundle.dir = dir.to_owned();
            Ok(bundle)
        }
        Err(error) => {
            // The first error is reported; the next write removes the leftover.
            let _ = fs::remove_dir_all(&new);
            Err(error)
        }
    }
}

fn fill(new: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), InferError> {
    remove(new)?;
    fs::create_dir_all(new).map_err(|error| at(new, "", BundleFault::Io(error)))?;
    for (name, bytes) in files {
        fs::File::create_new(new.join(name))
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(|error| at(new, name, BundleFault::Io(error)))?;
    }
    Ok(())
}

/// Replaces `dir` by `new`, and restores the earlier bundle if that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "a bundle is a directory, which is replaced as a whole"
)]
fn swap(dir: &Path, new: &Path, old: &Path) -> Result<(), InferError> {
    let io = |error: std::io::Error| at(dir, "", BundleFault::Io(error));
    remove(old)?;
    let replaces = dir.symlink_metadata().is_ok();
    if replaces {
        // Only a bundle is replaced: a mistyped path must not delete another directory.
        if !dir.join(MANIFEST_FILE).is_file() {
            return Err(at(dir, MANIFEST_FILE, BundleFault::Missing));
        }
        fs::rename(dir, old).map_err(io)?;
    }
    if let Err(error) = fs::rename(new, dir) {
        if replaces {
            let _ = fs::rename(old, dir);
        }
        return Err(io(error));
    }
    remove(old)
}

fn remove(dir: &Path) -> Result<(), InferError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(at(dir, "", BundleFault::Io(error)))
        }
        _ => Ok(()),
    }
}

/// Returns a hidden name next to `dir`, on the same file system so that a rename suffices.
fn sibling(dir: &Path, suffix: &str) -> Result<PathBuf, InferError> {
    match dir.file_name() {
        Some(name) => {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(".");
            hidden.push(suffix);
            Ok(dir.with_file_name(hidden))
        }
        None => Err(at(
            dir,
            "",
            BundleFault::Field {
                field: "directory".to_owned(),
                rule: "must end in a name",
                got: dir.display().to_string(),
            },
        )),
    }
}
