//! The crate's one error type.

use std::path::Path;

use heqis_backtest::BacktestError;
use heqis_data::DataError;
use heqis_infer::InferError;
use heqis_quant::QuantError;
use heqis_train::TrainError;

/// Everything that can go wrong in the lab, each message naming the place, the rule and the value met.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A file, a table or a data set could not be read or written.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The market half refused the data; its message names file, place, rule and value.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A bundle could not be read or made.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Nothing could be traded.
    #[error(transparent)]
    Backtest(#[from] BacktestError),
    /// Nothing could be trained, measured or exported.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A build for a board could not be made.
    #[error("convert: {0}")]
    Convert(String),
    /// A bundle could not be compared.
    #[error("verify: {0}")]
    Verify(String),
    /// A choice among models, or what it is made from, breaks a rule.
    #[error("{place}: {rule}")]
    Select {
        /// What was wrong.
        place: String,
        /// The rule, and the value met.
        rule: String,
    },
    /// The page for the browser cannot be shown.
    #[error(transparent)]
    Dashboard(#[from] heqis_dashboard::DashboardError),
}

impl LabError {
    pub(crate) fn backtest(
        place: impl Into<String>,
        rule: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        BacktestError::rule(place, rule, got).into()
    }

    pub(crate) fn select(place: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Select {
            place: place.into(),
            rule: rule.into(),
        }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        DataError::file(path, source).into()
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        DataError::json(path, source).into()
    }

    pub(crate) fn data_set(path: &Path, rule: String) -> Self {
        DataError::kind(path, rule).into()
    }
}
