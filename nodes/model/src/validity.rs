//! When a model counts as broken because too many of its results are invalid.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest number of results that the share of invalid ones is taken of.
pub const MAX_WINDOW: usize = 65_536;

/// The action when a model counts as broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnInvalid {
    /// The next backend takes over, as for one that fails; when none is left, the node ends.
    #[default]
    FallBack,
    /// The node ends.
    Stop,
}

/// When a model counts as broken, and the action then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidityPolicy {
    /// Largest share of the last results that may be invalid, 0 to 1.
    pub max_share: f64,
    /// Number of the last results that the share is taken of; with fewer results the model never counts as broken.
    pub window: usize,
    /// The action above that share.
    pub on_invalid: OnInvalid,
}

impl Default for ValidityPolicy {
    fn default() -> Self {
        Self {
            max_share: 0.5,
            window: 64,
            on_invalid: OnInvalid::default(),
        }
    }
}

impl ValidityPolicy {
    /// Returns the faults of the parameters, by the names that stages give them.
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

/// The validity of one backend's last results.
#[derive(Clone, Debug)]
pub(crate) struct ValidityWindow {
    pub(crate) policy: ValidityPolicy,
    last: VecDeque<bool>,
    invalid: usize,
}

impl ValidityWindow {
    pub(crate) fn new(policy: ValidityPolicy) -> Self {
        Self {
            policy,
            last: VecDeque::with_capacity(policy.window.min(MAX_WINDOW)),
            invalid: 0,
        }
    }

    /// Records the next result. When too many are invalid, returns the reason and empties the window.
    pub(crate) fn record(&mut self, is_valid: bool) -> Option<String> {
        if self.last.len() >= self.policy.window {
            let oldest = self.last.pop_front();
            self.invalid -= usize::from(oldest == Some(false));
        }
        self.last.push_back(is_valid);
        self.invalid += usize::from(!is_valid);
        let ValidityPolicy {
            max_share, window, ..
        } = self.policy;
        let (invalid, seen) = (self.invalid, self.last.len());
        if seen < window || invalid as f64 <= max_share * seen as f64 {
            return None;
        }
        self.last.clear();
        self.invalid = 0;
        Some(format!(
            "{invalid} of the last {seen} results are invalid, max_invalid_share is {max_share}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(max_share: f64, window: usize) -> ValidityWindow {
        ValidityWindow::new(ValidityPolicy {
            max_share,
            window,
            ..ValidityPolicy::default()
        })
    }

    #[test]
    fn a_full_window_with_too_many_invalid_results_gives_a_reason_and_is_emptied() {
        let mut last = results(0.5, 4);
        for is_valid in [false, false, false] {
            assert_eq!(last.record(is_valid), None, "the window is not full");
        }
        let reason = last.record(true);
        assert_eq!(
            reason.as_deref(),
            Some("3 of the last 4 results are invalid, max_invalid_share is 0.5")
        );
        for is_valid in [false, true, false, true, true, false, true, false] {
            assert_eq!(last.record(is_valid), None, "half of them is not too many");
        }
        assert!(last.record(false).is_some(), "three of four are");
    }

    #[test]
    fn the_ends_of_the_range_tolerate_nothing_and_everything() {
        let mut none = results(0.0, 1);
        assert!(none.record(true).is_none() && none.record(false).is_some());
        let mut all = results(1.0, 2);
        assert!((0..100).all(|_| all.record(false).is_none()));
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let policy = ValidityPolicy {
            max_share: f64::NAN,
            window: 0,
            on_invalid: OnInvalid::Stop,
        };
        assert_eq!(
            policy.faults(),
            [
                "max_invalid_share is NaN, it must lie in 0..=1",
                "invalid_window is 0, it must lie in 1..=65536"
            ]
        );
        assert_eq!(ValidityPolicy::default().faults(), [""; 0]);
    }
}
