//! The HTTP API: JSON for the page and for other programs. Read-only except below `/api/control/`.
//!
//! - `review`: bars, decisions and their quality. `runs`: finished runs and jobs. `graph`: the running graph.
//! - `responses`: types of the responses. `csv`: responses as CSV.
//! - `openapi`: the OpenAPI document.

mod csv;
pub(crate) mod graph;
pub(crate) mod openapi;
pub(crate) mod responses;
pub(crate) mod review;
pub(crate) mod runs;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use crate::api_error::{ApiError, error_response};
use crate::guard::{AccessRules, rejection};
use crate::rejection_page;
use crate::sources::Sources;
use responses::About;

/// `GET /api/about`.
pub(crate) async fn about(
    sources: web::Data<Sources>,
    access: web::Data<AccessRules>,
) -> HttpResponse {
    HttpResponse::Ok().json(About::of(&sources, access.settings.control))
}

/// `GET /api/openapi.json`.
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}

/// Query of `GET /login`.
#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    token: String,
}

/// `GET /login`: moves the token from the address into a cookie that scripts cannot read.
pub(crate) async fn login(
    access: web::Data<AccessRules>,
    request: HttpRequest,
    query: web::Query<LoginQuery>,
) -> HttpResponse {
    match &access.settings.token {
        Some(token) if !token.matches(&query.token) => {
            let counted = access.count_wrong_token(request.peer_addr().map(|peer| peer.ip()));
            let rejected = match counted {
                Ok(()) => error_response(StatusCode::UNAUTHORIZED, "this is not the token"),
                Err((status, reason)) => rejection(status, reason),
            };
            match rejection_page::is_wanted(request.headers()) {
                true => rejection_page::dress(rejected),
                false => rejected,
            }
        }
        Some(token) => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .insert_header((
                header::SET_COOKIE,
                format!(
                    "{}={}; HttpOnly; SameSite=Strict; Path=/{}",
                    access.cookie,
                    token.reveal(),
                    if access.settings.tls.is_some() {
                        "; Secure"
                    } else {
                        ""
                    }
                ),
            ))
            .finish(),
        None => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .finish(),
    }
}

/// Every other path.
pub(crate) async fn not_found() -> HttpResponse {
    error_response(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// Runs `read` on a thread that may block.
async fn blocking<T: Send + 'static>(
    sources: web::Data<Sources>,
    read: impl FnOnce(&Sources) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match web::block(move || read(&sources)).await {
        Ok(read) => read,
        Err(error) => Err(ApiError::Internal(error.to_string())),
    }
}

/// Returns the requested limit, checked against `most`, or the default.
fn checked_limit(requested: Option<usize>, default: usize, most: usize) -> Result<usize, ApiError> {
    match requested {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(ApiError::Invalid(format!(
            "limit must be 1 to {most}, got {limit}"
        ))),
    }
}
