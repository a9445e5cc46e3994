//! Walk-forward folds: training spans, validation spans, and a test span held out of the choice.
//!
//! ```text
//! days  ├────────── train 1 ──────────┤gap├─ validation 1 ─┤
//!       ├────────────────── train 2 ───────────────────┤gap├─ validation 2 ─┤
//!       ├─────────────────────────── train 3 ───────────────────────────┤gap├─ validation 3 ─┤gap├──── test ────┤
//! ```
//!
//! A gap is `purge_bars`, the horizon of the labels, so that no label of a training row reaches into the next span,
//! followed by `embargo_days`, which reduce serial correlation across the cut (López de Prado, *Advances in Financial
//! Machine Learning*, 2018, 7.4).

use std::ops::Range;

use heqis_quant::Date;

use crate::error::LabError;

/// How a history is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldPlan {
    /// The first day of the first validation span.
    pub validate_from: Date,
    /// The first day of the test span.
    pub test_from: Date,
    /// Number of validation spans.
    pub folds: usize,
    /// Bars by which a label looks ahead, at least 1.
    pub purge_bars: usize,
    /// Whole trading days left out before the purged bars.
    pub embargo_days: usize,
}

/// One fold, as ranges of positions in the bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The training span.
    pub train: Range<usize>,
    /// The validation span.
    pub validation: Range<usize>,
}

/// A history cut into folds and a test span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    /// The folds, in the order of time.
    pub folds: Vec<Fold>,
    /// The training span for the run on the test span.
    pub last_train: Range<usize>,
    /// The test span.
    pub test: Range<usize>,
}

impl FoldPlan {
    /// Cuts bars by their trading days, the oldest first; a day may have several bars. The lengths of the validation spans
    /// differ by at most one bar.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] when days are out of order, or a span would be empty.
    pub fn cut(&self, days: &[Date]) -> Result<Folds, LabError> {
        let refuse = |place: &str, rule: String| Err(LabError::rule(place, rule));
        if let Some(pair) = days.windows(2).find(|pair| pair[1] < pair[0]) {
            return refuse(
                "days",
                format!("must not lie before {}, got {}", pair[0], pair[1]),
            );
        }
        if self.folds == 0 {
            return refuse("folds", "must be at least 1, got 0".to_owned());
        }
        if self.purge_bars == 0 {
            let rule = "must be at least 1, since a label looks a bar ahead, got 0";
            return refuse("purge_bars", rule.to_owned());
        }
        // The end of the training span when bars from `evaluated` on are evaluated.
        let before = |evaluated: usize| {
            let mut end = evaluated.saturating_sub(self.purge_bars);
            for _ in 0..self.embargo_days.min(days.len()) {
                let last = days[..end].last();
                end = last.map_or(0, |last| days.partition_point(|day| day < last));
            }
            end
        };
        let first = days.partition_point(|day| *day < self.validate_from);
        let test = days.partition_point(|day| *day < self.test_from)..days.len();
        if test.is_empty() {
            return refuse(
                "test span",
                format!("must hold a day from {} on", self.test_from),
            );
        }
        let gap = format!(
            "a gap of {} bars and {} days",
            self.purge_bars, self.embargo_days
        );
        let end = before(test.start);
        let length = end.saturating_sub(first);
        if length < self.folds {
            let rule = format!(
                "must hold a bar for each of {} folds between {} and {}, without {gap}; has {length}",
                self.folds, self.validate_from, self.test_from
            );
            return refuse("validation spans", rule);
        }
        if before(first) == 0 {
            let rule = format!(
                "must hold a bar before {}, without {gap}",
                self.validate_from
            );
            return refuse("training span", rule);
        }
        let place = |fold: usize| first + length * fold / self.folds;
        let folds = (0..self.folds).map(|fold| Fold {
            train: 0..before(place(fold)),
            validation: place(fold)..place(fold + 1),
        });
        Ok(Folds {
            folds: folds.collect(),
            last_train: 0..end,
            test,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn days(count: i32) -> Vec<Date> {
        (0..count)
            .map(|day| Date::from_days(day).unwrap())
            .collect()
    }

    fn plan(
        validate_from: i32,
        test_from: i32,
        folds: usize,
        purge: usize,
        embargo: usize,
    ) -> FoldPlan {
        FoldPlan {
            validate_from: Date::from_days(validate_from).unwrap(),
            test_from: Date::from_days(test_from).unwrap(),
            folds,
            purge_bars: purge,
            embargo_days: embargo,
        }
    }

    #[test]
    fn a_history_is_cut_as_computed_by_hand() {
        let cut = plan(40, 80, 2, 1, 4).cut(&days(100)).unwrap();
        let expected = [
            Fold {
                train: 0..35,
                validation: 40..57,
            },
            Fold {
                train: 0..52,
                validation: 57..75,
            },
        ];
        assert_eq!(cut.folds, expected);
        assert_eq!((cut.last_train, cut.test), (0..75, 80..100));
    }

    proptest! {
        #[test]
        fn evaluated_spans_keep_the_gap_from_training_spans(
            count in 20..400_i32,
            validate_from in 0..400_i32,
            test_from in 0..400_i32,
            folds in 0..9_usize,
            purge in 0..30_usize,
            embargo in 0..30_usize,
        ) {
            let days = days(count);
            let Ok(cut) = plan(validate_from, test_from, folds, purge, embargo).cut(&days) else {
                return Ok(());
            };
            prop_assert_eq!(cut.folds.len(), folds);
            prop_assert!(purge >= 1);
            let spans = cut.folds.iter().map(|fold| (&fold.train, &fold.validation));
            let mut end = validate_from as usize;
            for (train, evaluated) in spans {
                prop_assert!(!train.is_empty() && !evaluated.is_empty());
                prop_assert_eq!(train.end + purge + embargo, evaluated.start);
                // The validation spans follow each other without a gap.
                prop_assert_eq!(evaluated.start, end);
                end = evaluated.end;
            }
            prop_assert_eq!(end + purge + embargo, cut.test.start);
            prop_assert_eq!(cut.last_train, 0..end);
            prop_assert_eq!(cut.test, test_from as usize..count as usize);
        }
    }

    /// A purge of bars costs minutes of a day and no days; an embargo costs whole days.
    #[test]
    fn on_minute_bars_the_purge_counts_bars_and_the_embargo_days() {
        let minutes: Vec<Date> = days(100).into_iter().flat_map(|day| [day; 10]).collect();
        let cut = plan(40, 80, 2, 16, 0).cut(&minutes).unwrap();
        assert_eq!(cut.folds[0].train, 0..384);
        assert_eq!((cut.last_train, cut.test), (0..784, 800..1_000));
        // The rest of the day of bar 383 is left out, then one more day.
        let cut = plan(40, 80, 2, 16, 2).cut(&minutes).unwrap();
        assert_eq!(cut.folds[0].train, 0..370);
    }

    #[test]
    fn plans_that_leave_a_span_empty_are_refused_with_the_span() {
        let faults = [
            (plan(40, 80, 0, 1, 0), "folds"),
            (plan(40, 80, 2, 0, 5), "purge_bars"),
            (plan(40, 100, 2, 1, 0), "test span"),
            (plan(40, 42, 2, 1, 0), "validation spans"),
            (plan(80, 40, 2, 1, 0), "validation spans"),
            (plan(5, 80, 2, 1, 4), "training span"),
            (plan(40, 80, 2, 1, usize::MAX), "validation spans"),
        ];
        for (plan, words) in faults {
            let text = plan.cut(&days(100)).unwrap_err().to_string();
            assert!(text.starts_with(words), "{words}: {text}");
        }
        let mut back = days(100);
        back[50] = back[48];
        assert!(plan(40, 80, 2, 1, 0).cut(&back).is_err());
    }
}
