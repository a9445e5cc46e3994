//! What can go wrong between two endpoints, with one variant for each cause that is counted.

use std::io;

use crate::protocol::Protocol;

/// A failure of an endpoint, a handshake or a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpError {
    /// The text is not an endpoint.
    #[error("endpoint {endpoint:?}: {rule}")]
    InvalidEndpoint {
        /// The text as given.
        endpoint: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A socket option or a back-off bound is outside its range.
    #[error("option {name} = {value}: {rule}")]
    InvalidOption {
        /// The name of the option.
        name: &'static str,
        /// The value as given.
        value: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The first eight bytes of the peer are no SP handshake.
    #[error("handshake: got {got:02x?}, which is not 00 53 50 00 <protocol> 00 00")]
    Handshake {
        /// The bytes as received.
        got: [u8; 8],
    },
    /// The first bytes of the peer begin a TLS handshake, and this endpoint is plain.
    #[error("handshake: the peer speaks TLS, this endpoint is plain tcp")]
    PeerSpeaksTls,
    /// No trust: a certificate is missing, unusable or refused, by this side or by the peer.
    #[error("tls: {reason}")]
    Tls {
        /// One word, as [`SpError::cause`] returns it.
        cause: &'static str,
        /// What is wrong with which certificate, and what to do.
        reason: String,
        /// Whether the peer is at fault, and not the files of this side.
        of_peer: bool,
    },
    /// The peer speaks a protocol that does not meet ours.
    #[error("handshake: {ours} cannot talk to a peer with protocol id {theirs:#06x}")]
    Incompatible {
        /// The protocol of this side.
        ours: Protocol,
        /// The id that the peer announced.
        theirs: u16,
    },
    /// A message is longer than `max_frame_bytes`; as a receiver, none of it was allocated.
    #[error("message of {len} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// The length of the message body in bytes, as announced or as handed in.
        len: u64,
        /// The limit in bytes.
        max: usize,
    },
    /// A pair1 message travelled over more hops than allowed, or its count is no count at all.
    #[error("pair1 message with hop count {hops} exceeds the limit of {max} hops")]
    BadHop {
        /// The count as received.
        hops: u32,
        /// The limit.
        max: u8,
    },
    /// A pair1 message is too short to hold its hop count.
    #[error("pair1 message of {len} bytes is too short for its 4-byte hop count")]
    MissingHop {
        /// The announced length in bytes.
        len: u64,
    },
    /// An ipc message starts with an unknown kind of frame.
    #[error("ipc frame kind {got:#04x} is not 0x01")]
    FrameKind {
        /// The byte as received.
        got: u8,
    },
    /// The peer closed in the middle of a message.
    #[error("peer closed {missing} bytes before the end of a message")]
    Truncated {
        /// The bytes that never came, as far as the lengths were known.
        missing: u64,
    },
    /// The protocol of this side does not move messages that way.
    #[error("a {protocol} socket cannot {action}")]
    Direction {
        /// The protocol of this side.
        protocol: Protocol,
        /// What was attempted: `send` or `receive`.
        action: &'static str,
    },
    /// The coalescing buffer is at its limit and must be flushed first.
    #[error("write buffer holds {buffered} bytes, its limit is {limit} bytes: flush first")]
    Full {
        /// The bytes now queued.
        buffered: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The process at the other end of an ipc socket belongs to another user, who is not root.
    #[error(
        "the peer belongs to user {uid}, this process to user {ours}: both ends of an ipc socket need the same user"
    )]
    ForeignUser {
        /// Its user id.
        uid: u32,
        /// The user id of this process.
        ours: u32,
    },
    /// A newer connection took the place of this one, whose handshake was not complete.
    #[error("closed to make room: {limit} handshakes are under way")]
    Crowded {
        /// The most handshakes under way at once.
        limit: usize,
    },
    /// The connection is over: the peer left during the handshake, or an earlier call failed.
    #[error("connection is closed")]
    Closed,
    /// The peer did not answer in time.
    #[error("{action} timed out after {after_ms} ms")]
    TimedOut {
        /// What was waited for: `connect` or `handshake`.
        action: &'static str,
        /// The time allowed, in milliseconds.
        after_ms: u64,
    },
    /// The operating system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was attempted, such as `bind tcp://127.0.0.1:5555`.
        action: String,
        /// The refusal itself.
        source: io::Error,
    },
}

impl SpError {
    /// Returns a short fixed word for the cause, fit for a metric label.
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::InvalidEndpoint { .. } => "invalid_endpoint",
            Self::InvalidOption { .. } => "invalid_option",
            Self::Handshake { .. } => "handshake",
            Self::PeerSpeaksTls => "peer_speaks_tls",
            Self::Tls { cause, .. } => cause,
            Self::Incompatible { .. } => "incompatible",
            Self::TooLarge { .. } => "too_large",
            Self::BadHop { .. } | Self::MissingHop { .. } => "bad_hop",
            Self::FrameKind { .. } => "frame_kind",
            Self::Truncated { .. } => "truncated",
            Self::Direction { .. } => "direction",
            Self::Full { .. } => "full",
            Self::ForeignUser { .. } => "foreign_user",
            Self::Crowded { .. } => "crowd",
            Self::Closed => "closed",
            Self::TimedOut { .. } => "timed_out",
            Self::Io { .. } => "io",
        }
    }

    /// Wraps an error of a stream with what was attempted. One that a TLS stream made from an [`SpError`] is that one.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Io {
                action: action.into(),
                source,
            },
        }
    }
}
