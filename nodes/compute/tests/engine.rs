//! Features become predictions in batches: the bundle's own golden values, the same bits whatever the batch.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../heqis-bundle/tests/support/mod.rs"]
mod bundles;
#[path = "support/models.rs"]
mod models;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use heqis_actors::testing::StageTest;
use heqis_actors::{Frame, Property, Stage, StageError, Tensor};
use heqis_compute::{Journal, Signal, TrtEngine};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{BackendKind, Bundle, TensorView, Verified, open};
use heqis_messages::{Features, PredictionMessage};
use heqis_quant::decision::DecisionReason;
use heqis_quant::features::id_of;
use heqis_quant::scaler::Scaler;
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use models::{FEATURES, finish, scaler, stateful, weight, windowed};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{bar, build, config, context, count, framed, root};

const DIRECTION: &str = "models/baseline-direction";

fn bundle() -> Bundle {
    Bundle::load(root().join(DIRECTION)).unwrap()
}

fn cpu() -> Value {
    json!({ "bundle": DIRECTION, "backends": ["cpu"] })
}

/// The bundle's golden inputs as frames of two symbols.
fn golden_features() -> Vec<Frame<Features>> {
    let bundle = bundle();
    let set_id = id_of(&bundle.manifest().feature_names);
    let windows = bundle.manifest().golden.windows.iter().zip(1..);
    windows
        .map(|(window, position)| {
            let data = window.inputs["features"].clone();
            let tensor = Tensor::new(&[1, data.len() as u32], data).unwrap();
            let symbol = if position % 2 == 0 {
                "600000.SH"
            } else {
                "002032.SZ"
            };
            framed(
                position,
                Features {
                    bar: bar(symbol, position as i32),
                    set_id,
                    tensor,
                    snapshot: None,
                },
            )
        })
        .collect()
}

fn made(frames: &[Frame<PredictionMessage>]) -> Vec<PredictionMessage> {
    frames.iter().map(|frame| (**frame).clone()).collect()
}

#[test]
fn a_batch_gives_the_golden_predictions_in_order() {
    let mut engine: StageTest<TrtEngine> = build(&context(root()), cpu());
    let features = golden_features();
    assert!(features.len() > 1);
    let got = engine.batch(&features).unwrap();
    assert_eq!(got.len(), features.len());
    let bundle = bundle();
    let golden = &bundle.manifest().golden;
    for ((got, asked), window) in got.iter().zip(&features).zip(&golden.windows) {
        assert_eq!(got.bar, asked.bar);
        assert_eq!(got.head().origin, asked.head().origin);
        let near = |got: f64, expected: f32| {
            (got - f64::from(expected)).abs() <= f64::from(golden.tolerance)
        };
        assert!(near(
            got.prediction.predicted_return,
            window.outputs["predicted_return"][0]
        ));
        for (got, expected) in got
            .prediction
            .probabilities
            .iter()
            .zip(&window.outputs["probabilities"])
        {
            assert!(near(*got, *expected), "{got} {expected}");
        }
        assert!(got.prediction.is_valid());
    }
}

#[test]
fn the_size_of_the_batch_changes_no_bit() {
    let features = golden_features();
    let mut engine: StageTest<TrtEngine> = build(&context(root()), cpu());
    let whole = made(&engine.batch(&features).unwrap());
    for size in 1..features.len() {
        let parts: Vec<_> = features
            .chunks(size)
            .flat_map(|chunk| made(&engine.batch(chunk).unwrap()))
            .collect();
        assert_eq!(parts, whole, "batches of {size}");
    }
    assert!(engine.batch(&[]).unwrap().is_empty());
}

proptest! {
    /// Rows as they may arrive at run time, not only the golden ones of the bundle.
    #[test]
    fn any_rows_in_any_batches_of_up_to_eight_give_the_bits_of_the_model_on_one_row(
        rows in prop::collection::vec(prop::collection::vec(-1.5f32..1.5, 20), 1..25),
        size in 1usize..=8,
    ) {
        let bundle = bundle();
        let set_id = id_of(&bundle.manifest().feature_names);
        let mut stage: StageTest<TrtEngine> = build(&context(root()), cpu());
        let mut model = open(&bundle, &[BackendKind::Cpu], true).unwrap().engine;
        let mut outputs = vec![Vec::new(); model.outputs().len()];
        let frames: Vec<Frame<Features>> = rows
            .iter()
            .zip(1..)
            .map(|(row, position)| {
                let tensor = Tensor::new(&[1, 20], row.clone()).unwrap();
                framed(position, Features { bar: bar("600000.SH", position as i32), set_id, tensor, snapshot: None })
            })
            .collect();
        let got: Vec<_> = frames.chunks(size).flat_map(|batch| stage.batch(batch).unwrap()).collect();
        prop_assert_eq!(got.len(), rows.len());
        for ((got, asked), row) in got.iter().zip(&frames).zip(&rows) {
            model.run(&[TensorView::f32(&[1, 20], row)], &mut outputs).unwrap();
            let at = |name: &str| {
                let outputs = &bundle.manifest().outputs;
                outputs.iter().position(|output| output.name == name).unwrap()
            };
            prop_assert_eq!(got.head().origin, asked.head().origin);
            prop_assert_eq!(got.prediction.predicted_return, f64::from(outputs[at("predicted_return")][0]));
            let classes = outputs[at("probabilities")].iter().map(|&p| f64::from(p));
            prop_assert!(got.prediction.probabilities.into_iter().eq(classes));
            prop_assert!(got.prediction.is_valid());
        }
    }
}

#[test]
fn nothing_is_emitted_before_the_batch_is_complete() {
    let mut engine: StageTest<TrtEngine> = build(&context(root()), cpu());
    let features = golden_features();
    engine.process(&features[0]).unwrap();
    // The flush of the second belongs to both.
    assert_eq!(engine.batch(&features[1..2]).unwrap().len(), 2);
}

#[test]
fn features_of_another_set_or_width_or_that_are_not_finite_are_refused_alone() {
    let mut engine: StageTest<TrtEngine> = build(&context(root()), cpu());
    let sound = (*golden_features()[0]).clone();
    let other_set = Features {
        set_id: 7,
        ..sound.clone()
    };
    let narrow = Features {
        tensor: Tensor::new(&[1, 3], vec![0.0; 3]).unwrap(),
        ..sound.clone()
    };
    // As many values, in another shape.
    let two_rows = Features {
        tensor: Tensor::new(&[1, 2, 10], vec![0.0; 20]).unwrap(),
        ..sound.clone()
    };
    let mut data = sound.tensor.data().to_vec();
    data[3] = f32::NAN;
    let no_number = Features {
        tensor: Tensor::new(&[1, 20], data).unwrap(),
        ..sound
    };
    for (features, message) in [
        (other_set, "set 0x00000007 and shape [1, 20] do not fit"),
        (narrow, "shape [1, 3] do not fit"),
        (two_rows, "shape [1, 2, 10] do not fit the bundle's set"),
        (no_number, "the features of 002032.SZ 2015-06-19 hold NaN"),
    ] {
        let Err(StageError::Refused(reason)) = engine.process(&framed(1, features)) else {
            panic!("features that do not fit were taken")
        };
        assert!(reason.contains(message), "{reason}");
    }
    let features = golden_features();
    assert_eq!(engine.batch(&features).unwrap().len(), features.len());
}

/// The features of the models here, and their scaler.
/// A bundle whose model overflows as soon as a feature is above 1e25: its return and its probabilities are then infinite or
/// NaN.
fn overflowing(dir: &Path) -> Bundle {
    let zeros = BTreeMap::from([("features".into(), vec![0.0; 2])]);
    finish(
        dir,
        1,
        GraphBuilder::new("overflowing"),
        "overflowing",
        zeros,
    )
}

/// Frames of one symbol a frame, with these values of the first feature.
fn frames_of(values: &[f32]) -> Vec<Frame<Features>> {
    values
        .iter()
        .zip(1..)
        .map(|(&value, position)| {
            let features = Features {
                bar: bar("600000.SH", position as i32),
                set_id: id_of(&FEATURES),
                tensor: Tensor::new(&[1, 2], vec![value, 0.0]).unwrap(),
                snapshot: None,
            };
            framed(position, features)
        })
        .collect()
}

#[test]
fn a_prediction_that_is_not_finite_is_held_on_and_affects_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = overflowing(&directory.path().join("model"));
    let cx = context(directory.path());
    let params = json!({ "bundle": bundle.dir(), "backends": ["cpu"] });
    let mut engine: StageTest<TrtEngine> = build(&cx, params.clone());
    let values = [1.0, 1e30, 2.0, -1e30, 0.5];
    let predictions = engine.batch(&frames_of(&values)).unwrap();
    assert_eq!(predictions.len(), values.len());
    for (prediction, value) in predictions.iter().zip(values) {
        assert_eq!(prediction.prediction.is_valid(), value.abs() < 1e20);
    }
    assert_eq!(count(&cx, "not_finite"), 2);
    assert_eq!(
        cx.counters().notes()["not_finite"],
        "600000.SH 2015-07-10",
        "the last one"
    );
    // The other frames give the same as alone.
    let sound: Vec<f32> = values
        .into_iter()
        .filter(|value| value.abs() < 1e20)
        .collect();
    let mut alone: StageTest<TrtEngine> = build(&context(""), params);
    let alone = made(&alone.batch(&frames_of(&sound)).unwrap());
    let among: Vec<_> = made(&predictions)
        .into_iter()
        .filter(|message| message.prediction.is_valid())
        .collect();
    for (alone, among) in alone.iter().zip(&among) {
        assert_eq!(alone.prediction, among.prediction);
    }
    // On to the decision and its record.
    let rule = json!({ "rule": { "enter": 0.01, "exit": -0.01, "min_confidence": 0.5 } });
    let mut signal: StageTest<Signal> = build(&cx, rule);
    let decisions = signal.batch(&predictions).unwrap();
    let reasons: Vec<_> = decisions
        .iter()
        .map(|frame| frame.decision.reason)
        .collect();
    let invalid = DecisionReason::InvalidPrediction;
    assert_eq!((reasons[1], reasons[3]), (invalid, invalid));
    assert_eq!(count(&cx, "invalid_prediction"), 2);
    let mut journal: StageTest<Journal> = build(&cx, json!({ "path": "decisions.jsonl" }));
    journal.batch(&decisions).unwrap();
    let written = fs::read_to_string(directory.path().join("decisions.jsonl")).unwrap();
    let line = written
        .lines()
        .find(|line| line.contains("invalid_prediction"))
        .unwrap();
    assert!(line.contains("null") && !line.contains("NaN"), "{line}");
}

#[test]
fn a_model_with_mostly_invalid_results_ends_the_node_when_no_backend_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = overflowing(&directory.path().join("model"));
    for on_invalid in ["fall-back", "stop"] {
        let params = json!({
            "bundle": bundle.dir(), "backends": ["cpu"],
            "invalid_window": 8, "on_invalid": on_invalid,
        });
        let mut engine: StageTest<TrtEngine> = build(&context(""), params);
        // Half of them are not too many, and seven are too few to judge.
        for values in [&[1e30; 4][..], &[1.0; 4], &[1e30; 4]] {
            for frame in frames_of(values) {
                engine.process(&frame).unwrap();
            }
            engine.flush().unwrap();
        }
        for frame in frames_of(&[1e30]) {
            engine.process(&frame).unwrap();
        }
        match engine.flush() {
            Err(StageError::Config(reason)) => assert!(
                reason.contains("5 of the last 8 results are invalid"),
                "{reason}"
            ),
            other => panic!("{other:?}"),
        }
    }
    let params = json!({ "bundle": bundle.dir(), "max_invalid_share": 1.5, "invalid_window": 0 });
    let faults = TrtEngine::check(&config(params), Path::new(""));
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_model_over_a_window_of_rows_gets_each_frames_rows_whatever_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    for rows in [1usize, 3, 16] {
        let bundle = directory.path().join(format!("rows-{rows}"));
        windowed(&bundle, rows, None);
        let params = json!({ "bundle": bundle, "backends": ["cpu"] });
        let frames: Vec<Frame<Features>> = (1..=11u64)
            .map(|position| {
                let data: Vec<f32> = (0..2 * rows)
                    .map(|at| ((at as u64 * 7 + position * 5) % 13) as f32 - 6.0)
                    .collect();
                // One row is sent without a dimension of its own, though the model has one.
                let shape = match rows {
                    1 => vec![1, 2],
                    rows => vec![1, rows as u32, 2],
                };
                let features = Features {
                    bar: bar("600000.SH", position as i32),
                    set_id: id_of(&FEATURES),
                    tensor: Tensor::new(&shape, data).unwrap(),
                    snapshot: None,
                };
                framed(position, features)
            })
            .collect();
        for size in [1, 4, 11] {
            let mut stage: StageTest<TrtEngine> = build(&context(root()), params.clone());
            let got: Vec<_> = frames
                .chunks(size)
                .flat_map(|batch| stage.batch(batch).unwrap())
                .collect();
            assert_eq!(got.len(), frames.len());
            for (got, asked) in got.iter().zip(&frames) {
                let values = asked.tensor.data().iter().enumerate();
                let sum: f32 = values
                    .map(|(at, value)| value * weight(at / 2, at % 2))
                    .sum();
                assert_eq!(got.bar, asked.bar);
                assert_eq!(
                    got.prediction.predicted_return,
                    f64::from(sum),
                    "{rows} rows"
                );
                let [down, _, up] = got.prediction.probabilities;
                assert!((up - down).signum() == f64::from(sum).signum() || sum == 0.0);
            }
        }
    }
}

#[test]
fn the_port_contract_requires_what_the_model_was_trained_on() {
    let directory = tempfile::tempdir().unwrap();
    let hash = "ab".repeat(32);
    let bundle = windowed(&directory.path().join("model"), 3, Some(&hash));
    let takes =
        TrtEngine::contract(&config(json!({ "bundle": bundle.dir() })), Path::new("")).requires;
    let value = |text: &str| Property::Text(text.to_owned());
    assert_eq!(takes["rows"], Property::Number(3));
    assert_eq!(
        takes["feature"],
        Property::Names(FEATURES.map(str::to_owned).to_vec())
    );
    assert_eq!(takes["factors model"], value(&hash));
    assert_eq!(
        takes["scaler"],
        value(&heqis_infer::bundle::sha256_hex(&scaler()))
    );
    // A model that does not name its feature model accepts any.
    let baseline = TrtEngine::contract(&config(cpu()), &root()).requires;
    assert_eq!(baseline["rows"], Property::Number(1));
    assert!(!baseline.contains_key("factors model"));
}

#[test]
fn a_model_of_ranks_fits_no_stage_with_thresholds_on_returns() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("model");
    windowed(&dir, 1, None);
    let contract = || TrtEngine::contract(&config(json!({ "bundle": dir })), Path::new(""));
    assert!(!contract().provides.contains_key("target"));
    // The same bundle with the scaler of ranks.
    let target = Target {
        price: TargetPrice::Open,
        kind: TargetKind::Rank,
        ..Target::default()
    };
    let plain = scaler();
    let ranks = Scaler::from_json(std::str::from_utf8(&plain).unwrap()).unwrap();
    let ranks = ranks.with_target(target).to_json().into_bytes();
    fs::write(dir.join("scaler_params.json"), &ranks).unwrap();
    let manifest = fs::read_to_string(dir.join("manifest.json")).unwrap();
    let [old, new] = [&plain, &ranks].map(|bytes| heqis_infer::bundle::sha256_hex(bytes));
    assert!(manifest.contains(&old));
    let sizes = [&plain, &ranks].map(|bytes| format!("\"bytes\": {}", bytes.len()));
    assert!(manifest.contains(&sizes[0]), "{manifest}");
    let manifest = manifest.replace(&old, &new).replace(&sizes[0], &sizes[1]);
    fs::write(dir.join("manifest.json"), manifest).unwrap();
    let requires = Signal::contract(
        &config(json!({"mode": "return", "rule": {"enter": 0.001, "exit": -0.001, "min_confidence": 0.0}})),
        Path::new(""),
    )
    .requires;
    let found = heqis_actors::mismatch(&contract().provides, &requires).unwrap();
    assert_eq!(
        (
            found.subject.as_str(),
            found.required.as_str(),
            found.provided.as_str()
        ),
        ("target", "return", "rank of open t+1 to open t+2")
    );
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_before_anything_starts() {
    let faults = |params: Value| TrtEngine::check(&config(params), &root());
    assert_eq!(faults(cpu()), [""; 0]);
    let wrong_task = faults(json!({ "bundle": "models/baseline-factors" }));
    assert!(
        wrong_task[0].ends_with("task must be direction, got factors"),
        "{wrong_task:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let carries = stateful(&directory.path().join("model"));
    let carries = faults(json!({ "bundle": carries.dir() }));
    assert!(
        carries[0].contains("must carry no state, which a compute node could not restore"),
        "{carries:?}"
    );
    let missing = faults(json!({ "bundle": "models/none", "backends": [] }));
    assert!(
        missing.len() == 2 && missing[0].contains("models/none"),
        "{missing:?}"
    );
    assert_eq!(missing[1], "backends is empty, it must name at least one");
    let copy = tempfile::tempdir().unwrap();
    for file in ["manifest.json", "model.onnx", "scaler_params.json"] {
        fs::copy(root().join(DIRECTION).join(file), copy.path().join(file)).unwrap();
    }
    let mut model = fs::read(copy.path().join("model.onnx")).unwrap();
    let middle = model.len() / 2;
    model[middle] ^= 1;
    fs::write(copy.path().join("model.onnx"), model).unwrap();
    let damaged = TrtEngine::check(&config(json!({ "bundle": copy.path() })), Path::new(""));
    assert!(
        damaged.len() == 1 && damaged[0].contains("model.onnx"),
        "{damaged:?}"
    );
}

#[test]
fn every_defect_of_a_bundle_is_refused_with_the_contracts_message() {
    let root = tempfile::tempdir().unwrap();
    for case in bundles::cases() {
        if case.task != "direction" {
            continue;
        }
        let (dir, message) = case.write(root.path());
        let faults = TrtEngine::check(&config(json!({ "bundle": dir })), Path::new(""));
        assert!(
            faults.len() == 1 && faults[0].starts_with(&message),
            "{}: {faults:?}",
            case.name
        );
    }
}

#[test]
fn missing_backends_are_replaced_by_the_next_unless_strict() {
    let cx = context(root());
    let _engine: StageTest<TrtEngine> = build(&cx, json!({ "bundle": DIRECTION }));
    assert_eq!(count(&cx, "fallback"), 2, "tensorrt and cuda, then the CPU");
    let strict = config(json!({ "bundle": DIRECTION, "strict": true }));
    let refused = TrtEngine::build(&strict, &cx).unwrap_err();
    assert!(
        matches!(&refused, StageError::Config(reason) if reason.contains("tensorrt")),
        "{refused}"
    );
}

#[test]
fn a_backend_that_failed_its_gate_is_used_only_when_forced() {
    let directory = tempfile::tempdir().unwrap();
    let failed = Verified {
        by: "a test".into(),
        windows: 10,
        max_abs_error: 0.5,
        mean_abs_error: 0.1,
        tolerance: 0.01,
        trading: None,
        passed: false,
    };
    let bundle = windowed(&directory.path().join("model"), 1, None)
        .amend(
            BTreeMap::new(),
            BTreeMap::from([(BackendKind::Cpu, failed)]),
        )
        .unwrap();
    let params = json!({ "bundle": bundle.dir(), "backends": ["cpu"] });
    let cx = context(root());
    let refused = TrtEngine::build(&config(params.clone()), &cx).unwrap_err();
    assert!(
        matches!(&refused, StageError::Config(reason) if reason.contains("verify has refused it")),
        "{refused}"
    );
    let mut forced = params;
    forced["force"] = true.into();
    let _engine: StageTest<TrtEngine> = build(&cx, forced);
    assert_eq!(count(&cx, "forced"), 1);
}

#[test]
fn a_simulated_latency_is_passed_once_a_batch() {
    let params = json!({ "bundle": DIRECTION, "backends": ["cpu"], "simulate_latency_us": 3_000 });
    let mut engine: StageTest<TrtEngine> = build(&context(root()), params);
    let start = Instant::now();
    engine.batch(&golden_features()).unwrap();
    assert!(start.elapsed() >= Duration::from_micros(3_000));
}
