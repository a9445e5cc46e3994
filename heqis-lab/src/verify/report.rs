//! Distances between implementations.

use std::collections::BTreeMap;
use std::fmt::Write;

use heqis_infer::{BackendKind, TensorSpec, TradingDifference, Verified};
use serde::Serialize;

use crate::windows::Outputs;

/// Distance of one implementation from another over one output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Which windows: `golden` or `random`.
    pub windows: &'static str,
    /// Number of them.
    pub count: usize,
    /// The implementation that was compared.
    #[serde(rename = "side")]
    pub implementation: String,
    /// What it was compared with.
    pub with: String,
    /// Name of the output.
    pub output: String,
    /// The backend that the implementation is or represents.
    pub backend: Option<BackendKind>,
    /// Largest absolute difference of an element; infinite when an element is NaN.
    pub max_abs: f32,
    /// Mean absolute difference; infinite when an element is NaN.
    pub mean_abs: f32,
    /// Window of the largest difference, counted from 0.
    pub window: usize,
    /// Largest difference allowed.
    pub tolerance: f32,
}

impl Distance {
    /// Returns whether the difference is allowed.
    pub fn is_within(&self) -> bool {
        self.max_abs <= self.tolerance
    }
}

/// The comparisons, and the implementations that were skipped.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Directory of the bundle, as given.
    pub bundle: String,
    /// Distances in the order in which they were measured.
    pub distances: Vec<Distance>,
    /// The effect of differences on decisions, by implementation.
    pub trading: Vec<Trading>,
    /// Implementations that could not be computed, with the reason.
    pub skipped: Vec<String>,
}

/// Decisions of one implementation compared with the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trading {
    /// The implementation.
    #[serde(rename = "side")]
    pub implementation: String,
    /// Bars, flips, decisions and profit, compared with the reference's.
    pub difference: TradingDifference,
    /// Whether the number of flipped classes is allowed.
    pub within: bool,
}

impl Report {
    /// Returns whether every distance is allowed.
    pub fn is_good(&self) -> bool {
        self.distances.iter().all(Distance::is_within)
            && self.trading.iter().all(|trading| trading.within)
    }

    /// Returns the manifest's entry for each measured backend.
    ///
    /// Of a backend that two implementations represent, the worse metrics count.
    #[must_use]
    pub fn verified(&self) -> BTreeMap<BackendKind, Verified> {
        let mut verified: BTreeMap<BackendKind, Verified> = BTreeMap::new();
        for distance in &self.distances {
            let Some(backend) = distance.backend else {
                continue;
            };
            let trading = self
                .trading
                .iter()
                .find(|trading| trading.implementation == distance.implementation);
            let entry = verified.entry(backend).or_insert_with(|| Verified {
                by: distance.implementation.clone(),
                windows: 0,
                max_abs_error: 0.0,
                mean_abs_error: 0.0,
                tolerance: 0.0,
                trading: trading.map(|trading| trading.difference.clone()),
                passed: trading.is_none_or(|trading| trading.within),
            });
            // JSON has no infinity: a NaN difference is stored as the largest finite value.
            let finite = |value: f32| value.min(f32::MAX);
            entry.windows = entry.windows.max(distance.count);
            entry.max_abs_error = entry.max_abs_error.max(finite(distance.max_abs));
            entry.mean_abs_error = entry.mean_abs_error.max(finite(distance.mean_abs));
            entry.tolerance = entry.tolerance.max(distance.tolerance);
            entry.passed &= distance.is_within();
        }
        verified
    }

    /// Adds the distance of `implementation` from `with` over each output.
    pub(super) fn measure(
        &mut self,
        windows: (&'static str, usize),
        implementation: (&str, Option<BackendKind>, &Outputs),
        with: (&str, &Outputs),
        outputs: &[TensorSpec],
        tolerance: f32,
    ) {
        for ((spec, a), b) in outputs.iter().zip(implementation.2).zip(with.1) {
            let length = (a.len() / windows.1.max(1)).max(1);
            let (max_abs, at) = furthest(a, b);
            self.distances.push(Distance {
                windows: windows.0,
                count: windows.1,
                implementation: implementation.0.to_owned(),
                with: with.0.to_owned(),
                output: spec.name.clone(),
                backend: implementation.1,
                max_abs,
                mean_abs: mean(a, b),
                window: at / length,
                tolerance,
            });
        }
    }

    /// Returns the report as a Markdown table and a verdict.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| windows | implementation | with | output | largest difference | mean | allowed |\n|---|---|---|---|---|---|---|\n",
        );
        for distance in &self.distances {
            let mark = if distance.is_within() {
                ""
            } else {
                " **above**"
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {} {} | {} | {} | {} | {:.2e}{mark} | {:.1e} | {:.0e} |",
                distance.count,
                distance.windows,
                distance.implementation,
                distance.with,
                distance.output,
                distance.max_abs,
                distance.mean_abs,
                distance.tolerance,
            );
        }
        for Trading {
            implementation,
            difference,
            within,
        } in &self.trading
        {
            let TradingDifference {
                bars,
                class_flips,
                decisions,
                reference_return,
                backend_return,
            } = difference;
            let mark = if *within { "" } else { " **too many**" };
            let _ = writeln!(
                text,
                "\n{implementation}: of {bars} bars {class_flips} change their most likely class{mark} and {decisions} their decision; \
                 total return {:.4} % against {:.4} %",
                backend_return * 100.0,
                reference_return * 100.0,
            );
        }
        for reason in &self.skipped {
            let _ = writeln!(text, "\nnot compared: {reason}");
        }
        let flipped = self
            .trading
            .iter()
            .filter(|trading| !trading.within)
            .count();
        let above = self.distances.iter().filter(|d| !d.is_within()).count();
        if above == 0 && flipped > 0 {
            let _ = writeln!(text, "\n{}: rejected, too many classes change", self.bundle);
            return text;
        }
        let _ = match above {
            0 => writeln!(text, "\n{}: every difference is allowed", self.bundle),
            above => writeln!(
                text,
                "\n{}: rejected, {above} of {} differences are above what is allowed",
                self.bundle,
                self.distances.len()
            ),
        };
        text
    }
}

/// Returns the largest absolute difference and its position. A missing element and NaN are infinitely far.
fn furthest(a: &[f32], b: &[f32]) -> (f32, usize) {
    if a.len() != b.len() {
        return (f32::INFINITY, a.len().min(b.len()));
    }
    let mut worst = (0.0, 0);
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let difference = (a - b).abs();
        let difference = if difference.is_nan() {
            f32::INFINITY
        } else {
            difference
        };
        if difference > worst.0 {
            worst = (difference, index);
        }
    }
    worst
}

/// Returns the mean absolute difference; infinite where [`furthest`] is.
fn mean(a: &[f32], b: &[f32]) -> f32 {
    if furthest(a, b).0 == f32::INFINITY {
        return f32::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    (differences.sum::<f64>() / a.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_missing_elements_are_infinitely_far() {
        assert_eq!(furthest(&[1.0, 2.0, 3.0], &[1.0, 2.5, 3.25]), (0.5, 1));
        assert_eq!(furthest(&[1.0, f32::NAN], &[1.0, 1.0]), (f32::INFINITY, 1));
        assert_eq!(furthest(&[f32::NAN], &[f32::NAN]), (f32::INFINITY, 0));
        assert_eq!(furthest(&[1.0], &[1.0, 1.0]), (f32::INFINITY, 1));
        assert_eq!(furthest(&[], &[]), (0.0, 0));
        assert_eq!(mean(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.5, 3.25, 4.0]), 0.1875);
        assert_eq!(mean(&[f32::NAN], &[1.0]), f32::INFINITY);
    }
}
