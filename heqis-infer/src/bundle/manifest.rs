//! The manifest of a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;

use super::files::{CARD_FILE, MANIFEST_FILE, MODEL_FILE, SCALER_FILE, SCHEMA, sha256_hex};
use super::verified::{Verified, check_tolerance, field_fault};
use crate::backend::BackendKind;
use crate::error::BundleFault;
use crate::tensor::{Dtype, TensorSpec};

/// The content of `manifest.json`. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format; see [`SCHEMA`].
    pub schema: u32,
    /// Name of the bundle, as shown in logs and metrics.
    pub name: String,
    /// What the model does, such as `factors` or `direction`; a stage refuses a task that it was not written for.
    pub task: String,
    /// The command that made the bundle, so that a reader can make it again.
    pub created_by: String,
    /// Numeric precision of the weights in `model.onnx`.
    pub precision: Precision,
    /// Size and hash of each file, by plain file name.
    pub files: BTreeMap<String, FileEntry>,
    /// Inputs in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the model's order.
    pub outputs: Vec<TensorSpec>,
    /// Names of the model's features, in the order of the last axis of its input.
    pub feature_names: Vec<String>,
    /// Number of bars in the window that one row of input was computed from.
    pub window_bars: usize,
    /// The only span of data that scaler and weights were fitted on.
    pub training_span: TrainingSpan,
    /// Out-of-sample metrics: a free table of numbers, texts and nested tables.
    pub figures: BTreeMap<String, serde_json::Value>,
    /// The data of the self-test.
    pub golden: Golden,
    /// The measurement of each backend before the bundle was shipped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verified: BTreeMap<BackendKind, Verified>,
}

/// Numeric precision of a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers with scales.
    Int8,
}

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
}

impl FileEntry {
    /// Returns the entry of a file with this content.
    pub fn of(content: &[u8]) -> Self {
        FileEntry {
            bytes: content.len() as u64,
            sha256: sha256_hex(content),
        }
    }

    /// Compares a file's content with the entry.
    pub(super) fn check(&self, content: &[u8]) -> Result<(), BundleFault> {
        let got = FileEntry::of(content);
        if got.bytes != self.bytes {
            return Err(BundleFault::Size {
                expected: self.bytes,
                got: got.bytes,
            });
        }
        if got.sha256 != self.sha256 {
            return Err(BundleFault::Hash {
                expected: self.sha256.clone(),
                got: got.sha256,
            });
        }
        Ok(())
    }
}

/// A span of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpan {
    /// Where the data came from: a path inside the project or the name of a data set.
    pub source: String,
    /// SHA-256 of that source in lower-case hex, or empty when it is not one file.
    pub source_sha256: String,
    /// First date, `YYYY-MM-DD`.
    pub from: String,
    /// Last date, `YYYY-MM-DD`, inclusive.
    pub to: String,
    /// Number of rows fitted.
    pub rows: usize,
}

/// The data of the self-test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Largest absolute difference allowed on any output element.
    pub tolerance: f32,
    /// Inputs with the outputs that the reference backend gave.
    pub windows: Vec<GoldenWindow>,
}

/// One row of input and its expected output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GoldenWindow {
    /// Name of the window, such as the date of its last bar.
    pub label: String,
    /// Row-major elements of each input, by tensor name.
    pub inputs: BTreeMap<String, Vec<f32>>,
    /// Row-major elements of each output, by tensor name.
    pub outputs: BTreeMap<String, Vec<f32>>,
}

impl Manifest {
    /// Parses and checks a manifest. The schema version is checked first, so that a manifest of another version is refused
    /// for its version and not for the keys that it adds.
    ///
    /// # Errors
    /// Returns the first rule that it breaks.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, BundleFault> {
        #[derive(Deserialize)]
        struct Version {
            schema: Option<serde_json::Value>,
        }
        let json = |error: serde_json::Error| BundleFault::Json(error.to_string());
        // A struct may also be read from a list of its values, which no manifest is.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            return Err(BundleFault::Json(
                "must be an object, got a list".to_owned(),
            ));
        }
        let version: Version = serde_json::from_slice(bytes).map_err(json)?;
        match version.schema {
            Some(schema) if schema == SCHEMA => {}
            got => {
                let got = got.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
                return Err(BundleFault::Schema {
                    expected: SCHEMA,
                    got,
                });
            }
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Returns the manifest as JSON with a final newline: objects over several lines, each array of numbers or texts on
    /// one; keys are in a fixed order.
    ///
    /// # Errors
    /// [`BundleFault::Json`] when serde refuses it, which cannot happen for a parsed manifest.
    pub fn to_json(&self) -> Result<Vec<u8>, BundleFault> {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Lines::default());
        self.serialize(&mut serializer)
            .map_err(|error| BundleFault::Json(error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Checks every rule that needs no other file.
    pub(super) fn check(&self) -> Result<(), BundleFault> {
        for required in [MODEL_FILE, SCALER_FILE] {
            if !self.files.contains_key(required) {
                return Err(BundleFault::FileNotListed(required));
            }
        }
        for (name, entry) in &self.files {
            if !is_plain_name(name) || name == MANIFEST_FILE || name == CARD_FILE {
                return Err(BundleFault::FileName(name.clone()));
            }
            check_hash(&format!("files.{name}.sha256"), &entry.sha256)?;
        }
        for (field, text) in [
            ("name", &self.name),
            ("task", &self.task),
            ("created_by", &self.created_by),
        ] {
            if text.is_empty() {
                return Err(field_fault(field, "must not be empty", text));
            }
        }
        if !is_name(&self.name) {
            let rule = "must be a plain name of at most 100 letters, digits and any of `._-+ `, beginning with a letter or digit";
            return Err(field_fault("name", rule, format!("{:?}", self.name)));
        }
        if self.window_bars == 0 {
            return Err(field_fault(
                "window_bars",
                "must be at least 1",
                self.window_bars,
            ));
        }
        check_names("feature_names", self.feature_names.iter())?;
        check_specs("inputs", &self.inputs)?;
        check_specs("outputs", &self.outputs)?;
        self.training_span.check()?;
        self.golden.check(&self.inputs, &self.outputs)?;
        self.verified.iter().try_for_each(|(backend, verified)| {
            verified.check(&format!("verified.{backend}"), self.golden.max_tolerance())
        })
    }

    /// Compares the manifest's tensors with those of the model or of an engine.
    pub(super) fn check_tensors(
        &self,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<(), BundleFault> {
        check_tensors("input", &self.inputs, inputs)?;
        check_tensors("output", &self.outputs, outputs)
    }

    /// Returns the largest difference that the self-test allows on a backend.
    #[must_use]
    pub fn tolerance(&self, backend: BackendKind) -> f32 {
        let verified = self.verified.get(&backend);
        verified.map_or(self.golden.tolerance, |verified| verified.tolerance)
    }
}

impl TrainingSpan {
    fn check(&self) -> Result<(), BundleFault> {
        for (field, date) in [
            ("training_span.from", &self.from),
            ("training_span.to", &self.to),
        ] {
            if !is_date(date) {
                return Err(field_fault(
                    field,
                    "must be a date YYYY-MM-DD of the years 1900 to 2199",
                    date,
                ));
            }
        }
        // Dates of this form compare as texts.
        if self.from > self.to {
            return Err(field_fault(
                "training_span.from",
                "must not be after training_span.to",
                &self.from,
            ));
        }
        if !self.source_sha256.is_empty() {
            check_hash("training_span.source_sha256", &self.source_sha256)?;
        }
        Ok(())
    }
}

impl Golden {
    /// Returns the largest tolerance that a bundle may state, here and for a backend: 0.01, or 1 % of the largest golden
    /// output where that is more. Above it a comparison would say nothing about the model.
    #[must_use]
    pub fn max_tolerance(&self) -> f32 {
        let outputs = self
            .windows
            .iter()
            .flat_map(|window| window.outputs.values());
        let largest = outputs
            .flatten()
            .fold(1.0_f32, |most, value| most.max(value.abs()));
        0.01 * largest
    }

    fn check(&self, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> Result<(), BundleFault> {
        if self.windows.is_empty() {
            return Err(field_fault(
                "golden.windows",
                "must hold at least one window",
                0,
            ));
        }
        for (i, window) in self.windows.iter().enumerate() {
            check_golden(
                &format!("golden.windows[{i}].inputs"),
                &window.inputs,
                inputs,
            )?;
            check_golden(
                &format!("golden.windows[{i}].outputs"),
                &window.outputs,
                outputs,
            )?;
        }
        check_tolerance("golden.tolerance", self.tolerance, self.max_tolerance())
    }
}

fn check_golden(
    field: &str,
    data: &BTreeMap<String, Vec<f32>>,
    specs: &[TensorSpec],
) -> Result<(), BundleFault> {
    if data.len() != specs.len() {
        let known = |name: &&String| specs.iter().any(|spec| spec.name == **name);
        let got = match data.keys().find(|name| !known(name)) {
            Some(other) => format!("{} tensors, {other} among them", data.len()),
            None => format!("{} of {} tensors", data.len(), specs.len()),
        };
        return Err(field_fault(
            field,
            "must hold each tensor once and no other",
            got,
        ));
    }
    for spec in specs {
        let field = format!("{field}.{}", spec.name);
        let values = data
            .get(&spec.name)
            .ok_or_else(|| field_fault(&field, "must be present", "nothing"))?;
        if spec.checked_len() != Some(values.len()) {
            return Err(field_fault(
                &field,
                "must fill the tensor's shape",
                values.len(),
            ));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(field_fault(
                &format!("{field}[{index}]"),
                "must be finite",
                values[index],
            ));
        }
        let whole = |value: &f32| value.fract() == 0.0 && value.abs() <= 16_777_216.0;
        if spec.dtype == Dtype::I32 && !values.iter().all(whole) {
            return Err(field_fault(
                &field,
                "must hold whole numbers that f32 represents exactly",
                "others",
            ));
        }
    }
    Ok(())
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
    match manifest.iter().zip(model).find(|(a, b)| a != b) {
        Some((manifest, model)) => Err(BundleFault::Tensor {
            kind,
            manifest: manifest.to_string(),
            model: model.to_string(),
        }),
        None => Ok(()),
    }
}

fn check_specs(field: &str, specs: &[TensorSpec]) -> Result<(), BundleFault> {
    if specs.is_empty() {
        return Err(field_fault(field, "must hold at least one tensor", 0));
    }
    check_names(field, specs.iter().map(|spec| &spec.name))?;
    for spec in specs {
        if spec.shape.contains(&0) || spec.checked_len().is_none() {
            return Err(field_fault(
                &format!("{field}.{}.shape", spec.name),
                "must have dimensions of at least 1 whose product fits",
                format!("{:?}", spec.shape),
            ));
        }
    }
    Ok(())
}

fn check_names<'a>(
    field: &str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), BundleFault> {
    let mut seen = BTreeSet::new();
    for name in names {
        if name.is_empty() || !seen.insert(name) {
            return Err(field_fault(
                field,
                "must hold non-empty names, each once",
                format!("{name:?}"),
            ));
        }
    }
    Ok(())
}

fn check_hash(field: &str, hash: &str) -> Result<(), BundleFault> {
    let hex = hash.len() == 64
        && hash
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex {
        Ok(())
    } else {
        Err(field_fault(field, "must be 64 lower-case hex digits", hash))
    }
}

/// Returns whether a bundle's name can name a file or a directory, and be shown, as it is.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "._-+ ".contains(c);
    name.chars().count() <= 100
        && name.starts_with(char::is_alphanumeric)
        && !name.ends_with(' ')
        && name.chars().all(is_plain)
}

/// Returns whether a text is a day of the calendar in the years of market data, `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let is_shaped = text.len() == 10
        && text.bytes().enumerate().all(|(i, byte)| match i {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    // Every digit is ASCII by now, so the text can be cut between any two of them.
    let number = |from: usize, to: usize| text[from..to].parse::<u32>().unwrap_or_default();
    is_shaped && {
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u32::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        (1900..=2199).contains(&year) && (1..=days).contains(&day)
    }
}

/// Returns whether a name stays inside its directory on every platform.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A JSON layout that breaks lines in objects and not in arrays, so that a golden window is one line and not hundreds.
#[derive(Default)]
struct Lines {
    depth: usize,
}

impl Lines {
    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writeln!(writer)?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Lines {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        self.line(writer)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.line(writer)?;
        writer.write_all(b"}")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }
}
