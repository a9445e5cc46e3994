//! The training, validation and test spans of a corpus, cut so that no bar belongs to samples on both sides of a cut.

use heqis_data::store::rows::Rows;
use heqis_quant::target::Target;
use heqis_quant::{Date, Span, Symbol};
use serde::{Deserialize, Serialize};

use super::Split;
use super::look_back::LookBack;
use crate::error::TrainError;

/// Where the spans of a corpus are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutConfig {
    /// First day of the validation span; default: after 60 % of the days.
    pub validation_from: Option<Date>,
    /// First day of the test span; default: after 80 % of the days.
    pub test_from: Option<Date>,
    /// Last day that is read, labels included; default: all days.
    pub to: Option<Date>,
    /// Bars of each series left out before each cut; default: [`LookBack::purge_bars`].
    pub purge_bars: Option<usize>,
    /// Days left out after each cut.
    pub embargo_days: usize,
    /// Bars between two training samples of a series; 0 and 1: every sample is used.
    pub stride: usize,
    /// What the labels are; the purge covers its horizon.
    pub target: Target,
}

/// The days of the three spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanDays {
    /// The span that scalers and models are fitted on.
    pub training: Span,
    /// The span for early stopping and model selection.
    pub validation: Span,
    /// The span that is measured once, after training.
    pub test: Span,
}

impl SpanDays {
    /// Returns the days of a span.
    #[must_use]
    pub fn get(&self, split: Split) -> Span {
        match split {
            Split::Training => self.training,
            Split::Validation => self.validation,
            Split::Test => self.test,
        }
    }
}

/// The boundaries between spans, and the rows left out around them.
pub(crate) struct Cut {
    /// First days of validation and test.
    pub(crate) boundaries: [Date; 2],
    /// First days of them after the embargo; `None` when it leaves no day.
    from: [Option<Date>; 2],
    /// Rows of each series that are left out before each cut. A purge is counted in rows, as a look-back is: counted in days
    /// it would remove hundreds of rows per day of a minute series, and too few of a series with suspensions.
    purge_bars: usize,
}

impl Cut {
    /// Cuts between sorted days.
    pub(crate) fn new(
        days: &[Date],
        config: &CutConfig,
        look_back: LookBack,
    ) -> Result<Self, TrainError> {
        let boundary = |given: Option<Date>, share: usize| -> Result<Date, TrainError> {
            given
                .or_else(|| days.get(days.len() * share / 5).copied())
                .ok_or_else(|| TrainError::training("data.set", "has no row with features"))
        };
        let boundaries = [
            boundary(config.validation_from, 3)?,
            boundary(config.test_from, 4)?,
        ];
        if boundaries[1] <= boundaries[0] {
            let rule = format!("must lie after {}, got {}", boundaries[0], boundaries[1]);
            return Err(TrainError::training("data.test_from", rule));
        }
        let from = boundaries.map(|boundary| {
            let first = days.partition_point(|day| *day < boundary);
            days.get(first.saturating_add(config.embargo_days)).copied()
        });
        Ok(Self {
            boundaries,
            from,
            purge_bars: config
                .purge_bars
                .unwrap_or(look_back.purge_bars(config.target.horizon_bars())),
        })
    }

    /// Returns the span of a row, 0 to 2, where `dates` are the days of all usable rows of its series; `None` for a row that is
    /// left out.
    pub(crate) fn part(&self, dates: &[Date], row: usize) -> Option<usize> {
        let day = dates[row];
        let part = self
            .boundaries
            .iter()
            .filter(|first| day >= **first)
            .count();
        let is_after = part == 0 || self.from[part - 1].is_some_and(|from| day >= from);
        // The row `purge_bars` later must still lie before the next cut.
        let is_before = self.boundaries.get(part).is_none_or(|next| {
            let last = dates.get(row.saturating_add(self.purge_bars));
            last.is_none_or(|last| last < next) && day < *next
        });
        (is_after && is_before).then_some(part)
    }

    /// Returns the first and the last day of the rows of each span.
    pub(crate) fn days(
        &self,
        raw: &[(Symbol, Rows)],
        to: Option<Date>,
    ) -> Result<SpanDays, TrainError> {
        let mut spans: [Option<Span>; 3] = [None; 3];
        for (_, rows) in raw {
            let dates: Vec<Date> = usable(rows, to).map(|row| rows.bars()[row].date).collect();
            for (row, day) in dates.iter().enumerate() {
                let Some(part) = self.part(&dates, row) else {
                    continue;
                };
                let span = spans[part].get_or_insert(Span {
                    from: *day,
                    to: *day,
                });
                span.from = span.from.min(*day);
                span.to = span.to.max(*day);
            }
        }
        let of = |part: usize, name: &str| {
            let none =
                || TrainError::training(name, "has no bar left after purge and embargo".to_owned());
            spans[part].ok_or_else(none)
        };
        Ok(SpanDays {
            training: of(0, "training span")?,
            validation: of(1, "validation span")?,
            test: of(2, "test span")?,
        })
    }
}

/// Returns the rows that have features, up to the last one with a label that is known by `to`. A row between them without a
/// label, as of a stock that is not compared that day, belongs to the windows of later rows.
pub(crate) fn usable(rows: &Rows, to: Option<Date>) -> impl Iterator<Item = usize> {
    let is_known = |row: &usize| {
        let label = rows.next()[*row];
        label.is_some_and(|label| to.is_none_or(|to| label.date <= to))
    };
    let end = (0..rows.len())
        .rev()
        .find(is_known)
        .map_or(0, |row| row + 1);
    (0..end).filter(|row| rows.features(*row).is_some())
}
