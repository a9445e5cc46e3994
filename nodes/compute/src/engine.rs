//! `trt-engine`: takes [`Features`], emits [`PredictionMessage`]s, in micro-batches.
//!
//! Counts `fallback` for each backend that was tried in vain before the one in use.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use heqis_actors::{BuildContext, Emitter, Frame, Stage, StageError};
use heqis_infer::{BackendKind, Bundle, Engine, Opened, TensorView, open};
use heqis_messages::{Features, PredictionMessage};
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
    /// Pretends that each batch takes at least this many microseconds: an aid for load tests.
    #[serde(default)]
    pub simulate_latency_us: u64,
}

fn backends() -> Vec<BackendKind> {
    vec![BackendKind::Tensorrt, BackendKind::Cuda, BackendKind::Cpu]
}

/// Runs a model on batches of features.
#[derive(Debug)]
pub struct TrtEngine {
    engine: Box<dyn Engine>,
    /// Identity of the feature names that the bundle was trained on.
    set_id: u32,
    width: usize,
    /// Index of the outputs in the model's order.
    predicted_return: usize,
    probabilities: usize,
    batch: Vec<Frame<Features>>,
    input: Vec<f32>,
    outputs: Vec<Vec<f32>>,
    at_least: Duration,
}

/// What the bundle must look like, and where its outputs are.
fn fit(bundle: &Bundle) -> Result<(usize, usize, usize), String> {
    let manifest = bundle.manifest();
    let place = bundle.dir().display();
    if manifest.task != "direction" {
        return Err(format!(
            "bundle {place}: task is '{}', trt-engine needs 'direction'",
            manifest.task
        ));
    }
    let width = match &manifest.inputs[..] {
        [input] if input.name == "features" && input.shape.len() == 2 => input.shape[1],
        inputs => {
            return Err(format!(
                "bundle {place}: inputs {inputs:?} are not one 'features' of shape [1, n]"
            ));
        }
    };
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
    Ok((
        width,
        output("predicted_return", [1, 1])?,
        output("probabilities", [1, 3])?,
    ))
}

impl Stage for TrtEngine {
    type Config = TrtEngineConfig;
    type In = Features;
    type Out = PredictionMessage;
    const KIND: &'static str = "trt-engine";
    const ABOUT: &'static str = "Runs a prediction model on features, in micro-batches.";
    const BLOCKING: bool = true;

    fn check(config: &TrtEngineConfig, base: &Path) -> Vec<String> {
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

    fn build(config: &TrtEngineConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let bundle = Bundle::load(cx.path(&config.bundle)).map_err(StageError::config)?;
        let (width, predicted_return, probabilities) = fit(&bundle).map_err(StageError::Config)?;
        let Opened {
            engine, fallbacks, ..
        } = open(&bundle, &config.backends, config.strict).map_err(StageError::config)?;
        cx.counter("fallback").add(fallbacks.len() as u64);
        let outputs = vec![Vec::new(); engine.outputs().len()];
        Ok(Self {
            engine,
            set_id: heqis_quant::features::id_of(&bundle.manifest().feature_names),
            width,
            predicted_return,
            probabilities,
            batch: Vec::new(),
            input: Vec::new(),
            outputs,
            at_least: Duration::from_micros(config.simulate_latency_us),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<Features>,
        _: &mut Emitter<'_, PredictionMessage>,
    ) -> Result<(), StageError> {
        if frame.set_id != self.set_id || frame.tensor.data().len() != self.width {
            return Err(StageError::config(format!(
                "features of set {:#010x} and width {} do not fit the bundle's {:#010x} and {}",
                frame.set_id,
                frame.tensor.data().len(),
                self.set_id,
                self.width
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
        let shape = [self.batch.len(), self.width];
        self.engine
            .run(&[TensorView::f32(&shape, &self.input)], &mut self.outputs)
            .map_err(StageError::failed)?;
        while started.elapsed() < self.at_least {
            std::hint::spin_loop();
        }
        for (row, frame) in self.batch.drain(..).enumerate() {
            let classes = &self.outputs[self.probabilities][3 * row..3 * row + 3];
            let prediction = Prediction {
                predicted_return: self.outputs[self.predicted_return][row].into(),
                probabilities: [classes[0].into(), classes[1].into(), classes[2].into()],
            };
            out.emit(
                frame.head(),
                PredictionMessage {
                    bar: frame.bar,
                    prediction,
                },
            );
        }
        Ok(())
    }
}
