//! The last values of a series, always contiguous.

use serde::{Deserialize, Serialize};

use super::{MAX_BARS, PLACE};
use crate::error::QuantError;

/// The last `capacity` values. Each value is written twice, a capacity apart, so that the window is one slice at every
/// position of the ring. Allocated once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub(super) struct Window {
    buffer: Box<[f64]>,
    capacity: usize,
    len: usize,
    next: usize,
}

/// A window as written: the oldest value first.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    capacity: usize,
    values: Vec<f64>,
}

impl From<Window> for Saved {
    fn from(window: Window) -> Self {
        Self {
            capacity: window.capacity,
            values: window.values().to_vec(),
        }
    }
}

impl TryFrom<Saved> for Window {
    type Error = QuantError;

    fn try_from(saved: Saved) -> Result<Self, QuantError> {
        // One more than the longest length, since returns over n bars need n + 1 prices.
        if !(1..=MAX_BARS + 1).contains(&saved.capacity) || saved.values.len() > saved.capacity {
            return Err(QuantError::value(
                PLACE,
                "saved window",
                format!(
                    "must have a capacity in 1..={} and at most that many values",
                    MAX_BARS + 1
                ),
                format!("{} values of {}", saved.values.len(), saved.capacity),
            ));
        }
        let mut window = Self::new(saved.capacity);
        for value in saved.values {
            window.push(value);
        }
        Ok(window)
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.capacity == other.capacity && self.values() == other.values()
    }
}

impl Window {
    /// Makes an empty window; the callers have checked that `capacity` is at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            buffer: vec![0.0; 2 * capacity].into(),
            capacity,
            len: 0,
            next: 0,
        }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.buffer[self.next] = value;
        self.buffer[self.next + self.capacity] = value;
        self.next += 1;
        if self.next == self.capacity {
            self.next = 0;
        }
        if self.len < self.capacity {
            self.len += 1;
        }
    }

    /// Returns the values, the oldest first.
    pub(super) fn values(&self) -> &[f64] {
        let end = self.next + self.capacity;
        &self.buffer[end - self.len..end]
    }

    /// Returns the values once there are `capacity` of them.
    pub(super) fn full(&self) -> Option<&[f64]> {
        (self.len == self.capacity).then(|| self.values())
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn rescale(&mut self, factor: f64) {
        self.buffer.iter_mut().for_each(|value| *value *= factor);
    }
}

/// The mean, summed from the oldest to the newest value. The order is fixed: features of shipped models depend on its
/// last bit.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the highest value. The comparison is written out because `f64::max` also handles NaN, which a window
/// never contains.
pub(super) fn highest(values: &[f64]) -> f64 {
    let max = |a: f64, b: &f64| if *b > a { *b } else { a };
    values.iter().fold(f64::MIN, max)
}

/// Returns the lowest value.
pub(super) fn lowest(values: &[f64]) -> f64 {
    let min = |a: f64, b: &f64| if *b < a { *b } else { a };
    values.iter().fold(f64::MAX, min)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_broken_saved_window_is_refused() {
        for broken in [
            r#"{"capacity":0,"values":[]}"#,
            r#"{"capacity":1,"values":[1.0,2.0]}"#,
            r#"{"capacity":18446744073709551615,"values":[]}"#,
            r#"{"capacity":2,"values":[null]}"#,
        ] {
            assert!(serde_json::from_str::<Window>(broken).is_err(), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn the_window_is_always_the_end_of_the_pushed_values(
            capacity in 1usize..12, pushed in proptest::collection::vec(-1e3f64..1e3, 0..40)
        ) {
            let mut window = Window::new(capacity);
            for (i, value) in pushed.iter().enumerate() {
                window.push(*value);
                let tail = &pushed[(i + 1).saturating_sub(capacity)..=i];
                prop_assert_eq!(window.values(), tail);
                prop_assert_eq!(window.full().is_some(), tail.len() == capacity);
                prop_assert_eq!(highest(tail), tail.iter().copied().fold(f64::MIN, f64::max));
                prop_assert_eq!(lowest(tail), tail.iter().copied().fold(f64::MAX, f64::min));
                let restored: Window = serde_json::from_str(&serde_json::to_string(&window).unwrap()).unwrap();
                prop_assert_eq!(&restored, &window);
            }
        }
    }
}
