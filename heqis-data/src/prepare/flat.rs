//! The warning about a flat band that contains nearly all labels.

/// Smallest share of flat labels that gives a warning.
const FLAT_WARNING_SHARE: f64 = 0.95;

/// Returns a warning if nearly all labels are flat, since classes and their accuracy then carry almost no information.
#[must_use]
pub fn flat_warning(flat: u64, labels: u64, flat_band: f64) -> Option<String> {
    let share = flat as f64 / labels as f64;
    (share >= FLAT_WARNING_SHARE).then(|| {
        format!(
            "{:.1} % of {labels} labels lie within the flat band of ±{flat_band}: always saying flat is right as often, and \
             classes tell next to nothing; prepare with a smaller --flat-band",
            100.0 * share
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_band_that_contains_nearly_all_labels_gives_a_warning() {
        assert_eq!(flat_warning(94, 100, 0.005), None);
        assert_eq!(flat_warning(0, 0, 0.005), None);
        let warning = flat_warning(240, 240, 0.005).unwrap_or_default();
        assert!(warning.starts_with("100.0 % of 240 labels"), "{warning}");
    }
}
