//! The checks that every request passes, and the headers that every response carries.
//!
//! ```text
//! request ▸ body length ▸ host ▸ method ▸ token ▸ control flag and origin ▸ handler ▸ headers ▸ response
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use crate::access::Settings;
use crate::api_error::error_response;
use crate::connections::seat;
use crate::hosts::Hosts;
use crate::rejection_page;

/// Path of the login link; the only path that needs no token.
pub(crate) const LOGIN: &str = "/login";
/// Prefix of the actions that change something.
pub(crate) const CONTROL: &str = "/api/control/";
/// Longest body of a control action, in bytes; other paths take no body.
const MAX_BODY_BYTES: u64 = 4096;

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// The access rules of one server.
#[derive(Debug)]
pub(crate) struct AccessRules {
    pub(crate) settings: Settings,
    /// Name of the cookie. Cookies are shared by all ports of a host, so the name holds the port.
    pub(crate) cookie: String,
    hosts: Hosts,
}

/// Status and reason of a rejected request.
type Rejection = (StatusCode, &'static str);

/// What a request carries instead of the token.
enum Missing {
    Nothing,
    WrongToken,
}

impl AccessRules {
    pub(crate) fn new(settings: Settings) -> Self {
        let cookie = format!("heqis_{}", settings.address.port());
        let hosts = settings.hosts();
        Self {
            settings,
            cookie,
            hosts,
        }
    }

    fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<(), Rejection> {
        let control = uri.path().starts_with(CONTROL);
        if body_bytes(headers)? > if control { MAX_BODY_BYTES } else { 0 } {
            let reason = "the request's body is longer than this path takes";
            return Err((StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        let host = self.hosts.requested(uri, headers).ok_or((
            StatusCode::MISDIRECTED_REQUEST,
            "the dashboard does not serve this host name",
        ))?;
        let allowed = match control {
            true => *method == Method::POST,
            false => *method == Method::GET || *method == Method::HEAD,
        };
        if !allowed {
            let reason = match control {
                true => "a control action takes POST only",
                false => "this path takes GET and HEAD only",
            };
            return Err((StatusCode::METHOD_NOT_ALLOWED, reason));
        }
        if uri.path() != LOGIN
            && let Err(missing) = self.authorise(headers)
        {
            if matches!(missing, Missing::WrongToken) {
                self.count_wrong_token(peer)?;
            }
            let reason =
                "this page needs the token: open the login link that was printed when it started";
            return Err((StatusCode::UNAUTHORIZED, reason));
        }
        if control {
            if !self.settings.control {
                let reason = "control is off; it is switched on where the page is started";
                return Err((StatusCode::FORBIDDEN, reason));
            }
            let origin = headers
                .get(header::ORIGIN)
                .and_then(|origin| origin.to_str().ok());
            if origin != Some(&format!("{}://{host}", self.settings.scheme())) {
                let reason = "a control action must be sent by this page itself";
                return Err((StatusCode::FORBIDDEN, reason));
            }
        }
        Ok(())
    }

    /// Counts a wrong token of `peer`.
    ///
    /// # Errors
    /// When there were too many.
    pub(crate) fn count_wrong_token(&self, peer: Option<IpAddr>) -> Result<(), Rejection> {
        match self.settings.wrong_tokens.count(peer) {
            true => Ok(()),
            false => Err((
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens from this address within a minute",
            )),
        }
    }

    /// Looks for the token, as a cookie or a bearer token.
    fn authorise(&self, headers: &HeaderMap) -> Result<(), Missing> {
        let Some(token) = &self.settings.token else {
            return Ok(());
        };
        let bearer = headers
            .get_all(header::AUTHORIZATION)
            .filter_map(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let cookies = headers
            .get_all(header::COOKIE)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter_map(|(name, value)| (name == self.cookie).then_some(value));
        let mut missing = Missing::Nothing;
        for given in bearer.chain(cookies) {
            if token.matches(given) {
                return Ok(());
            }
            missing = Missing::WrongToken;
        }
        Err(missing)
    }
}

/// Returns the announced length of the body; a body without a length counts as too long.
fn body_bytes(headers: &HeaderMap) -> Result<u64, Rejection> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(u64::MAX);
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(0);
    };
    length
        .to_str()
        .ok()
        .and_then(|length| length.trim().parse().ok())
        .ok_or((
            StatusCode::BAD_REQUEST,
            "the content length is not a number",
        ))
}

/// Passes a request to its handler when the rules allow it, rejects it otherwise, and adds the headers.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let access = request
        .app_data::<web::Data<AccessRules>>()
        .map(|access| Arc::clone(access));
    let checked = match &access {
        Some(access) => access.check(
            request.method(),
            request.uri(),
            request.headers(),
            request.peer_addr().map(|peer| peer.ip()),
        ),
        None => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server has no access rules",
        )),
    };
    let mut response = match checked {
        Ok(()) => {
            // A request for the login proves nothing yet.
            if let Some(seat) = seat(&request).filter(|_| request.path() != LOGIN) {
                seat.authorise();
            }
            next.call(request).await?
        }
        Err((status, reason)) => {
            let read = rejection_page::is_wanted(request.headers());
            let rejected = rejection(status, reason);
            request.into_response(match read {
                true => rejection_page::dress(rejected),
                false => rejected,
            })
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

pub(crate) fn rejection(status: StatusCode, reason: &str) -> HttpResponse {
    let mut response = error_response(status, reason);
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = if reason.contains("POST") {
                "POST"
            } else {
                "GET, HEAD"
            };
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        // The body is not read, so the connection cannot be reused.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST => {
            response
                .head_mut()
                .set_connection_type(actix_web::http::ConnectionType::Close);
        }
        _ => {}
    }
    response
}
