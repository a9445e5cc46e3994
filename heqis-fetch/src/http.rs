//! The transport to the vendor: HTTP/1.1 to one address, over TLS unless that is given up.

use std::time::Duration;

use heqis_tls::{TlsError, web_client};

/// Sends requests to the vendor.
pub trait Transport {
    /// Posts a JSON body and returns status and text.
    ///
    /// # Errors
    ///
    /// The reason why no complete reply arrived.
    fn post(&self, body: &str) -> Result<(u16, String), String>;
}

/// HTTP/1.1, one base URL.
#[derive(Debug)]
pub struct Http {
    agent: ureq::Agent,
    url: String,
}

/// Largest reply. The largest page of the vendor has less than a hundredth of it.
const LARGEST_REPLY_BYTES: u64 = 256 << 20;

impl Http {
    /// Creates a transport that waits at most `timeout` for a complete reply, from the first byte sent to the last one
    /// received. It follows no redirect and uses no proxy, so that the token is sent to the base URL only.
    ///
    /// # Errors
    /// When the file of `SSL_CERT_FILE` cannot be read, or the processor lacks an instruction for TLS.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, TlsError> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .tls_config(web_client()?)
            .build();
        Ok(Self {
            agent: config.new_agent(),
            url: url.to_owned(),
        })
    }
}

impl Transport for Http {
    fn post(&self, body: &str) -> Result<(u16, String), String> {
        let mut reply = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .send(body)
            .map_err(|error| error.to_string())?;
        let text = reply
            .body_mut()
            .with_config()
            .limit(LARGEST_REPLY_BYTES)
            .read_to_string()
            .map_err(|error| error.to_string())?;
        Ok((reply.status().as_u16(), text))
    }
}
