//! A correct bundle of each role, and the defects that a bundle can have. Tests of every user of bundles include this file and
//! hold that the user refuses each defect with the contract's own message.
#![allow(dead_code, reason = "each test binary uses its own part")]

mod cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use heqis_infer::bundle::{SCALER_HASH_KEY, STATE_KEY, sha256_hex};
use heqis_infer::onnx::{Attribute, GraphBuilder};
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Date, Scaler, Span};
use serde_json::{Value, json};

pub(crate) use cases::cases;

/// Bars in the window of the correct bundles, rows of the direction model, and factors.
const WINDOW: usize = 4;
const ROWS: usize = 3;
const FACTORS: usize = 2;
const FEATURES: [&str; 2] = ["return_1", "range_ratio"];

/// A defect: its name, the role of the bundle that has it, how it is made, and the message without the bundle's directory,
/// which stands as `DIR`.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) task: &'static str,
    pub(crate) make: fn(&Path),
    pub(crate) message: String,
}

impl Case {
    /// Writes a correct bundle below `root`, spoils it, and returns its directory with the whole message.
    pub(crate) fn write(&self, root: &Path) -> (PathBuf, String) {
        let dir = root.join(self.name.replace(' ', "-"));
        match self.task {
            "factors" => factors(&dir),
            _ => direction(&dir),
        };
        (self.make)(&dir);
        let message = self.message.replace("DIR", &dir.display().to_string());
        (dir, message)
    }
}

/// A net of one matrix product.
pub(crate) struct Net {
    input: &'static str,
    rows: usize,
    width: usize,
    output: &'static str,
    outputs: usize,
    /// Name of a second output, the probabilities of `classes` classes; empty for no second output.
    second: &'static str,
    classes: usize,
    /// Whether a state is added to the first output.
    state: bool,
}

impl Net {
    fn factors() -> Self {
        Self {
            input: "window",
            rows: WINDOW,
            width: FEATURES.len(),
            output: "factors",
            outputs: FACTORS,
            second: "",
            classes: 0,
            state: false,
        }
    }

    fn direction() -> Self {
        Self {
            input: "features",
            rows: ROWS,
            width: FACTORS + FEATURES.len(),
            output: "predicted_return",
            outputs: 1,
            second: "probabilities",
            classes: 3,
            state: false,
        }
    }

    /// The model with the scaler's hash in its metadata, which is left out when it is empty.
    fn onnx(&self, scaler_sha256: &str) -> Vec<u8> {
        let mut graph = GraphBuilder::new("one product");
        let len = self.rows * self.width;
        let input = graph.input(self.input, &[1, self.rows, self.width]);
        let flat = graph.int64s("flat_shape", &[1, len as i64]);
        let flat = graph.node("flat", "Reshape", &[&input, &flat], &[]);
        let weights = graph.weights(
            "weights",
            &[len, self.outputs],
            &vec![0.25; len * self.outputs],
        );
        let shape = [1, self.outputs];
        let product = match self.state {
            true => "product",
            false => self.output,
        };
        let mut first = graph.node(product, "MatMul", &[&flat, &weights], &[]);
        if self.state {
            let state = graph.input("state", &shape);
            first = graph.node(self.output, "Add", &[&first, &state], &[]);
            graph.metadata(STATE_KEY, format!("state={}", self.output));
        }
        graph.output(&first, &shape);
        if !self.second.is_empty() {
            let ones = graph.weights("ones", &[1, self.classes], &vec![1.0; self.classes]);
            let scores = graph.node("scores", "MatMul", &[&first, &ones], &[]);
            let axis = [("axis", Attribute::Int(1))];
            let second = graph.node(self.second, "Softmax", &[&scores], &axis);
            graph.output(&second, &[1, self.classes]);
        }
        if !scaler_sha256.is_empty() {
            graph.metadata(SCALER_HASH_KEY, scaler_sha256);
        }
        graph.finish().unwrap()
    }

    /// Its inputs and outputs for zeros, by name.
    fn golden(&self) -> [BTreeMap<String, Vec<f32>>; 2] {
        let mut inputs =
            BTreeMap::from([(self.input.to_owned(), vec![0.0; self.rows * self.width])]);
        let mut outputs = BTreeMap::from([(self.output.to_owned(), vec![0.0; self.outputs])]);
        if self.state {
            inputs.insert("state".to_owned(), vec![0.0; self.outputs]);
        }
        if !self.second.is_empty() {
            let share = 1.0 / self.classes as f32;
            outputs.insert(self.second.to_owned(), vec![share; self.classes]);
        }
        [inputs, outputs]
    }
}

/// A scaler of these features and this window.
pub(crate) fn scaler(names: &[&str], window_size: usize) -> Vec<u8> {
    let day = Date::parse("2015-01-05").unwrap();
    let options = FitOptions {
        kind: ScalerKind::MinMax,
        out_of_range: OutOfRange::Clip,
        window_size,
        span: Span::new(day, day).unwrap(),
    };
    let rows = [vec![-0.1; names.len()], vec![0.1; names.len()]];
    let rows = rows.iter().map(Vec::as_slice);
    let scaler = Scaler::fit(options, names, rows, [-0.1, 0.1]).unwrap();
    scaler.to_json().into_bytes()
}

/// Writes a correct feature model.
pub(crate) fn factors(dir: &Path) -> Bundle {
    Bundle::write(dir, &factors_parts()).unwrap()
}

/// Writes a direction model that fits [`factors`].
pub(crate) fn direction(dir: &Path) -> Bundle {
    let names = [&["factor_0", "factor_1"][..], &FEATURES].concat();
    write(
        dir,
        "direction",
        &Net::direction(),
        names,
        WINDOW + ROWS - 1,
    )
}

fn write(dir: &Path, task: &str, net: &Net, names: Vec<&str>, window_bars: usize) -> Bundle {
    Bundle::write(dir, &parts(task, net, names, window_bars)).unwrap()
}

/// The parts of a correct feature model.
pub(crate) fn factors_parts() -> BundleParts {
    parts("factors", &Net::factors(), FEATURES.to_vec(), WINDOW)
}

fn parts(task: &str, net: &Net, names: Vec<&str>, window_bars: usize) -> BundleParts {
    let scaler_params = scaler(&FEATURES, WINDOW);
    let [inputs, outputs] = net.golden();
    BundleParts {
        name: task.to_owned(),
        task: task.to_owned(),
        created_by: "a test".to_owned(),
        precision: Precision::F32,
        model: net.onnx(&sha256_hex(&scaler_params)),
        scaler_params,
        other_files: BTreeMap::new(),
        model_card: String::new(),
        feature_names: names.into_iter().map(str::to_owned).collect(),
        window_bars,
        training_span: TrainingSpan {
            source: "none".to_owned(),
            source_sha256: String::new(),
            from: "2015-01-05".to_owned(),
            to: "2015-01-05".to_owned(),
            rows: 2,
        },
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".to_owned(),
                inputs,
                outputs,
            }],
        },
    }
}

/// Changes the manifest as JSON.
pub(crate) fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}

/// Replaces a file, and makes the manifest's size and hash agree with it.
fn replace_file(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).unwrap();
    edit(dir, |manifest| {
        manifest["files"][name] = json!({ "bytes": bytes.len(), "sha256": sha256_hex(bytes) });
    });
    if name == "scaler_params.json" {
        forget_scaler(dir);
    }
}

/// Renames an operator of the model to a name of the same length.
pub(crate) fn rename_operator(dir: &Path, from: &[u8], to: &[u8]) {
    let mut model = fs::read(dir.join("model.onnx")).unwrap();
    let at = model.windows(from.len()).position(|bytes| bytes == from);
    model[at.unwrap()..][..to.len()].copy_from_slice(to);
    replace_file(dir, "model.onnx", &model);
}

/// Replaces the model, and makes the manifest agree with it in everything that the model says itself.
fn replace_model(dir: &Path, net: &Net) {
    let scaler = fs::read(dir.join("scaler_params.json")).unwrap();
    let model = net.onnx(&sha256_hex(&scaler));
    replace_file(dir, "model.onnx", &model);
    let signature = heqis_infer::onnx::Signature::read(&model).unwrap();
    let [inputs, outputs] = net.golden();
    edit(dir, |manifest| {
        manifest["inputs"] = serde_json::to_value(signature.inputs).unwrap();
        manifest["outputs"] = serde_json::to_value(signature.outputs).unwrap();
        manifest["golden"]["windows"][0]["inputs"] = serde_json::to_value(inputs).unwrap();
        manifest["golden"]["windows"][0]["outputs"] = serde_json::to_value(outputs).unwrap();
    });
}

/// Replaces the scaler; the model still names the earlier one.
fn replace_scaler(dir: &Path, names: &[&str], window_size: usize) {
    let bytes = scaler(names, window_size);
    fs::write(dir.join("scaler_params.json"), &bytes).unwrap();
    edit(dir, |manifest| {
        manifest["files"]["scaler_params.json"] =
            json!({ "bytes": bytes.len(), "sha256": sha256_hex(&bytes) });
    });
}

/// Replaces the model by one that names no scaler, as a model from elsewhere may.
fn forget_scaler(dir: &Path) {
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let net = match manifest["task"].as_str() {
        Some("factors") => Net::factors(),
        _ => Net::direction(),
    };
    let model = net.onnx("");
    fs::write(dir.join("model.onnx"), &model).unwrap();
    edit(dir, |manifest| {
        manifest["files"]["model.onnx"] =
            json!({ "bytes": model.len(), "sha256": sha256_hex(&model) });
    });
}
