//! Error responses.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::DashboardError;
use crate::jobs::Rejected;

/// Body of an error response.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ErrorBody {
    /// The error, in a sentence.
    error: String,
}

/// Returns an error response.
pub(crate) fn error_response(status: StatusCode, reason: &str) -> HttpResponse {
    HttpResponse::build(status).json(ErrorBody {
        error: reason.to_owned(),
    })
}

/// Returns a response for an error of the server, and logs the reason.
pub(crate) fn internal_error(reason: &str) -> HttpResponse {
    tracing::error!(%reason, "the dashboard cannot serve a request");
    error_response(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

/// Returns a response of the usual form for a request that cannot be parsed.
pub(crate) fn bad_request(
    error: impl std::fmt::Display + Into<actix_web::Error>,
) -> actix_web::Error {
    let response = error_response(StatusCode::BAD_REQUEST, &error.to_string());
    actix_web::error::InternalError::from_response(error.to_string(), response).into()
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The request breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A limit is reached.
    #[error("{0}")]
    Busy(String),
    /// An error of the server.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// Data or an action that this page does not have.
    pub(crate) fn absent(what: &str) -> Self {
        Self::NotFound(format!("this page has no {what}"))
    }
}

impl From<DashboardError> for ApiError {
    fn from(error: DashboardError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Invalid(rule) => Self::Invalid(rule),
            Rejected::Busy(rule) => Self::Busy(rule),
            Rejected::NotFound(rule) => Self::NotFound(rule),
            Rejected::Failed(rule) => Self::Internal(rule),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Busy(_) => StatusCode::CONFLICT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Internal(reason) => internal_error(reason),
            _ => error_response(self.status_code(), &self.to_string()),
        }
    }
}
