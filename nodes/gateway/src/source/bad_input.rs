//! Input that is no bar: counted in all and by reason, and the first of each reason shown.

use heqis_actors::{BuildContext, Counter};
use heqis_quant::QuantError;

use crate::log_limit::LogLimit;

/// Why a row or line is no bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It has not the shape of a row or object.
    Syntax,
    /// A field is missing or holds what it may not.
    Value,
    /// It ends in the middle.
    Torn,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Syntax, Self::Value, Self::Torn];

    fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Value => "value",
            Self::Torn => "torn",
        }
    }
}

impl From<&QuantError> for Reason {
    fn from(error: &QuantError) -> Self {
        match error {
            QuantError::Header { .. } => Self::Syntax,
            // The wrong number of cells has no column of its own.
            QuantError::Row { column, .. } if column == "*" => Self::Syntax,
            _ => Self::Value,
        }
    }
}

impl From<&serde_json::Error> for Reason {
    fn from(error: &serde_json::Error) -> Self {
        if error.is_data() {
            Self::Value
        } else {
            Self::Syntax
        }
    }
}

/// Counts and shows bad input of one source.
#[derive(Clone, Debug)]
pub(super) struct BadInput {
    stage: String,
    what: &'static str,
    all: Counter,
    by_reason: [(Counter, LogLimit); Reason::ALL.len()],
}

impl BadInput {
    /// Counts `what` in all and `what`_reason for each reason.
    pub(super) fn new(cx: &BuildContext, what: &'static str) -> Self {
        Self {
            stage: cx.stage().to_owned(),
            what,
            all: cx.counter(what),
            by_reason: Reason::ALL.map(|reason| {
                (
                    cx.counter(&format!("{what}_{}", reason.name())),
                    LogLimit::new(),
                )
            }),
        }
    }

    /// Counts one; `error` names place, rule and value.
    pub(super) fn take(&mut self, reason: Reason, error: &dyn std::fmt::Display) {
        let (counter, log) = &mut self.by_reason[reason as usize];
        self.all.inc();
        counter.inc();
        if log.admit() {
            tracing::warn!(stage = %self.stage, what = self.what, reason = reason.name(), %error, "not a bar");
        }
    }
}
