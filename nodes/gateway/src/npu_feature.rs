//! `npu-feature`: takes [`FeatureRow`]s, scales and windows them, and emits [`Features`]: rows of the feature model's
//! factors and the scaled features of the bar that the factors end at.
//!
//! One such row is made of each bar once the window is full; the last `rows` of them, the oldest first, are sent as one
//! frame. What is kept of a symbol is one window of the model, one of the rows sent, and the state of a model that carries
//! one from bar to bar (`heqis_infer::stream`), whatever its history; a run that starts again makes all three anew of the
//! bars that are replayed. A backend that takes over in mid-run goes on from the same state.
//!
//! Counts `out_of_range` for values outside the scaler's fitted range, `warmup` for bars that only filled a window,
//! `refused` for rows that cannot be scaled, and `fallback` for each backend that was tried in vain before the one in use,
//! or lost while it computed. Counts `forced` when the backend in use failed its gate and `force` allows it, `not_finite` for
//! bars whose factors are no numbers: such a bar is passed over and takes no place among the rows, as in
//! `heqis_quant::path`; and `state_kept` for bars after which the model's state would have been none, so that the one before
//! it stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use heqis_actors::{
    BuildContext, Counter, Emitter, Frame, LogLimit, PortContract, PortSchema, Property, Snapshot,
    Stage, StageError, Tensor,
};
use heqis_infer::bundle::{MODEL_FILE, SCALER_FILE};
use heqis_infer::{BackendKind, BackendPolicy, Bundle, ModelState, TensorView};
use heqis_messages::{BarRef, FeatureRow, Features};
use heqis_model::{MAX_WINDOW, ModelRequest, OnInvalid, StageModel, ValidityPolicy};
use heqis_quant::features::id_of;
use heqis_quant::path::Inputs;
use heqis_quant::{QuantError, Scaler, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of an `npu-feature` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpuFeatureConfig {
    /// Directory of the model bundle, task `factors`.
    pub bundle: PathBuf,
    /// How many rows of factors and scaled features, the oldest first, are sent in one frame: as many as the model that
    /// takes them was made for. More than one costs a warm-up of as many bars less one.
    #[serde(default = "one_row")]
    #[schemars(range(min = 1, max = MAX_ROWS))]
    pub rows: usize,
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
    /// Largest share of the last `invalid_window` bars that may be of no use (factors that are not finite), 0 to 1. Above
    /// it the backend counts as lost.
    #[serde(default = "max_invalid_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_invalid_share: f64,
    /// How many bars the share is taken of; before there are as many, the backend is not judged.
    #[serde(default = "invalid_window")]
    #[schemars(range(min = 1, max = MAX_WINDOW))]
    pub invalid_window: usize,
    /// What happens then: "fall-back", the next of `backends` takes over and without one the node ends, or "stop", the node
    /// ends.
    #[serde(default)]
    pub on_invalid: OnInvalid,
}

/// Far beyond any window here, and a bound on what one frame can be asked to hold.
const MAX_ROWS: usize = 4096;

fn one_row() -> usize {
    1
}

fn backends() -> Vec<BackendKind> {
    vec![BackendKind::Rknn, BackendKind::Cpu]
}

fn max_invalid_share() -> f64 {
    ValidityPolicy::default().max_share
}

fn invalid_window() -> usize {
    ValidityPolicy::default().window
}

impl NpuFeatureConfig {
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

/// Extracts features with a model.
#[derive(Debug)]
pub struct NpuFeature {
    model: StageModel,
    scaler: Scaler,
    /// Shape of the model's input, `[1, window, width]`.
    shape: [usize; 3],
    /// Shape of a frame's tensor, `[1, n]` or `[1, rows, n]`.
    sent: Vec<u32>,
    rows: usize,
    factors: usize,
    /// Identity of the rows that are taken, and of the features that are emitted.
    row_id: u32,
    features_id: u32,
    series: HashMap<Symbol, Series>,
    /// Hashes of the bundle's model and scaler: windows and states mean something to these only.
    model_hash: String,
    scaled: Vec<f32>,
    stage: String,
    out_of_range: Counter,
    warmup: Counter,
    refused: Counter,
    not_finite: Counter,
    log: LogLimit,
}

/// What is kept of a symbol.
#[derive(Debug)]
struct Series {
    inputs: Inputs,
    state: ModelState,
}

/// What a bundle is to this stage.
struct Fit {
    window: usize,
    width: usize,
    factors: usize,
    scaler: Scaler,
}

impl Fit {
    fn inputs(&self, rows: usize) -> Result<Inputs, QuantError> {
        Inputs::new(self.window, self.width, self.factors, rows)
    }

    /// Names of what is sent, in order.
    fn sent_names(&self) -> Vec<String> {
        (0..self.factors)
            .map(|k| format!("factor_{k}"))
            .chain(self.scaler.feature_names().iter().cloned())
            .collect()
    }
}

/// Looks whether this stage can use a bundle.
fn fit(bundle: &Bundle) -> Result<Fit, String> {
    let manifest = bundle.manifest();
    let place = bundle.dir().display();
    if manifest.task != "factors" {
        return Err(format!(
            "bundle {place}: task is '{}', npu-feature needs 'factors'",
            manifest.task
        ));
    }
    let inputs: Vec<_> = bundle.inputs().collect();
    let (window, width) = match &inputs[..] {
        [input] if input.name == "window" && input.shape.len() == 3 => {
            (input.shape[1], input.shape[2])
        }
        inputs => {
            return Err(format!(
                "bundle {place}: inputs {inputs:?} are not one 'window' of shape [1, w, f]"
            ));
        }
    };
    let outputs: Vec<_> = bundle.outputs().collect();
    let factors = match &outputs[..] {
        [output] if output.name == "factors" && output.shape.len() == 2 => output.shape[1],
        outputs => {
            return Err(format!(
                "bundle {place}: outputs {outputs:?} are not one 'factors' of shape [1, k]"
            ));
        }
    };
    let text = std::str::from_utf8(bundle.scaler_params())
        .map_err(|_| format!("bundle {place}: scaler_params.json is not UTF-8"))?;
    let scaler = Scaler::from_json(text).map_err(|error| format!("bundle {place}: {error}"))?;
    if scaler.feature_names() != manifest.feature_names || scaler.n_features() != width {
        return Err(format!(
            "bundle {place}: the scaler's features {:?} are not the manifest's {:?} of width {width}",
            scaler.feature_names(),
            manifest.feature_names
        ));
    }
    if scaler.window_size() != window || manifest.window_bars != window {
        return Err(format!(
            "bundle {place}: window is {window} in the model, {} in the manifest, {} in the scaler",
            manifest.window_bars,
            scaler.window_size()
        ));
    }
    Ok(Fit {
        window,
        width,
        factors,
        scaler,
    })
}

impl Stage for NpuFeature {
    type Config = NpuFeatureConfig;
    type In = FeatureRow;
    type Out = Features;
    const KIND: &'static str = "npu-feature";
    const ABOUT: &'static str = "Scales and windows features and extracts factors with a model.";

    fn check(config: &NpuFeatureConfig, base: &Path) -> Vec<String> {
        config.request().faults(base, |bundle| {
            fit(bundle)?
                .inputs(config.rows)
                .map_err(|error| format!("rows is {}: {error}", config.rows))
        })
    }

    /// Takes the features of the bundle's scaler by name; makes what the model that follows has to be trained on.
    fn contract(config: &NpuFeatureConfig, base: &Path) -> PortContract {
        let Ok(bundle) = Bundle::load(base.join(&config.bundle)) else {
            return PortContract::default();
        };
        let Ok(fit) = fit(&bundle) else {
            return PortContract::default();
        };
        let hash = |file| Property::Text(bundle.sha256(file).unwrap_or_default().to_owned());
        PortContract {
            requires: PortSchema::from([(
                "feature",
                Property::Names(fit.scaler.feature_names().to_vec()),
            )]),
            provides: PortSchema::from([
                ("feature", Property::Names(fit.sent_names())),
                ("rows", Property::Number(config.rows as u64)),
                ("factors model", hash(MODEL_FILE)),
                ("scaler", hash(SCALER_FILE)),
            ]),
            passthrough: BTreeSet::from([heqis_messages::GAUGES]),
        }
    }

    fn build(config: &NpuFeatureConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (model, bundle, fit) = StageModel::open(&config.request(), cx, fit)?;
        let model_hash = [MODEL_FILE, SCALER_FILE]
            .map(|file| bundle.sha256(file).unwrap_or_default())
            .join(" ");
        let sent_names = fit.sent_names();
        let dimension = |size: usize| u32::try_from(size).map_err(StageError::config);
        let sent = match config.rows {
            1 => vec![1, dimension(sent_names.len())?],
            rows => vec![1, dimension(rows)?, dimension(sent_names.len())?],
        };
        Ok(Self {
            model,
            row_id: id_of(fit.scaler.feature_names()),
            features_id: id_of(&sent_names),
            shape: [1, fit.window, fit.width],
            sent,
            rows: config.rows,
            factors: fit.factors,
            series: HashMap::new(),
            model_hash,
            scaled: vec![0.0; fit.width],
            scaler: fit.scaler,
            stage: cx.stage().to_owned(),
            out_of_range: cx.counter("out_of_range"),
            warmup: cx.counter("warmup"),
            refused: cx.counter("refused"),
            not_finite: cx.counter("not_finite"),
            log: LogLimit::new(cx.clock().clone()),
        })
    }

    fn snapshot(&self) -> Snapshot {
        // Ordered, so that the same state gives the same bytes.
        let series: BTreeMap<_, _> = self
            .series
            .iter()
            .map(|(symbol, series)| (symbol, (&series.inputs, series.state.tensors())))
            .collect();
        Snapshot::of(&(&self.model_hash, series))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        type Saved = (String, HashMap<Symbol, (Inputs, Vec<Vec<f32>>)>);
        let (model_hash, series): Saved = Snapshot::read(state)?;
        if model_hash != self.model_hash {
            return Err(StageError::config(format!(
                "the state is of model and scaler {model_hash}, not {}",
                self.model_hash
            )));
        }
        self.series = series
            .into_iter()
            .map(|(symbol, (inputs, states))| {
                let state = ModelState::from_tensors(states);
                (symbol, Series { inputs, state })
            })
            .collect();
        Ok(())
    }

    fn process(
        &mut self,
        frame: &Frame<FeatureRow>,
        out: &mut Emitter<'_, Features>,
    ) -> Result<(), StageError> {
        let width = self.scaled.len();
        if frame.set_id != self.row_id || frame.values.len() != width {
            return Err(StageError::refused(format!(
                "rows of set {:#010x} with {} features do not fit the bundle's {:#010x} with {width}",
                frame.set_id,
                frame.values.len(),
                self.row_id
            )));
        }
        match self.scaler.transform_into(&frame.values, &mut self.scaled) {
            Ok(outside) => self.out_of_range.add(outside as u64),
            // Not a failure: a rebuilt stage would have forgotten every window because of one row.
            Err(error) => {
                self.refused.inc();
                if let Some(left_out) = self.log.admit() {
                    let BarRef { symbol, date, .. } = frame.bar;
                    tracing::warn!(stage = %self.stage, %symbol, %date, %error, left_out, "row refused");
                }
                return Ok(());
            }
        }
        let series = match self.series.entry(frame.bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let [_, window, width] = self.shape;
                let inputs = Inputs::new(window, width, self.factors, self.rows);
                entry.insert(Series {
                    inputs: inputs.map_err(StageError::failed)?,
                    state: ModelState::default(),
                })
            }
        };
        let window = series
            .inputs
            .push(&self.scaled)
            .map_err(StageError::failed)?;
        let Some(window) = window else {
            self.warmup.inc();
            return Ok(());
        };
        let window = TensorView::f32(&self.shape, window);
        self.model.run(&mut series.state, &[window])?;
        let factors = Inputs::check_factors(self.model.output(0));
        self.model.record_validity([factors.is_ok()])?;
        if let Err(error) = factors {
            self.not_finite.inc();
            if let Some(left_out) = self.log.admit() {
                let BarRef { symbol, date, .. } = frame.bar;
                tracing::warn!(stage = %self.stage, %symbol, %date, %error, left_out, "bar refused: the model says nothing finite");
            }
            return Ok(());
        }
        let rows = series.inputs.join(self.model.output(0));
        let rows = rows.map_err(StageError::failed)?;
        let Some(rows) = rows else {
            self.warmup.inc();
            return Ok(());
        };
        let tensor = Tensor::new(&self.sent, rows.to_vec()).map_err(StageError::failed)?;
        out.emit(
            frame.head(),
            Features {
                bar: frame.bar,
                set_id: self.features_id,
                tensor,
                view: frame.view,
            },
        );
        Ok(())
    }
}
