//! What is answered when a question has no answer.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::DashboardError;
use crate::jobs::Refused;

/// What is said when there is nothing better to say.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Trouble {
    /// What is wrong, in a sentence.
    error: String,
}

/// An answer that turns a request away.
pub(crate) fn refuse(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(Trouble {
        error: reason.to_owned(),
    })
}

/// An answer for what is no fault of the request; the reason stands in the log as well.
pub(crate) fn broken(reason: &str) -> HttpResponse {
    tracing::error!(%reason, "the dashboard cannot answer");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// Turns a question that cannot be read into an answer of the usual shape.
pub(crate) fn misread(error: impl std::fmt::Display + Into<actix_web::Error>) -> actix_web::Error {
    let answer = refuse(StatusCode::BAD_REQUEST, &error.to_string());
    actix_web::error::InternalError::from_response(error.to_string(), answer).into()
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The question breaks a rule.
    #[error("{0}")]
    Wrong(String),
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// As much is under way as may be.
    #[error("{0}")]
    Busy(String),
    /// It is no fault of the question.
    #[error("{0}")]
    Broken(String),
}

impl Fault {
    /// Something that this page has not got at all.
    pub(crate) fn without(what: &str) -> Self {
        Self::Missing(format!("this page has no {what}"))
    }
}

impl From<DashboardError> for Fault {
    fn from(error: DashboardError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wrong(rule) => Self::Wrong(rule),
            Refused::Busy(rule) => Self::Busy(rule),
            Refused::Missing(rule) => Self::Missing(rule),
            Refused::Broken(rule) => Self::Broken(rule),
        }
    }
}

impl ResponseError for Fault {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Busy(_) => StatusCode::CONFLICT,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Broken(reason) => broken(reason),
            _ => refuse(self.status_code(), &self.to_string()),
        }
    }
}
