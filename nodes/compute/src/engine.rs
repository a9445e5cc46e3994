//! `trt-engine`: computes [`PredictionMessage`]s from [`Features`], in micro-batches.
//!
//! The bundle's model reads one row of features, `[1, n]`, or a window of them, `[1, rows, n]`. It carries no state from one
//! frame to the next: an acknowledged frame is not sent again after a restart, so the state could not be rebuilt.
//!
//! Counters: `fallback` for each backend that was unavailable before the current one, or failed while it computed; `forced`
//! when the current backend failed its gate and `force` allows it; `not_finite` for predictions that are not finite: they are
//! sent on unchanged, `signal` holds on them, and the note `not_finite` names the last one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heqis_actors::{
    BuildContext, Counter, Emitter, Explain, Frame, LogLimit, Note, PortContract, Property,
    Snapshot, Stage, StageError,
};
use heqis_bundle::{DirectionLayout, Loaded};
use heqis_infer::bundle::{FACTORS_HASH_KEY, SCALER_FILE};
use heqis_infer::{BackendKind, ModelState, TensorView};
use heqis_messages::{Features, PredictionMessage};
use heqis_model::StageModel;
use heqis_quant::Prediction;
use heqis_quant::target::TargetKind;

heqis_model::model_config! {
    /// Parameters of a `trt-engine` stage.
    pub struct TrtEngineConfig {
        /// Directory of the model bundle, task `direction`.
        pub bundle: PathBuf,
        /// Pretends that each batch takes at least this many microseconds: an aid for load tests.
        #[serde(default)]
        pub simulate_latency_us: u64,
    }
    backends: [BackendKind::Tensorrt, BackendKind::Cuda, BackendKind::Cpu]
}

/// Runs a model on batches of features.
#[derive(Debug)]
pub struct TrtEngine {
    model: StageModel,
    /// Identity of the feature names that the bundle was trained on.
    set_id: u32,
    layout: DirectionLayout,
    /// Shape of the model's input, its first dimension to be replaced by the size of the batch.
    shape: Vec<usize>,
    batch: Vec<Frame<Features>>,
    input: Vec<f32>,
    at_least: Duration,
    stage: String,
    not_finite: Counter,
    newest_not_finite: Note,
    log: LogLimit,
    /// Of the current batch, whether each prediction is valid.
    valid: Vec<bool>,
}

impl Stage for TrtEngine {
    type Config = TrtEngineConfig;
    type In = Features;
    type Out = PredictionMessage;
    const KIND: &'static str = "trt-engine";
    const ABOUT: &'static str = "Runs a prediction model on features, in micro-batches.";
    const BLOCKING: bool = true;

    fn check(config: &TrtEngineConfig, base: &Path) -> Vec<String> {
        config.request().faults::<DirectionLayout>(base, |_| Ok(()))
    }

    /// Requires what the bundle's model was trained on.
    fn contract(config: &TrtEngineConfig, base: &Path) -> PortContract {
        let Ok(Loaded { bundle, layout }) = config.request().load::<DirectionLayout>(base) else {
            return PortContract::default();
        };
        let scaler = bundle.sha256(SCALER_FILE).unwrap_or_default();
        let names = bundle.manifest().feature_names.clone();
        let contract = PortContract::default()
            .require("feature", Property::Names(names))
            .require("rows", Property::Number(layout.rows as u64))
            .require("scaler", Property::Text(scaler.to_owned()))
            .pass(heqis_messages::FILTER_INDICATORS)
            .pass(heqis_messages::MARKET)
            .read_from(bundle.dir())
            .explain(Explain(heqis_bundle::pair_defect));
        // Only a target of another kind than returns is stated: stages that compare predictions with returns refuse it.
        let target = layout.scaler.target();
        let contract = match target.kind {
            TargetKind::Return => contract,
            _ => contract.provide(heqis_messages::TARGET, Property::Text(target.to_string())),
        };
        match bundle.metadata(FACTORS_HASH_KEY) {
            Some(hash) => contract.require("factors model", Property::Text(hash.to_owned())),
            None => contract,
        }
    }

    fn build(config: &TrtEngineConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (model, loaded) = StageModel::open(&config.request(), cx)?;
        let Loaded { bundle, layout } = loaded;
        Ok(Self {
            model,
            set_id: heqis_quant::features::id_of(&bundle.manifest().feature_names),
            layout,
            shape: bundle.manifest().inputs[0].shape.clone(),
            batch: Vec::new(),
            input: Vec::new(),
            at_least: Duration::from_micros(config.simulate_latency_us),
            stage: cx.stage().to_owned(),
            not_finite: cx.counter("not_finite"),
            newest_not_finite: cx.note("not_finite"),
            log: LogLimit::new(cx.clock().clone()),
            valid: Vec::new(),
        })
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn process(
        &mut self,
        frame: &Frame<Features>,
        _: &mut Emitter<'_, PredictionMessage>,
    ) -> Result<(), StageError> {
        let DirectionLayout { rows, width, .. } = self.layout;
        if frame.set_id != self.set_id || frame.rows_and_width() != Some((rows, width)) {
            return Err(StageError::refused(format!(
                "features of set {:#010x} and shape {:?} do not fit the bundle's set {:#010x}, rows {rows} and width \
                 {width}",
                frame.set_id,
                frame.tensor.shape(),
                self.set_id,
            )));
        }
        // An engine would refuse the whole batch.
        if let Some(value) = frame.tensor.data().iter().find(|value| !value.is_finite()) {
            return Err(StageError::refused(format!(
                "the features of {} {} hold {value}",
                frame.bar.symbol, frame.bar.date
            )));
        }
        self.batch.push(frame.clone());
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "measures the duration of an inference, which is only reported"
    )]
    fn flush(&mut self, out: &mut Emitter<'_, PredictionMessage>) -> Result<(), StageError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        self.input.clear();
        for frame in &self.batch {
            self.input.extend_from_slice(frame.tensor.data());
        }
        self.shape[0] = self.batch.len();
        self.model.run(
            &mut ModelState::default(),
            &[TensorView::f32(&self.shape, &self.input)],
        )?;
        while started.elapsed() < self.at_least {
            std::hint::spin_loop();
        }
        self.valid.clear();
        for (row, frame) in self.batch.drain(..).enumerate() {
            let classes = &self.model.output(self.layout.probabilities)[3 * row..3 * row + 3];
            let prediction = Prediction {
                predicted_return: self.model.output(self.layout.predicted_return)[row].into(),
                probabilities: [classes[0].into(), classes[1].into(), classes[2].into()],
            };
            self.valid.push(prediction.is_valid());
            let Prediction {
                predicted_return,
                probabilities,
            } = prediction;
            if !(predicted_return.is_finite() && probabilities.iter().all(|p| p.is_finite())) {
                self.not_finite.inc();
                let (symbol, date) = (frame.bar.symbol, frame.bar.date);
                if let Some(left_out) = self.log.admit() {
                    self.newest_not_finite.set(format!("{symbol} {date}"));
                    tracing::warn!(stage = %self.stage, %symbol, %date, ?prediction, suppressed = left_out, "the prediction is not finite");
                }
            }
            out.emit(
                frame.head(),
                PredictionMessage {
                    bar: frame.bar,
                    prediction,
                    snapshot: frame.snapshot,
                },
            );
        }
        self.model.record_validity(self.valid.drain(..))
    }
}
