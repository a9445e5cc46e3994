//! The knobs of a socket, with defaults that were measured.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::SpError;
use crate::protocol::Protocol;
use crate::secure::Security;

/// How a listener or dialer treats its connections.
///
/// Build with [`SocketOptions::new`] and change single fields. Nothing is clamped: `bind` and
/// `connect` refuse options that are out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// What this side speaks.
    pub protocol: Protocol,
    /// The longest message body, in bytes, that is sent or received. A receiver checks the
    /// announced length before it allocates anything.
    pub max_frame_bytes: usize,
    /// The most hops that a received pair1 message may have made (NNG calls this `ttl-max`).
    pub max_hops: u8,
    /// The kernel's send buffer (`SO_SNDBUF`; Linux doubles it). Small on purpose: what sits in the
    /// kernel is invisible to back-pressure, and Linux would otherwise grow it to about 4 MiB.
    pub send_buffer_bytes: u32,
    /// The kernel's receive buffer (`SO_RCVBUF`; Linux doubles it), small for the same reason, yet
    /// three times the default send buffer: with equal ones the TCP window closes again and again
    /// within a 1 MiB message, which then takes twice as long on a bad day (`benches/wire.rs`).
    pub recv_buffer_bytes: u32,
    /// The buffer that one read call fills, and from which small messages are sliced.
    pub read_buffer_bytes: usize,
    /// The queued bytes from which a [`Writer`](super::Writer) counts as full.
    pub write_buffer_bytes: usize,
    /// The time that reaching the peer may take.
    pub connect_timeout: Duration,
    /// The time that the eight bytes of the peer's handshake may take.
    pub handshake_timeout: Duration,
    /// The silence after which TCP asks whether the peer is alive. Three unanswered questions, one
    /// `keepalive_interval` apart, or sent bytes unacknowledged for as long, end the connection.
    pub keepalive_idle: Duration,
    /// The time between two such questions.
    pub keepalive_interval: Duration,
    /// Who this side is and which peers it accepts, for `tls+tcp` endpoints.
    pub security: Option<Security>,
}

/// The unanswered keepalive questions that end a TCP connection.
pub(crate) const KEEPALIVE_RETRIES: u32 = 3;

impl SocketOptions {
    /// Returns the default options for one protocol.
    pub const fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            max_frame_bytes: 16 << 20,
            max_hops: 8,
            send_buffer_bytes: 128 << 10,
            recv_buffer_bytes: 384 << 10,
            read_buffer_bytes: 256 << 10,
            write_buffer_bytes: 256 << 10,
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            keepalive_idle: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(3),
            security: None,
        }
    }

    /// Checks every field, and whether this side can take part in the handshakes of `endpoint`.
    ///
    /// # Errors
    /// As [`SocketOptions::validate`], and [`SpError::Tls`] when certificate or key cannot be used.
    pub fn validate_for(&self, endpoint: &Endpoint) -> Result<(), SpError> {
        self.validate()?;
        match (endpoint, &self.security) {
            (Endpoint::Tls { .. }, Some(security)) => security.ready(),
            (Endpoint::Tls { .. }, None) => Err(SpError::InvalidOption {
                name: "security",
                value: "none".to_owned(),
                rule: "a tls+tcp endpoint needs a certificate",
            }),
            _ => Ok(()),
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`SpError::InvalidOption`] naming the first field that is out of range.
    pub fn validate(&self) -> Result<(), SpError> {
        let refuse = |name, value: String, rule| Err(SpError::InvalidOption { name, value, rule });
        let sizes = [
            ("max_frame_bytes", self.max_frame_bytes, 1, 1 << 30),
            (
                "send_buffer_bytes",
                self.send_buffer_bytes as usize,
                2048,
                1 << 28,
            ),
            (
                "recv_buffer_bytes",
                self.recv_buffer_bytes as usize,
                2048,
                1 << 28,
            ),
            ("read_buffer_bytes", self.read_buffer_bytes, 64, 1 << 28),
            ("write_buffer_bytes", self.write_buffer_bytes, 1, 1 << 28),
            ("max_hops", usize::from(self.max_hops), 1, 255),
        ];
        for (name, value, min, max) in sizes {
            if value < min {
                return refuse(name, value.to_string(), "is too small");
            }
            if value > max {
                return refuse(name, value.to_string(), "is too large");
            }
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("handshake_timeout", self.handshake_timeout),
        ];
        for (name, value) in times {
            if value.is_zero() {
                return refuse(name, format!("{value:?}"), "must be above zero");
            }
        }
        // The kernel counts keepalive in whole seconds, in a signed 16-bit range.
        let seconds = [
            ("keepalive_idle", self.keepalive_idle),
            ("keepalive_interval", self.keepalive_interval),
        ];
        for (name, value) in seconds {
            if !(1..=32_767).contains(&value.as_secs()) || value.subsec_nanos() != 0 {
                let rule = "must be whole seconds between 1 and 32767";
                return refuse(name, format!("{value:?}"), rule);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Fault = fn(&mut SocketOptions);

    #[test]
    fn defaults_are_valid_and_each_fault_is_named() {
        let good = SocketOptions::new(Protocol::Pair1);
        good.validate().unwrap();
        let faults: [(&str, Fault); 7] = [
            ("max_frame_bytes", |o| o.max_frame_bytes = 0),
            ("send_buffer_bytes", |o| o.send_buffer_bytes = 1),
            ("read_buffer_bytes", |o| o.read_buffer_bytes = 1 << 40),
            ("max_hops", |o| o.max_hops = 0),
            ("handshake_timeout", |o| {
                o.handshake_timeout = Duration::ZERO
            }),
            ("keepalive_idle", |o| {
                o.keepalive_idle = Duration::from_millis(1500)
            }),
            ("keepalive_interval", |o| {
                o.keepalive_interval = Duration::from_secs(40_000)
            }),
        ];
        for (name, fault) in faults {
            let mut options = good.clone();
            fault(&mut options);
            let message = options.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
