//! The rows of a data set in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_quant::label::Direction;
use heqis_quant::{Bar, Date};

/// The label of a bar, with the day on which it becomes known: a label may be used only after that day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NextBar {
    /// The day of the next bar of the series.
    pub date: Date,
    /// The next close over its reference close, minus 1.
    pub next_return: f64,
    /// The direction of `next_return`.
    pub direction: Direction,
}

/// Bars with features and labels. Features are unscaled, so that a data set can be used with any scaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    feature_count: usize,
    bars: Vec<Bar>,
    /// Row-major `[len, feature_count]`; zeros where `known` is false.
    features: Vec<f64>,
    /// Whether the warm-up of the features was over.
    known: Vec<bool>,
    next: Vec<Option<NextBar>>,
}

impl Rows {
    /// Creates an empty table for rows of `feature_count` features.
    #[must_use]
    pub fn new(feature_count: usize) -> Self {
        Self {
            feature_count,
            bars: Vec::new(),
            features: Vec::new(),
            known: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Adds a row; `features` are `None` during the warm-up.
    ///
    /// # Panics
    ///
    /// Panics when the number of features is not that of the table.
    pub fn push(&mut self, bar: Bar, features: Option<&[f64]>, next: Option<NextBar>) {
        self.bars.push(bar);
        self.known.push(features.is_some());
        match features {
            Some(values) => {
                assert_eq!(values.len(), self.feature_count, "features of one row");
                self.features.extend_from_slice(values);
            }
            None => self
                .features
                .resize(self.features.len() + self.feature_count, 0.0),
        }
        self.next.push(next);
    }

    /// Adds a range of rows of another table with the same features.
    ///
    /// # Panics
    ///
    /// Panics when the range exceeds `other`, or the tables have different numbers of features.
    pub fn extend_from(&mut self, other: &Self, range: Range<usize>) {
        assert_eq!(self.feature_count, other.feature_count, "features of a row");
        let n = self.feature_count;
        self.bars.extend_from_slice(&other.bars[range.clone()]);
        self.features
            .extend_from_slice(&other.features[range.start * n..range.end * n]);
        self.known.extend_from_slice(&other.known[range.clone()]);
        self.next.extend_from_slice(&other.next[range]);
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bars.len()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// Returns the number of features in a row.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Returns the bars.
    #[must_use]
    pub fn bars(&self) -> &[Bar] {
        &self.bars
    }

    /// Returns the features of one row, `[feature_count]`, or `None` during the warm-up of its series.
    ///
    /// # Panics
    ///
    /// Panics when there is no such row.
    #[must_use]
    pub fn features(&self, row: usize) -> Option<&[f64]> {
        let n = self.feature_count;
        self.known[row].then(|| &self.features[row * n..(row + 1) * n])
    }

    /// Returns the label of each bar; the last bar of a series has none.
    #[must_use]
    pub fn next(&self) -> &[Option<NextBar>] {
        &self.next
    }

    /// Returns the rows of each year, in their order.
    #[must_use]
    pub(crate) fn by_year(&self) -> BTreeMap<i16, Self> {
        let mut years = BTreeMap::new();
        for (row, bar) in self.bars.iter().enumerate() {
            years
                .entry(bar.date.year())
                .or_insert_with(|| Self::new(self.feature_count))
                .extend_from(self, row..row + 1);
        }
        years
    }

    /// Removes all rows and keeps the allocations.
    pub fn clear(&mut self) {
        self.bars.clear();
        self.features.clear();
        self.known.clear();
        self.next.clear();
    }
}
