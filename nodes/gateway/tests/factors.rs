//! A bundle whose features are expressions: the stages compute what the lab's pipeline computes, bit for bit.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use heqis_actors::testing::StageTest;
use heqis_actors::{Payload, Property, Stage, mismatch};
use heqis_factors::{feature_set, shipped};
use heqis_gateway::{Cleaner, Indicators, NpuFeature};
use heqis_infer::bundle::TrainingSpan;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{
    BackendKind, Bundle, BundleParts, Golden, GoldenWindow, ModelState, Precision, StatefulModel,
    TensorView, open,
};
use heqis_messages::{BarMessage, FeatureRow};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{
    Date, DecisionRule, FeatureSet, Filters, Prediction, QuantError, Scaler, SignalMode, Span,
    Strategy, Symbol,
};
use serde_json::json;
use support::{bar, build, committed_bars, config, context, count, root};

const NAMES: [&str; 4] = [
    "roc = close / ref(close, 5) - 1",
    "trend = slope(close, 20) / close",
    "flow = corr(close, log(volume + 1), 10)",
    "dif = macd(close, 12, 26, 9).dif / close",
];
const WINDOW: usize = 4;

fn features() -> FeatureSet {
    feature_set(&NAMES).unwrap()
}

fn scaler() -> Scaler {
    let day = Date::parse("2005-01-04").unwrap();
    let options = FitOptions {
        kind: ScalerKind::MinMax,
        out_of_range: OutOfRange::Pass,
        window_size: WINDOW,
        span: Span::new(day, day).unwrap(),
    };
    let (low, high) = (&[-0.3; NAMES.len()][..], &[0.3; NAMES.len()][..]);
    Scaler::fit(options, features().names(), [low, high], [-0.1, 0.1]).unwrap()
}

/// A feature model of one factor, a weighted sum of the window.
fn bundle(dir: &Path) -> Bundle {
    let width = NAMES.len();
    let mut graph = GraphBuilder::new("sum");
    let window = graph.input("window", &[1, WINDOW, width]);
    let flat = graph.int64s("flat", &[1, (WINDOW * width) as i64]);
    let flat = graph.node("row", "Reshape", &[&window, &flat], &[]);
    let weights: Vec<f32> = (0..WINDOW * width).map(|i| 0.1 + i as f32 / 7.0).collect();
    let weights = graph.weights("weights", &[WINDOW * width, 1], &weights);
    let factors = graph.node("factors", "MatMul", &[&flat, &weights], &[]);
    graph.output(&factors, &[1, 1]);
    let day = "2005-01-04".to_owned();
    let parts = BundleParts {
        name: "sum".into(),
        task: "factors".into(),
        created_by: "a test".into(),
        precision: Precision::F32,
        model: graph.finish().unwrap(),
        scaler_params: scaler().to_json().into_bytes(),
        other_files: BTreeMap::new(),
        model_card: String::new(),
        feature_names: NAMES.map(str::to_owned).to_vec(),
        window_bars: WINDOW,
        training_span: TrainingSpan {
            source: "none".into(),
            source_sha256: "0".repeat(64),
            from: day.clone(),
            to: day,
            rows: 2,
        },
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: BTreeMap::from([("window".into(), vec![0.0; WINDOW * width])]),
                outputs: BTreeMap::from([("factors".into(), vec![0.0])]),
            }],
        },
    };
    heqis_bundle::write(dir, &parts).unwrap()
}

/// The bundle in the lab's pipeline; records what a direction model would read.
struct Lab {
    model: StatefulModel,
    given: Vec<Vec<f32>>,
}

impl Model for Lab {
    type Error = QuantError;

    fn factor_count(&self) -> usize {
        1
    }

    fn factors(&mut self, _: Symbol, window: &[f32]) -> Result<&[f32], QuantError> {
        let shape = [1, WINDOW, NAMES.len()];
        let window = TensorView::f32(&shape, window);
        let mut state = ModelState::default();
        self.model.step(&mut state, &[window]).unwrap();
        Ok(self.model.output(0))
    }

    fn predict(&mut self, features: &[f32]) -> Result<Prediction, QuantError> {
        self.given.push(features.to_vec());
        Ok(Prediction {
            predicted_return: 0.0,
            probabilities: [0.0, 1.0, 0.0],
        })
    }
}

#[test]
fn the_stages_and_the_lab_compute_the_same_bits_from_a_bundle_of_expressions() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = bundle(&directory.path().join("bundle"));
    let cx = context(root());
    let mut cleaner: StageTest<Cleaner> = build(&cx, json!({}));
    let params = json!({ "features": NAMES });
    let mut indicators: StageTest<Indicators> = build(&cx, params.clone());
    let model = json!({ "bundle": bundle.dir(), "backends": ["cpu"] });
    let mut npu: StageTest<NpuFeature> = build(&cx, model.clone());

    // What the two stages promise each other.
    let provides = Indicators::contract(&config(params), &root()).provides;
    let requires = NpuFeature::contract(&config(model), &root()).requires;
    assert_eq!(mismatch(&provides, &requires), None);
    let standard = Indicators::contract(&config(json!({})), &root()).provides;
    assert!(mismatch(&standard, &requires).is_some());

    let strategy = Strategy {
        mode: SignalMode::Return,
        rule: DecisionRule {
            enter: 0.01,
            exit: -0.01,
            min_confidence: 0.0,
            min_exit_confidence: 0.0,
        },
        filters: Filters::default(),
    };
    let engine = open(&bundle, &[BackendKind::Cpu], true).unwrap().engine;
    let lab = Lab {
        model: StatefulModel::new(&bundle, engine),
        given: Vec::new(),
    };
    let refused = DecisionPipeline::new(PipelineConfig::new(scaler(), strategy), Refusing);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("must be return_N")
    );
    let pipeline = PipelineConfig::new(scaler(), strategy).with_features(features());
    let mut pipeline = DecisionPipeline::new(pipeline, lab).unwrap();

    let mut emitted = Vec::new();
    for (i, bar) in committed_bars("002032.SZ.csv").into_iter().enumerate() {
        if i % 211 == 100 {
            indicators = indicators.restart().unwrap();
            let key = BarMessage(bar).key();
            let state = indicators.take_key(key).unwrap().unwrap();
            indicators.put_key(key, &state).unwrap();
        }
        for bar in cleaner.take(BarMessage(bar)).unwrap() {
            for row in indicators.take((*bar).clone()).unwrap() {
                let frames = npu.take((*row).clone()).unwrap();
                emitted.extend(frames.iter().map(|frame| frame.tensor.data().to_vec()));
            }
        }
        if let BarOutcome::Unusable(error) = pipeline.step(bar).unwrap() {
            panic!("{error}");
        }
    }
    assert!(emitted.len() > 2_000, "{}", emitted.len());
    assert_eq!(pipeline.model().given, emitted);
}

/// A model of a pipeline that cannot be made.
#[derive(Debug)]
struct Refusing;

impl Model for Refusing {
    type Error = QuantError;

    fn factors(&mut self, _: Symbol, _: &[f32]) -> Result<&[f32], QuantError> {
        Ok(&[])
    }

    fn predict(&mut self, _: &[f32]) -> Result<Prediction, QuantError> {
        Err(QuantError::value("test", "model", "must not be asked", ""))
    }
}

#[test]
fn a_shipped_set_and_a_file_of_definitions_are_features() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("own.txt"), NAMES.join("\n")).unwrap();
    let names = |params| {
        let contract = Indicators::contract(&config(params), directory.path());
        match contract.provides.get("feature").unwrap() {
            Property::Names(names) => names.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(names(json!({ "feature_file": "own.txt" })), NAMES);
    let alpha = names(json!({ "features": ["alpha158"] }));
    assert_eq!(alpha, feature_set(&["alpha158"]).unwrap().names());
    let cx = context(directory.path());
    let mut stage: StageTest<Indicators> = build(&cx, json!({ "feature_file": "own.txt" }));
    let row: Vec<FeatureRow> = committed_bars("002032.SZ.csv")[..600]
        .iter()
        .flat_map(|bar| stage.take(BarMessage(*bar)).unwrap())
        .map(|row| (*row).clone())
        .collect();
    assert_eq!(row[0].set_id, features().id());
    assert_eq!(row.len() as u64 + count(&cx, "warmup"), 600);
}

#[test]
fn what_one_symbol_after_the_other_cannot_compute_is_refused_before_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    std::fs::write(
        base.join("own.txt"),
        shipped::find("alpha101").unwrap().text,
    )
    .unwrap();
    std::fs::write(base.join("future.txt"), "x = ref(close, -1)").unwrap();
    for (params, rule) in [
        (
            json!({ "features": ["r = rank(close)"] }),
            "must not compare the instruments of a day",
        ),
        (
            json!({ "features": ["x = ref(close, -5)"] }),
            "refused: ref(close, -5) reads the future",
        ),
        (json!({ "features": ["alpha101"] }), "must not compare"),
        (json!({ "feature_file": "own.txt" }), "must not compare"),
        (
            json!({ "feature_file": "future.txt" }),
            "x = ref(close, -1)\n        ^^^^^^^^^^^^^^",
        ),
        (
            json!({ "feature_file": "none.txt" }),
            "none.txt: No such file",
        ),
        (
            json!({ "feature_file": "own.txt", "features": ["k"] }),
            "one must be left out",
        ),
    ] {
        let faults = Indicators::check(&config(params), base);
        assert!(faults.len() == 1 && faults[0].contains(rule), "{faults:?}");
    }
}

/// A bar without range has no position in it, so the factor is missing and the bar has no row.
#[test]
fn a_bar_with_a_missing_factor_gives_no_row_and_takes_no_place() {
    let cx = context("");
    let params = json!({ "features": ["x = (close - open) / (high - low)"] });
    let mut stage: StageTest<Indicators> = build(&cx, params);
    let still = bar("600000.SH", "2024-01-02", 10.0);
    assert!(stage.take(BarMessage(still)).unwrap().is_empty());
    let mut moved = bar("600000.SH", "2024-01-03", 10.0);
    moved.high = 10.5;
    assert_eq!(stage.take(BarMessage(moved)).unwrap().len(), 1);
    assert_eq!((count(&cx, "warmup"), count(&cx, "refused")), (1, 0));
}
