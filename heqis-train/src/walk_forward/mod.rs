//! Walk-forward retraining of a pool: every fold's models are fitted on earlier days only, and their forecasts of all folds are
//! measured together, day by day.
//!
//! - Here: the folds of a data set, and one run over them.
//! - [`models`]: the models that are compared, linear ones, trees and networks.
//! - [`record`]: the files of a run, for the page and for other programs.
//!
//! ```text
//! days  ├──── training ────┼ validation ┤purge├ fold 1 ┤
//!       ├───────── training ────────┼ validation ┤purge├ fold 2 ┤
//! ```
//!
//! The last fifth of the days before a fold is its validation span, on which settings and epochs are chosen.
//!
//! Not here: money. A rank correlation says whether forecasts order the instruments of a day; what is left of it after costs,
//! a backtest says.

use std::path::PathBuf;

use heqis_data::store::DataSet;
use heqis_quant::Date;

use self::models::{FoldForecast, evaluate};
use self::record::{FoldRecord, WalkForwardRecord};
use crate::corpus::{Corpus, Sample, Split};
use crate::error::TrainError;
use crate::train::TrainConfig;

pub mod models;
pub mod record;

/// The last of this number of parts of the days before a fold is its validation span.
const VALIDATION_PART: usize = 5;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct WalkForward {
    /// The settings of the trainings; the folds replace the spans, and each seed its own.
    pub config: TrainConfig,
    /// First day of the first fold.
    pub from: Date,
    /// Last day of the last fold; default: the last day of the data set.
    pub to: Option<Date>,
    /// Number of folds, at least 1.
    pub folds: usize,
    /// Number of trainings of each fold, with the seeds from that of the settings on; 0 compares no networks.
    pub seeds: u64,
    /// The directory of trainings and results. A run that was interrupted is continued.
    pub out: PathBuf,
}

/// The days of one fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldDays {
    /// First day of the validation span.
    pub validation_from: Date,
    /// First evaluated day.
    pub from: Date,
    /// Last evaluated day.
    pub to: Date,
    /// Last day that is read, by which the labels of the evaluated days are known.
    pub read_to: Date,
}

/// Cuts sorted days into folds whose lengths differ by at most one day; the labels of a day are known `horizon` days later.
///
/// # Errors
///
/// [`TrainError::Rule`] when a fold or the days before the first one would be empty.
pub fn folds(
    days: &[Date],
    from: Date,
    to: Option<Date>,
    folds: usize,
    horizon: usize,
) -> Result<Vec<FoldDays>, TrainError> {
    let refuse = |rule: String| Err(TrainError::training("folds", rule));
    let first = days.partition_point(|day| *day < from);
    let end = to.map_or(days.len(), |to| days.partition_point(|day| *day <= to));
    let count = end.saturating_sub(first);
    if folds == 0 || count < folds {
        return refuse(format!(
            "must be at least 1 and at most the {count} days from {from} on, got {folds}"
        ));
    }
    if first < VALIDATION_PART {
        return refuse(format!(
            "must begin after at least {VALIDATION_PART} days, got {first} before {from}"
        ));
    }
    let place = |fold: usize| first + count * fold / folds;
    let cut = (0..folds).map(|fold| {
        let (start, last) = (place(fold), place(fold + 1) - 1);
        FoldDays {
            validation_from: days[start - start / VALIDATION_PART],
            from: days[start],
            to: days[last],
            read_to: days[(last + horizon).min(days.len() - 1)],
        }
    });
    Ok(cut.collect())
}

impl WalkForward {
    /// Runs over all folds, writes the results, and returns them. `progress` receives a line for each step.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a setting is refused, a fold has too few samples, or a file cannot be read or written.
    pub fn run(&self, progress: &mut dyn FnMut(&str)) -> Result<WalkForwardRecord, TrainError> {
        self.config.check()?;
        let data = DataSet::open(&self.config.data.set)?;
        let target = data.manifest().settings.target;
        let files = data.manifest().files.iter();
        let days: Vec<Date> = files.flat_map(|file| file.days.clone()).collect();
        let folds = folds(&days, self.from, self.to, self.folds, target.horizon_bars())?;
        let mut records = Vec::new();
        let mut forecasts: Vec<FoldForecast> = Vec::new();
        for (at, fold) in folds.iter().enumerate() {
            let config = self.config_of(fold, target.horizon_bars());
            let corpus = Corpus::load(&data, &config.data, config.look_back())?;
            let samples = evaluated(&corpus, fold);
            if samples.is_empty() {
                let rule = format!("has no sample from {} to {}", fold.from, fold.to);
                return Err(TrainError::training(format!("fold {}", at + 1), rule));
            }
            records.push(FoldRecord::new(&corpus, fold, samples.len()));
            let dir = self.out.join("folds").join(format!("fold-{}", at + 1));
            progress(&format!(
                "fold {} of {}: {} to {}, {} samples",
                at + 1,
                folds.len(),
                fold.from,
                fold.to,
                samples.len()
            ));
            forecasts.extend(evaluate(
                self, &config, &corpus, samples, at, &dir, progress,
            )?);
        }
        record::write(self, &data, records, &forecasts)
    }

    /// Returns the settings of a fold. The embargo is part of the purge, so that no evaluated day is left out.
    fn config_of(&self, fold: &FoldDays, horizon: usize) -> TrainConfig {
        let mut config = self.config.clone();
        let least = config.look_back().purge_bars(horizon);
        let data = &mut config.data;
        data.purge_bars = Some(data.purge_bars.unwrap_or(0).max(least) + data.embargo_days);
        data.embargo_days = 0;
        data.validation_from = Some(fold.validation_from);
        data.test_from = Some(fold.from);
        data.to = Some(fold.read_to);
        config
    }
}

/// Returns the samples of a fold's days.
fn evaluated(corpus: &Corpus, fold: &FoldDays) -> Vec<Sample> {
    let samples = corpus.samples(Split::Test).iter();
    let inside = samples.filter(|sample| {
        let (series, row) = corpus.place(sample);
        (fold.from..=fold.to).contains(&series.dates[row])
    });
    inside.copied().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn folds_follow_each_other_and_read_as_far_as_their_labels() {
        let days: Vec<Date> = (0..100).map(|day| Date::from_days(day).unwrap()).collect();
        let cut = folds(&days, days[50], None, 3, 2).unwrap();
        let starts: Vec<i32> = cut.iter().map(|fold| fold.from.days()).collect();
        assert_eq!(starts, [50, 66, 83]);
        for pair in cut.windows(2) {
            assert_eq!(pair[0].to.days() + 1, pair[1].from.days());
            assert_eq!(pair[0].read_to.days(), pair[0].to.days() + 2);
        }
        assert_eq!((cut[2].to, cut[2].read_to), (days[99], days[99]));
        assert_eq!(cut[0].validation_from, days[40]);
        let text = |result: Result<Vec<FoldDays>, TrainError>| result.unwrap_err().to_string();
        assert!(text(folds(&days, days[98], None, 3, 1)).contains("at most the 2 days"));
        assert!(text(folds(&days, days[3], None, 1, 1)).contains("got 3 before"));
        assert!(text(folds(&days, days[50], None, 0, 1)).contains("got 0"));
    }
}
