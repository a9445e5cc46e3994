//! The scaler of a version, fitted on its training span.

use std::path::Path;

use heqis_quant::scaler::{FitOptions, ScalerKind, Spread};
use heqis_quant::{Date, Scaler, Span};

use super::parallel::parallel_map;
use crate::error::DataError;
use crate::store::dataset::{Columns, DataSet};
use crate::store::{NextBar, Rows};

/// The statistics on which a scaler depends, of each feature and of the target: see [`Spread`].
///
/// The scaler is fitted from them instead of all rows, so that memory does not grow with the market. Mean and deviation
/// take two passes, since the sums of squares of a single pass lose precision by cancellation.
#[derive(Clone, Debug)]
struct Summary {
    /// One for each feature, and a last one for the target.
    columns: Vec<Column>,
    first: Option<Date>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    count: u64,
    least: f64,
    greatest: f64,
    /// Sums of the values minus `center`, and of their squares.
    sums: [f64; 2],
}

impl Summary {
    fn new(features: usize) -> Self {
        let column = Column {
            count: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            sums: [0.0; 2],
        };
        Self {
            columns: vec![column; features + 1],
            first: None,
        }
    }

    /// Adds the rows of the training span. A label counts only if the bar after it is also in the span.
    fn add(&mut self, rows: &Rows, train_to: Date, centers: &[f64]) {
        for (row, bar) in rows.bars().iter().enumerate() {
            let Some(values) = rows.features(row).filter(|_| bar.date <= train_to) else {
                continue;
            };
            self.first = Some(self.first.map_or(bar.date, |first| first.min(bar.date)));
            let next = rows.next()[row].filter(|next| next.date <= train_to);
            let target = next.map(|NextBar { next_return, .. }| next_return);
            let columns = self.columns.iter_mut().zip(centers);
            // Without a target the values end before the last column.
            for ((column, center), value) in columns.zip(values.iter().copied().chain(target)) {
                column.count += 1;
                column.least = column.least.min(value);
                column.greatest = column.greatest.max(value);
                let off = value - center;
                column.sums[0] += off;
                column.sums[1] += off * off;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.columns.iter_mut().zip(&other.columns) {
            ours.count += theirs.count;
            ours.least = ours.least.min(theirs.least);
            ours.greatest = ours.greatest.max(theirs.greatest);
            ours.sums[0] += theirs.sums[0];
            ours.sums[1] += theirs.sums[1];
        }
        self.first = match (self.first, other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Returns the mean of each column, given the centers of this pass.
    fn means(&self, centers: &[f64]) -> Vec<f64> {
        let columns = self.columns.iter().zip(centers);
        columns
            .map(|(column, center)| center + column.sums[0] / column.count as f64)
            .collect()
    }

    fn spreads(&self, means: &[f64]) -> Vec<Spread> {
        let columns = self.columns.iter().zip(means);
        columns
            .map(|(column, mean)| Spread {
                count: column.count,
                least: column.least,
                greatest: column.greatest,
                mean: *mean,
                deviation: (column.sums[1] / column.count as f64).sqrt(),
            })
            .collect()
    }
}

/// Fits a scaler on every feature row up to and including `train_to`, and returns it with the number of rows. The features
/// have none on the first `warmup_bars` of a series.
///
/// # Errors
///
/// [`DataError::Rule`] when no feature row is in the span, [`DataError::Table`] when a feature does not vary in it, and
/// the errors of reading.
pub fn fit(
    data: &DataSet,
    root: &Path,
    train_to: Date,
    threads: usize,
    warmup_bars: usize,
) -> Result<(Scaler, u64), DataError> {
    let settings = &data.manifest().settings;
    let mut centers = vec![0.0; settings.features.len() + 1];
    let mut all = summary(data, train_to, &centers, threads)?;
    let (target, rows) = (all.columns.last().copied(), all.columns[0].count);
    let Some(first) = all.first.filter(|_| target.is_some_and(|t| t.count > 0)) else {
        return Err(DataError::kind(
            root,
            format!(
                "no labelled feature row up to {train_to} for the scaler; the first {warmup_bars} bars of a series have none"
            ),
        ));
    };
    if settings.scaler == ScalerKind::ZScore {
        centers = all.means(&centers);
        all = summary(data, train_to, &centers, threads)?;
    }
    let mut spreads = all.spreads(&centers);
    let Some(target) = spreads.pop() else {
        return Err(DataError::kind(root, "must have a target"));
    };
    let scaler = Scaler::from_spreads(
        FitOptions {
            kind: settings.scaler,
            out_of_range: settings.out_of_range,
            window_size: settings.window_bars,
            span: Span::new(first, train_to)?,
        },
        &settings.features,
        &spreads,
        target,
    )?;
    Ok((scaler.with_target(settings.target), rows))
}

/// Summarizes all rows of the span. Each year is summed separately and the sums are added in the order of years, so that
/// the result does not depend on the number of threads.
fn summary(
    data: &DataSet,
    train_to: Date,
    centers: &[f64],
    threads: usize,
) -> Result<Summary, DataError> {
    let features = centers.len() - 1;
    let years = data.manifest().files.len();
    let years: Vec<usize> = (0..years).collect();
    let summaries = parallel_map(threads, &years, |&year| {
        let mut summary = Summary::new(features);
        data.scan(year..year + 1, Columns::All, |rows| {
            summary.add(&rows, train_to, centers);
            Ok(())
        })?;
        Ok(summary)
    })?;
    let mut all = Summary::new(features);
    for summary in &summaries {
        all.merge(summary);
    }
    Ok(all)
}
