//! Host names under which a server may be requested, which prevents DNS rebinding.

use std::net::IpAddr;

use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::Authority;

/// The host names that a server on one address accepts: its address, `localhost` where it is reached by it, and further names.
#[derive(Clone, Debug)]
pub struct Hosts {
    own: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    /// The host names of a server on `own`, and `names` in addition.
    #[must_use]
    pub fn new(own: IpAddr, names: Vec<String>) -> Self {
        Self { own, names }
    }

    /// Returns whether `host`, the part of the Host header before the port, is accepted. The port is not compared, since it
    /// may have been forwarded; rebinding attacks use foreign names, not foreign ports.
    #[must_use]
    pub fn accepts(&self, host: &str) -> bool {
        let own = self.own;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(requested) if own.is_unspecified() => !requested.is_unspecified(),
            Ok(requested) if own.is_loopback() => requested.is_loopback(),
            Ok(requested) => requested == own,
            Err(_) => {
                (host.eq_ignore_ascii_case("localhost")
                    && (own.is_loopback() || own.is_unspecified()))
                    || self
                        .names
                        .iter()
                        .any(|name| host.eq_ignore_ascii_case(name))
            }
        }
    }

    /// Returns the requested host with its port where it is accepted, in the Host header and in the request's target.
    #[must_use]
    pub fn requested<'a>(&self, uri: &Uri, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut hosts = headers.get_all(header::HOST);
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return None;
        };
        let host = host.to_str().ok()?;
        let requested: Authority = host.parse().ok()?;
        let named = uri.authority().map_or(requested.host(), Authority::host);
        let accepted = !host.contains('@') && self.accepts(requested.host()) && self.accepts(named);
        accepted.then_some(host)
    }
}
