//! How far the sides lie apart.

use std::fmt::Write;

use heqis_infer::TensorSpec;
use serde::Serialize;

use super::windows::Answers;

/// Distance of one side from another over one output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Which windows: `golden` or `random`.
    pub windows: &'static str,
    /// Number of them.
    pub count: usize,
    /// The side that was compared.
    pub side: String,
    /// What it was compared with.
    pub with: String,
    /// Name of the output.
    pub output: String,
    /// Largest absolute difference of an element; infinite when an element is no number.
    pub max_abs: f32,
    /// Window of that element, counted from 0.
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

/// What was compared, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Directory of the bundle, as given.
    pub bundle: String,
    /// Distances in the order in which they were measured.
    pub distances: Vec<Distance>,
    /// Sides that could not be computed, with the reason.
    pub skipped: Vec<String>,
}

impl Report {
    /// Returns whether every distance is allowed.
    pub fn is_good(&self) -> bool {
        self.distances.iter().all(Distance::is_within)
    }

    /// Adds the distance of `side` from `with` over each output.
    pub(super) fn measure(
        &mut self,
        windows: (&'static str, usize),
        side: (&str, &Answers),
        with: (&str, &Answers),
        outputs: &[TensorSpec],
        tolerance: f32,
    ) {
        for ((spec, a), b) in outputs.iter().zip(side.1).zip(with.1) {
            let length = (a.len() / windows.1.max(1)).max(1);
            let (max_abs, at) = furthest(a, b);
            self.distances.push(Distance {
                windows: windows.0,
                count: windows.1,
                side: side.0.to_owned(),
                with: with.0.to_owned(),
                output: spec.name.clone(),
                max_abs,
                window: at / length,
                tolerance,
            });
        }
    }

    /// Returns the report as a Markdown table and a verdict.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| windows | side | with | output | largest difference | allowed |\n|---|---|---|---|---|---|\n",
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
                "| {} {} | {} | {} | {} | {:.2e}{mark} | {:.0e} |",
                distance.count,
                distance.windows,
                distance.side,
                distance.with,
                distance.output,
                distance.max_abs,
                distance.tolerance,
            );
        }
        for reason in &self.skipped {
            let _ = writeln!(text, "\nnot compared: {reason}");
        }
        let above = self.distances.iter().filter(|d| !d.is_within()).count();
        let _ = match above {
            0 => writeln!(text, "\n{}: every difference is allowed", self.bundle),
            above => writeln!(
                text,
                "\n{}: refused, {above} of {} differences are above what is allowed",
                self.bundle,
                self.distances.len()
            ),
        };
        text
    }
}

/// Returns the largest absolute difference and its place. A missing element, or one that is no number, is infinitely far.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_not_there_is_infinitely_far() {
        assert_eq!(furthest(&[1.0, 2.0, 3.0], &[1.0, 2.5, 3.25]), (0.5, 1));
        assert_eq!(furthest(&[1.0, f32::NAN], &[1.0, 1.0]), (f32::INFINITY, 1));
        assert_eq!(furthest(&[f32::NAN], &[f32::NAN]), (f32::INFINITY, 0));
        assert_eq!(furthest(&[1.0], &[1.0, 1.0]), (f32::INFINITY, 1));
        assert_eq!(furthest(&[], &[]), (0.0, 0));
    }
}
