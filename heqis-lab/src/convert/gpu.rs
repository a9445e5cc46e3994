//! TensorRT engines, which only the machine that runs them can build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use heqis_infer::backend::TENSORRT_BUILD;
use heqis_infer::bundle::MODEL_FILE;
use heqis_infer::tensorrt::{ENGINE_INFO_FILE, EngineInfo};

use super::load_all;
use crate::error::LabError;

/// The script that builds every engine next to its model.
const SCRIPT: &str = include_str!("engines.sh");
/// Name of the script.
const SCRIPT_FILE: &str = "build-engines.sh";

/// Writes the models and the script that builds an engine of each, and returns the lines to show.
///
/// # Errors
///
/// [`LabError::Bundle`] with the first bundle that is invalid, before anything is written, [`LabError::Rule`] when two have the same name, [`LabError::Data`] when
/// a file cannot be written.
pub fn script(bundles: &[PathBuf], out: &Path) -> Result<Vec<String>, LabError> {
    let bundles = load_all(bundles)?;
    let mut places: Vec<PathBuf> = Vec::new();
    for bundle in &bundles {
        let place = out.join(&bundle.manifest().name);
        if place.exists() || places.contains(&place) {
            let rule = format!("{} exists already", place.display());
            return Err(LabError::rule("convert", rule));
        }
        places.push(place);
    }
    for (bundle, place) in bundles.iter().zip(places) {
        fs::create_dir_all(&place).map_err(|source| LabError::file(&place, source))?;
        write(&place.join(MODEL_FILE), bundle.model())?;
    }
    let path = out.join(SCRIPT_FILE);
    write(&path, SCRIPT.as_bytes())?;
    let shown = out.display();
    Ok(vec![
        format!(
            "wrote {}; copy {shown} to the board and run there:",
            path.display()
        ),
        format!("  sh {SCRIPT_FILE}"),
        format!("then copy it back and run: heqis-lab convert adopt BUNDLE… --from {shown}"),
    ])
}

/// Adds the engines that a board has built to their bundles, and returns the lines to show.
///
/// # Errors
///
/// [`LabError::Bundle`] with the first bundle that is invalid, [`LabError::Infer`] when one cannot be written, [`LabError::Data`] when the board built no engine of one,
/// [`LabError::Rule`] when it built one of another model or did not state TensorRT's version and the GPU.
pub fn adopt(bundles: &[PathBuf], from: &Path) -> Result<Vec<String>, LabError> {
    let read = |path: PathBuf| fs::read(&path).map_err(|source| LabError::file(&path, source));
    let mut lines = Vec::new();
    for bundle in load_all(bundles)? {
        let dir = bundle.dir();
        let place = from.join(&bundle.manifest().name);
        if read(place.join(MODEL_FILE))? != bundle.model() {
            let rule = format!(
                "{}: {MODEL_FILE} differs from that of {}",
                place.display(),
                dir.display()
            );
            return Err(LabError::rule("convert", rule));
        }
        let (engine, info) = (
            read(place.join(TENSORRT_BUILD))?,
            read(place.join(ENGINE_INFO_FILE))?,
        );
        let engine_info: EngineInfo = serde_json::from_slice(&info)
            .map_err(|source| LabError::json(&place.join(ENGINE_INFO_FILE), source))?;
        if engine_info.tensorrt.is_empty() || engine_info.gpu.is_empty() {
            let rule = format!(
                "{}: {ENGINE_INFO_FILE} names no version or no GPU",
                place.display()
            );
            return Err(LabError::rule("convert", rule));
        }
        lines.push(format!(
            "{}: {TENSORRT_BUILD} of {} bytes for {engine_info}",
            dir.display(),
            engine.len()
        ));
        let files = [
            (TENSORRT_BUILD.to_owned(), engine),
            (ENGINE_INFO_FILE.to_owned(), info),
        ];
        bundle.amend(BTreeMap::from(files), BTreeMap::new())?;
    }
    Ok(lines)
}

fn write(path: &Path, content: &[u8]) -> Result<(), LabError> {
    fs::write(path, content).map_err(|source| LabError::file(path, source))
}
