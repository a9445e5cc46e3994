//! `export`: from a run directory to bundles.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use heqis_bundle::{Role, joined_names};
use heqis_infer::bundle::sha256_hex;
use heqis_quant::target::TargetKind;
use heqis_quant::{DecisionRule, Scaler};
use serde_json::{Value, json};

use super::card;
use super::direction::Direction;
use super::rule;
use super::subject::Export;
use crate::baselines::ComparisonTable;
use crate::baselines::trained::{self, ENSEMBLE};
use crate::bundle::{
    BundleSource, DIRECTION_TOLERANCE, FACTOR_TOLERANCE, Model, direction_figures,
};
use crate::corpus::{CLASSES, Corpus, Sample, Split};
use crate::error::TrainError;
use crate::nets::encoder::Encoder;
use crate::train::cross_section::DayScaling;
use crate::train::tensors::numbers;
use crate::train::{SavedWeights, TrainedGenerator, TrainedRun};

/// Write the bundles of a trained run: the feature model, and the direction model of one generator or of all together.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Run directory.
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Other runs on the same samples, for the cards' tables; may be given more than once.
    #[arg(long, value_name = "DIR")]
    pub compare: Vec<PathBuf>,
    /// Directory to write the bundles into.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub out: PathBuf,
    /// `best` by the loss on the validation span, `ensemble`, the name of a generator, or `all` of these.
    #[arg(long, value_name = "TARGET", default_value = "best")]
    pub target: String,
    /// Put a second model into each bundle that takes this many windows in one call, as `model.batch-N.onnx`.
    #[arg(long, value_name = "N")]
    pub batch: Option<NonZeroUsize>,
    /// Name of the feature model's bundle.
    #[arg(long, value_name = "NAME", default_value = "cae-factors")]
    pub factors_name: String,
    /// Name of the direction model's bundle; with `--target all` that of each target follows it.
    #[arg(long, value_name = "NAME", default_value = "multi-gan-direction")]
    pub direction_name: String,
}

/// Writes the bundles and returns one line for each.
///
/// # Errors
///
/// [`TrainError`] when the run is incomplete, has no encoder, or a bundle cannot be written.
pub fn run(args: &ExportArgs) -> Result<Vec<String>, TrainError> {
    let run = open_complete(&args.run)?;
    let corpus = run.corpus()?;
    let table = trained::table(&run, &corpus, 1, &trained::open(&args.compare)?)?;
    let mut export = Export::new(&run, &corpus, &table, &args.factors_name)?;
    export.batch = args.batch;
    let mut written = vec![export.write_factors(&args.out)?];
    for (target, generators) in targets(&run, &args.target)? {
        let name = match args.target.as_str() {
            "all" => format!("{}-{target}", args.direction_name),
            _ => args.direction_name.clone(),
        };
        written.push(export.write_direction(&args.out, &name, &target, generators)?);
    }
    Ok(written
        .into_iter()
        .map(|dir| format!("wrote {}", dir.display()))
        .collect())
}

/// The bundles of a run: the feature model, and a direction model for each target.
#[derive(Clone, Debug)]
pub struct RunBundles {
    /// The feature model.
    pub factors: PathBuf,
    /// A direction model for each target.
    pub directions: Vec<(String, PathBuf)>,
}

/// Writes the bundles of the targets selected by `word` ([`ExportArgs::target`]), without a comparison with others.
///
/// # Errors
///
/// As [`run`].
pub fn write_bundles(run: &Path, word: &str, out: &Path) -> Result<RunBundles, TrainError> {
    let run = open_complete(run)?;
    let corpus = run.corpus()?;
    let table = ComparisonTable::default();
    let export = Export::new(&run, &corpus, &table, "factors")?;
    let directions = targets(&run, word)?
        .into_iter()
        .map(|(target, generators)| {
            let name = format!("direction-{target}");
            let dir = export.write_direction(out, &name, &target, generators)?;
            Ok((target, dir))
        });
    Ok(RunBundles {
        directions: directions.collect::<Result<_, TrainError>>()?,
        factors: export.write_factors(out)?,
    })
}

fn open_complete(dir: &Path) -> Result<TrainedRun, TrainError> {
    let run = TrainedRun::open(dir)?;
    match run.manifest.finished {
        true => Ok(run),
        false => {
            let rule = "its training is incomplete; continue it with `train --resume`".to_owned();
            Err(TrainError::training(dir.display(), rule))
        }
    }
}

/// Returns the targets selected by `word`, each with its generators.
fn targets(
    run: &TrainedRun,
    word: &str,
) -> Result<Vec<(String, Vec<TrainedGenerator>)>, TrainError> {
    let generators = run.generators(SavedWeights::Best)?;
    let best = trained::best(run)?;
    let one = |name: &str| -> Vec<TrainedGenerator> {
        generators
            .iter()
            .filter(|g| g.name == name)
            .cloned()
            .collect()
    };
    let found = match word {
        "best" => vec![(best.clone(), one(&best))],
        ENSEMBLE => vec![(ENSEMBLE.to_owned(), generators.clone())],
        "all" => generators
            .iter()
            .map(|generator| (generator.name.clone(), vec![generator.clone()]))
            .chain([(ENSEMBLE.to_owned(), generators.clone())])
            .collect(),
        name => vec![(name.to_owned(), one(name))],
    };
    match found.iter().all(|(_, members)| !members.is_empty()) {
        true => Ok(found),
        false => {
            let names: Vec<&str> = generators.iter().map(|g| g.name.as_str()).collect();
            Err(TrainError::training(
                "--target",
                format!(
                    "must be best, {ENSEMBLE}, all or one of {}, got {word}",
                    names.join(", ")
                ),
            ))
        }
    }
}

/// Returns the model of a bundle from its generators, with columns in the pipeline's order.
///
/// # Errors
///
/// As [`Direction::new`].
pub fn direction(
    run: &TrainedRun,
    generators: Vec<TrainedGenerator>,
) -> Result<Direction, TrainError> {
    let (_, factors) = run.manifest.config.encoder.shape();
    let features = run.manifest.features.len();
    Direction::new(generators, features, factors, run.manifest.target_scale)
}

impl<'a> Export<'a> {
    fn new(
        run: &'a TrainedRun,
        corpus: &'a Corpus,
        table: &'a ComparisonTable,
        factors_name: &'a str,
    ) -> Result<Self, TrainError> {
        let Some(encoder) = run.encoder()? else {
            let rule = "has no encoder, which the pipeline's feature stage needs";
            return Err(TrainError::training(run.dir().display(), rule.to_owned()));
        };
        let manifest = &run.manifest;
        if manifest.config.data.scale_by_day != DayScaling::None {
            let rule = "has features that are compared with those of other instruments (data.scale_by_day), which no stage of \
                        the boards computes";
            return Err(TrainError::training(run.dir().display(), rule.to_owned()));
        }
        let scaler = scaler(&corpus.scaler, manifest.config.encoder.shape().0)?;
        let set = manifest.config.data.set.file_name().unwrap_or_default();
        let source = BundleSource {
            corpus,
            created_by: "heqis-lab export",
            scaler_sha256: sha256_hex(&scaler),
            scaler,
            source: set.to_string_lossy().into_owned(),
            source_sha256: manifest.data_sha256.clone(),
            fitted_on: manifest.samples[Split::Training as usize],
            label: |series, row| format!("{} {}", series.symbol, series.dates[row]),
        };
        Ok(Self {
            run,
            source,
            table,
            factors_name,
            batch: None,
            encoder,
        })
    }

    fn factors_model(&self, batch: usize) -> Result<Vec<u8>, TrainError> {
        let source = &self.source;
        let provenance = source.provenance(source.features(), self.encoder_bars());
        self.encoder.to_onnx(batch, &provenance)
    }

    /// Returns the model for several windows in one call, by its file name, if `--batch` is given.
    fn batched(
        &self,
        model: impl FnOnce(usize) -> Result<Vec<u8>, TrainError>,
    ) -> Result<BTreeMap<String, Vec<u8>>, TrainError> {
        Ok(match self.batch.map(NonZeroUsize::get) {
            Some(batch) => BTreeMap::from([(batched_file(batch), model(batch)?)]),
            None => BTreeMap::new(),
        })
    }

    fn write_factors(&self, out: &Path) -> Result<PathBuf, TrainError> {
        let source = &self.source;
        let (bars, names) = (self.encoder_bars(), source.features());
        let samples = source.golden_samples();
        let windows = source.corpus.encoder_windows(&samples, &Device::flex());
        let (_, inputs) = numbers(windows)?;
        let outputs = encode(&self.encoder, &inputs, bars, names.len())?;
        let golden = source.golden(
            &samples,
            FACTOR_TOLERANCE,
            &[("window", &inputs)],
            &[("factors", &outputs)],
        );
        let unexplained = self.unexplained()?;
        let by_span = Split::ALL.iter().map(|split| split.name()).zip(unexplained);
        let by_span: BTreeMap<&str, f64> = by_span.collect();
        let figures = [("unexplained_variance".to_owned(), json!(by_span))];
        let model = Model {
            role: Role::Factors,
            onnx: self.factors_model(1)?,
            batched: self.batched(|batch| self.factors_model(batch))?,
            card: card::factors(self, unexplained),
            feature_names: names.to_vec(),
            window_bars: bars,
            figures: self.with_run(figures)?,
            golden,
        };
        source.write(out, self.factors_name, model)
    }

    fn write_direction(
        &self,
        out: &Path,
        name: &str,
        target: &str,
        generators: Vec<TrainedGenerator>,
    ) -> Result<PathBuf, TrainError> {
        let source = &self.source;
        let direction = direction(self.run, generators)?;
        let names = joined_names(self.factors(), source.features());
        let provenance = source.provenance(&names, direction.rows());
        let factors_sha256 = sha256_hex(&self.factors_model(1)?);
        let onnx = |batch| direction.to_onnx(batch, &provenance, Some(&factors_sha256));
        let samples = source.golden_samples();
        let inputs = self.direction_windows(&direction, &samples)?;
        let [values, odds] = direction.forward(&inputs, samples.len())?;
        let golden = source.golden(
            &samples,
            DIRECTION_TOLERANCE,
            &[("features", &inputs)],
            &[("predicted_return", &values), ("probabilities", &odds)],
        );
        let rule = self.rule(&direction)?;
        let label = trained::label(target, SavedWeights::Best);
        let of = |split: Split| {
            let entry = self.table.get(&label, split.name());
            entry.map_or(Value::Null, |entry| json!(entry.metrics))
        };
        let mut figures = direction_figures(
            &source.corpus.target,
            of(Split::Validation),
            of(Split::Test),
        );
        figures.extend([
            ("generators".to_owned(), json!(direction.names())),
            ("rule".to_owned(), json!(rule)),
            ("fitted_to".to_owned(), json!(source.corpus.seen_to())),
        ]);
        let model = Model {
            role: Role::Direction,
            onnx: onnx(1)?,
            batched: self.batched(onnx)?,
            card: card::direction(self, name, target, &direction, rule.as_ref()),
            feature_names: names.clone(),
            window_bars: self.encoder_bars() + direction.rows() - 1,
            figures: self.with_run(figures)?,
            golden,
        };
        source.write(out, name, model)
    }

    /// Returns the rule that follows from the model's predictions on the validation span; none for ranks and the like, since a
    /// rule's thresholds are returns.
    fn rule(&self, direction: &Direction) -> Result<Option<DecisionRule>, TrainError> {
        if self.source.corpus.target.kind != TargetKind::Return {
            return Ok(None);
        }
        let (mut returns, mut ups) = (Vec::new(), Vec::new());
        for chunk in self.source.corpus.samples(Split::Validation).chunks(512) {
            let windows = self.direction_windows(direction, chunk)?;
            let [values, odds] = direction.forward(&windows, chunk.len())?;
            returns.extend(values);
            ups.extend(odds.chunks_exact(CLASSES.len()).map(|odds| odds[2]));
        }
        Ok(rule::suggested(&returns, &ups))
    }

    /// Returns the windows of samples as the pipeline sends them: `[samples, rows, factors + features]`.
    fn direction_windows(
        &self,
        direction: &Direction,
        samples: &[Sample],
    ) -> Result<Vec<f32>, TrainError> {
        let corpus = self.source.corpus;
        let (features, all) = (corpus.features(), corpus.columns);
        let batch = corpus.batch(samples, &Device::flex());
        let (_, rows) = numbers(batch.window(direction.rows(), all))?;
        // Training appends the factors to the features; the pipeline sends them first.
        Ok(rows
            .chunks_exact(all)
            .flat_map(|row| row[features..].iter().chain(&row[..features]))
            .copied()
            .collect())
    }

    /// Returns the fraction of the windows' variance that the reconstruction does not explain, on training, validation and test.
    fn unexplained(&self) -> Result<[f64; 3], TrainError> {
        let (corpus, device) = (self.source.corpus, Device::flex());
        let mut shares = [0.0; 3];
        for (share, split) in shares.iter_mut().zip(Split::ALL) {
            let (mut errors, mut sum, mut squares, mut count) = (0.0, 0.0, 0.0, 0.0);
            for chunk in corpus.samples(split).chunks(512) {
                let windows = corpus.encoder_windows(chunk, &device);
                let (_, reconstruction) = numbers(self.encoder.reconstruct(windows.clone()))?;
                let (_, target) = numbers(self.encoder.target(windows))?;
                for (found, target) in reconstruction.iter().zip(&target) {
                    let (found, target) = (f64::from(*found), f64::from(*target));
                    errors += (found - target) * (found - target);
                    sum += target;
                    squares += target * target;
                    count += 1.0;
                }
            }
            *share = errors / (squares - sum * sum / count);
        }
        Ok(shares)
    }

    /// Adds the run to figures: its settings, seed and data (whose digest is in the training span) reproduce the same weights.
    fn with_run(
        &self,
        figures: impl IntoIterator<Item = (String, Value)>,
    ) -> Result<BTreeMap<String, Value>, TrainError> {
        let manifest = &self.run.manifest;
        let generators = manifest.metrics.iter();
        let weights: BTreeMap<&String, &String> = generators
            .map(|(name, metrics)| (name, &metrics.weights_sha256))
            .collect();
        let run = json!({
            "code_version": manifest.code_version,
            "config_sha256": manifest.config.sha256()?,
            "seed": manifest.config.seed,
            "weights_sha256": weights,
        });
        let run = [("run".to_owned(), run)];
        Ok(figures.into_iter().chain(run).collect())
    }
}

/// Returns the name of the file with the model for `batch` windows in one call.
pub(crate) fn batched_file(batch: usize) -> String {
    format!("model.batch-{batch}.onnx")
}

/// Returns the number of windows that the model in a file takes in one call, if its name is one of `batched_file`.
#[must_use]
pub fn batch_of(file: &str) -> Option<usize> {
    let batch = file.strip_prefix("model.batch-")?.strip_suffix(".onnx")?;
    batch.parse().ok().filter(|batch| *batch > 0)
}

/// Returns the scaler with the window of the encoder, since the feature stage uses the scaler with that model.
fn scaler(scaler: &Scaler, window_bars: usize) -> Result<Vec<u8>, TrainError> {
    let path = Path::new("scaler_params.json");
    let json = |source| TrainError::json(path, source);
    let mut value: Value = serde_json::from_str(&scaler.to_json()).map_err(json)?;
    value["window_size"] = json!(window_bars);
    let text = serde_json::to_string(&value).map_err(json)?;
    let mut text = Scaler::from_json(&text)?.to_json();
    text.push('\n');
    Ok(text.into_bytes())
}

/// Returns the network's factors for windows: `[n, bars, width]`, flat, to `[n, factors]`, flat.
///
/// # Errors
///
/// [`TrainError`] when a tensor cannot be read.
pub fn encode(
    encoder: &Encoder,
    windows: &[f32],
    bars: usize,
    width: usize,
) -> Result<Vec<f32>, TrainError> {
    let shape = [windows.len() / (bars * width), bars, width];
    let data = TensorData::new(windows.to_vec(), shape);
    let windows = Tensor::<3>::from_data(data, &Device::flex());
    Ok(numbers(encoder.encode(windows))?.1)
}
