//! A small recurrent feature model that takes the place of the linear baseline: h' = tanh(x·A + h·B) is its state and its
//! factors, x being the last row of the window.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::Path;

use heqis_infer::bundle::STATE_KEY;
use heqis_infer::bundle::{SCALER_HASH_KEY, sha256_hex};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow};

/// Small weights of both signs.
fn weights(seed: usize, len: usize) -> Vec<f32> {
    let weight = |i: usize| ((i * 37 + seed * 11) % 101) as f32 / 101.0 - 0.5;
    (0..len).map(weight).collect()
}

/// The model by its definition, in `f64`.
pub struct Reference {
    state: Vec<f64>,
    of_x: Vec<f32>,
    of_h: Vec<f32>,
}

impl Reference {
    pub fn new(width: usize, factors: usize) -> Self {
        Self {
            state: vec![0.0; factors],
            of_x: weights(1, width * factors),
            of_h: weights(2, factors * factors),
        }
    }

    /// The factors after a row of scaled features.
    pub fn step(&mut self, x: &[f32]) -> Vec<f64> {
        let factors = self.state.len();
        let next = |k: usize| {
            let of_x = x.iter().enumerate();
            let of_x = of_x.map(|(i, &x)| f64::from(x) * f64::from(self.of_x[i * factors + k]));
            let of_h = self.state.iter().enumerate();
            let of_h = of_h.map(|(i, &h)| h * f64::from(self.of_h[i * factors + k]));
            of_x.chain(of_h).sum::<f64>().tanh()
        };
        self.state = (0..factors).map(next).collect();
        self.state.clone()
    }
}

/// Writes the bundle, with the scaler, the names and the shapes of the baseline in `models`.
pub fn write(models: &Path, dir: &Path) -> Bundle {
    let baseline = Bundle::load(models.join("baseline-factors")).unwrap();
    let manifest = baseline.manifest();
    let (shape, factors) = (&manifest.inputs[0].shape, manifest.outputs[0].shape[1]);
    let [bars, width] = [shape[1], shape[2]];
    let mut graph = GraphBuilder::new("recurrent");
    let window = graph.input("window", shape);
    let h = graph.input("h", &[1, factors]);
    let starts = graph.int64s("starts", &[bars as i64 - 1]);
    let ends = graph.int64s("ends", &[bars as i64]);
    let axes = graph.int64s("axes", &[1]);
    let last = graph.node("last", "Slice", &[&window, &starts, &ends, &axes], &[]);
    let flat = graph.int64s("flat", &[1, width as i64]);
    let x = graph.node("x", "Reshape", &[&last, &flat], &[]);
    let of_x = graph.weights("of_x", &[width, factors], &weights(1, width * factors));
    let of_h = graph.weights("of_h", &[factors, factors], &weights(2, factors * factors));
    let from_x = graph.node("from_x", "MatMul", &[&x, &of_x], &[]);
    let from_h = graph.node("from_h", "MatMul", &[&h, &of_h], &[]);
    let sum = graph.node("sum", "Add", &[&from_x, &from_h], &[]);
    let out = graph.node("factors", "Tanh", &[&sum], &[]);
    let next = graph.node("h_next", "Identity", &[&out], &[]);
    graph.output(&out, &[1, factors]);
    graph.output(&next, &[1, factors]);
    graph.metadata(STATE_KEY, "h=h_next");
    graph.metadata(SCALER_HASH_KEY, sha256_hex(baseline.scaler_params()));

    let rows = weights(3, bars * width);
    let expected: Vec<f32> = Reference::new(width, factors)
        .step(&rows[(bars - 1) * width..])
        .into_iter()
        .map(|factor| factor as f32)
        .collect();
    let parts = BundleParts {
        name: "recurrent".into(),
        task: manifest.task.clone(),
        created_by: "a test".into(),
        precision: manifest.precision,
        model: graph.finish().unwrap(),
        scaler_params: baseline.scaler_params().to_vec(),
        other_files: BTreeMap::new(),
        model_card: String::new(),
        feature_names: manifest.feature_names.clone(),
        window_bars: manifest.window_bars,
        training_span: manifest.training_span.clone(),
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-5,
            windows: vec![GoldenWindow {
                label: "first".into(),
                inputs: BTreeMap::from([("window".into(), rows), ("h".into(), vec![0.0; factors])]),
                outputs: BTreeMap::from([
                    ("factors".into(), expected.clone()),
                    ("h_next".into(), expected),
                ]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap()
}
