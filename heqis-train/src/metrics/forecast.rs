//! Actual outcomes and predictions as plain arrays.

use std::ops::Range;

use heqis_quant::target::TargetKind;

use crate::corpus::{Corpus, Sample};
use crate::error::TrainError;

/// The actual outcomes: one item for each window of a span, in the order of the forecasts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// Time of the window's last bar, ns since 1970-01-01 UTC: the items of one time are a cross-section.
    pub times_ns: Vec<i64>,
    /// Trading day of that bar, days since 1970-01-01: the items of one day are a cluster of every interval.
    pub days: Vec<i32>,
    /// Close of that bar, CNY: the base price of the return.
    pub closes: Vec<f64>,
    /// Label of the target: by default the return over the horizon in plain units.
    pub returns: Vec<f64>,
    /// Actual class: 0 down, 1 flat, 2 up.
    pub classes: Vec<usize>,
    /// The units of `returns`: only returns make a price of the close.
    pub kind: TargetKind,
}

impl Truth {
    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.returns.len()
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.returns.is_empty()
    }

    /// Returns the outcomes of samples.
    pub fn of(corpus: &Corpus, samples: &[Sample]) -> Truth {
        let mut truth = Truth {
            kind: corpus.target.kind,
            ..Truth::default()
        };
        for (series, row) in samples.iter().map(|sample| corpus.place(sample)) {
            truth.times_ns.push(series.times_ns[row]);
            truth.days.push(series.dates[row].days());
            truth.closes.push(series.closes[row]);
            truth.returns.push(series.returns[row]);
            truth.classes.push(series.classes[row].into());
        }
        truth
    }

    /// Adds the items of another span.
    pub fn extend(&mut self, other: &Truth) {
        self.times_ns.extend_from_slice(&other.times_ns);
        self.days.extend_from_slice(&other.days);
        self.closes.extend_from_slice(&other.closes);
        self.returns.extend_from_slice(&other.returns);
        self.classes.extend_from_slice(&other.classes);
    }

    /// Checks that the columns have equal lengths and valid values.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] with the column, the item and the value.
    pub fn check(&self) -> Result<(), TrainError> {
        let count = self.len();
        for (column, length) in [
            ("times_ns", self.times_ns.len()),
            ("days", self.days.len()),
            ("closes", self.closes.len()),
            ("classes", self.classes.len()),
        ] {
            if length != count {
                let rule = format!("{column} must have {count} items, got {length}");
                return Err(TrainError::rule("baselines", rule));
            }
        }
        finite("returns", &self.returns)?;
        finite("closes", &self.closes)?;
        if let Some(item) = self.closes.iter().position(|close| *close <= 0.0) {
            let rule = format!("closes[{item}] must be positive, got {}", self.closes[item]);
            return Err(TrainError::rule("baselines", rule));
        }
        let no_price = |value: &f64| self.kind == TargetKind::Return && *value <= -1.0;
        match self.returns.iter().position(no_price) {
            Some(item) => Err(TrainError::rule(
                "baselines",
                format!(
                    "returns[{item}] must leave a price above zero, got {}",
                    self.returns[item]
                ),
            )),
            None => match self.classes.iter().position(|class| *class > 2) {
                Some(item) => Err(TrainError::rule(
                    "baselines",
                    format!(
                        "classes[{item}] must be 0, 1 or 2, got {}",
                        self.classes[item]
                    ),
                )),
                None => Ok(()),
            },
        }
    }
}

/// Items with inputs and actual outcomes.
#[derive(Clone, Debug, Default)]
pub struct Examples {
    /// The inputs of a model, one row for each item.
    pub inputs: Vec<Vec<f64>>,
    /// The actual outcomes.
    pub truth: Truth,
}

impl Examples {
    /// Returns samples with the inputs that `input` makes of each.
    pub fn of(
        corpus: &Corpus,
        samples: &[Sample],
        input: impl Fn(&Sample) -> Vec<f64>,
    ) -> Examples {
        Examples {
            inputs: samples.iter().map(input).collect(),
            truth: Truth::of(corpus, samples),
        }
    }
}

/// The predictions of a model for every item: of the return, of the class, or of both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Return over the horizon in plain units.
    pub returns: Option<Vec<f64>>,
    /// Probabilities of down, flat and up.
    pub probabilities: Option<Vec<[f64; 3]>>,
}

impl Forecast {
    /// Returns the mean of several forecasts, each quantity over those that predict it: the plain ensemble.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when `forecasts` is empty, or their lengths differ.
    pub fn mean(forecasts: &[Forecast]) -> Result<Forecast, TrainError> {
        let returns: Vec<&Vec<f64>> = forecasts.iter().flat_map(|f| &f.returns).collect();
        let classes: Vec<&Vec<[f64; 3]>> =
            forecasts.iter().flat_map(|f| &f.probabilities).collect();
        let lengths = returns.iter().map(|column| column.len());
        let mut lengths = lengths.chain(classes.iter().map(|column| column.len()));
        let Some(count) = lengths.next() else {
            let rule = "an ensemble needs at least one forecast".to_owned();
            return Err(TrainError::rule("baselines", rule));
        };
        if let Some(other) = lengths.find(|length| *length != count) {
            let rule = format!("the forecasts of an ensemble have {count} and {other} items");
            return Err(TrainError::rule("baselines", rule));
        }
        let mean =
            |values: &mut dyn Iterator<Item = f64>, of: usize| values.sum::<f64>() / of as f64;
        Ok(Forecast {
            returns: (!returns.is_empty()).then(|| {
                (0..count)
                    .map(|i| mean(&mut returns.iter().map(|column| column[i]), returns.len()))
                    .collect()
            }),
            probabilities: (!classes.is_empty()).then(|| {
                (0..count)
                    .map(|i| {
                        [0, 1, 2].map(|class| {
                            let column = &mut classes.iter().map(|column| column[i][class]);
                            mean(column, classes.len())
                        })
                    })
                    .collect()
            }),
        })
    }

    /// Returns the forecast of a range of its items.
    ///
    /// # Panics
    ///
    /// Panics when the range exceeds the forecast.
    pub fn part(&self, range: Range<usize>) -> Forecast {
        let probabilities = self.probabilities.as_ref();
        Forecast {
            returns: self.returns.as_ref().map(|all| all[range.clone()].to_vec()),
            probabilities: probabilities.map(|all| all[range].to_vec()),
        }
    }

    /// Bounds the probabilities by 1, which a softmax in `f32` may exceed by a rounding error.
    pub(crate) fn bound(mut self) -> Forecast {
        for p in self.probabilities.iter_mut().flatten().flatten() {
            *p = p.min(1.0);
        }
        self
    }

    /// Checks that the forecast has a finite prediction for each of `count` items, and probabilities from 0 to 1.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] with the item and the value.
    pub fn check(&self, count: usize) -> Result<(), TrainError> {
        if self.returns.is_none() && self.probabilities.is_none() {
            let rule = "a forecast must predict returns or classes".to_owned();
            return Err(TrainError::rule("baselines", rule));
        }
        let lengths = [
            ("returns", self.returns.as_ref().map(Vec::len)),
            ("probabilities", self.probabilities.as_ref().map(Vec::len)),
        ];
        for (column, length) in lengths {
            if let Some(length) = length.filter(|length| *length != count) {
                let rule = format!("{column} of a forecast must have {count} items, got {length}");
                return Err(TrainError::rule("baselines", rule));
            }
        }
        if let Some(returns) = &self.returns {
            finite("returns of a forecast", returns)?;
        }
        let outside = |p: &f64| !(0.0..=1.0).contains(p);
        for (item, row) in self.probabilities.iter().flatten().enumerate() {
            if let Some(value) = row.iter().find(|p| outside(p)) {
                let rule = format!("probabilities[{item}] must lie within 0 and 1, got {value}");
                return Err(TrainError::rule("baselines", rule));
            }
        }
        Ok(())
    }
}

fn finite(column: &str, values: &[f64]) -> Result<(), TrainError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(item) => Err(TrainError::rule(
            "baselines",
            format!("{column}[{item}] must be finite, got {}", values[item]),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_ensemble_is_the_mean_of_the_forecasts_that_predict_a_quantity() {
        let both = Forecast {
            returns: Some(vec![0.25, -0.5]),
            probabilities: Some(vec![[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]),
        };
        let one = Forecast {
            returns: Some(vec![0.75, 0.0]),
            probabilities: None,
        };
        let mean = Forecast::mean(&[both.clone(), one]).unwrap();
        assert_eq!(mean.returns, Some(vec![0.5, -0.25]));
        assert_eq!(mean.probabilities, both.probabilities);
        assert!(Forecast::mean(&[]).is_err());
        let short = Forecast {
            returns: Some(vec![0.0]),
            probabilities: None,
        };
        let refused = Forecast::mean(&[both, short]).unwrap_err().to_string();
        assert!(refused.contains("2 and 1 items"), "{refused}");
    }

    #[test]
    fn invalid_columns_are_refused_with_their_place() {
        let truth = Truth {
            times_ns: vec![1, 1],
            days: vec![1, 1],
            closes: vec![10.0, 11.0],
            returns: vec![0.0, -0.5],
            classes: vec![1, 0],
            kind: TargetKind::Return,
        };
        truth.check().unwrap();
        type Break = fn(&mut Truth);
        let cases: [(Break, &str); 5] = [
            (|t| t.days.truncate(1), "days must have 2 items, got 1"),
            (|t| t.closes[1] = 0.0, "closes[1] must be positive, got 0"),
            (
                |t| t.returns[0] = f64::NAN,
                "returns[0] must be finite, got NaN",
            ),
            (
                |t| t.returns[1] = -1.0,
                "returns[1] must leave a price above zero, got -1",
            ),
            (|t| t.classes[0] = 3, "classes[0] must be 0, 1 or 2, got 3"),
        ];
        for (broken, message) in cases {
            let mut truth = truth.clone();
            broken(&mut truth);
            let refused = truth.check().unwrap_err().to_string();
            assert!(refused.contains(message), "{refused}");
        }
        let forecast = Forecast {
            returns: None,
            probabilities: Some(vec![[0.5, 0.5, 0.0], [1.5, 0.0, 0.0]]),
        };
        let refused = forecast.check(2).unwrap_err().to_string();
        assert!(refused.contains("probabilities[1]"), "{refused}");
        assert!(Forecast::default().check(0).is_err());
    }
}
