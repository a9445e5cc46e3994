//! Whether two bundles belong together.

use std::path::Path;

use heqis_infer::Bundle;
use heqis_infer::bundle::{FACTORS_HASH_KEY, MODEL_FILE, SCALER_FILE};

use crate::error::{BundleError, defect};
use crate::layout::{DirectionLayout, FactorsLayout, Loaded, load};

/// Returns what [`check_pair`] finds wrong with the bundles in two directories; `None` where they fit or cannot be read.
#[must_use]
pub fn pair_defect(factors: &Path, direction: &Path) -> Option<String> {
    let (factors, direction) = (load(factors).ok()?, load(direction).ok()?);
    let defect = check_pair(Some(&factors), &direction).err()?;
    Some(defect.to_string())
}

/// Checks that a direction model was trained on the factors of a feature model: with the same scaler, on as many factors, and,
/// where it names the feature model, on this one. Without a feature model it must read no factors.
///
/// # Errors
///
/// [`BundleError::Contract`] with the first rule that the direction model breaks.
pub fn check_pair(
    factors: Option<&Loaded<FactorsLayout>>,
    direction: &Loaded<DirectionLayout>,
) -> Result<(), BundleError> {
    let (bundle, read) = (&direction.bundle, direction.layout.factors);
    let Some(factors) = factors else {
        let rule = "the model must read no factors without a feature model";
        return match read {
            0 => Ok(()),
            _ => Err(defect(bundle, rule, read)),
        };
    };
    let other = factors.bundle.dir().display();
    if bundle.scaler_params() != factors.bundle.scaler_params() {
        let rule = format!("scaler_params.json must be that of the feature model {other}");
        let hash = |bundle: &Bundle| bundle.sha256(SCALER_FILE).unwrap_or_default().to_owned();
        let rule = format!("{rule}, sha256 {}", hash(&factors.bundle));
        return Err(defect(bundle, rule, hash(bundle)));
    }
    let count = factors.layout.factors;
    if read != count {
        let rule = format!("the model must read {count} factors, those of {other}");
        return Err(defect(bundle, rule, read));
    }
    let hash = factors.bundle.sha256(MODEL_FILE).unwrap_or_default();
    match bundle.metadata(FACTORS_HASH_KEY) {
        Some(trained_on) if trained_on != hash => {
            let rule = format!("the model must be trained on the factors of {other}, model {hash}");
            Err(defect(bundle, rule, trained_on))
        }
        _ => Ok(()),
    }
}
