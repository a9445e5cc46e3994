//! The HTTP API: JSON for the page and for anybody's programs. Read-only but for what lies below `/api/control/`.
//!
//! - `review`: bars, decisions, what they were worth. `runs`: finished runs and jobs. `graph`: the running graph.
//! - `answers`: the shapes of the answers. `fault`: those of refusals. `sheet`: answers as CSV.
//! - `openapi`: the document that describes them.

pub(crate) mod answers;
pub(crate) mod fault;
pub(crate) mod graph;
pub(crate) mod openapi;
pub(crate) mod review;
pub(crate) mod runs;
mod sheet;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::Desk;
use crate::guard::Gate;
use answers::About;
use fault::Fault;
pub(crate) use fault::{broken, misread, refuse};

/// `GET /api/about`.
pub(crate) async fn about(desk: web::Data<Desk>, gate: web::Data<Gate>) -> HttpResponse {
    HttpResponse::Ok().json(About::of(&desk, gate.settings.control))
}

/// `GET /api/openapi.json`.
pub(crate) async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}

/// What `GET /login` is asked.
#[derive(Deserialize)]
pub(crate) struct LoginQuery {
    token: String,
}

/// `GET /login`: takes the token out of the address and into a cookie that no script reads.
pub(crate) async fn login(gate: web::Data<Gate>, query: web::Query<LoginQuery>) -> HttpResponse {
    match &gate.settings.token {
        Some(token) if !token.matches(&query.token) => {
            refuse(StatusCode::UNAUTHORIZED, "this is not the token")
        }
        Some(token) => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .insert_header((
                header::SET_COOKIE,
                format!(
                    "{}={}; HttpOnly; SameSite=Strict; Path=/",
                    gate.cookie,
                    token.reveal()
                ),
            ))
            .finish(),
        None => HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "/"))
            .finish(),
    }
}

/// Every other path.
pub(crate) async fn nothing() -> HttpResponse {
    refuse(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// Does on a thread that may block what may take its time.
async fn aside<T: Send + 'static>(
    desk: web::Data<Desk>,
    read: impl FnOnce(&Desk) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    match web::block(move || read(&desk)).await {
        Ok(read) => read,
        Err(error) => Err(Fault::Broken(error.to_string())),
    }
}

/// The limit that was asked for, checked, or the one that is meant otherwise.
fn limited(asked: Option<usize>, otherwise: usize, most: usize) -> Result<usize, Fault> {
    match asked {
        None => Ok(otherwise),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Fault::Wrong(format!(
            "limit must be 1 to {most}, got {limit}"
        ))),
    }
}
