//! When a model that computes things of no use counts as broken.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::Deserialize;

/// Most rows that a model can be judged by.
pub const MAX_WINDOW: usize = 65_536;

/// What happens when a model counts as broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnInvalid {
    /// The next backend takes over, as for one that is lost; when none is left, the node ends.
    #[default]
    FallBack,
    /// The node ends.
    Stop,
}

/// By what a model is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judge {
    /// Largest share of the last rows that may be of no use, 0 to 1.
    pub max_share: f64,
    /// How many of the last rows are looked at; before there are as many, there is no judgement.
    pub window: usize,
    /// What happens then.
    pub then: OnInvalid,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            max_share: 0.5,
            window: 64,
            then: OnInvalid::default(),
        }
    }
}

impl Judge {
    /// Returns what is wrong with the parameters, by the names that stages give them.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let Self {
            max_share, window, ..
        } = self;
        let share = (!(0.0..=1.0).contains(max_share))
            .then(|| format!("max_invalid_share is {max_share}, it must lie in 0..=1"));
        let window = (!(1..=MAX_WINDOW).contains(window))
            .then(|| format!("invalid_window is {window}, it must lie in 1..={MAX_WINDOW}"));
        share.into_iter().chain(window).collect()
    }
}

/// The last rows of one backend.
#[derive(Clone, Debug)]
pub(crate) struct Verdicts {
    pub(crate) judge: Judge,
    last: VecDeque<bool>,
    invalid: usize,
}

impl Verdicts {
    pub(crate) fn new(judge: Judge) -> Self {
        Self {
            judge,
            last: VecDeque::with_capacity(judge.window.min(MAX_WINDOW)),
            invalid: 0,
        }
    }

    /// Takes the next row; returns in words how many were of no use when that is too many, and begins from nothing then.
    pub(crate) fn take(&mut self, is_valid: bool) -> Option<String> {
        if self.last.len() >= self.judge.window {
            let oldest = self.last.pop_front();
            self.invalid -= usize::from(oldest == Some(false));
        }
        self.last.push_back(is_valid);
        self.invalid += usize::from(!is_valid);
        let Judge {
            max_share, window, ..
        } = self.judge;
        let (invalid, seen) = (self.invalid, self.last.len());
        if seen < window || invalid as f64 <= max_share * seen as f64 {
            return None;
        }
        self.last.clear();
        self.invalid = 0;
        Some(format!(
            "{invalid} of the last {seen} results are of no use, max_invalid_share is {max_share}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(max_share: f64, window: usize) -> Verdicts {
        Verdicts::new(Judge {
            max_share,
            window,
            ..Judge::default()
        })
    }

    #[test]
    fn a_full_window_with_too_many_is_a_judgement_and_the_next_begins_from_nothing() {
        let mut last = verdicts(0.5, 4);
        for is_valid in [false, false, false] {
            assert_eq!(last.take(is_valid), None, "the window is not full");
        }
        let said = last.take(true);
        assert_eq!(
            said.as_deref(),
            Some("3 of the last 4 results are of no use, max_invalid_share is 0.5")
        );
        for is_valid in [false, true, false, true, true, false, true, false] {
            assert_eq!(last.take(is_valid), None, "half of them is not too many");
        }
        assert!(last.take(false).is_some(), "three of four are");
    }

    #[test]
    fn the_ends_of_the_range_tolerate_nothing_and_everything() {
        let mut none = verdicts(0.0, 1);
        assert!(none.take(true).is_none() && none.take(false).is_some());
        let mut all = verdicts(1.0, 2);
        assert!((0..100).all(|_| all.take(false).is_none()));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let judge = Judge {
            max_share: f64::NAN,
            window: 0,
            then: OnInvalid::Stop,
        };
        assert_eq!(
            judge.faults(),
            [
                "max_invalid_share is NaN, it must lie in 0..=1",
                "invalid_window is 0, it must lie in 1..=65536"
            ]
        );
        assert_eq!(Judge::default().faults(), [""; 0]);
    }
}
