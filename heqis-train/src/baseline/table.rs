//! The bars of one instrument as a corpus, with the cleaner, features, scaler and labels of `heqis-quant`.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_data::digest::sha256_of_file;
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::series::compute;
use heqis_quant::{Date, FeatureSet};

use crate::corpus::{Corpus, CutConfig, FLAT_BAND, LookBack, Split, WINDOW_BARS};
use crate::error::TrainError;

/// Smallest number of samples in a span.
const MIN_SAMPLES: usize = 100;

/// The rows that a sample of the linear models reads.
const LOOK_BACK: LookBack = LookBack {
    window_bars: WINDOW_BARS,
    series_bars: 1,
    encoder_bars: 1,
};

/// All samples of one table of bars, with the origin of the data.
#[derive(Clone, Debug)]
pub struct TableCorpus {
    /// The samples.
    pub corpus: Corpus,
    /// File name of the data.
    pub source: String,
    /// SHA-256 of the data in lower-case hex.
    pub source_sha256: String,
    /// Number of bars that the cleaner passed.
    pub bars: usize,
    /// Number of bars that the cleaner rejected, by reason.
    pub rejects: BTreeMap<String, usize>,
    /// Number of passed bars with each mark.
    pub marks: BTreeMap<String, usize>,
}

impl TableCorpus {
    /// Reads the bars of one instrument and splits them at 60 % and 80 % of the samples; a file without a symbol column is
    /// named after its instrument: `002032.SZ.csv`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Data`] when the file cannot be read, too many rows are lost, or it has several instruments;
    /// [`TrainError::Rule`] when a span would have too few samples.
    pub fn read(path: &Path, import: &ImportArgs) -> Result<Self, TrainError> {
        let source_sha256 = sha256_of_file(path)?;
        let (symbol, bars, report) = import.one_series(path)?;
        let (mut rejects, mut marks) = (BTreeMap::new(), BTreeMap::new());
        for (reason, count) in report.series.iter().flat_map(|series| &series.rejected) {
            *rejects.entry(reason.clone()).or_insert(0) += count.count as usize;
        }
        for mark in bars.iter().flat_map(|bar| bar.marks.names()) {
            *marks.entry(mark.to_owned()).or_insert(0) += 1;
        }
        let features = FeatureSet::standard();
        let rows = compute(&bars, &features, FLAT_BAND)?;
        // Rows before the first full window and rows without a label give no sample.
        let days: Vec<Date> = (0..rows.len())
            .filter(|row| rows.features(*row).is_some())
            .skip(WINDOW_BARS - 1)
            .filter(|row| rows.next()[*row].is_some())
            .map(|row| rows.bars()[row].date)
            .collect();
        let too_few = || {
            let rule = format!(
                "needs at least {MIN_SAMPLES} samples in each of training, validation and test, has {} in all",
                days.len()
            );
            TrainError::rule(path.display(), rule)
        };
        if days.len() < Split::ALL.len() * MIN_SAMPLES {
            return Err(too_few());
        }
        let cut = CutConfig {
            validation_from: Some(days[days.len() * 3 / 5]),
            test_from: Some(days[days.len() * 4 / 5]),
            ..CutConfig::default()
        };
        let corpus = Corpus::new(vec![(symbol, rows)], features.names(), &cut, LOOK_BACK)?;
        if Split::ALL
            .iter()
            .any(|split| corpus.samples(*split).len() < MIN_SAMPLES)
        {
            return Err(too_few());
        }
        Ok(Self {
            corpus,
            source: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            source_sha256,
            bars: bars.len(),
            rejects,
            marks,
        })
    }

    /// Returns the number of feature rows that scaler and weights were fitted on: all up to the last training sample.
    #[must_use]
    pub fn training_rows(&self) -> usize {
        let samples = self.corpus.samples(Split::Training);
        samples.last().map_or(0, |sample| sample.row as usize + 1)
    }

    /// Returns the days of the first and the last sample of a span.
    #[must_use]
    pub(crate) fn days(&self, split: Split) -> (Date, Date) {
        let samples = self.corpus.samples(split);
        let day = |at: usize| {
            let (series, row) = self.corpus.place(&samples[at]);
            series.dates[row]
        };
        (day(0), day(samples.len() - 1))
    }
}
