//! From bars to samples, with the cleaner, features, scaler, windows and labels of `heqis-quant`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use heqis_quant::label::{Label, next_bar_labels, split_by_date};
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Bar, Date, FeatureSet, FeatureState, RowWindow, Scaler, Span};

use crate::digest::sha256_of_file;
use crate::error::DataError;
use crate::import_args::ImportArgs;

/// Number of bars in one window.
pub const WINDOW_BARS: usize = 16;
/// Number of bars from a window's end to its label: the next bar.
pub const HORIZON_BARS: usize = 1;
/// Largest absolute return that counts as flat: half a per cent.
pub const FLAT_BAND: f64 = 0.005;
/// Smallest number of samples in a span.
pub const MIN_SAMPLES: usize = 100;
/// Names of the direction classes, in the order of the model's output.
pub const CLASSES: [&str; 3] = ["down", "flat", "up"];

/// Number of samples dropped before each boundary between spans, so that no bar is used on both sides, in a window or in
/// a label.
pub const PURGE: usize = WINDOW_BARS - 1 + HORIZON_BARS;

/// One window with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Time of the window's last bar, ns since 1970-01-01 UTC.
    pub time_ns: i64,
    /// Its trading day.
    pub date: Date,
    /// Scaled features, oldest bar first, row-major [window_bars, features].
    pub window: Vec<f32>,
    /// Close of that bar as in the table, CNY.
    pub close: f64,
    /// Return over the horizon in plain units.
    pub actual_return: f64,
    /// Index into [`CLASSES`].
    pub class: usize,
}

/// Three spans of sample indices in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    /// For fitting the scaler and the weights.
    pub training: Range<usize>,
    /// For choosing settings.
    pub validation: Range<usize>,
    /// For the final report, evaluated once.
    pub test: Range<usize>,
}

/// All samples of one file, split into spans, with the fitted scaler and the origin of the data.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Samples in the order of time.
    pub samples: Vec<Sample>,
    /// Training, validation and test.
    pub spans: Spans,
    /// The scaler, fitted on the training span.
    pub scaler: Scaler,
    /// Number of feature rows that the scaler was fitted on.
    pub training_rows: usize,
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

impl Prepared {
    /// Returns the names of the features, in the order of a row.
    pub fn feature_names(&self) -> &[String] {
        self.scaler.feature_names()
    }

    /// Returns the content of `scaler_params.json`.
    pub fn scaler_params(&self) -> Vec<u8> {
        let mut json = self.scaler.to_json();
        json.push('\n');
        json.into_bytes()
    }
}

/// One unscaled feature row with the label of its bar.
struct Row {
    time_ns: i64,
    date: Date,
    close: f64,
    values: Vec<f64>,
    label: Option<Label>,
}

/// Reads and prepares the bars of one instrument; a file without a symbol column is named after it: `002032.SZ.csv`.
///
/// # Errors
///
/// [`DataError::File`] and [`DataError::Table`] when the file cannot be read, [`DataError::TooMuchLost`] when too many
/// rows are lost, [`DataError::Rule`] when it has several instruments, and [`DataError::TooFewSamples`] when a span would be shorter than [`MIN_SAMPLES`].
pub fn prepare(path: &Path, import: &ImportArgs) -> Result<Prepared, DataError> {
    let shown = path.display().to_string();
    let source_sha256 = sha256_of_file(path)?;
    let (_, bars, report) = import.one_series(path)?;
    let (mut rejects, mut marks) = (BTreeMap::new(), BTreeMap::new());
    for (reason, count) in report.series.iter().flat_map(|series| &series.rejected) {
        *rejects.entry(reason.clone()).or_insert(0) += count.count as usize;
    }
    for mark in bars.iter().flat_map(|bar| bar.marks.names()) {
        *marks.entry(mark.to_owned()).or_insert(0) += 1;
    }
    let set = FeatureSet::standard();
    let rows = rows(&bars, &set)?;

    // Rows before the first full window and rows without a label give no sample.
    let dates: Vec<Date> = rows
        .iter()
        .skip(WINDOW_BARS - 1)
        .filter(|row| row.label.is_some())
        .map(|row| row.date)
        .collect();
    let spans = split(&dates).ok_or(DataError::TooFewSamples {
        path: shown,
        samples: dates.len(),
        least: MIN_SAMPLES,
    })?;

    // The rows of all training windows, and no row after them.
    let training_rows = &rows[..spans.training.end - 1 + WINDOW_BARS];
    let training_targets = training_rows[WINDOW_BARS - 1..]
        .iter()
        .filter_map(|row| row.label);
    let scaler = Scaler::fit(
        FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: WINDOW_BARS,
            span: Span::new(
                training_rows[0].date,
                training_rows[training_rows.len() - 1].date,
            )?,
        },
        set.names(),
        training_rows.iter().map(|row| row.values.as_slice()),
        training_targets.map(|label| label.next_return),
    )?;
    Ok(Prepared {
        samples: samples(&rows, &scaler)?,
        training_rows: training_rows.len(),
        spans,
        scaler,
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

/// Streams the bars through the features, like a board.
fn rows(bars: &[Bar], set: &FeatureSet) -> Result<Vec<Row>, DataError> {
    let labels = next_bar_labels(bars, FLAT_BAND)?;
    let mut state = FeatureState::new(set)?;
    let mut rows = Vec::new();
    for (bar, label) in bars.iter().zip(labels) {
        if let Some(values) = state.update(bar)? {
            rows.push(Row {
                time_ns: bar.time_ns,
                date: bar.date,
                close: bar.close,
                values,
                label,
            });
        }
    }
    Ok(rows)
}

/// Streams the rows through the scaler and the window, like a board, and returns each window with its label.
fn samples(rows: &[Row], scaler: &Scaler) -> Result<Vec<Sample>, DataError> {
    let mut window = RowWindow::new(WINDOW_BARS, scaler.n_features())?;
    let mut scaled = vec![0.0; scaler.n_features()];
    let mut samples = Vec::new();
    for row in rows {
        scaler.transform_into(&row.values, &mut scaled)?;
        if let (Some(window), Some(label)) = (window.push(&scaled)?, row.label) {
            samples.push(Sample {
                time_ns: row.time_ns,
                date: row.date,
                close: row.close,
                window: window.to_vec(),
                actual_return: label.next_return,
                class: label.direction.class(),
            });
        }
    }
    Ok(samples)
}

/// Splits at 60 % and 80 % of the samples; `None` if a span would be too short.
fn split(dates: &[Date]) -> Option<Spans> {
    let boundaries = [
        *dates.get(dates.len() * 3 / 5)?,
        *dates.get(dates.len() * 4 / 5)?,
    ];
    let ranges: [Range<usize>; 3] = split_by_date(dates, &boundaries, PURGE)
        .ok()?
        .try_into()
        .ok()?;
    let long_enough = ranges.iter().all(|range| range.len() >= MIN_SAMPLES);
    let [training, validation, test] = ranges;
    long_enough.then_some(Spans {
        training,
        validation,
        test,
    })
}
