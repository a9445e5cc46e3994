//! The targets of a model.

use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::error::QuantError;

const PLACE: &str = "label";

/// The direction of the next bar, in the order of the probabilities of a classification head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Class 0.
    Down,
    /// Class 1.
    Flat,
    /// Class 2.
    Up,
}

impl Direction {
    /// Returns the direction of a return: flat when its size is at most `flat_band`.
    #[must_use]
    pub fn of(next_return: f64, flat_band: f64) -> Self {
        if next_return > flat_band {
            Self::Up
        } else if next_return < -flat_band {
            Self::Down
        } else {
            Self::Flat
        }
    }

    /// Returns the class, 0 to 2.
    #[must_use]
    pub fn class(self) -> usize {
        self as usize
    }
}

/// The target of a bar: what the next bar did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// The next close over its reference close, minus 1: see [`Bar::reference_close`].
    pub next_return: f64,
    /// The direction of `next_return`.
    pub direction: Direction,
}

/// Returns for each bar of one series, in order, what the next bar did; the last bar has no label.
///
/// A label belongs to the row of the same index and depends on the bar after it.
///
/// # Errors
/// Returns [`QuantError::Value`] when `flat_band` is negative or not finite, when bars are of several instruments or
/// out of order, or when a price is not positive.
pub fn next_bar_labels(bars: &[Bar], flat_band: f64) -> Result<Vec<Option<Label>>, QuantError> {
    check_flat_band(flat_band)?;
    let mut labels = Vec::with_capacity(bars.len());
    for pair in bars.windows(2) {
        let (bar, next) = (&pair[0], &pair[1]);
        if bar.symbol != next.symbol || bar.time_ns >= next.time_ns {
            let rule = format!(
                "must follow {} at {} ns in one series",
                bar.symbol, bar.time_ns
            );
            return Err(QuantError::value(
                PLACE,
                "bars",
                rule,
                format!("{} at {} ns", next.symbol, next.time_ns),
            ));
        }
        let next_return = next.close / next.reference_close(bar.date, bar.close) - 1.0;
        if !next_return.is_finite() {
            return Err(QuantError::value(
                PLACE,
                "bars",
                "must have finite positive prices",
                next.close,
            ));
        }
        labels.push(Some(Label {
            next_return,
            direction: Direction::of(next_return, flat_band),
        }));
    }
    if !bars.is_empty() {
        labels.push(None);
    }
    Ok(labels)
}

/// Checks the largest absolute return that counts as flat.
///
/// # Errors
/// Returns [`QuantError::Value`] when it is negative or not finite.
pub fn check_flat_band(flat_band: f64) -> Result<(), QuantError> {
    match flat_band.is_finite() && flat_band >= 0.0 {
        true => Ok(()),
        false => {
            let rule = "must be finite and not negative";
            Err(QuantError::value(PLACE, "flat_band", rule, flat_band))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Date, Marks, Symbol};

    fn day(text: &str) -> Date {
        Date::parse(text).unwrap()
    }

    fn bar(date: &str, open: f64, close: f64) -> Bar {
        Bar {
            symbol: Symbol::parse("600000.SH").unwrap(),
            time_ns: day(date).close_time_ns(),
            date: day(date),
            open,
            high: open.max(close),
            low: open.min(close),
            close,
            pre_close: None,
            volume_shares: 1.0,
            amount_cny: None,
            marks: Marks::NONE,
        }
    }

    #[test]
    fn a_label_is_the_next_return_and_follows_an_ex_right_day() {
        let mut bars = [
            bar("20240102", 10.0, 10.0),
            bar("20240103", 10.0, 11.0),
            bar("20240104", 5.0, 5.0),
            bar("20240105", 5.0, 4.0),
        ];
        bars[2].marks = Marks::EX_RIGHT_SUSPECTED;
        bars[3].pre_close = Some(4.0);
        let labels = next_bar_labels(&bars, 0.001).unwrap();
        let directions: Vec<_> = labels.iter().map(|l| l.map(|l| l.direction)).collect();
        assert_eq!(
            directions,
            [
                Some(Direction::Up),
                Some(Direction::Flat),
                Some(Direction::Flat),
                None
            ]
        );
        assert_eq!(labels[0].unwrap().next_return, 11.0 / 10.0 - 1.0);
        assert!(next_bar_labels(&[bars[1], bars[0]], 0.0).is_err());
        assert!(next_bar_labels(&bars, f64::NAN).is_err());
        assert!(next_bar_labels(&[], 0.0).unwrap().is_empty());
    }

    #[test]
    fn the_flat_band_includes_its_ends() {
        assert_eq!(Direction::of(0.01, 0.01), Direction::Flat);
        assert_eq!(Direction::of(-0.01, 0.01), Direction::Flat);
        assert_eq!(Direction::of(0.011, 0.01).class(), 2);
        assert_eq!(Direction::of(-0.011, 0.01).class(), 0);
    }
}
