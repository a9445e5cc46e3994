//! Samples: the scaled rows of every series in memory, each window of which is a sample with the label of its last row.
//! Linear models, baselines and networks are all fitted and measured on them.
//!
//! - Here: the corpus and its samples. [`cut`]: which span a row belongs to; [`look_back`]: the rows that a sample reads.

use std::collections::BTreeSet;

use heqis_data::prepare::flat::flat_warning;
use heqis_data::store::rows::Rows;
use heqis_quant::label::Direction;
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::target::Target;
use heqis_quant::{Date, Scaler, Span, Symbol};

use self::cut::{Cut, usable};
use crate::error::TrainError;

pub mod cut;
pub mod look_back;

pub use cut::{CutConfig, SpanDays};
pub use look_back::LookBack;

/// Number of bars in one window of the linear models, and the default of `prepare`.
pub const WINDOW_BARS: usize = 16;
/// Number of bars from a window's end to the label of the default target: the next bar.
pub const HORIZON_BARS: usize = 1;
/// Largest absolute return that counts as flat: half a per cent.
pub const FLAT_BAND: f64 = 0.005;
/// Names of the direction classes, in the order of a model's output.
pub const CLASSES: [&str; 3] = ["down", "flat", "up"];

/// One series with its scaled rows and their labels.
#[derive(Clone, Debug)]
pub struct ScaledSeries {
    /// The instrument.
    pub symbol: Symbol,
    /// The day of each row.
    pub dates: Vec<Date>,
    /// The time of each row's bar, ns since 1970-01-01 UTC.
    pub times_ns: Vec<i64>,
    /// The day of the bar that each label is computed from.
    pub label_dates: Vec<Date>,
    /// The close of each row's bar.
    pub closes: Vec<f64>,
    /// The value of each label: for the default target the return of the next bar, in plain units. 0 without a label.
    pub returns: Vec<f64>,
    /// The class of each label, an index into [`CLASSES`]; flat without a label.
    pub classes: Vec<u8>,
    /// Whether each row has a label; a row without one is no sample.
    pub labelled: Vec<bool>,
    /// Scaled features, row-major `[rows, columns]`.
    pub(crate) rows: Vec<f32>,
}

/// One row of one series: the last row of a window, with its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Index of the series.
    pub series: u32,
    /// Row in the series: the last of the window.
    pub row: u32,
}

/// A span of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The span that models are fitted on.
    Training,
    /// The span for early stopping and model selection.
    Validation,
    /// The span that is measured once, after training.
    Test,
}

impl Split {
    /// The spans in the order of time.
    pub const ALL: [Self; 3] = [Self::Training, Self::Validation, Self::Test];

    /// Returns the name in tables and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Series with their samples, cut into spans.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// The series, in the order of symbols.
    pub series: Vec<ScaledSeries>,
    /// The scaler of the features, fitted on the training span.
    pub scaler: Scaler,
    /// The divisor that makes targets of returns: their root mean square on the training span. The sign is kept.
    pub target_scale: f64,
    /// The days of the spans.
    pub days: SpanDays,
    /// The number of rows that a sample reads.
    pub look_back: LookBack,
    /// What the labels are.
    pub target: Target,
    /// Columns of a row: the features and, once appended, the factors.
    pub columns: usize,
    samples: [Vec<Sample>; 3],
}

impl Corpus {
    /// Cuts the rows of series into spans, and fits scaler and target scale on the training span. `features` are the names of
    /// the rows' features.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a span has no sample, or a feature does not vary on the training span.
    pub fn new(
        raw: Vec<(Symbol, Rows)>,
        features: &[impl AsRef<str>],
        config: &CutConfig,
        look_back: LookBack,
    ) -> Result<Self, TrainError> {
        let days: BTreeSet<Date> = raw
            .iter()
            .flat_map(|(_, rows)| usable(rows, config.to).map(|row| rows.bars()[row].date))
            .collect();
        let days: Vec<Date> = days.into_iter().collect();
        let cut = Cut::new(&days, config, look_back)?;
        let days = cut.days(&raw, config.to)?;
        let (scaler, target_scale) =
            fit(&raw, &cut, &days.training, look_back.window_bars, features)?;
        let mut series = Vec::with_capacity(raw.len());
        for (symbol, rows) in raw {
            series.push(ScaledSeries::new(symbol, &rows, config.to, &scaler)?);
        }
        let mut corpus = Self {
            series,
            columns: scaler.n_features(),
            scaler: scaler.with_target(config.target),
            target_scale,
            days,
            look_back,
            target: config.target,
            samples: Default::default(),
        };
        corpus.samples = corpus.cut(config.stride.max(1), &cut)?;
        Ok(corpus)
    }

    /// Returns the samples of a span, series by series and in the order of time.
    #[must_use]
    pub fn samples(&self, split: Split) -> &[Sample] {
        &self.samples[split as usize]
    }

    /// Returns the series of a sample and its row there.
    ///
    /// # Panics
    ///
    /// Panics when the sample does not belong to this corpus.
    #[must_use]
    pub fn place(&self, sample: &Sample) -> (&ScaledSeries, usize) {
        (&self.series[sample.series as usize], sample.row as usize)
    }

    /// Returns the last `bars` rows up to that of a sample, oldest first, row-major `[bars, columns]`.
    ///
    /// # Panics
    ///
    /// Panics when the sample does not belong to this corpus, or has fewer rows before it.
    #[must_use]
    pub fn window(&self, sample: &Sample, bars: usize) -> &[f32] {
        let (series, row) = self.place(sample);
        &series.rows[(row + 1 - bars) * self.columns..(row + 1) * self.columns]
    }

    /// Returns the last day that a label of the training or the validation span is computed from.
    #[must_use]
    pub fn seen_to(&self) -> Option<Date> {
        let parts = [Split::Training, Split::Validation];
        let samples = parts.into_iter().flat_map(|part| self.samples(part));
        samples
            .map(|sample| self.place(sample))
            .map(|(series, row)| series.label_dates[row])
            .max()
    }

    /// Returns a warning when nearly all labels of the training samples are flat.
    #[must_use]
    pub fn flat_warning(&self, flat_band: f64) -> Option<String> {
        let samples = self.samples(Split::Training).iter();
        let classes = samples.map(|sample| self.place(sample));
        let flat =
            classes.filter(|(series, row)| CLASSES[usize::from(series.classes[*row])] == "flat");
        flat_warning(
            flat.count() as u64,
            self.samples(Split::Training).len() as u64,
            flat_band,
        )
    }

    /// Returns the number of features, without factors.
    #[must_use]
    pub fn features(&self) -> usize {
        self.scaler.n_features()
    }

    /// Returns a return as a target.
    #[must_use]
    pub fn target(&self, next_return: f64) -> f32 {
        (next_return / self.target_scale) as f32
    }

    /// Cuts the samples of the spans. A sample belongs to a span when its row does and the day of its label lies before the
    /// next span begins, so that a suspended series does not leak either.
    fn cut(&self, stride: usize, cut: &Cut) -> Result<[Vec<Sample>; 3], TrainError> {
        let mut parts: [Vec<Sample>; 3] = Default::default();
        let first = self.look_back.bars() - 1;
        for (at, series) in self.series.iter().enumerate() {
            for row in first..series.dates.len() {
                let label = series.label_dates[row];
                let boundary = |part: usize| cut.boundaries.get(part);
                let part = cut.part(&series.dates, row);
                let is_inside = |part: &usize| boundary(*part).is_none_or(|next| label < *next);
                let Some(part) = part.filter(|part| series.labelled[row] && is_inside(part)) else {
                    continue;
                };
                if part == 0 && !(row - first).is_multiple_of(stride) {
                    continue;
                }
                parts[part].push(Sample {
                    series: at as u32,
                    row: row as u32,
                });
            }
        }
        match parts
            .iter()
            .zip(Split::ALL)
            .find(|(part, _)| part.is_empty())
        {
            Some((_, split)) => Err(TrainError::training(
                format!("{} span", split.name()),
                format!("no series has {} rows and a label in it", first + 1),
            )),
            None => Ok(parts),
        }
    }
}

impl ScaledSeries {
    fn new(
        symbol: Symbol,
        rows: &Rows,
        to: Option<Date>,
        scaler: &Scaler,
    ) -> Result<Self, TrainError> {
        let mut series = Self {
            symbol,
            dates: vec![],
            times_ns: vec![],
            label_dates: vec![],
            closes: vec![],
            returns: vec![],
            classes: vec![],
            labelled: vec![],
            rows: vec![],
        };
        let mut scaled = vec![0.0; scaler.n_features()];
        for row in usable(rows, to) {
            let Some(values) = rows.features(row) else {
                continue;
            };
            let (bar, next) = (&rows.bars()[row], rows.next()[row]);
            scaler.transform_into(values, &mut scaled)?;
            series.rows.extend_from_slice(&scaled);
            series.dates.push(bar.date);
            series.times_ns.push(bar.time_ns);
            series
                .label_dates
                .push(next.map_or(bar.date, |next| next.date));
            series.closes.push(bar.close);
            series
                .returns
                .push(next.map_or(0.0, |next| next.next_return));
            let direction = next.map_or(Direction::Flat, |next| next.direction);
            series.classes.push(direction.class() as u8);
            series.labelled.push(next.is_some());
        }
        Ok(series)
    }
}

/// Fits the scaler and the scale of targets on the training span.
fn fit(
    raw: &[(Symbol, Rows)],
    cut: &Cut,
    span: &Span,
    window_bars: usize,
    names: &[impl AsRef<str>],
) -> Result<(Scaler, f64), TrainError> {
    // A min-max scaler depends only on the least and the greatest values, which need no copy of all rows.
    let mut least = vec![f64::INFINITY; names.len()];
    let mut greatest = vec![f64::NEG_INFINITY; names.len()];
    let (mut squares, mut count) = (0.0, 0u64);
    let mut targets = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, rows) in raw {
        // No limit is needed: the training span ends before the last day that is read.
        let places: Vec<usize> = usable(rows, None).collect();
        let dates: Vec<Date> = places.iter().map(|row| rows.bars()[*row].date).collect();
        for (place, row) in places.into_iter().enumerate() {
            let Some(values) = rows.features(row) else {
                continue;
            };
            if cut.part(&dates, place) != Some(0) {
                continue;
            }
            for (i, value) in values.iter().enumerate() {
                least[i] = least[i].min(*value);
                greatest[i] = greatest[i].max(*value);
            }
            // A label whose day lies after the span is not part of it.
            if let Some(next) = rows.next()[row].filter(|next| span.contains(next.date)) {
                squares += next.next_return * next.next_return;
                count += 1;
                targets.0 = targets.0.min(next.next_return);
                targets.1 = targets.1.max(next.next_return);
            }
        }
    }
    let target_scale = (squares / count.max(1) as f64).sqrt();
    if !(target_scale.is_finite() && target_scale > 0.0) {
        let rule = "its returns must vary".to_owned();
        return Err(TrainError::training("training span", rule));
    }
    let scaler = Scaler::fit(
        FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: window_bars,
            span: *span,
        },
        names,
        [least.as_slice(), greatest.as_slice()],
        [targets.0, targets.1],
    )?;
    Ok((scaler, target_scale))
}
