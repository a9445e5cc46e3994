//! A data set as samples: the scaled rows of every series in memory, from which the windows of a batch are cut.

use super::config::{DataConfig, Symbols};
use super::cut::{Cut, SpanDays, usable};
use super::look_back::LookBack;
use crate::error::TrainError;
use burn::tensor::{Device, Tensor, TensorData};
use heqis_data::fetch::watch::WatchList;
use heqis_data::metrics::flat_warning;
use heqis_data::samples::{CLASSES, HORIZON_BARS};
use heqis_data::store::dataset::{Columns, DataSet};
use heqis_data::store::rows::Rows;
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Date, Scaler, Span, Symbol};
use std::collections::BTreeSet;

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
    /// The return of the next bar, in plain units.
    pub returns: Vec<f64>,
    /// The class of the next bar, an index into [`CLASSES`].
    pub classes: Vec<u8>,
    /// Scaled features, row-major `[rows, columns]`.
    rows: Vec<f32>,
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
    /// The span that networks are fitted on.
    Training,
    /// The span for early stopping and model selection.
    Validation,
    /// The span that is measured once, after training.
    Test,
}

/// The data of a training.
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
    /// Columns of a row: the features and, once appended, the factors.
    pub columns: usize,
    samples: [Vec<Sample>; 3],
}

/// One batch on a device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Windows, oldest row first, `[batch, longest window, columns]`.
    pub windows: Tensor<3>,
    /// Targets before the one to be predicted, oldest first, `[batch, longest series − 1]`.
    pub history: Tensor<2>,
    /// Classes of the history, one-hot, `[batch, longest series − 1, 3]`.
    pub history_classes: Tensor<3>,
    /// The target, `[batch, 1]`.
    pub target: Tensor<2>,
    /// Its class, one-hot, `[batch, 3]`.
    pub class: Tensor<2>,
}

impl Batch {
    /// Returns the last `bars` rows of the windows with their first `columns` columns, `[batch, bars, columns]`.
    #[must_use]
    pub fn window(&self, bars: usize, columns: usize) -> Tensor<3> {
        let [_, longest, all] = self.windows.dims();
        let cut = self.windows.clone();
        let cut = match bars < longest {
            true => cut.narrow(1, longest - bars, bars),
            false => cut,
        };
        match columns < all {
            true => cut.narrow(2, 0, columns),
            false => cut,
        }
    }

    /// Returns a series for a discriminator of `bars`, and its classes, ending in a candidate: `[batch, bars]` and
    /// `[batch, bars, 3]`. History is real; only the last value and class are the candidate's.
    #[must_use]
    pub fn series(
        &self,
        bars: usize,
        value: Tensor<2>,
        class: Tensor<2>,
    ) -> (Tensor<2>, Tensor<3>) {
        let [batch, longest] = self.history.dims();
        let past = bars.saturating_sub(1).min(longest);
        let class = class.reshape([batch, 1, CLASSES.len()]);
        if past == 0 {
            return (value, class);
        }
        let history = self.history.clone().narrow(1, longest - past, past);
        let classes = self.history_classes.clone().narrow(1, longest - past, past);
        (
            Tensor::cat(vec![history, value], 1),
            Tensor::cat(vec![classes, class], 1),
        )
    }
}

impl Corpus {
    /// Reads the chosen series of a data set, cuts the spans, and fits scaler and target scale on the training span.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the data set cannot be read, a symbol is not in it, a span has no sample, or a feature does not
    /// vary on the training span.
    pub fn load(
        data: &DataSet,
        config: &DataConfig,
        look_back: LookBack,
    ) -> Result<Self, TrainError> {
        let raw = read(data, config)?;
        let place = "data.set";
        let days: BTreeSet<Date> = raw
            .iter()
            .flat_map(|(_, rows)| usable(rows, config.to).map(|row| rows.bars()[row].date))
            .collect();
        let days: Vec<Date> = days.into_iter().collect();
        let boundary = |given: Option<Date>, share: usize| -> Result<Date, TrainError> {
            given
                .or_else(|| days.get(days.len() * share / 5).copied())
                .ok_or_else(|| TrainError::training(place, "has no row with features".to_owned()))
        };
        let boundaries = [
            boundary(config.validation_from, 3)?,
            boundary(config.test_from, 4)?,
        ];
        if boundaries[1] <= boundaries[0] {
            let rule = format!("must lie after {}, got {}", boundaries[0], boundaries[1]);
            return Err(TrainError::training("data.test_from", rule));
        }
        let purge_bars = config
            .purge_bars
            .unwrap_or(look_back.bars() - 1 + HORIZON_BARS);
        let cut = Cut::new(&days, boundaries, purge_bars, config.embargo_days);
        let days = cut.days(&raw, config.to)?;
        let (scaler, target_scale) = fit(&raw, &cut, &days.training, look_back.window_bars, data)?;

        let columns = scaler.n_features();
        let mut series = Vec::with_capacity(raw.len());
        for (symbol, rows) in raw {
            series.push(ScaledSeries::new(symbol, &rows, config.to, &scaler)?);
        }
        let mut corpus = Self {
            series,
            scaler,
            target_scale,
            days,
            look_back,
            columns,
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

    /// Returns the last day that a label of the training or the validation span is computed from.
    #[must_use]
    pub fn seen_to(&self) -> Option<Date> {
        let parts = [Split::Training, Split::Validation];
        let samples = parts.into_iter().flat_map(|part| self.samples(part));
        samples
            .map(|sample| self.series[sample.series as usize].label_dates[sample.row as usize])
            .max()
    }

    /// Returns a warning when nearly all labels of the training samples are flat.
    #[must_use]
    pub fn flat_warning(&self, flat_band: f64) -> Option<String> {
        let samples = self.samples(Split::Training);
        let class = |s: &Sample| {
            CLASSES[usize::from(self.series[s.series as usize].classes[s.row as usize])]
        };
        let flat = samples.iter().filter(|s| class(s) == "flat").count();
        flat_warning(flat as u64, samples.len() as u64, flat_band)
    }

    /// Returns the number of features, without factors.
    #[must_use]
    pub fn features(&self) -> usize {
        self.scaler.n_features()
    }

    /// Returns samples as tensors on a device.
    ///
    /// # Panics
    ///
    /// Panics when a sample does not belong to this corpus.
    #[must_use]
    pub fn batch(&self, samples: &[Sample], device: &Device) -> Batch {
        let (n, w, f) = (samples.len(), self.look_back.window_bars, self.columns);
        let past = self.look_back.series_bars - 1;
        let mut windows = Vec::with_capacity(n * w * f);
        let mut targets = Vec::with_capacity(n * (past + 1));
        let mut classes = Vec::with_capacity(n * (past + 1));
        for sample in samples {
            let series = &self.series[sample.series as usize];
            let row = sample.row as usize;
            windows.extend_from_slice(&series.rows[(row + 1 - w) * f..(row + 1) * f]);
            let labels = row - past..row + 1;
            targets.extend(
                series.returns[labels.clone()]
                    .iter()
                    .map(|r| self.target(*r)),
            );
            classes.extend_from_slice(&series.classes[labels]);
        }
        let one_hot: Vec<f32> = classes
            .iter()
            .flat_map(|class| {
                (0..CLASSES.len()).map(|c| f32::from(u8::from(c == usize::from(*class))))
            })
            .collect();
        let data = TensorData::new(windows, [n, w, f]);
        let targets = Tensor::<2>::from_data(TensorData::new(targets, [n, past + 1]), device);
        let one_hot = TensorData::new(one_hot, [n, past + 1, CLASSES.len()]);
        let one_hot = Tensor::<3>::from_data(one_hot, device);
        Batch {
            windows: Tensor::from_data(data, device),
            history: targets.clone().narrow(1, 0, past),
            history_classes: one_hot.clone().narrow(1, 0, past),
            target: targets.narrow(1, past, 1),
            class: one_hot.narrow(1, past, 1).reshape([n, CLASSES.len()]),
        }
    }

    /// Returns the windows of an encoder, ending in the samples' rows, `[batch, encoder_bars, features]`.
    ///
    /// # Panics
    ///
    /// Panics when a sample does not belong to this corpus.
    #[must_use]
    pub fn encoder_windows(&self, samples: &[Sample], device: &Device) -> Tensor<3> {
        let (bars, all, f) = (self.look_back.encoder_bars, self.columns, self.features());
        let mut windows = Vec::with_capacity(samples.len() * bars * f);
        for sample in samples {
            let rows = &self.series[sample.series as usize].rows;
            let row = sample.row as usize;
            for row in row + 1 - bars..=row {
                windows.extend_from_slice(&rows[row * all..row * all + f]);
            }
        }
        Tensor::from_data(TensorData::new(windows, [samples.len(), bars, f]), device)
    }

    /// Returns a return as a target.
    #[must_use]
    pub fn target(&self, next_return: f64) -> f32 {
        (next_return / self.target_scale) as f32
    }

    /// Appends the factors of an encoder to every row with enough rows before it; `encode` receives windows of features,
    /// `[batch, encoder_bars, features]`, and returns `[batch, factors]`. No window contains a row without factors.
    ///
    /// # Errors
    ///
    /// The error of `encode`.
    pub fn append_factors(
        &mut self,
        factors: usize,
        device: &Device,
        mut encode: impl FnMut(Tensor<3>) -> Result<Vec<f32>, TrainError>,
    ) -> Result<(), TrainError> {
        /// Rows encoded at once.
        const CHUNK: usize = 512;
        let (bars, f) = (self.look_back.encoder_bars, self.columns);
        for series in &mut self.series {
            let rows = series.dates.len();
            let mut wide = vec![0.0; rows * (f + factors)];
            for row in 0..rows {
                wide[row * (f + factors)..][..f].copy_from_slice(&series.rows[row * f..][..f]);
            }
            let encoded: Vec<usize> = (bars - 1..rows.max(bars - 1)).collect();
            for chunk in encoded.chunks(CHUNK) {
                let windows: Vec<f32> = chunk
                    .iter()
                    .flat_map(|row| &series.rows[(row + 1 - bars) * f..(row + 1) * f])
                    .copied()
                    .collect();
                let data = TensorData::new(windows, [chunk.len(), bars, f]);
                let codes = encode(Tensor::from_data(data, device))?;
                for (row, code) in chunk.iter().zip(codes.chunks(factors)) {
                    wide[row * (f + factors) + f..][..factors].copy_from_slice(code);
                }
            }
            series.rows = wide;
        }
        self.columns = f + factors;
        Ok(())
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
                let Some(part) =
                    part.filter(|part| boundary(*part).is_none_or(|next| label < *next))
                else {
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
        let names = ["training", "validation", "test"];
        match parts.iter().zip(names).find(|(part, _)| part.is_empty()) {
            Some((_, name)) => Err(TrainError::training(
                format!("{name} span"),
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
            rows: vec![],
        };
        let mut scaled = vec![0.0; scaler.n_features()];
        for row in usable(rows, to) {
            let (Some(values), Some(next)) = (rows.features(row), rows.next()[row]) else {
                continue;
            };
            scaler.transform_into(values, &mut scaled)?;
            series.rows.extend_from_slice(&scaled);
            series.dates.push(rows.bars()[row].date);
            series.times_ns.push(rows.bars()[row].time_ns);
            series.label_dates.push(next.date);
            series.closes.push(rows.bars()[row].close);
            series.returns.push(next.next_return);
            series.classes.push(next.direction.class() as u8);
        }
        Ok(series)
    }
}

/// Reads the configured series.
fn read(data: &DataSet, config: &DataConfig) -> Result<Vec<(Symbol, Rows)>, TrainError> {
    let chosen = match &config.symbols {
        Symbols::All(_) => {
            let mut reader = data.series(Columns::All)?;
            let mut all = Vec::new();
            while let Some(rows) = reader.next()? {
                if let Some(bar) = rows.bars().first() {
                    all.push((bar.symbol, rows));
                }
            }
            return Ok(all);
        }
        Symbols::One(symbol) => vec![*symbol],
        Symbols::List(symbols) => symbols.clone(),
        Symbols::Sector(sector) => {
            let path = &sector.watch_list;
            let text =
                std::fs::read_to_string(path).map_err(|source| TrainError::file(path, source))?;
            let list: WatchList =
                toml::from_str(&text).map_err(|source| TrainError::toml(path, source))?;
            members(&list, &sector.sector, data)?
        }
    };
    let chosen: BTreeSet<Symbol> = chosen.into_iter().collect();
    chosen
        .into_iter()
        .map(|symbol| {
            let rows = data.symbol(symbol, Columns::All)?;
            match rows.is_empty() {
                true => Err(TrainError::training(
                    "data.symbols",
                    format!("{symbol} is not in the data set"),
                )),
                false => Ok((symbol, rows)),
            }
        })
        .collect()
}

/// Returns the symbols of a sector, given by code with or without the exchange.
fn members(list: &WatchList, sector: &str, data: &DataSet) -> Result<Vec<Symbol>, TrainError> {
    let refuse = |rule: String| TrainError::training("data.symbols", rule);
    let found = list.sector.iter().find(|s| s.name == sector);
    let found = found.ok_or_else(|| refuse(format!("the watch list has no sector {sector}")))?;
    found
        .stocks
        .iter()
        .map(|text| {
            let known = data.manifest().symbols.iter().map(|entry| entry.symbol);
            let mut known = known.filter(|symbol| {
                let code = symbol.as_str().split('.').next();
                symbol.as_str() == text || code == Some(text)
            });
            known.next().ok_or_else(|| {
                refuse(format!(
                    "{text} of sector {sector} must be the code of a series in the data set"
                ))
            })
        })
        .collect()
}

/// Fits the scaler and the scale of targets on the training span.
fn fit(
    raw: &[(Symbol, Rows)],
    cut: &Cut,
    span: &Span,
    window_bars: usize,
    data: &DataSet,
) -> Result<(Scaler, f64), TrainError> {
    let names = &data.manifest().settings.features;
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
            let (Some(values), Some(next)) = (rows.features(row), rows.next()[row]) else {
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
            if span.contains(next.date) {
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
