//! A run directory: the output of a training, written and read.
//!
//! ```text
//! DIR/run.json                    settings, data, spans, metrics
//! DIR/scaler_params.json          the scaler, fitted on the training span
//! DIR/checkpoints/latest.json     the file of the last complete checkpoint and its digest; replaced after that file is written
//! DIR/checkpoints/NNNN.safetensors   the state after NNNN epochs
//! DIR/best/g1.safetensors         best weights of a generator, `best/encoder.safetensors` those of the encoder
//! DIR/alone/g1.safetensors        its best weights of pre-training
//! DIR/curves.csv                  every curve, epoch by epoch
//! DIR/progress.jsonl              events with times
//! DIR/plots/*.svg
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use heqis_base::files::write_atomically;
use heqis_data::store::DataSet;
use heqis_data::store::manifest;
use heqis_infer::bundle::sha256_hex;
use serde::{Deserialize, Serialize};

use super::config::TrainConfig;
use super::curves;
use super::predict::predict;
use super::schedule::BestSoFar;
use super::state::{GeneratorState, State};
use super::tensors::{Tensors, numbers};
use crate::corpus::{Corpus, SpanDays, Split};
use crate::error::TrainError;
use crate::metrics::Score;
use crate::metrics::daily::{DailyMean, DailySeries};
use crate::metrics::forecast::{Forecast, Truth};
use crate::nets::encoder::Encoder;
use crate::nets::generator::{Generator, GeneratorConfig};

/// The layout that this build writes and reads.
pub const SCHEMA_VERSION: u32 = 1;
/// The manifest's file.
pub const FILE: &str = "run.json";

/// The inputs and the results of a run. It contains no time and no host, so that equal runs have equal manifests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunManifest {
    /// The layout: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The version of this program.
    pub code_version: String,
    /// The settings.
    pub config: TrainConfig,
    /// The version of the data set.
    pub data_version: String,
    /// SHA-256 of the data set's manifest, which holds those of its inputs, in lower-case hex.
    pub data_sha256: String,
    /// The features, in the order of a row.
    pub features: Vec<String>,
    /// Columns of a row: features and factors.
    pub columns: usize,
    /// The factor that makes a return of a predicted value.
    pub target_scale: f64,
    /// The days of the spans.
    pub days: SpanDays,
    /// Number of samples in training, validation and test.
    pub samples: [usize; 3],
    /// Number of parameters of each network.
    pub parameters: BTreeMap<String, usize>,
    /// Warnings about the data that affect how the metrics are read; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether the training is complete.
    pub finished: bool,
    /// The metrics by generator; empty before the end.
    #[serde(default, rename = "figures")]
    pub metrics: BTreeMap<String, GeneratorMetrics>,
}

/// The metrics of one generator. None of them depends on the test span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorMetrics {
    /// Its best epoch in the last phase, from 0, and the validation loss then.
    pub best: BestSoFar,
    /// SHA-256 of its best weights' file in lower-case hex.
    pub weights_sha256: String,
    /// On the validation span: squared error in squared target scales.
    pub validation_mse: f64,
    /// Cross-entropy.
    pub validation_cross_entropy: f64,
    /// Proportion of moves whose sign was predicted.
    pub validation_direction: f64,
    /// Proportion of samples whose most likely class is the actual one.
    pub validation_class: f64,
    /// RankIC by day, for labels that compare the instruments of a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_rank_ic: Option<DailyMean>,
}

impl RunManifest {
    pub(crate) fn new(
        config: &TrainConfig,
        data: &DataSet,
        corpus: &Corpus,
        state: &State,
    ) -> Result<Self, TrainError> {
        let path = config.data.set.join(manifest::FILE);
        let bytes = std::fs::read(&path).map_err(|source| TrainError::file(&path, source))?;
        let mut parameters = BTreeMap::new();
        for (generator, discriminator) in state.generators.iter().zip(&state.discriminators) {
            parameters.insert(generator.spec.name.clone(), generator.net.num_params());
            parameters.insert(discriminator.name.clone(), discriminator.net.num_params());
        }
        if let Some(encoder) = &state.encoder {
            parameters.insert("encoder".to_owned(), encoder.net.num_params());
        }
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            config: config.clone(),
            data_version: data.manifest().version.clone(),
            data_sha256: sha256_hex(&bytes),
            features: corpus.scaler.feature_names().to_vec(),
            columns: corpus.features() + config.encoder.shape().1,
            target_scale: corpus.target_scale,
            days: corpus.days,
            samples: Split::ALL.map(|split| corpus.samples(split).len()),
            parameters,
            warnings: corpus
                .flat_warning(data.manifest().settings.flat_band)
                .into_iter()
                .collect(),
            finished: false,
            metrics: BTreeMap::new(),
        })
    }

    /// Reads the manifest of a run directory.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] when the file is missing or not a manifest, and [`TrainError::Rule`] when its layout is another.
    pub fn read(dir: &Path) -> Result<Self, TrainError> {
        let path = dir.join(FILE);
        let text =
            std::fs::read_to_string(&path).map_err(|source| TrainError::file(&path, source))?;
        let manifest: Self =
            serde_json::from_str(&text).map_err(|source| TrainError::json(&path, source))?;
        match manifest.schema_version {
            SCHEMA_VERSION => Ok(manifest),
            other => Err(TrainError::training(
                path.display(),
                format!("schema_version must be {SCHEMA_VERSION}, got {other}"),
            )),
        }
    }
}

/// The last complete checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Latest {
    file: String,
    sha256: String,
}

/// A run directory in writing.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    dir: PathBuf,
}

impl RunDir {
    pub(crate) fn create(
        dir: &Path,
        manifest: &RunManifest,
        corpus: &Corpus,
    ) -> Result<Self, TrainError> {
        if dir.join(FILE).exists() {
            let rule =
                "already contains a run; continue it with --resume, or choose another directory";
            return Err(TrainError::training(dir.display(), rule.to_owned()));
        }
        let run = Self {
            dir: dir.to_owned(),
        };
        for name in ["checkpoints", "best", "alone", "plots"] {
            let path = dir.join(name);
            std::fs::create_dir_all(&path).map_err(|source| TrainError::file(&path, source))?;
        }
        let scaler = corpus.scaler.to_json() + "\n";
        run.write("scaler_params.json", scaler.as_bytes())?;
        run.write_manifest(manifest)?;
        Ok(run)
    }

    /// Opens the directory of a run with the same settings and data, and its last checkpoint if one exists.
    pub(crate) fn resume(
        dir: &Path,
        manifest: &RunManifest,
    ) -> Result<(Self, Option<Tensors>), TrainError> {
        let mut existing = RunManifest::read(dir)?;
        // The result does not depend on the number of threads.
        existing.config.threads = manifest.config.threads;
        let same = RunManifest {
            finished: false,
            metrics: BTreeMap::new(),
            ..existing
        };
        if same != *manifest {
            let rule =
                "was started with other settings, data or code and cannot be continued with these";
            return Err(TrainError::training(dir.display(), rule.to_owned()));
        }
        let run = Self {
            dir: dir.to_owned(),
        };
        let path = dir.join("checkpoints/latest.json");
        if !path.exists() {
            return Ok((run, None));
        }
        let text =
            std::fs::read_to_string(&path).map_err(|source| TrainError::file(&path, source))?;
        let latest: Latest =
            serde_json::from_str(&text).map_err(|source| TrainError::json(&path, source))?;
        let path = dir.join("checkpoints").join(&latest.file);
        let bytes = std::fs::read(&path).map_err(|source| TrainError::file(&path, source))?;
        if sha256_hex(&bytes) != latest.sha256 {
            let rule = "was changed after it was written: its digest differs".to_owned();
            return Err(TrainError::training(path.display(), rule));
        }
        Ok((run, Some(Tensors::from_bytes(&path, &bytes)?)))
    }

    /// Writes a checkpoint, the best weights and the curves, each atomically, and deletes all checkpoints but the last two.
    pub(crate) fn checkpoint(&self, state: &State) -> Result<(), TrainError> {
        let bytes = state.save()?.to_bytes()?;
        let whole = state.curves.iter().filter(|point| point.pass == 0);
        let epochs = whole.map(|point| (&point.phase, point.epoch));
        let number = epochs.collect::<BTreeSet<_>>().len();
        let file = format!("{number:04}.safetensors");
        self.write(&format!("checkpoints/{file}"), &bytes)?;
        self.write_weights(state)?;
        self.write("curves.csv", &curves::csv(&state.curves)?)?;
        let latest = Latest {
            file: file.clone(),
            sha256: sha256_hex(&bytes),
        };
        let text = serde_json::to_string(&latest)
            .map_err(|source| TrainError::training("checkpoint", source.to_string()))?;
        self.write("checkpoints/latest.json", text.as_bytes())?;
        let old = format!("{:04}.safetensors", number.saturating_sub(1));
        let dir = self.dir.join("checkpoints");
        for entry in std::fs::read_dir(&dir).map_err(|source| TrainError::file(&dir, source))? {
            let entry = entry.map_err(|source| TrainError::file(&dir, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".safetensors") && name < old {
                // A superfluous file does no harm.
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn write_weights(&self, state: &State) -> Result<BTreeMap<String, String>, TrainError> {
        let mut digests = BTreeMap::new();
        for generator in &state.generators {
            let name = &generator.spec.name;
            for (folder, net) in [
                ("best", &generator.best_net),
                ("alone", &generator.pretrained_net),
            ] {
                let bytes = weights(name, net)?;
                self.write(&format!("{folder}/{name}.safetensors"), &bytes)?;
                if folder == "best" {
                    digests.insert(name.clone(), sha256_hex(&bytes));
                }
            }
        }
        if let Some(encoder) = &state.encoder {
            let bytes = weights("encoder", &encoder.best_net)?;
            self.write("best/encoder.safetensors", &bytes)?;
        }
        Ok(digests)
    }

    /// Writes weights, curves and plots, and the manifest with the metrics.
    pub(crate) fn finish(
        &self,
        mut manifest: RunManifest,
        state: &State,
        corpus: &Corpus,
    ) -> Result<RunManifest, TrainError> {
        let digests = self.write_weights(state)?;
        self.write("curves.csv", &curves::csv(&state.curves)?)?;
        let truth = Truth::of(corpus, corpus.samples(Split::Validation));
        for generator in &state.generators {
            let name = &generator.spec.name;
            let forecast = generator.predict_best(corpus, Split::Validation)?;
            let score = Score::of(&forecast, &truth, corpus.target_scale);
            let rank_ic = forecast
                .returns
                .as_ref()
                .filter(|_| corpus.target.is_cross_sectional());
            let rank_ic = rank_ic.map(|values| DailySeries::rank_ic(values, &truth));
            let horizon = corpus.target.horizon_days as usize;
            manifest.metrics.insert(
                name.clone(),
                GeneratorMetrics {
                    best: generator.best,
                    weights_sha256: digests.get(name).cloned().unwrap_or_default(),
                    validation_mse: score.mse,
                    validation_cross_entropy: score.cross_entropy,
                    validation_direction: score.direction.share,
                    validation_class: score.class.share,
                    validation_rank_ic: rank_ic.and_then(|series| series.mean(horizon)),
                },
            );
        }
        for (name, plot) in super::plots::all(state, corpus)? {
            self.write(&format!("plots/{name}.svg"), plot.as_bytes())?;
        }
        manifest.finished = true;
        self.write_manifest(&manifest)?;
        Ok(manifest)
    }

    fn write_manifest(&self, manifest: &RunManifest) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(manifest)
            .map_err(|source| TrainError::json(Path::new(FILE), source))?;
        self.write(FILE, (text + "\n").as_bytes())
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.dir.join(name);
        write_atomically(&path, bytes).map_err(|source| TrainError::file(&path, source))
    }
}

impl GeneratorState {
    /// Returns the forecast of the best weights for a span.
    pub(crate) fn predict_best(
        &self,
        corpus: &Corpus,
        split: Split,
    ) -> Result<Forecast, TrainError> {
        let net = self.best_net.valid();
        let samples = corpus.samples(split);
        predict(&net, self.spec.window_bars, self.columns, corpus, samples)
    }
}

fn weights<M: Module>(name: &str, net: &M) -> Result<Vec<u8>, TrainError> {
    let mut tensors = Tensors::default();
    tensors.put_network(name, net)?;
    tensors.to_bytes()
}

/// Which saved weights of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedWeights {
    /// The best of pre-training.
    Pretrained,
    /// The best of the last phase.
    Best,
}

/// A run directory, for reading.
#[derive(Clone, Debug)]
pub struct TrainedRun {
    dir: PathBuf,
    /// The manifest.
    pub manifest: RunManifest,
}

/// A generator with its weights, on the plain CPU device.
#[derive(Clone, Debug)]
pub struct TrainedGenerator {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: GeneratorConfig,
    /// The network; its value is a target, to be multiplied by [`RunManifest::target_scale`].
    pub net: Generator,
}

impl TrainedRun {
    /// Opens a run directory, whether its training is complete or not.
    ///
    /// # Errors
    ///
    /// As [`RunManifest::read`].
    pub fn open(dir: &Path) -> Result<Self, TrainError> {
        Ok(Self {
            dir: dir.to_owned(),
            manifest: RunManifest::read(dir)?,
        })
    }

    /// Returns the directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the generators with the given weights, in the order of the settings.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when weights cannot be read or have another shape.
    pub fn generators(&self, which: SavedWeights) -> Result<Vec<TrainedGenerator>, TrainError> {
        let (features, columns) = (self.manifest.features.len(), self.manifest.columns);
        let config = &self.manifest.config;
        let folder = match which {
            SavedWeights::Pretrained => "alone",
            SavedWeights::Best => "best",
        };
        config
            .generators
            .iter()
            .map(|spec| {
                let shape = spec.network(features, columns, &config.encoder);
                let net = shape.init(&Device::flex(), 0)?;
                Ok(TrainedGenerator {
                    name: spec.name.clone(),
                    net: self
                        .weights(folder, &spec.name)?
                        .fill_network(&spec.name, net)?,
                    config: shape,
                })
            })
            .collect()
    }

    /// Reads the encoder, or returns `None` when the run has none.
    ///
    /// # Errors
    ///
    /// As [`TrainedRun::generators`].
    pub fn encoder(&self) -> Result<Option<Encoder>, TrainError> {
        let features = self.manifest.features.len();
        match self.manifest.config.encoder.network(features) {
            None => Ok(None),
            Some(shape) => {
                let net = shape.init(&Device::flex(), 0)?;
                let weights = self.weights("best", "encoder")?;
                weights.fill_network("encoder", net).map(Some)
            }
        }
    }

    /// Reads the data set of the run, including the factors of the encoder.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the data set cannot be read or is another.
    pub fn corpus(&self) -> Result<Corpus, TrainError> {
        let config = &self.manifest.config;
        let data = DataSet::open(&config.data.set)?;
        if data.manifest().version != self.manifest.data_version {
            return Err(TrainError::training(
                config.data.set.display(),
                format!(
                    "must be version {}, is {}",
                    self.manifest.data_version,
                    data.manifest().version
                ),
            ));
        }
        let mut corpus = Corpus::load(&data, &config.data, config.look_back())?;
        if let Some(encoder) = self.encoder()? {
            let (_, factors) = config.encoder.shape();
            corpus.append_factors(factors, &Device::flex(), |windows| {
                Ok(numbers(encoder.encode(windows))?.1)
            })?;
        }
        Ok(corpus)
    }

    fn weights(&self, folder: &str, name: &str) -> Result<Tensors, TrainError> {
        let path = self.dir.join(folder).join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).map_err(|source| TrainError::file(&path, source))?;
        Tensors::from_bytes(&path, &bytes)
    }
}

impl TrainedGenerator {
    /// Returns the generator's forecast for a span of a corpus, sample by sample; see [`predict`].
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a tensor cannot be read.
    pub fn predict(&self, corpus: &Corpus, split: Split) -> Result<Forecast, TrainError> {
        let (bars, columns) = (self.config.window_rows, self.config.features);
        predict(&self.net, bars, columns, corpus, corpus.samples(split))
    }
}
