//! The training, validation and test spans of a corpus, cut so that no bar belongs to samples on both sides of a cut.

use heqis_data::store::rows::Rows;
use heqis_quant::{Date, Span, Symbol};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The three spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanDays {
    /// The span that scaler, encoder and networks are fitted on.
    pub training: Span,
    /// The span for early stopping and model selection.
    pub validation: Span,
    /// The span that is measured once, after training.
    pub test: Span,
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
    pub(crate) fn new(
        days: &[Date],
        boundaries: [Date; 2],
        purge_bars: usize,
        embargo_days: usize,
    ) -> Self {
        let from = boundaries.map(|boundary| {
            let first = days.partition_point(|day| *day < boundary);
            days.get(first.saturating_add(embargo_days)).copied()
        });
        Self {
            boundaries,
            from,
            purge_bars,
        }
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

/// Returns the rows that have both features and a label, of a day up to `to`.
pub(crate) fn usable(rows: &Rows, to: Option<Date>) -> impl Iterator<Item = usize> {
    (0..rows.len()).filter(move |&row| {
        let label = rows.next()[row];
        rows.features(row).is_some()
            && label.is_some_and(|label| to.is_none_or(|to| label.date <= to))
    })
}
