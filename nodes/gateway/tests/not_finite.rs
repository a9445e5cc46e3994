//! A feature model whose factors are not finite for some bars: these bars are skipped, on the board as in the lab.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use heqis_actors::testing::StageTest;
use heqis_actors::{Stage, StageError};
use heqis_gateway::NpuFeature;
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{
    BackendKind, Bundle, BundleParts, Golden, GoldenWindow, ModelState, StatefulModel, TensorView,
    open,
};
use heqis_messages::FeatureRow;
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
use heqis_quant::{
    Bar, BarRef, CleanConfig, Cleaner, DecisionRule, FeatureSet, FeatureState, Filters, Prediction,
    QuantError, Scaler, SignalMode, Strategy, Symbol,
};
use serde_json::json;
use support::{build, committed_bars, config, context, count, root};

const ROWS: usize = 3;

/// A feature model of one factor, which overflows where the first feature of the last row is above `bound` or below its
/// negative.
fn overflowing(dir: &Path, bound: f32) -> Bundle {
    let baseline = Bundle::load(root().join("models/baseline-factors")).unwrap();
    let manifest = baseline.manifest();
    let shape = &manifest.inputs[0].shape;
    let [bars, width] = [shape[1], shape[2]];
    let mut graph = GraphBuilder::new("overflowing");
    let window = graph.input("window", shape);
    let flat = graph.int64s("flat", &[1, (bars * width) as i64]);
    let flat = graph.node("row", "Reshape", &[&window, &flat], &[]);
    let mut weights = vec![0.0; bars * width];
    weights[(bars - 1) * width] = f32::MAX.sqrt() / bound;
    let weights = graph.weights("weights", &[bars * width, 1], &weights);
    let weighted = graph.node("weighted", "MatMul", &[&flat, &weights], &[]);
    let squared = graph.node("squared", "Mul", &[&weighted, &weighted], &[]);
    let small = graph.weights("small", &[1, 1], &[1e-38]);
    let factors = graph.node("factors", "Mul", &[&squared, &small], &[]);
    graph.output(&factors, &[1, 1]);
    let parts = BundleParts {
        name: "overflowing".into(),
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
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: BTreeMap::from([("window".into(), vec![0.0; bars * width])]),
                outputs: BTreeMap::from([("factors".into(), vec![0.0])]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap()
}

/// The bundle in the lab's pipeline; records what the direction model would read.
struct Lab {
    model: StatefulModel,
    shape: Vec<usize>,
    given: Vec<Vec<f32>>,
}

impl Model for Lab {
    type Error = QuantError;

    fn factor_count(&self) -> usize {
        1
    }

    fn input_rows(&self) -> usize {
        ROWS
    }

    fn factors(&mut self, _: Symbol, window: &[f32]) -> Result<&[f32], QuantError> {
        let window = TensorView::f32(&self.shape, window);
        self.model
            .step(&mut ModelState::default(), &[window])
            .unwrap();
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

fn bars() -> Vec<Bar> {
    committed_bars("002032.SZ.csv")
        .into_iter()
        .take(600)
        .collect()
}

/// Rows of the bars that the cleaner passes.
fn rows() -> Vec<FeatureRow> {
    let set = FeatureSet::standard();
    let mut state = FeatureState::new(&set).unwrap();
    let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let rows = bars().into_iter().filter_map(|bar| {
        let bar = cleaner.check(bar).ok()?;
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
            snapshot: None,
        })
    });
    rows.collect()
}

#[test]
fn a_bar_whose_factors_are_not_finite_takes_no_place_here_and_in_the_lab() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = overflowing(&directory.path().join("model"), 0.9);
    let params = json!({
        "bundle": bundle.dir(), "backends": ["cpu"], "rows": ROWS, "max_invalid_share": 1.0,
    });
    let cx = context(root());
    let mut stage: StageTest<NpuFeature> = build(&cx, params);
    let emitted: Vec<Vec<f32>> = rows()
        .into_iter()
        .flat_map(|row| stage.take(row).unwrap())
        .map(|frame| frame.tensor.data().to_vec())
        .collect();
    let skipped = count(&cx, "not_finite");
    assert!(
        skipped > 5 && emitted.len() > 100,
        "{skipped} {}",
        emitted.len()
    );
    assert!(emitted.iter().flatten().all(|value| value.is_finite()));

    let text = std::str::from_utf8(bundle.scaler_params()).unwrap();
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
    let config = PipelineConfig::new(Scaler::from_json(text).unwrap(), strategy);
    let engine = open(&bundle, &[BackendKind::Cpu], true).unwrap().engine;
    let lab = Lab {
        model: StatefulModel::new(&bundle, engine),
        shape: bundle.manifest().inputs[0].shape.clone(),
        given: Vec::new(),
    };
    let mut path = DecisionPipeline::new(config, lab).unwrap();
    let refused = bars()
        .into_iter()
        .filter(|bar| {
            let outcome = path.step(*bar).unwrap();
            matches!(outcome, BarOutcome::Unusable(error) if error.to_string().starts_with("factors: factor_0"))
        })
        .count();
    assert_eq!(refused as u64, skipped);
    assert_eq!(path.model().given, emitted);
}

#[test]
fn a_model_whose_factors_are_mostly_not_finite_ends_the_node() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = overflowing(&directory.path().join("model"), 1e-3);
    let params = json!({ "bundle": bundle.dir(), "backends": ["cpu"], "invalid_window": 32 });
    let cx = context(root());
    let mut stage = NpuFeature::build(&config(params), &cx).unwrap();
    let mut probe = heqis_actors::Collector::new(cx.clock().clone());
    let ended = rows().into_iter().zip(1..).find_map(|(row, position)| {
        let origin = heqis_actors::Origin {
            stream: 1,
            position,
        };
        let frame = heqis_actors::Frame::detached(origin, 0, row);
        stage.process(&frame, &mut probe.emitter()).err()
    });
    match ended {
        Some(StageError::Config(reason)) => assert!(reason.contains("of the last 32"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
