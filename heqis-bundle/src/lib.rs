//! What a model bundle must be to work in a pipeline: one contract for the stages, the backtest, `verify` and `export`.
//!
//! - [`role`]: what a bundle is for, the word of its manifest's `task`.
//! - [`layout`]: the tensors, feature names, windows and scaler of each role, and the rules that they must agree.
//! - [`pair`]: whether a direction model was trained on the factors of a feature model.
//! - [`provenance`]: what an exporter writes into a model's metadata.
//! - [`error`]: the first rule that a bundle breaks. Every user refuses a bundle with this message.
//!
//! [`heqis_infer::Bundle`] has checked files, hashes, manifest and model before; a layout is what the pipeline needs beyond
//! that. Not here: running a model, and what a topology says about it.
//!
//! ```
//! use heqis_bundle::{DirectionLayout, FactorsLayout, check_pair, load};
//!
//! let factors = load::<FactorsLayout>("../models/cae-factors")?;
//! let direction = load::<DirectionLayout>("../models/multi-gan-direction")?;
//! check_pair(Some(&factors), &direction)?;
//! // The gateway sends 32 rows of 8 factors and 12 scaled features.
//! let (layout, rows) = (&factors.layout, direction.layout.rows);
//! assert_eq!((rows, layout.factors, layout.scaler.n_features()), (32, 8, 12));
//!
//! let refused = load::<DirectionLayout>("../models/cae-factors").unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "bundle ../models/cae-factors: task must be direction, got factors"
//! );
//! # Ok::<(), heqis_bundle::BundleError>(())
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod error;
pub mod layout;
pub mod pair;
pub mod provenance;
pub mod role;

pub use error::{BundleError, Defect};
pub use layout::{
    AnyLayout, DirectionLayout, FactorsLayout, Layout, Loaded, check, check_thresholds, load, write,
};
pub use pair::{check_pair, pair_defect};
pub use provenance::{Provenance, fitted_to, suggested_rule};
pub use role::{Role, factor_names, joined_names};
