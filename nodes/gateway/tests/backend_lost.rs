//! An NPU that is lost in mid-run costs no window: the next backend computes the same one, and it is counted. Alone in its
//! file, because the place of the vendor's library is the environment's to say.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use heqis_gateway::NpuFeature;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow};
use heqis_messages::{BarRef, FeatureRow};
use heqis_quant::{FeatureSet, FeatureState};
use serde_json::json;
use support::{Bench, committed_bars, context, count, root};

/// Compiles the stand-in for the NPU's runtime and names it to this process.
fn name_the_stand_in() {
    let source = root().join("heqis-infer/tests/stand_in/rknnrt.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("librknnrt_for_gateway.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library);
    assert!(command.arg(source).arg("-lm").status().unwrap().success());
    // SAFETY: the only test of this process has started no thread yet.
    #[allow(unsafe_code)]
    unsafe {
        std::env::set_var(heqis_infer::rknn::LIBRARY_VARIABLE, library);
    }
}

/// The baseline's bundle with a model that computes what the stand-in does, out[k] = k + Σ (j + 1)·in[j], and its build
/// for the NPU, whose `fail_run`th run fails.
fn bundle(dir: &Path, fail_run: u32) -> Bundle {
    let baseline = Bundle::load(root().join("models/baseline-factors")).unwrap();
    let manifest = baseline.manifest();
    let (shape, factors) = (&manifest.inputs[0].shape, manifest.outputs[0].shape[1]);
    let [bars, width] = [shape[1], shape[2]];
    let len = bars * width;
    let mut graph = GraphBuilder::new("sums");
    let window = graph.input("window", shape);
    let flat = graph.int64s("flat_shape", &[1, len as i64]);
    let flat = graph.node("flat", "Reshape", &[&window, &flat], &[]);
    let weights: Vec<f32> = (1..=len).flat_map(|j| vec![j as f32; factors]).collect();
    let weights = graph.weights("weights", &[len, factors], &weights);
    let offsets: Vec<f32> = (0..factors).map(|k| k as f32).collect();
    let offset = graph.weights("offsets", &[factors], &offsets);
    let sums = graph.node("sums", "MatMul", &[&flat, &weights], &[]);
    let out = graph.node("factors", "Add", &[&sums, &offset], &[]);
    graph.output(&out, &[1, factors]);
    let npu = format!(
        "STANDIN\n\
         tensor in window 3 3 1 {bars} {width} 3 3 1 {bars} {width} 0 1 0 0 {}\n\
         tensor out factors 3 2 1 {factors} 3 2 1 {factors} 0 1 0 0 {}\n\
         fail_run {fail_run} -2\n",
        4 * len,
        4 * factors,
    );
    let parts = BundleParts {
        name: "sums".into(),
        task: manifest.task.clone(),
        created_by: "a test".into(),
        precision: manifest.precision,
        model: graph.finish().unwrap(),
        scaler_params: baseline.scaler_params().to_vec(),
        other_files: BTreeMap::from([("model.rknn".into(), npu.into_bytes())]),
        model_card: String::new(),
        feature_names: manifest.feature_names.clone(),
        window_bars: manifest.window_bars,
        training_span: manifest.training_span.clone(),
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: BTreeMap::from([("window".into(), vec![0.0; len])]),
                outputs: BTreeMap::from([("factors".into(), offsets)]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap()
}

/// The first rows of a committed file.
fn rows(count: usize) -> Vec<FeatureRow> {
    let set = FeatureSet::standard();
    let mut state = FeatureState::new(&set).unwrap();
    let bars = committed_bars("002032.SZ.csv").into_iter();
    let rows = bars.filter_map(|bar| {
        let values = state.update(&bar).unwrap()?;
        Some(FeatureRow {
            bar: BarRef {
                symbol: bar.symbol,
                date: bar.date,
                time_ns: bar.time_ns,
                close: bar.close,
            },
            set_id: set.id(),
            values,
            view: None,
        })
    });
    rows.take(count).collect()
}

#[test]
fn no_window_is_lost_with_the_npu() {
    name_the_stand_in();
    let directory = tempfile::tempdir().unwrap();
    // Run 1 is the self-test, so the fourth window fails.
    let bundle = bundle(&directory.path().join("model"), 5);
    let rows = rows(30);
    let cx = context(root());
    let emitted = |cx: &heqis_actors::BuildContext, backends: &[&str]| {
        let params = json!({ "bundle": bundle.dir(), "backends": backends });
        let config = support::config(params);
        let mut stage =
            Bench::new(<NpuFeature as heqis_actors::Stage>::build(&config, cx).unwrap());
        let frames: Vec<_> = rows
            .iter()
            .flat_map(|row| stage.take(row.clone()))
            .collect();
        frames
    };
    let got = emitted(&cx, &["rknn", "cpu"]);
    assert_eq!(count(&cx, "fallback"), 1);
    assert_eq!(cx.counters().notes()["backend"], "cpu");
    let expected = emitted(&context(root()), &["cpu"]);
    assert_eq!(got.len(), 30 - bundle.manifest().window_bars + 1);
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got.bar, expected.bar);
        for (got, expected) in got.tensor.data().iter().zip(expected.tensor.data()) {
            assert!((got - expected).abs() <= 1e-4 * expected.abs().max(1.0));
        }
    }
}
