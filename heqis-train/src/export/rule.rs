//! The decision rule in a direction model's bundle.

use heqis_quant::DecisionRule;

/// Returns a rule from a model's predictions on the validation span: the predicted return and the probability of up of each
/// window.
///
/// `enter` is the upper quartile of the predicted returns and `exit` their median, so that a position is
/// entered on a high prediction of this model and left on one below its median; `min_confidence` is the median probability of up.
/// Returns are rounded to three significant digits, probabilities to three places. A quartile is the element at that fraction of
/// the sorted predictions.
///
/// `None` when the two returns are equal, as for a model with constant predictions.
///
/// The rule does not depend on profits, so it cannot be fitted to them.
#[must_use]
pub(crate) fn suggested(returns: &[f32], ups: &[f32]) -> Option<DecisionRule> {
    let enter = significant(quantile(returns, 0.75)?);
    let exit = significant(quantile(returns, 0.5)?);
    let confidence = f64::from(quantile(ups, 0.5)?);
    (exit < enter).then_some(DecisionRule {
        enter,
        exit,
        min_confidence: (confidence * 1e3).round() / 1e3,
        min_exit_confidence: 0.0,
    })
}

/// Returns the element at a fraction of the sorted values, from the least at 0 to the greatest at 1.
fn quantile(values: &[f32], fraction: f64) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted
        .get((fraction * last as f64).round() as usize)
        .copied()
        .filter(|value| value.is_finite())
}

/// Rounds to three significant digits.
fn significant(value: f32) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quartile_and_medians_are_those_of_the_sorted_predictions() {
        // Sorted: −2, 0.5, 1, 1.23456, 3 thousandths.
        let returns = [0.001, -0.002, 0.003, 0.0005, 0.001_234_56];
        let ups = [0.2, 0.7, 0.456_78, 0.5, 0.4];
        let rule = suggested(&returns, &ups).unwrap();
        assert_eq!(
            (rule.enter, rule.exit, rule.min_confidence),
            (0.00123, 0.001, 0.457)
        );
    }

    #[test]
    fn a_model_with_constant_predictions_has_no_rule() {
        assert_eq!(suggested(&[0.001; 9], &[0.4; 9]), None);
        assert_eq!(suggested(&[], &[]), None);
        assert_eq!(suggested(&[f32::NAN; 3], &[0.4; 3]), None);
    }
}
