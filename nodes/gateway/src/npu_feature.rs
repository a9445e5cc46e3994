//! `npu-feature`: takes [`FeatureRow`]s, scales and windows them, and emits [`Features`]: the feature model's factors,
//! then the last scaled row.
//!
//! Counts `out_of_range` for values outside the scaler's fitted range, `warmup` for rows that only filled a window,
//! `refused` for rows that cannot be scaled, and `fallback` for each backend that was tried in vain before the one in use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heqis_actors::{BuildContext, Counter, Emitter, Frame, Stage, StageError, Tensor};
use heqis_infer::{BackendKind, Bundle, Engine, Opened, TensorView, open};
use heqis_messages::{BarRef, FeatureRow, Features};
use heqis_quant::features::id_of;
use heqis_quant::{RowWindow, Scaler, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::log_limit::LogLimit;

/// Parameters of an `npu-feature` stage.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NpuFeatureConfig {
    /// Directory of the model bundle, task `factors`.
    pub bundle: PathBuf,
    /// Backends in order of preference; the first that works is used, and the log says which and why.
    #[serde(default = "backends")]
    pub backends: Vec<BackendKind>,
    /// Whether the first backend must work.
    #[serde(default)]
    pub strict: bool,
}

fn backends() -> Vec<BackendKind> {
    vec![BackendKind::Rknn, BackendKind::Cpu]
}

/// Extracts features with a model.
#[derive(Debug)]
pub struct NpuFeature {
    engine: Box<dyn Engine>,
    scaler: Scaler,
    shape: [usize; 3],
    /// Identity of the rows that are taken, and of the features that are emitted.
    row_id: u32,
    features_id: u32,
    windows: HashMap<Symbol, RowWindow>,
    scaled: Vec<f32>,
    outputs: Vec<Vec<f32>>,
    stage: String,
    out_of_range: Counter,
    warmup: Counter,
    refused: Counter,
    log: LogLimit,
}

/// Window length, features per row, factors, and the scaler of a bundle that this stage can use.
fn fit(bundle: &Bundle) -> Result<(usize, usize, usize, Scaler), String> {
    let manifest = bundle.manifest();
    let place = bundle.dir().display();
    if manifest.task != "factors" {
        return Err(format!(
            "bundle {place}: task is '{}', npu-feature needs 'factors'",
            manifest.task
        ));
    }
    let (window, width) = match &manifest.inputs[..] {
        [input] if input.name == "window" && input.shape.len() == 3 => {
            (input.shape[1], input.shape[2])
        }
        inputs => {
            return Err(format!(
                "bundle {place}: inputs {inputs:?} are not one 'window' of shape [1, w, f]"
            ));
        }
    };
    let factors = match &manifest.outputs[..] {
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
    Ok((window, width, factors, scaler))
}

impl Stage for NpuFeature {
    type Config = NpuFeatureConfig;
    type In = FeatureRow;
    type Out = Features;
    const KIND: &'static str = "npu-feature";
    const ABOUT: &'static str = "Scales and windows features and extracts factors with a model.";

    fn check(config: &NpuFeatureConfig, base: &Path) -> Vec<String> {
        let bundle = match Bundle::load(base.join(&config.bundle)) {
            Ok(bundle) => fit(&bundle).err(),
            Err(error) => Some(error.to_string()),
        };
        let backends = config
            .backends
            .is_empty()
            .then(|| "backends is empty, it must name at least one".to_owned());
        bundle.into_iter().chain(backends).collect()
    }

    fn build(config: &NpuFeatureConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let bundle = Bundle::load(cx.path(&config.bundle)).map_err(StageError::config)?;
        let (window, width, factors, scaler) = fit(&bundle).map_err(StageError::Config)?;
        let Opened {
            engine, fallbacks, ..
        } = open(&bundle, &config.backends, config.strict).map_err(StageError::config)?;
        cx.counter("fallback").add(fallbacks.len() as u64);
        let names: Vec<String> = (0..factors)
            .map(|k| format!("factor_{k}"))
            .chain(scaler.feature_names().iter().cloned())
            .collect();
        let outputs = vec![Vec::new(); engine.outputs().len()];
        Ok(Self {
            engine,
            row_id: id_of(scaler.feature_names()),
            features_id: id_of(&names),
            scaler,
            shape: [1, window, width],
            windows: HashMap::new(),
            scaled: vec![0.0; width],
            outputs,
            stage: cx.stage().to_owned(),
            out_of_range: cx.counter("out_of_range"),
            warmup: cx.counter("warmup"),
            refused: cx.counter("refused"),
            log: LogLimit::new(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<FeatureRow>,
        out: &mut Emitter<'_, Features>,
    ) -> Result<(), StageError> {
        let [_, rows, width] = self.shape;
        if frame.set_id != self.row_id || frame.values.len() != width {
            return Err(StageError::config(format!(
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
                if self.log.admit() {
                    let BarRef { symbol, date, .. } = frame.bar;
                    tracing::warn!(stage = %self.stage, %symbol, %date, %error, "row refused");
                }
                return Ok(());
            }
        }
        let window = match self.windows.entry(frame.bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(RowWindow::new(rows, width).map_err(StageError::failed)?)
            }
        };
        let Some(flat) = window.push(&self.scaled).map_err(StageError::failed)? else {
            self.warmup.inc();
            return Ok(());
        };
        self.engine
            .run(&[TensorView::f32(&self.shape, flat)], &mut self.outputs)
            .map_err(StageError::failed)?;
        let mut data = Vec::with_capacity(self.outputs[0].len() + width);
        data.extend_from_slice(&self.outputs[0]);
        data.extend_from_slice(&self.scaled);
        let elements = u32::try_from(data.len()).map_err(StageError::failed)?;
        let tensor = Tensor::new(&[1, elements], data).map_err(StageError::failed)?;
        out.emit(
            frame.head(),
            Features {
                bar: frame.bar,
                set_id: self.features_id,
                tensor,
            },
        );
        Ok(())
    }
}
