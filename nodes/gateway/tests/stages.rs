//! The gateway's stages one by one, on real bars and the shipped bundle.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../heqis-bundle/tests/support/mod.rs"]
mod bundles;
mod support;

use std::fs;
use std::path::Path;

use heqis_actors::testing::StageTest;
use heqis_actors::{Property, Stage, StageError, mismatch};
use heqis_gateway::{Cleaner, Indicators, NpuFeature};
use heqis_infer::{BackendKind, Bundle, TensorView, open};
use heqis_messages::{BarMessage, FeatureRow};
use heqis_quant::features::id_of;
use heqis_quant::{Bar, BarRef, FeatureSet, FeatureState, Marks, Reject, Scaler, Symbol};
use serde_json::{Value, json};
use support::{bar, build, committed_bars, config, context, count, root};

fn reference(bar: &Bar) -> BarRef {
    BarRef {
        symbol: bar.symbol,
        date: bar.date,
        time_ns: bar.time_ns,
        close: bar.close,
    }
}

#[test]
fn the_cleaner_passes_what_the_rules_pass_and_counts_the_rest_by_reason() {
    let cx = context("");
    let mut cleaner: StageTest<Cleaner> = build(&cx, json!({}));
    let mut rules = heqis_quant::Cleaner::new(heqis_quant::CleanConfig::default()).unwrap();
    let mut bars = committed_bars("600000.SH.csv");
    // A bar twice, one out of order, one that no exchange would print.
    bars.insert(10, bars[9]);
    bars.insert(20, bars[5]);
    let mut impossible = bars[30];
    impossible.high = impossible.low - 0.01;
    bars.insert(30, impossible);
    let mut rejected = [0; Reject::REASONS.len()];
    let mut passed = 0;
    for bar in bars {
        let got: Vec<Bar> = cleaner
            .take(BarMessage(bar))
            .unwrap()
            .iter()
            .map(|frame| frame.0)
            .collect();
        match rules.check(bar) {
            Ok(clean) => {
                assert_eq!(got, [clean]);
                passed += 1;
            }
            Err(reject) => {
                assert!(got.is_empty());
                rejected[reject.index()] += 1;
            }
        }
    }
    assert_eq!(passed, 3_659 - 6);
    for (index, reason) in Reject::REASONS.into_iter().enumerate() {
        assert_eq!(count(&cx, reason), rejected[index], "{reason}");
    }
    // Six rows of this file repeat the day before on exchange holidays.
    assert_eq!(
        (
            count(&cx, "repeated"),
            count(&cx, "duplicate"),
            count(&cx, "out_of_order")
        ),
        (6, 1, 1)
    );
    assert_eq!(count(&cx, "high_below_low"), 1);
}

#[test]
fn marks_travel_with_the_bar() {
    let mut cleaner: StageTest<Cleaner> = build(&context(""), json!({}));
    let first = cleaner
        .take(BarMessage(bar("600000.SH", "2015-06-01", 10.0)))
        .unwrap();
    assert!(first[0].0.marks.contains(Marks::FIRST_BAR));
    let after_a_month = cleaner
        .take(BarMessage(bar("600000.SH", "2015-07-01", 10.0)))
        .unwrap();
    assert!(after_a_month[0].0.marks.contains(Marks::GAP));
}

#[test]
fn a_rule_of_the_cleaner_that_cannot_hold_is_refused() {
    let faults = Cleaner::check(&config(json!({ "ex_right_max_drop": 1.5 })), Path::new(""));
    assert!(
        faults.len() == 1 && faults[0].contains("ex_right_max_drop"),
        "{faults:?}"
    );
}

#[test]
fn each_symbol_has_indicators_of_its_own() {
    let cx = context("");
    let mut stage: StageTest<Indicators> = build(&cx, json!({}));
    let set = FeatureSet::standard();
    let series = [
        committed_bars("002032.SZ.csv"),
        committed_bars("600000.SH.csv"),
    ];
    let mut alone = [
        FeatureState::new(&set).unwrap(),
        FeatureState::new(&set).unwrap(),
    ];
    let mut rows = 0;
    for index in 0..400 {
        for (bars, alone) in series.iter().zip(&mut alone) {
            let bar = bars[index];
            let frames = stage.take(BarMessage(bar)).unwrap();
            let got: Vec<&FeatureRow> = frames.iter().map(|frame| &**frame).collect();
            match alone.update(&bar).unwrap() {
                Some(values) => {
                    assert_eq!(
                        got,
                        [&FeatureRow {
                            bar: reference(&bar),
                            set_id: set.id(),
                            values,
                            snapshot: None,
                        }]
                    );
                    rows += 1;
                }
                None => assert!(got.is_empty()),
            }
        }
    }
    assert_eq!(rows, 2 * (400 - 250));
    assert_eq!((count(&cx, "warmup"), count(&cx, "refused")), (2 * 250, 0));
}

#[test]
fn what_filters_need_goes_along_from_the_bars_of_the_warm_up_on() {
    let market = json!({
        "filter_indicators": { "trend": { "short_bars": 5, "long_bars": 20 }, "rsi": { "bars": 6 } },
        "st_symbols": ["600000.SH"],
    });
    let mut stage: StageTest<Indicators> = build(
        &context(""),
        json!({ "features": ["return_1"], "market": market }),
    );
    let markets = heqis_quant::Markets::shipped().unwrap();
    let indicators: heqis_quant::decision::FilterIndicators =
        serde_json::from_value(market["filter_indicators"].clone()).unwrap();
    let mut views = 0;
    for (name, st) in [("002032.SZ.csv", false), ("600000.SH.csv", true)] {
        let mut alone = heqis_quant::MarketState::new(&indicators).unwrap();
        for bar in &committed_bars(name)[..60] {
            let expected = alone.update(&markets, st, bar).unwrap();
            for frame in stage.take(BarMessage(*bar)).unwrap() {
                assert_eq!(frame.snapshot, Some(expected));
                views += usize::from(expected.ma_long.is_some());
            }
        }
    }
    assert_eq!(views, 2 * (60 - 19));
}

#[test]
fn a_filter_indicator_with_a_length_out_of_range_is_refused_by_name() {
    let market = json!({ "filter_indicators": { "rsi": { "bars": 1 } } });
    let faults = Indicators::check(&config(json!({ "market": market })), Path::new(""));
    assert!(
        faults.len() == 1 && faults[0].contains("rsi n"),
        "{faults:?}"
    );
}

#[test]
fn a_view_passes_the_feature_stage_unchanged() {
    let mut stage: StageTest<NpuFeature> = build(&context(root()), cpu(FACTORS));
    for row in rows(17) {
        let snapshot = Some(heqis_quant::MarketSnapshot::of_close(
            row.bar.date,
            row.bar.close,
        ));
        for frame in stage.take(FeatureRow { snapshot, ..row }).unwrap() {
            assert_eq!(frame.snapshot, snapshot);
        }
    }
}

#[test]
fn a_bar_that_no_indicator_can_take_is_counted_and_forgets_nothing() {
    let cx = context("");
    let features = json!({ "features": ["return_2", "range_ratio"] });
    let (mut stage, mut undisturbed): (StageTest<Indicators>, StageTest<Indicators>) =
        (build(&cx, features.clone()), build(&context(""), features));
    let bars = committed_bars("002032.SZ.csv");
    for bar in &bars[..5] {
        let bad = Bar {
            close: f64::NAN,
            ..*bar
        };
        assert!(stage.take(BarMessage(bad)).unwrap().is_empty());
        let (got, expected) = (
            stage.take(BarMessage(*bar)).unwrap(),
            undisturbed.take(BarMessage(*bar)).unwrap(),
        );
        let values = |frames: &[heqis_actors::Frame<FeatureRow>]| -> Vec<FeatureRow> {
            frames.iter().map(|frame| (**frame).clone()).collect()
        };
        assert_eq!(values(&got), values(&expected));
    }
    assert_eq!(count(&cx, "refused"), 5);
}

#[test]
fn an_unknown_feature_is_refused_by_name() {
    let faults = Indicators::check(
        &config(json!({ "features": ["return_1", "moon_phase"] })),
        Path::new(""),
    );
    assert!(
        faults.len() == 1 && faults[0].contains("moon_phase"),
        "{faults:?}"
    );
}

const FACTORS: &str = "models/baseline-factors";

fn cpu(bundle: &str) -> Value {
    json!({ "bundle": bundle, "backends": ["cpu"] })
}

/// Rows of the committed file after the indicators' warm-up.
fn rows(count: usize) -> Vec<FeatureRow> {
    let set = FeatureSet::standard();
    let mut state = FeatureState::new(&set).unwrap();
    let rows = committed_bars("002032.SZ.csv")
        .into_iter()
        .filter_map(|bar| {
            let values = state.update(&bar).unwrap()?;
            Some(FeatureRow {
                bar: reference(&bar),
                set_id: set.id(),
                values,
                snapshot: None,
            })
        });
    rows.take(count).collect()
}

#[test]
fn features_are_the_factors_of_the_window_and_then_its_last_scaled_row() {
    let cx = context(root());
    let mut stage: StageTest<NpuFeature> = build(&cx, cpu(FACTORS));
    let bundle = Bundle::load(root().join(FACTORS)).unwrap();
    let scaler = Scaler::from_json(std::str::from_utf8(bundle.scaler_params()).unwrap()).unwrap();
    let mut engine = open(&bundle, &[BackendKind::Cpu], true).unwrap().engine;
    let (window, width) = (scaler.window_size(), scaler.n_features());
    let mut names: Vec<String> = (0..8).map(|k| format!("factor_{k}")).collect();
    names.extend(scaler.feature_names().iter().cloned());
    let (mut history, mut outside) = (Vec::new(), 0);
    for (index, row) in rows(40).into_iter().enumerate() {
        let mut scaled = vec![0.0; width];
        outside += scaler.transform_into(&row.values, &mut scaled).unwrap();
        history.push(scaled.clone());
        let got = stage.take(row.clone()).unwrap();
        if index + 1 < window {
            assert!(got.is_empty());
            continue;
        }
        let flat = history[index + 1 - window..].concat();
        let mut outputs = vec![Vec::new()];
        engine
            .run(&[TensorView::f32(&[1, window, width], &flat)], &mut outputs)
            .unwrap();
        let expected = [outputs[0].as_slice(), &scaled].concat();
        assert_eq!(got.len(), 1);
        assert_eq!((got[0].bar, got[0].set_id), (row.bar, id_of(&names)));
        assert_eq!(got[0].tensor.shape(), [1, 20]);
        assert_eq!(got[0].tensor.data(), expected);
    }
    assert_eq!(count(&cx, "warmup"), window as u64 - 1);
    assert_eq!(count(&cx, "out_of_range"), outside as u64);
}

/// What a stage with `rows` emits, its tensors' values flat.
fn emitted(
    stage: &mut StageTest<NpuFeature>,
    rows: &[FeatureRow],
) -> Vec<(BarRef, Vec<u32>, Vec<f32>)> {
    rows.iter()
        .flat_map(|row| stage.take(row.clone()).unwrap())
        .map(|frame| {
            let tensor = &frame.tensor;
            (frame.bar, tensor.shape().to_vec(), tensor.data().to_vec())
        })
        .collect()
}

#[test]
fn several_rows_in_a_frame_are_those_of_single_frames_the_oldest_first() {
    let rows = rows(60);
    let mut single: StageTest<NpuFeature> = build(&context(root()), cpu(FACTORS));
    let singles = emitted(&mut single, &rows);
    assert!(singles.iter().all(|(_, shape, _)| shape == &[1, 20]));
    for count in [2, 7, 45] {
        let cx = context(root());
        let params = json!({ "bundle": FACTORS, "backends": ["cpu"], "rows": count });
        let mut stage: StageTest<NpuFeature> = build(&cx, params);
        let got = emitted(&mut stage, &rows);
        let expected: Vec<_> = singles
            .windows(count)
            .map(|window| {
                let data = window
                    .iter()
                    .flat_map(|(_, _, data)| data.clone())
                    .collect();
                (window[count - 1].0, vec![1, count as u32, 20], data)
            })
            .collect();
        assert_eq!(got, expected, "{count} rows");
        // The window of the model, and then that of the frames.
        assert_eq!(support::count(&cx, "warmup"), 15 + count as u64 - 1);
    }
}

#[test]
fn rows_of_symbols_do_not_mix_and_a_refused_row_takes_no_place() {
    let params = json!({ "bundle": FACTORS, "backends": ["cpu"], "rows": 3 });
    let mut alone: StageTest<NpuFeature> = build(&context(root()), params.clone());
    let rows = rows(30);
    let expected = emitted(&mut alone, &rows);
    let mut stage: StageTest<NpuFeature> = build(&context(root()), params);
    let other = Symbol::parse("600000.SH").unwrap();
    let mut got = Vec::new();
    for row in &rows {
        let strange = FeatureRow {
            bar: BarRef {
                symbol: other,
                ..row.bar
            },
            values: vec![0.5; 12],
            ..row.clone()
        };
        let broken = FeatureRow {
            values: vec![f64::NAN; 12],
            ..row.clone()
        };
        emitted(&mut stage, &[strange, broken]);
        got.extend(emitted(&mut stage, std::slice::from_ref(row)));
    }
    assert_eq!(got, expected);
}

#[test]
fn a_stage_that_is_built_again_has_its_rows_back_after_the_replay() {
    let params = json!({ "bundle": FACTORS, "backends": ["cpu"], "rows": 4 });
    let rows = rows(40);
    let mut whole: StageTest<NpuFeature> = build(&context(root()), params.clone());
    let expected = emitted(&mut whole, &rows);
    // What a frame holds lies within the last 16 + 4 - 1 rows: no history before them has any part in it.
    let mut resumed: StageTest<NpuFeature> = build(&context(root()), params);
    let got = emitted(&mut resumed, &rows[40 - 19..]);
    assert_eq!(got, expected[expected.len() - 1..]);
}

#[test]
fn what_is_promised_before_the_start_is_what_is_emitted() {
    let config = config(json!({ "bundle": FACTORS, "rows": 4 }));
    let contract = NpuFeature::contract(&config, &root());
    let bundle = Bundle::load(root().join(FACTORS)).unwrap();
    let features = |names: &Property| match names {
        Property::Names(names) => names.clone(),
        other => panic!("{other} is no list of names"),
    };
    let taken = features(&contract.requires["feature"]);
    assert_eq!(taken, FeatureSet::standard().names());
    let made = features(&contract.provides["feature"]);
    let mut stage: StageTest<NpuFeature> = build(
        &context(root()),
        json!({ "bundle": FACTORS, "backends": ["cpu"], "rows": 4 }),
    );
    let frame = rows(19)
        .into_iter()
        .flat_map(|row| stage.take(row).unwrap())
        .next()
        .unwrap();
    assert_eq!(frame.set_id, id_of(&made));
    assert_eq!(frame.rows_and_width(), Some((4, made.len())));
    let hash = heqis_infer::bundle::sha256_hex(bundle.model());
    assert_eq!(contract.provides["factors model"], Property::Text(hash));
    assert_eq!(contract.provides["rows"], Property::Number(4));
    let indicators = Indicators::contract(&support::config(json!({})), &root());
    assert_eq!(mismatch(&indicators.provides, &contract.requires), None);
    let fewer = json!({ "features": ["return_1", "return_5"] });
    let indicators = Indicators::contract(&support::config(fewer), &root());
    let found = mismatch(&indicators.provides, &contract.requires).unwrap();
    assert_eq!(
        (
            found.subject.as_str(),
            found.provided.as_str(),
            found.required.as_str()
        ),
        ("number of features", "2", "12")
    );
}

#[test]
fn what_npu_feature_emits_is_what_the_prediction_bundle_was_trained_on() {
    let mut stage: StageTest<NpuFeature> = build(&context(root()), cpu(FACTORS));
    let emitted = rows(16)
        .into_iter()
        .flat_map(|row| stage.take(row).unwrap())
        .next()
        .unwrap();
    let direction = Bundle::load(root().join("models/baseline-direction")).unwrap();
    assert_eq!(emitted.set_id, id_of(&direction.manifest().feature_names));
    assert_eq!(
        emitted.tensor.shape(),
        [1, direction.manifest().inputs[0].shape[1] as u32]
    );
}

#[test]
fn windows_of_symbols_do_not_mix() {
    let mut stage: StageTest<NpuFeature> = build(&context(root()), cpu(FACTORS));
    let mut alone: StageTest<NpuFeature> = build(&context(root()), cpu(FACTORS));
    let other = Symbol::parse("600000.SH").unwrap();
    for row in rows(20) {
        let strange = FeatureRow {
            bar: BarRef {
                symbol: other,
                ..row.bar
            },
            values: vec![0.5; 12],
            ..row.clone()
        };
        stage.take(strange).unwrap();
        let (got, expected) = (stage.take(row.clone()).unwrap(), alone.take(row).unwrap());
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(got.tensor, expected.tensor);
        }
    }
}

#[test]
fn values_outside_the_fitted_range_and_rows_that_cannot_be_scaled_are_counted() {
    let cx = context(root());
    let mut stage: StageTest<NpuFeature> = build(&cx, cpu(FACTORS));
    let rows = rows(17);
    let mut wild = rows[0].clone();
    (wild.values[0], wild.values[3]) = (1e6, -1e6);
    let before = count(&cx, "out_of_range");
    stage.take(wild).unwrap();
    assert!(count(&cx, "out_of_range") >= before + 2);
    let mut broken = rows[1].clone();
    broken.values[4] = f64::NAN;
    assert!(stage.take(broken).unwrap().is_empty());
    assert_eq!(count(&cx, "refused"), 1);
    // The refused row took no place in the window.
    let emitted: usize = rows[1..16]
        .iter()
        .map(|row| stage.take(row.clone()).unwrap().len())
        .sum();
    assert_eq!(emitted, 1);
}

#[test]
fn a_row_of_another_feature_set_is_refused() {
    let cx = context(root());
    let mut stage = NpuFeature::build(&config(cpu(FACTORS)), &cx).unwrap();
    let mut probe = heqis_actors::Collector::new(cx.clock().clone());
    let row = FeatureRow {
        set_id: 7,
        ..rows(1).remove(0)
    };
    let frame = heqis_actors::Frame::detached(
        heqis_actors::Origin {
            stream: 1,
            position: 1,
        },
        0,
        row,
    );
    let Err(StageError::Refused(reason)) = stage.process(&frame, &mut probe.emitter()) else {
        panic!("a row of another set was taken")
    };
    assert!(
        reason.starts_with("rows of set 0x00000007 with 12 features do not fit the bundle's 0x"),
        "{reason}"
    );
}

#[test]
fn a_bundle_that_does_not_fit_is_refused_before_anything_starts() {
    let faults = |bundle: &Path| NpuFeature::check(&config(json!({ "bundle": bundle })), &root());
    assert_eq!(faults(Path::new(FACTORS)), [""; 0]);
    let wrong_task = faults(Path::new("models/baseline-direction"));
    assert!(
        wrong_task[0].ends_with("task must be factors, got direction"),
        "{wrong_task:?}"
    );
    let missing = faults(Path::new("models/none"));
    assert!(
        missing.len() == 1 && missing[0].contains("models/none"),
        "{missing:?}"
    );
    let copy = tempfile::tempdir().unwrap();
    for file in ["manifest.json", "model.onnx", "scaler_params.json"] {
        fs::copy(root().join(FACTORS).join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(faults(copy.path()), [""; 0]);
    let scaler = fs::read_to_string(copy.path().join("scaler_params.json")).unwrap();
    fs::write(
        copy.path().join("scaler_params.json"),
        scaler.replacen('1', "2", 1),
    )
    .unwrap();
    let damaged = faults(copy.path());
    assert!(
        damaged.len() == 1 && damaged[0].contains("scaler_params.json"),
        "{damaged:?}"
    );
    let none = NpuFeature::check(
        &config(json!({ "bundle": FACTORS, "backends": [] })),
        &root(),
    );
    assert_eq!(none, ["backends is empty, it must name at least one"]);
    let no_rows = NpuFeature::check(&config(json!({ "bundle": FACTORS, "rows": 0 })), &root());
    assert!(
        no_rows.len() == 1 && no_rows[0].starts_with("rows is 0: window: window_rows"),
        "{no_rows:?}"
    );
}

#[test]
fn every_defect_of_a_bundle_is_refused_with_the_contracts_message() {
    let directory = tempfile::tempdir().unwrap();
    for case in bundles::cases() {
        if case.task != "factors" {
            continue;
        }
        let (dir, message) = case.write(directory.path());
        let faults = NpuFeature::check(&config(json!({ "bundle": dir })), Path::new(""));
        assert!(
            faults.len() == 1 && faults[0].starts_with(&message),
            "{}: {faults:?}",
            case.name
        );
    }
}

#[test]
fn a_missing_backend_is_replaced_by_the_next_unless_strict() {
    let cx = context(root());
    let params = json!({ "bundle": FACTORS, "backends": ["rknn", "cpu"] });
    let built = NpuFeature::build(&config(params), &cx);
    assert!(built.is_ok() && count(&cx, "fallback") == 1);
    let params = json!({ "bundle": FACTORS, "backends": ["rknn", "cpu"], "strict": true });
    let refused = NpuFeature::build(&config(params), &cx).unwrap_err();
    assert!(
        matches!(&refused, StageError::Config(reason) if reason.contains("rknn")),
        "{refused}"
    );
}
