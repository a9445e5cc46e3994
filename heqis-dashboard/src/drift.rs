//! Recent inputs compared with the span that the models were fitted on.

use std::collections::BTreeMap;

use heqis_quant::{QuantError, Scaler, Span};
use schemars::JsonSchema;
use serde::Serialize;

use crate::bars::BarStore;
use crate::error::DashboardError;
use crate::quality::Period;

/// Largest number of instruments evaluated when none is named.
const MAX_SYMBOLS: usize = 200;

/// The scaler of the models: the distribution of their training inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    source: String,
    scaler: Scaler,
}

impl Training {
    /// Returns the training span of `scaler`; `source` names its file or directory.
    #[must_use]
    pub fn new(source: String, scaler: Scaler) -> Self {
        Self { source, scaler }
    }

    /// Reads a scaler's file.
    ///
    /// # Errors
    /// [`DashboardError::File`] when it cannot be read, [`DashboardError::Quant`] when it breaks a rule.
    pub fn read(path: &std::path::Path) -> Result<Self, DashboardError> {
        let source = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let scaler: Result<Scaler, QuantError> = Scaler::from_json(&text);
                Ok(Self::new(source, scaler?))
            }
            Err(error) => Err(DashboardError::File {
                path: source,
                source: error,
            }),
        }
    }
}

/// Drift of all inputs.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Drift {
    /// File or directory of the scaler.
    pub source: String,
    /// Days that it was fitted on.
    pub span: Span,
    /// `min_max` or `z_score`.
    pub kind: String,
    /// Number of evaluated instruments, the first ones by code.
    pub symbols: u64,
    /// Number of all instruments.
    pub of: u64,
    /// Features that both the scaler and the bars have.
    pub features: Vec<FeatureDrift>,
}

/// Drift of one input.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FeatureDrift {
    /// Its name.
    pub name: String,
    /// Lower end of the scaler's range.
    pub low: f64,
    /// Upper end of the scaler's range.
    pub high: f64,
    /// Number of available rows of the training span.
    pub rows_inside: u64,
    /// Their mean; null without rows.
    pub mean: Option<f64>,
    /// Their standard deviation; null without rows or when they are constant.
    pub deviation: Option<f64>,
    /// Share of the later rows outside the scaler's range; null without rows.
    pub outside: Option<f64>,
    /// Mean of the later rows minus that of the training span, in standard deviations of the training span.
    pub shift: Option<f64>,
    /// The same by period.
    pub periods: Vec<PeriodDrift>,
}

/// Drift of one input in a period after the training span.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PeriodDrift {
    /// The period: 2014-07, 2014-Q3 or 2014.
    pub period: String,
    /// Number of rows.
    pub rows: u64,
    /// Share of them outside the scaler's range.
    pub outside: Option<f64>,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their mean minus that of the training span, in standard deviations of the training span.
    pub shift: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    rows: u64,
    sum: f64,
    squares: f64,
    outside: u64,
}

impl Sums {
    fn add(&mut self, value: f64, (low, high): (f64, f64)) {
        self.rows += 1;
        self.sum += value;
        self.squares += value * value;
        self.outside += u64::from(!(low..=high).contains(&value));
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            outside: self.outside + other.outside,
        }
    }

    fn mean(self) -> Option<f64> {
        (self.rows > 0).then(|| self.sum / self.rows as f64)
    }

    fn outside(self) -> Option<f64> {
        (self.rows > 0).then(|| self.outside as f64 / self.rows as f64)
    }

    /// Population standard deviation (divisor n), as in z-scores.
    fn deviation(self) -> Option<f64> {
        let mean = self.mean()?;
        let variance = self.squares / self.rows as f64 - mean * mean;
        (variance > 0.0).then(|| variance.sqrt())
    }
}

/// Compares the features of `bars`, or of one instrument, with the training span.
///
/// # Errors
/// [`DashboardError::Bars`] when bars cannot be read.
pub fn drift(
    training: &Training,
    bars: &dyn BarStore,
    symbol: Option<heqis_quant::Symbol>,
    period: Period,
) -> Result<Drift, DashboardError> {
    let scaler = &training.scaler;
    let span = scaler.span();
    let names = bars.feature_names();
    let columns: Vec<(&String, (f64, f64), usize)> = scaler
        .feature_names()
        .iter()
        .zip(scaler.ranges())
        .filter_map(|(name, range)| Some((name, range, names.iter().position(|own| own == name)?)))
        .collect();
    let symbols: Vec<_> = match symbol {
        Some(symbol) => vec![symbol],
        None => bars
            .listings()?
            .iter()
            .map(|listing| listing.symbol)
            .collect(),
    };
    let mut inside = vec![Sums::default(); columns.len()];
    let mut later: Vec<BTreeMap<String, Sums>> = vec![BTreeMap::new(); columns.len()];
    for symbol in symbols.iter().take(MAX_SYMBOLS) {
        let Some(series) = bars.series(*symbol)? else {
            continue;
        };
        for (row, bar) in series.bars().iter().enumerate() {
            let Some(values) = series.features(row) else {
                continue;
            };
            let name = (bar.date > span.to).then(|| period.of(bar.date));
            for (at, (_, range, column)) in columns.iter().enumerate() {
                let sums = match &name {
                    None if span.contains(bar.date) => &mut inside[at],
                    None => continue,
                    Some(name) => later[at].entry(name.clone()).or_default(),
                };
                sums.add(values[*column], *range);
            }
        }
    }
    let features = columns.iter().zip(inside).zip(later);
    Ok(Drift {
        source: training.source.clone(),
        span,
        kind: scaler.kind().name().to_owned(),
        symbols: symbols.len().min(MAX_SYMBOLS) as u64,
        of: symbols.len() as u64,
        features: features
            .map(|(((name, range, _), inside), later)| feature(name, *range, inside, later))
            .collect(),
    })
}

fn feature(
    name: &str,
    (low, high): (f64, f64),
    inside: Sums,
    later: BTreeMap<String, Sums>,
) -> FeatureDrift {
    let shift = |sums: Sums| Some((sums.mean()? - inside.mean()?) / inside.deviation()?);
    let all = later
        .values()
        .fold(Sums::default(), |all, sums| all.plus(*sums));
    FeatureDrift {
        name: name.to_owned(),
        low,
        high,
        rows_inside: inside.rows,
        mean: inside.mean(),
        deviation: inside.deviation(),
        outside: all.outside(),
        shift: shift(all),
        periods: later
            .into_iter()
            .map(|(period, sums)| PeriodDrift {
                period,
                rows: sums.rows,
                outside: sums.outside(),
                mean: sums.mean(),
                shift: shift(sums),
            })
            .collect(),
    }
}
