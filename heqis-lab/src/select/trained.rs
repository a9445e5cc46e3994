//! Generators that are trained for every fold: a training, its bundles, and their predictions for the fold's days.
//!
//! ```text
//! WORK/002032.SZ/fold-1/run       a training that reads no day after the evaluated span
//! WORK/002032.SZ/fold-1/models    its bundles
//! WORK/002032.SZ/test/…           the same for the test span
//! ```
//!
//! An existing run is resumed, so that an interrupted selection loses an epoch at most. A generator's predictions come
//! from its bundle on the CPU engine, bar by bar, as on a board.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use heqis_backtest::strategy::Source;
use heqis_data::store::Manifest;
use heqis_quant::target::{Target, TargetKind};
use heqis_quant::{Bar, Date, Symbol};
use heqis_train::export::run::{ExportArgs, run as export};
use heqis_train::train::progress::ProgressReporter;
use heqis_train::train::{TrainConfig, TrainedRun, configure_process, train};

use super::candidate::Candidate;
use super::folds::Folds;
use crate::error::LabError;
use heqis_train::TrainError;

/// The last of this number of parts of a fold's training span is used for early stopping and the choice of the epoch.
const STOP_PART: usize = 5;
/// Name of the feature model's bundle.
const FACTORS: &str = "factors";
/// Prefix of the names of the direction models' bundles, followed by the generator's.
const DIRECTION: &str = "direction";

/// How generators are trained for a fold.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The settings; the folds replace the spans.
    config: TrainConfig,
    /// Directory of runs and bundles.
    work: PathBuf,
    /// Bars left out before every evaluated span; of daily bars, one for each trading day.
    gap_bars: usize,
    /// What the labels of its data set are.
    target: Target,
}

impl Trained {
    /// Reads the settings of a training; `gap_bars` is the sum of purge and embargo of the folds.
    ///
    /// # Errors
    ///
    /// [`LabError`] when they cannot be read, and [`LabError::Rule`] when one is out of range.
    pub fn read(path: &Path, work: PathBuf, gap_bars: usize) -> Result<Self, LabError> {
        let config = TrainConfig::read(path)?;
        let target = Manifest::read(&config.data.set)?.settings.target;
        if target.kind != TargetKind::Return {
            let rule = "must have returns as labels, which the thresholds of the selection are compared with";
            return Err(LabError::rule_got(config.data.set.display(), rule, target));
        }
        configure_process(config.threads);
        Ok(Self {
            config,
            work,
            gap_bars,
            target,
        })
    }

    /// Returns the bars from a sample to the day on which its label is known.
    #[must_use]
    pub fn horizon_bars(&self) -> usize {
        self.target.horizon_bars()
    }

    /// Returns the settings.
    #[must_use]
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Returns the names of the generators.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.config.generators.iter().map(|spec| spec.name.as_str())
    }

    /// Trains for every fold and for the test span, and returns each generator's predictions for the evaluated days.
    ///
    /// # Errors
    ///
    /// [`LabError`] when a training is refused or a bundle cannot be written or run.
    pub fn candidates(
        &self,
        symbol: Symbol,
        bars: &[Bar],
        folds: &Folds,
    ) -> Result<Vec<Candidate>, LabError> {
        let mut all: Vec<Candidate> = self
            .names()
            .map(|name| Candidate {
                name: name.to_owned(),
                forecasts: BTreeMap::from([(symbol, BTreeMap::new())]),
            })
            .collect();
        let spans = folds.folds.iter().enumerate();
        let spans = spans.map(|(at, fold)| {
            let name = format!("fold-{}", at + 1);
            (name, &fold.train, &fold.validation)
        });
        let last = ("test".to_owned(), &folds.last_train, &folds.test);
        for (name, fitted, evaluated) in spans.chain([last]) {
            let dir = self.work.join(symbol.as_str()).join(name);
            let fitted_to = self.train(&dir, bars, fitted, evaluated)?;
            for candidate in &mut all {
                let predicted =
                    self.predict(&dir, &candidate.name, fitted_to, &bars[..evaluated.end])?;
                let days = &bars[evaluated.clone()];
                let (from, to) = (days[0].time_ns, days[days.len() - 1].time_ns);
                for (symbol, forecasts) in predicted.forecasts {
                    let all = candidate.forecasts.entry(symbol).or_default();
                    all.extend(forecasts.range(from..=to));
                }
            }
        }
        Ok(all)
    }

    /// Trains and exports for one span, and returns the last day used for fitting or for choosing the epoch.
    #[expect(
        clippy::disallowed_methods,
        reason = "measures a duration that is only printed"
    )]
    fn train(
        &self,
        dir: &Path,
        bars: &[Bar],
        fitted: &Range<usize>,
        evaluated: &Range<usize>,
    ) -> Result<Date, LabError> {
        let mut config = self.config.clone();
        let horizon = self.target.horizon_bars();
        let default = config.look_back().purge_bars(horizon);
        let data = &mut config.data;
        data.validation_from = Some(bars[fitted.end - fitted.len() / STOP_PART].date);
        data.test_from = Some(bars[evaluated.start].date);
        data.to = Some(bars[evaluated.end - 1].date);
        // The last training label looks ahead by the horizon, which must not reach into the gap either.
        let gap = self.gap_bars + horizon;
        data.purge_bars = Some(data.purge_bars.unwrap_or(default).max(gap));
        let path = dir.join("run");
        let start = Instant::now();
        let elapsed = || start.elapsed();
        let mut reporter = ProgressReporter::new(&path, true, None, &elapsed);
        let resume = path.join(heqis_train::train::run::FILE).exists();
        train(&config, &path, resume, &mut reporter)?;
        let run = TrainedRun::open(&path)?;
        export(&ExportArgs {
            run: path.clone(),
            compare: Vec::new(),
            out: dir.join("models"),
            target: "all".to_owned(),
            batch: None,
            factors_name: FACTORS.to_owned(),
            direction_name: DIRECTION.to_owned(),
        })?;
        run.corpus()?.seen_to().ok_or_else(|| {
            TrainError::training(path.display(), "was fitted on no sample".to_owned()).into()
        })
    }

    /// Predicts by the bundle of one generator.
    fn predict(
        &self,
        dir: &Path,
        name: &str,
        fitted_to: Date,
        bars: &[Bar],
    ) -> Result<Candidate, LabError> {
        let models = dir.join("models");
        let source = Source::Bundles {
            factors: Some(models.join(FACTORS)),
            direction: models.join(format!("{DIRECTION}-{name}")),
        };
        Candidate::of_bundles(name, &source, fitted_to, bars)
    }
}
