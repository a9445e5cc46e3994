//! The scaler of a version, fitted on its training span.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{Date, Scaler, Span};

use crate::error::LabError;
use crate::store::dataset::{Columns, DataSet};
use crate::store::{NextBar, Rows};

/// What a min-max scaler depends on: the least and the greatest value of each feature and of the target.
///
/// Handing the scaler these two rows instead of all of them gives the same scaler and needs no memory for a market.
#[derive(Clone, Debug, Default, PartialEq)]
struct Extremes {
    least: Vec<f64>,
    greatest: Vec<f64>,
    targets: Option<(f64, f64)>,
    rows: u64,
    first: Option<Date>,
}

impl Extremes {
    /// Takes the rows of one piece that lie in the training span. A label counts only when the bar that it looks at
    /// lies in the span too.
    fn take(&mut self, rows: &Rows, train_to: Date) {
        for (row, bar) in rows.bars().iter().enumerate() {
            let Some(values) = rows.features(row).filter(|_| bar.date <= train_to) else {
                continue;
            };
            self.merge_row(values, values);
            self.rows += 1;
            self.first = Some(self.first.map_or(bar.date, |first| first.min(bar.date)));
            if let Some(NextBar { next_return, .. }) =
                rows.next()[row].filter(|next| next.date <= train_to)
            {
                self.merge_targets((next_return, next_return));
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.rows > 0 {
            self.merge_row(&other.least, &other.greatest);
        }
        if let Some(targets) = other.targets {
            self.merge_targets(targets);
        }
        self.rows += other.rows;
        self.first = match (self.first, other.first) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn merge_row(&mut self, least: &[f64], greatest: &[f64]) {
        if self.least.is_empty() {
            self.least = least.to_vec();
            self.greatest = greatest.to_vec();
        }
        for (i, (low, high)) in least.iter().zip(greatest).enumerate() {
            self.least[i] = self.least[i].min(*low);
            self.greatest[i] = self.greatest[i].max(*high);
        }
    }

    fn merge_targets(&mut self, (low, high): (f64, f64)) {
        let (least, greatest) = self.targets.unwrap_or((low, high));
        self.targets = Some((least.min(low), greatest.max(high)));
    }
}

/// Fits a min-max scaler on every feature row up to `train_to`, included, and returns it with the number of rows.
///
/// # Errors
///
/// [`LabError::DataSet`] when no feature row lies in the span, [`LabError::Quant`] when a feature does not vary in it, and
/// the errors of reading.
pub fn fit(
    data: &DataSet,
    root: &Path,
    train_to: Date,
    threads: usize,
) -> Result<(Scaler, u64), LabError> {
    let settings = &data.manifest().settings;
    let years = data.manifest().files.len();
    let next = AtomicUsize::new(0);
    let found: Vec<Mutex<Option<Result<Extremes, LabError>>>> =
        (0..years).map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, years.max(1)) {
            scope.spawn(|| {
                loop {
                    let year = next.fetch_add(1, Ordering::Relaxed);
                    let Some(place) = found.get(year) else { break };
                    let mut extremes = Extremes::default();
                    let scanned = data.scan(year..year + 1, Columns::All, |rows| {
                        extremes.take(&rows, train_to);
                        Ok(())
                    });
                    *place.lock().unwrap_or_else(|e| e.into_inner()) =
                        Some(scanned.map(|()| extremes));
                }
            });
        }
    });
    let mut all = Extremes::default();
    for place in found {
        if let Some(year) = place.into_inner().unwrap_or_else(|e| e.into_inner()) {
            all.merge(&year?);
        }
    }
    let (Some(first), Some((low, high))) = (all.first, all.targets) else {
        return Err(LabError::data_set(
            root,
            format!(
                "no labelled feature row up to {train_to}, and the scaler needs some; a series gives none in its first {} bars",
                heqis_quant::FeatureSet::parse(&settings.features)?.warmup_bars()
            ),
        ));
    };
    let scaler = Scaler::fit(
        FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: settings.window_bars,
            span: Span::new(first, train_to)?,
        },
        &settings.features,
        [all.least.as_slice(), all.greatest.as_slice()],
        [low, high],
    )?;
    Ok((scaler, all.rows))
}
