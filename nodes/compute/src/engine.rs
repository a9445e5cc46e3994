//! `trt-engine`: takes [`Features`], emits [`PredictionMessage`]s, in micro-batches.
//!
//! The bundle's model reads one row of features, `[1, n]`, or a window of them, `[1, rows, n]`. It carries no state from one
//! frame to the next: a frame that was acknowledged does not come again after a restart, so nothing could rebuild it.
//!
//! Counts `fallback` for each backend that was tried in vain before the one in use, or lost while it computed,
//! and `forced` when the one in use failed its gate and `force` allows it. Counts `not_finite` for predictions that are no
//! numbers: they are sent on as they are, `signal` holds on them, and the note `not_finite` says which was the last.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heqis_actors::{
    BuildContext, Counter, Emitter, Frame, LogLimit, Note, PortContract, PortSchema, Property,
    Snapshot, Stage, StageError,
};
use heqis_infer::bundle::{FACTORS_HASH_KEY, SCALER_FILE};
use heqis_infer::{BackendKind, BackendPolicy, Bundle, ModelState, TensorView};
use heqis_messages::{Features, PredictionMessage};
use heqis_model::{MAX_WINDOW, ModelRequest, OnInvalid, StageModel, ValidityPolicy};
use heqis_quant::Prediction;
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of a `trt-engine` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrtEngineConfig {
    /// Directory of the model bundle, task `direction`.
    pub bundle: PathBuf,
    /// Backends in order of preference; the first that works is used, and the log says which and why.
    #[serde(default = "backends")]
    pub backends: Vec<BackendKind>,
    /// Whether the first backend must work.
    #[serde(default)]
    pub strict: bool,
    /// Whether a backend may be used that failed its gate when the bundle was verified.
    #[serde(default)]
    pub force: bool,
    /// Which of the backends that work is used: the first, or the one that a start-up test on the bundle's golden windows
    /// finds fastest. With `strict`, "fastest" asks that all of them work.
    #[serde(default)]
    pub prefer: BackendPolicy,
    /// Largest share of the last `invalid_window` predictions that may be of no use (not finite, or probabilities that are none), 0 to 1. Above
    /// it the backend counts as lost.
    #[serde(default = "max_invalid_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_invalid_share: f64,
    /// How many predictions the share is taken of; before there are as many, the backend is not judged.
    #[serde(default = "invalid_window")]
    #[schemars(range(min = 1, max = MAX_WINDOW))]
    pub invalid_window: usize,
    /// What happens then: "fall-back", the next of `backends` takes over and without one the node ends, or "stop", the node
    /// ends.
    #[serde(default)]
    pub on_invalid: OnInvalid,
    /// Pretends that each batch takes at least this many microseconds: an aid for load tests.
    #[serde(default)]
    pub simulate_latency_us: u64,
}

fn backends() -> Vec<BackendKind> {
    vec![BackendKind::Tensorrt, BackendKind::Cuda, BackendKind::Cpu]
}

fn max_invalid_share() -> f64 {
    ValidityPolicy::default().max_share
}

fn invalid_window() -> usize {
    ValidityPolicy::default().window
}

impl TrtEngineConfig {
    fn request(&self) -> ModelRequest<'_> {
        ModelRequest {
            bundle: &self.bundle,
            backends: &self.backends,
            strict: self.strict,
            force: self.force,
            policy: self.prefer,
            validity: ValidityPolicy {
                max_share: self.max_invalid_share,
                window: self.invalid_window,
                on_invalid: self.on_invalid,
            },
        }
    }
}

/// Runs a model on batches of features.
#[derive(Debug)]
pub struct TrtEngine {
    model: StageModel,
    /// Identity of the feature names that the bundle was trained on.
    set_id: u32,
    fit: Fit,
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

/// What a bundle is to this stage.
#[derive(Clone, Copy, Debug)]
struct Fit {
    /// Rows of features in a frame.
    rows: usize,
    /// Features in a row.
    width: usize,
    /// Index of the outputs in the model's order.
    predicted_return: usize,
    probabilities: usize,
}

/// Looks whether this stage can use a bundle.
fn fit(bundle: &Bundle) -> Result<Fit, String> {
    let manifest = bundle.manifest();
    let place = bundle.dir().display();
    if manifest.task != "direction" {
        return Err(format!(
            "bundle {place}: task is '{}', trt-engine needs 'direction'",
            manifest.task
        ));
    }
    if bundle.is_stateful() {
        return Err(format!(
            "bundle {place}: the model carries a state from frame to frame, trt-engine keeps none"
        ));
    }
    let (rows, width) = match &manifest.inputs[..] {
        [input] if input.name == "features" => match input.shape[..] {
            [1, width] => Some((1, width)),
            [1, rows, width] => Some((rows, width)),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| {
        format!(
            "bundle {place}: inputs {:?} are not one 'features' of shape [1, n] or [1, rows, n]",
            manifest.inputs
        )
    })?;
    if manifest.feature_names.len() != width {
        return Err(format!(
            "bundle {place}: {} feature names for an input of width {width}",
            manifest.feature_names.len()
        ));
    }
    let output = |name: &str, shape: [usize; 2]| {
        manifest
            .outputs
            .iter()
            .position(|output| output.name == name && output.shape == shape)
            .ok_or_else(|| format!("bundle {place}: no output '{name}' of shape {shape:?}"))
    };
    Ok(Fit {
        rows,
        width,
        predicted_return: output("predicted_return", [1, 1])?,
        probabilities: output("probabilities", [1, 3])?,
    })
}

impl Stage for TrtEngine {
    type Config = TrtEngineConfig;
    type In = Features;
    type Out = PredictionMessage;
    const KIND: &'static str = "trt-engine";
    const ABOUT: &'static str = "Runs a prediction model on features, in micro-batches.";
    const BLOCKING: bool = true;

    fn check(config: &TrtEngineConfig, base: &Path) -> Vec<String> {
        config.request().faults(base, fit)
    }

    /// Takes what the bundle's model was trained on.
    fn contract(config: &TrtEngineConfig, base: &Path) -> PortContract {
        let Ok(bundle) = Bundle::load(base.join(&config.bundle)) else {
            return PortContract::default();
        };
        let Ok(fit) = fit(&bundle) else {
            return PortContract::default();
        };
        let scaler = bundle.sha256(SCALER_FILE).unwrap_or_default();
        let names = bundle.manifest().feature_names.clone();
        let mut requires = PortSchema::from([
            ("feature", Property::Names(names)),
            ("rows", Property::Number(fit.rows as u64)),
            ("scaler", Property::Text(scaler.to_owned())),
        ]);
        if let Some(hash) = bundle.metadata(FACTORS_HASH_KEY) {
            requires.insert("factors model", Property::Text(hash.to_owned()));
        }
        PortContract {
            requires,
            passthrough: BTreeSet::from([heqis_messages::GAUGES]),
            ..PortContract::default()
        }
    }

    fn build(config: &TrtEngineConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (model, bundle, fit) = StageModel::open(&config.request(), cx, fit)?;
        Ok(Self {
            model,
            set_id: heqis_quant::features::id_of(&bundle.manifest().feature_names),
            fit,
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
        let Fit { rows, width, .. } = self.fit;
        if frame.set_id != self.set_id || frame.rows_and_width() != Some((rows, width)) {
            return Err(StageError::refused(format!(
                "features of set {:#010x} and shape {:?} do not fit the bundle's set {:#010x}, rows {rows} and width \
                 {width}",
                frame.set_id,
                frame.tensor.shape(),
                self.set_id,
            )));
        }
        // An engine refuses a whole batch for it.
        if let Some(value) = frame.tensor.data().iter().find(|value| !value.is_finite()) {
            return Err(StageError::refused(format!(
                "the features of {} {} hold {value}",
                frame.bar.symbol, frame.bar.date
            )));
        }
        self.batch.push(frame.clone());
        Ok(())
    }

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
            let classes = &self.model.output(self.fit.probabilities)[3 * row..3 * row + 3];
            let prediction = Prediction {
                predicted_return: self.model.output(self.fit.predicted_return)[row].into(),
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
                    tracing::warn!(stage = %self.stage, %symbol, %date, ?prediction, left_out, "the model says nothing finite");
                }
            }
            out.emit(
                frame.head(),
                PredictionMessage {
                    bar: frame.bar,
                    prediction,
                    view: frame.view,
                },
            );
        }
        self.model.record_validity(self.valid.drain(..))
    }
}
