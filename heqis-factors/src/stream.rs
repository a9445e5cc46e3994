//! The factors of one instrument, bar by bar.

use crate::fault::FactorError;
use crate::series::Series;
use crate::set::FactorSet;

/// The state of one series of a set that does not compare instruments. It is saved to bytes, and continues with identical bits after
/// a restore.
///
/// ```
/// use heqis_factors::{Columns, FactorSeries, FactorSet};
///
/// let set = FactorSet::parse("roc = close / ref(close, 1) - 1", &Columns::bars())?;
/// let mut series = FactorSeries::new(&set)?;
/// let bar = |close: f64| [close, close, close, close, 1000.0, f64::NAN, f64::NAN];
/// let mut row = [0.0];
/// assert!(!series.update(&bar(10.0), &mut row)?);   // there is no bar before the first one
/// let saved = series.save()?;
/// assert!(series.update(&bar(10.5), &mut row)?);
/// assert_eq!(row, [10.5 / 10.0 - 1.0]);
///
/// let mut restored = FactorSeries::restore(&set, &saved)?;
/// restored.rescale(0.5);                            // a split of one share into two
/// assert!(restored.update(&bar(5.25), &mut row)?);
/// assert_eq!(row, [5.25 / 5.0 - 1.0]);
/// # Ok::<(), heqis_factors::FactorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FactorSeries {
    set: FactorSet,
    series: Series,
}

impl FactorSeries {
    /// Makes the state of a series before its first bar.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`] when the set compares instruments across the day.
    pub fn new(set: &FactorSet) -> Result<Self, FactorError> {
        refuse_comparisons(set)?;
        Ok(Self {
            series: Series::new(&set.program),
            set: set.clone(),
        })
    }

    /// Takes the next bar, `[columns]` with NaN for missing values, and writes the factors into `out`, `[factors]`, NaN for missing
    /// ones. Nothing is allocated. Returns whether no factor is missing.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`], and takes no bar, when a length is wrong.
    pub fn update(&mut self, values: &[f64], out: &mut [f64]) -> Result<bool, FactorError> {
        self.set.check_len("values", values.len())?;
        self.set.check_len("out", out.len())?;
        self.series.begin(values);
        self.series.end();
        Ok(self.set.read(self.series.bars(), &self.series.values, out))
    }

    /// Moves what is remembered to another price level, before the first bar on it: earlier prices are multiplied by `factor`, earlier
    /// volumes are divided by it. A factor that is not finite and positive changes nothing.
    pub fn rescale(&mut self, factor: f64) {
        if factor.is_finite() && factor > 0.0 {
            self.series.rescale(factor);
        }
    }

    /// Returns the state as bytes.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`] when it cannot be written, which does not occur.
    pub fn save(&self) -> Result<Vec<u8>, FactorError> {
        self.series.save(self.set.id())
    }

    /// Continues from saved bytes.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`] when the bytes are no state, or one of another set.
    pub fn restore(set: &FactorSet, bytes: &[u8]) -> Result<Self, FactorError> {
        refuse_comparisons(set)?;
        Ok(Self {
            series: Series::restore(&set.program, set.id(), bytes)?,
            set: set.clone(),
        })
    }
}

fn refuse_comparisons(set: &FactorSet) -> Result<(), FactorError> {
    match set.compares() {
        false => Ok(()),
        true => Err(FactorError::value(
            "set",
            "must not compare the instruments of a day where one instrument is computed by itself",
            "rank, z, demean, scale or neutral",
        )),
    }
}
