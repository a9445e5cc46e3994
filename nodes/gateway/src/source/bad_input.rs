//! Input that is no bar: counted in all and by reason, and some of each reason shown.

use std::sync::{Arc, Mutex, PoisonError};

use heqis_actors::{BuildContext, Counter, LogLimit};
use heqis_quant::QuantError;

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

/// Counts and shows bad input of one source. Clones share their limits, so that a client that connects again and again
/// writes no more than one that stays.
#[derive(Clone, Debug)]
pub(super) struct BadInput {
    stage: String,
    what: &'static str,
    all: Counter,
    by_reason: [(Counter, Arc<Mutex<LogLimit>>); Reason::ALL.len()],
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
                    Arc::new(Mutex::new(LogLimit::new(cx.clock().clone()))),
                )
            }),
        }
    }

    /// Counts one; `error` names place, rule and value.
    pub(super) fn take(&self, reason: Reason, error: &dyn std::fmt::Display) {
        let (counter, log) = &self.by_reason[reason as usize];
        self.all.inc();
        counter.inc();
        let admitted = log.lock().unwrap_or_else(PoisonError::into_inner).admit();
        if let Some(left_out) = admitted {
            tracing::warn!(stage = %self.stage, what = self.what, reason = reason.name(), %error, suppressed = left_out, "not a bar");
        }
    }
}
