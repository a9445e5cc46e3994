//! A backend that is lost in mid-run costs no frame: the next computes the same batch, and it is counted. Alone in its file,
//! because the place of the vendor's library is the environment's to say.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use heqis_actors::{Frame, Stage, StageError, Tensor};
use heqis_compute::TrtEngine;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};
use heqis_messages::{Features, PredictionMessage};
use heqis_quant::features::id_of;
use serde_json::json;
use support::{Bench, bar, config, context, count, framed, root};

/// Compiles the stand-in for the NPU's runtime and names it to this process.
fn name_the_stand_in() {
    let source = root().join("heqis-infer/tests/stand_in/rknnrt.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("librknnrt_for_compute.so");
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

/// A direction model that computes what the stand-in does, out[k] = k + f0 + 2·f1, and its build for the NPU, whose
/// `fail_run`th run fails.
fn bundle(dir: &Path, fail_run: u32) -> Bundle {
    let mut graph = GraphBuilder::new("sums");
    let features = graph.input("features", &[1, 2]);
    let output = |graph: &mut GraphBuilder, name: &str, width: usize| {
        let weights: Vec<f32> = [vec![1.0; width], vec![2.0; width]].concat();
        let weights = graph.weights(&format!("{name}_weights"), &[2, width], &weights);
        let offsets: Vec<f32> = (0..width).map(|k| k as f32).collect();
        let offsets = graph.weights(&format!("{name}_offsets"), &[width], &offsets);
        let sum = graph.node(
            &format!("{name}_sum"),
            "MatMul",
            &[&features, &weights],
            &[],
        );
        let value = graph.node(name, "Add", &[&sum, &offsets], &[]);
        graph.output(&value, &[1, width]);
    };
    output(&mut graph, "predicted_return", 1);
    output(&mut graph, "probabilities", 3);
    let npu = format!(
        "STANDIN\n\
         tensor in features 3 2 1 2 3 2 1 2 0 1 0 0 8\n\
         tensor out predicted_return 3 2 1 1 3 2 1 1 0 1 0 0 4\n\
         tensor out probabilities 3 2 1 3 3 2 1 3 0 1 0 0 12\n\
         fail_run {fail_run} -2\n"
    );
    let parts = BundleParts {
        name: "sums".into(),
        task: "direction".into(),
        created_by: "a test".into(),
        precision: Precision::F32,
        model: graph.finish().unwrap(),
        scaler_params: b"{}".to_vec(),
        other_files: BTreeMap::from([("model.rknn".into(), npu.into_bytes())]),
        model_card: String::new(),
        feature_names: vec!["a".into(), "b".into()],
        window_bars: 1,
        training_span: TrainingSpan {
            source: "none".into(),
            source_sha256: String::new(),
            from: "2015-01-01".into(),
            to: "2015-12-31".into(),
            rows: 1,
        },
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: BTreeMap::from([("features".into(), vec![0.0; 2])]),
                outputs: BTreeMap::from([
                    ("predicted_return".into(), vec![0.0]),
                    ("probabilities".into(), vec![0.0, 1.0, 2.0]),
                ]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap()
}

fn frames() -> Vec<Frame<Features>> {
    let frame = |position: u64| {
        let features = Features {
            bar: bar("600000.SH", position as i32),
            set_id: id_of(&["a", "b"]),
            tensor: Tensor::new(&[1, 2], vec![position as f32, 1.0]).unwrap(),
            view: None,
        };
        framed(position, features)
    };
    (1..=9).map(frame).collect()
}

#[test]
fn no_frame_is_lost_with_the_backend_and_strict_stops_instead() {
    name_the_stand_in();
    let directory = tempfile::tempdir().unwrap();
    // Run 1 is the self-test; the second batch is runs 5 to 7 and fails at its second row.
    let bundle = bundle(&directory.path().join("model"), 6);
    let params = json!({ "bundle": bundle.dir(), "backends": ["rknn", "cpu"] });
    let cx = context(root());
    let mut stage: Bench<TrtEngine> = Bench::build(&cx, params.clone());
    assert_eq!(count(&cx, "fallback"), 0);
    let mut got: Vec<Frame<PredictionMessage>> = Vec::new();
    for (batch, lost) in frames().chunks(3).zip([0, 1, 1]) {
        got.extend(stage.batch(batch));
        assert_eq!(count(&cx, "fallback"), lost);
    }
    let returns: Vec<f64> = got
        .iter()
        .map(|frame| frame.prediction.predicted_return)
        .collect();
    let expected: Vec<f64> = (1..=9).map(|position| f64::from(position + 2)).collect();
    assert_eq!(returns, expected);
    let notes = cx.counters().notes();
    assert_eq!(notes["backend"], "cpu");
    assert!(notes["skipped.rknn"].contains("rknn_run returned -2"));

    let mut strict = params;
    strict["strict"] = true.into();
    let mut stage = TrtEngine::build(&config(strict), &cx).unwrap();
    let mut failed = None;
    let mut probe = heqis_actors::Probe::new(cx.clock().clone());
    for batch in frames().chunks(3) {
        for frame in batch {
            stage.process(frame, &mut probe.emitter()).unwrap();
        }
        failed = failed.or(stage.flush(&mut probe.emitter()).err());
    }
    match failed {
        // No frame is to blame: each is kept while the stage is rebuilt.
        Some(StageError::Unavailable(reason)) => {
            assert!(reason.contains("rknn_run returned -2"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
}
