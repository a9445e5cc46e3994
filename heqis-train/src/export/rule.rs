//! The decision rule that a direction model is shipped with.

use heqis_quant::DecisionRule;

/// Returns a rule from what a model says on the validation span: predicted returns and odds of up, one each for a window.
///
/// `enter` is the upper quartile of the predicted returns and `exit` their median, so that what enters is much for this
/// model and what leaves is less than usual; `min_confidence` is the median of the odds of up. Returns are cut to three
/// significant digits, odds to three places. A quartile is the element at that share of the sorted answers.
///
/// `None` when the two returns are not apart, as those of a model that always says the same.
///
/// Nothing is chosen by what it would have earned: there is no profit here to fit to.
#[must_use]
pub(crate) fn suggested(returns: &[f32], ups: &[f32]) -> Option<DecisionRule> {
    let enter = significant(at_share(returns, 0.75)?);
    let exit = significant(at_share(returns, 0.5)?);
    let confidence = f64::from(at_share(ups, 0.5)?);
    (exit < enter).then_some(DecisionRule {
        enter,
        exit,
        min_confidence: (confidence * 1e3).round() / 1e3,
        min_exit_confidence: 0.0,
    })
}

/// Returns the element at a share of the sorted values, from the least at 0 to the greatest at 1.
fn at_share(values: &[f32], share: f64) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted
        .get((share * last as f64).round() as usize)
        .copied()
        .filter(|value| value.is_finite())
}

/// Cuts to three significant digits.
fn significant(value: f32) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quartile_and_medians_are_those_of_the_sorted_answers() {
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
    fn a_model_that_always_says_the_same_has_no_rule() {
        assert_eq!(suggested(&[0.001; 9], &[0.4; 9]), None);
        assert_eq!(suggested(&[], &[]), None);
        assert_eq!(suggested(&[f32::NAN; 3], &[0.4; 3]), None);
    }
}
