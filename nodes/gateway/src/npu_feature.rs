//! `npu-feature`: scales and windows [`FeatureRow`]s, and emits [`Features`]: rows of the feature model's factors and the
//! scaled features of the last bar of each window.
//!
//! Each bar gives one such row once the window is full; the last `rows` of them, the oldest first, are sent as one frame. For
//! each symbol the stage keeps one window of the model, the rows of one frame, and the state of a model that carries one from
//! bar to bar ([`heqis_infer::stateful`]), however long its history is; after a restart all three are rebuilt from the bars
//! that are replayed. A backend that takes over continues from the same state.
//!
//! Counters: `out_of_range` for values outside the scaler's fitted range; `warmup` for bars that only fill a window;
//! `refused` for rows that cannot be scaled; `fallback` for each backend that was unavailable before the current one, or
//! failed while it computed; `forced` when the current backend failed its gate and `force` allows it; `not_finite` for bars
//! whose factors are not finite: such a bar is skipped and takes no place among the rows, as in [`heqis_quant::pipeline`]; and
//! `state_kept` for bars after which the model's next state would not be finite, so that the previous one stays.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use heqis_actors::{
    BuildContext, Counter, Emitter, Frame, Key, LogLimit, PortContract, Property, Snapshot, Stage,
    StageError, Tensor,
};
use heqis_bundle::{FactorsLayout, Loaded};
use heqis_infer::bundle::{MODEL_FILE, SCALER_FILE};
use heqis_infer::{BackendKind, ModelState, TensorView};
use heqis_messages::{FeatureRow, Features, put_series, symbol_of};
use heqis_model::StageModel;
use heqis_quant::features::id_of;
use heqis_quant::pipeline::ModelInputs;
use heqis_quant::{BarRef, QuantError, Scaler, Symbol};

heqis_model::model_config! {
    /// Parameters of an `npu-feature` stage.
    pub struct NpuFeatureConfig {
        /// Directory of the model bundle, task `factors`.
        pub bundle: PathBuf,
        /// Number of rows of factors and scaled features in one frame, the oldest first: as many as the model that receives
        /// them reads. More than one costs a warm-up of as many bars less one.
        #[serde(default = "one_row")]
        #[schemars(range(min = 1, max = MAX_ROWS))]
        pub rows: usize,
    }
    backends: [BackendKind::Rknn, BackendKind::Cpu]
}

/// Far beyond any window here, and a bound on the size of a frame.
const MAX_ROWS: usize = 4096;

fn one_row() -> usize {
    1
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
    /// Identities of the accepted rows and of the emitted features.
    row_id: u32,
    features_id: u32,
    series: HashMap<Symbol, Series>,
    /// Hashes of the bundle's model and scaler, which windows and states belong to.
    model_hash: String,
    scaled: Vec<f32>,
    stage: String,
    out_of_range: Counter,
    warmup: Counter,
    refused: Counter,
    not_finite: Counter,
    log: LogLimit,
}

/// The state of one symbol.
#[derive(Debug)]
struct Series {
    inputs: ModelInputs,
    state: ModelState,
}

/// Returns the empty inputs of one symbol.
fn inputs(layout: &FactorsLayout, rows: usize) -> Result<ModelInputs, QuantError> {
    let width = layout.scaler.n_features();
    ModelInputs::new(layout.window, width, layout.factors, rows)
}

impl NpuFeature {
    fn check_model(&self, model_hash: &str) -> Result<(), StageError> {
        match model_hash == self.model_hash {
            true => Ok(()),
            false => Err(StageError::config(format!(
                "the state is of model and scaler {model_hash}, not {}",
                self.model_hash
            ))),
        }
    }
}

impl Stage for NpuFeature {
    type Config = NpuFeatureConfig;
    type In = FeatureRow;
    type Out = Features;
    const KIND: &'static str = "npu-feature";
    const ABOUT: &'static str = "Scales and windows features and extracts factors with a model.";

    fn check(config: &NpuFeatureConfig, base: &Path) -> Vec<String> {
        config.request().faults(base, |layout| {
            inputs(layout, config.rows)
                .map(drop)
                .map_err(|error| format!("rows is {}: {error}", config.rows))
        })
    }

    /// Requires the features of the bundle's scaler by name; provides what the next model must be trained on.
    fn contract(config: &NpuFeatureConfig, base: &Path) -> PortContract {
        let Ok(Loaded { bundle, layout }) = config.request().load::<FactorsLayout>(base) else {
            return PortContract::default();
        };
        let hash = |file| Property::Text(bundle.sha256(file).unwrap_or_default().to_owned());
        let names = layout.scaler.feature_names().to_vec();
        PortContract::default()
            .require("feature", Property::Names(names))
            .provide("feature", Property::Names(layout.sent_names()))
            .provide("rows", Property::Number(config.rows as u64))
            .provide("factors model", hash(MODEL_FILE))
            .provide("scaler", hash(SCALER_FILE))
            .pass(heqis_messages::FILTER_INDICATORS)
            .pass(heqis_messages::MARKET)
            .read_from(bundle.dir())
    }

    fn build(config: &NpuFeatureConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let (model, loaded) = StageModel::open::<FactorsLayout>(&config.request(), cx)?;
        let Loaded { bundle, layout } = loaded;
        let model_hash = [MODEL_FILE, SCALER_FILE]
            .map(|file| bundle.sha256(file).unwrap_or_default())
            .join(" ");
        let sent_names = layout.sent_names();
        let dimension = |size: usize| u32::try_from(size).map_err(StageError::config);
        let sent = match config.rows {
            1 => vec![1, dimension(sent_names.len())?],
            rows => vec![1, dimension(rows)?, dimension(sent_names.len())?],
        };
        Ok(Self {
            model,
            row_id: id_of(layout.scaler.feature_names()),
            features_id: id_of(&sent_names),
            shape: [1, layout.window, layout.scaler.n_features()],
            sent,
            rows: config.rows,
            factors: layout.factors,
            series: HashMap::new(),
            model_hash,
            scaled: vec![0.0; layout.scaler.n_features()],
            scaler: layout.scaler,
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
        type Saved = (String, HashMap<Symbol, (ModelInputs, Vec<Vec<f32>>)>);
        let (model_hash, series): Saved = Snapshot::read(state)?;
        self.check_model(&model_hash)?;
        self.series = series
            .into_iter()
            .map(|(symbol, (inputs, states))| {
                let state = ModelState::from_tensors(states);
                (symbol, Series { inputs, state })
            })
            .collect();
        Ok(())
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        let symbol = symbol_of(key)?;
        let series = self.series.get(&symbol);
        let state = series.map(|Series { inputs, state }| {
            Snapshot::bytes(&(&self.model_hash, inputs, state.tensors()))
        });
        let state = state.transpose()?;
        self.series.remove(&symbol);
        Ok(state)
    }

    fn put_key(
        &mut self,
        key: Key,
        state: &[u8],
        _: &mut Emitter<'_, Features>,
    ) -> Result<(), StageError> {
        type Moved = (String, ModelInputs, Vec<Vec<f32>>);
        let (model_hash, inputs, states): Moved = Snapshot::read(state)?;
        self.check_model(&model_hash)?;
        let state = ModelState::from_tensors(states);
        put_series(&mut self.series, symbol_of(key)?, Series { inputs, state })
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
            // Not a failure: a rebuilt stage would have lost every window because of one row.
            Err(error) => {
                self.refused.inc();
                if let Some(left_out) = self.log.admit() {
                    let BarRef { symbol, date, .. } = frame.bar;
                    tracing::warn!(stage = %self.stage, %symbol, %date, %error, suppressed = left_out, "row refused");
                }
                return Ok(());
            }
        }
        let series = match self.series.entry(frame.bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let [_, window, width] = self.shape;
                let inputs = ModelInputs::new(window, width, self.factors, self.rows);
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
        let factors = ModelInputs::check_factors(self.model.output(0));
        self.model.record_validity([factors.is_ok()])?;
        if let Err(error) = factors {
            self.not_finite.inc();
            if let Some(left_out) = self.log.admit() {
                let BarRef { symbol, date, .. } = frame.bar;
                tracing::warn!(stage = %self.stage, %symbol, %date, %error, suppressed = left_out, "bar refused: the factors are not finite");
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
                snapshot: frame.snapshot,
            },
        );
        Ok(())
    }
}
