//! The crate's one error type.

use std::fmt::Display;
use std::path::Path;

use heqis_backtest::BacktestError;
use heqis_bundle::BundleError;
use heqis_data::{DataError, Rule};
use heqis_fetch::FetchError;
use heqis_infer::InferError;
use heqis_quant::QuantError;
use heqis_train::TrainError;

/// Everything that can go wrong in the lab, each message with the place, the rule and the value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Market data could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Market data breaks a rule; the message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle breaks a rule of its files or of its role.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A model could not be computed or written.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A backtest failed.
    #[error(transparent)]
    Backtest(#[from] BacktestError),
    /// A training, a measurement or an export failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A setting, a file, a model or a choice among models breaks a rule.
    #[error(transparent)]
    Rule(#[from] Rule),
    /// The page for the browser cannot be shown.
    #[error(transparent)]
    Dashboard(#[from] heqis_dashboard::DashboardError),
}

impl LabError {
    pub(crate) fn rule(place: impl Display, rule: impl Into<String>) -> Self {
        Rule::new(place, rule).into()
    }

    pub(crate) fn rule_got(
        place: impl Display,
        rule: impl Into<String>,
        got: impl Display,
    ) -> Self {
        Rule::new(place, rule).got(got).into()
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        DataError::file(path, source).into()
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        DataError::json(path, source).into()
    }
}
