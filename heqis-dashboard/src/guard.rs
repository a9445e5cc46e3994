//! The checks that every request passes, and the headers that every response carries.
//!
//! ```text
//! request ▸ body length ▸ host ▸ method ▸ token ▸ control flag and origin ▸ handler ▸ headers ▸ response
//! ```

use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use crate::access::Settings;
use crate::api_error::error_response;

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
}

/// Status and reason of a rejected request.
type Rejection = (StatusCode, &'static str);

impl AccessRules {
    pub(crate) fn new(settings: Settings) -> Self {
        let cookie = format!("heqis_{}", settings.address.port());
        Self { settings, cookie }
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection> {
        let control = uri.path().starts_with(CONTROL);
        if body_bytes(headers)? > if control { MAX_BODY_BYTES } else { 0 } {
            let reason = "the request's body is longer than this path takes";
            return Err((StatusCode::PAYLOAD_TOO_LARGE, reason));
        }
        let host = self.host(uri, headers)?;
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
        if uri.path() != LOGIN && !self.is_authorised(headers) {
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
            if origin != Some(&format!("http://{host}")) {
                let reason = "a control action must be sent by this page itself";
                return Err((StatusCode::FORBIDDEN, reason));
            }
        }
        Ok(())
    }

    /// Returns the requested host with its port.
    fn host<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Result<&'a str, Rejection> {
        let rejected: Rejection = (
            StatusCode::MISDIRECTED_REQUEST,
            "the dashboard does not serve this host name",
        );
        let mut hosts = headers.get_all(header::HOST);
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(rejected);
        };
        let host = host.to_str().map_err(|_| rejected)?;
        let requested: Authority = host.parse().map_err(|_| rejected)?;
        let named = uri.authority().map_or(requested.host(), Authority::host);
        let plain = !host.contains('@');
        match plain
            && [requested.host(), named]
                .iter()
                .all(|host| self.settings.accepts_host(host))
        {
            true => Ok(host),
            false => Err(rejected),
        }
    }

    /// Returns whether the request carries the token, as a cookie or a bearer token.
    fn is_authorised(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.settings.token else {
            return true;
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
        bearer.chain(cookies).any(|given| token.matches(given))
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
        Some(access) => access.check(request.method(), request.uri(), request.headers()),
        None => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server has no access rules",
        )),
    };
    let mut response = match checked {
        Ok(()) => next.call(request).await?,
        Err((status, reason)) => request.into_response(rejection(status, reason)),
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

fn rejection(status: StatusCode, reason: &str) -> HttpResponse {
    let mut response = error_response(status, reason);
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
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
