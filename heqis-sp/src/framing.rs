//! The bytes around a message, and nothing about sockets.
//!
//! ```text
//! handshake  00 'S' 'P' 00  protocol u16 BE  00 00            (once, each way)
//! message    [01 on ipc]  length u64 BE  [hops u32 BE on pair1]  body
//! ```
//! The length counts the hop field and the body.

use crate::error::SpError;
use crate::protocol::Protocol;

/// The bytes that each side sends first.
pub(crate) const HANDSHAKE_BYTES: usize = 8;

/// The hop count of a message that comes straight from its author.
const FIRST_HOP: u32 = 1;

/// The kind of frame that carries a message over ipc; NNG defines no other.
const IPC_MESSAGE: u8 = 1;

/// Returns the handshake that announces `protocol`.
pub(crate) const fn handshake(protocol: Protocol) -> [u8; HANDSHAKE_BYTES] {
    let [high, low] = protocol.id().to_be_bytes();
    [0, b'S', b'P', 0, high, low, 0, 0]
}

/// Checks the handshake of a peer.
pub(crate) fn check_handshake(ours: Protocol, got: [u8; HANDSHAKE_BYTES]) -> Result<(), SpError> {
    match got {
        [0, b'S', b'P', 0, high, low, 0, 0] => match u16::from_be_bytes([high, low]) {
            theirs if ours.accepts(theirs) => Ok(()),
            theirs => Err(SpError::Incompatible { ours, theirs }),
        },
        // A TLS record: handshake, version 3.x.
        [0x16, 3, ..] => Err(SpError::PeerSpeaksTls),
        _ => Err(SpError::Handshake { got }),
    }
}

/// The framing rules of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    pub(crate) protocol: Protocol,
    /// Whether each message starts with the ipc kind byte.
    pub(crate) ipc: bool,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_hops: u8,
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The head is not complete before this many bytes are there.
    Needs(usize),
    /// A checked head; the body follows it.
    Body(usize),
}

impl Framing {
    /// Returns the bytes in front of a body.
    pub(crate) const fn head_bytes(&self) -> usize {
        self.ipc as usize + 8 + self.protocol.hop_bytes()
    }

    /// Reads and checks the head of a message. Every rule is applied as soon as its bytes are
    /// there, so that a hostile length costs nothing.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Head, SpError> {
        let mut rest = bytes;
        if self.ipc {
            match rest.split_first() {
                Some((&IPC_MESSAGE, after)) => rest = after,
                Some((&got, _)) => return Err(SpError::FrameKind { got }),
                None => return Ok(Head::Needs(self.head_bytes())),
            }
        }
        let Some((len, rest)) = rest.split_first_chunk() else {
            // A message too short for its hop count ends before the whole head would.
            return Ok(Head::Needs(self.ipc as usize + 8));
        };
        let len = u64::from_be_bytes(*len);
        let hop_bytes = self.protocol.hop_bytes() as u64;
        let body = len
            .checked_sub(hop_bytes)
            .ok_or(SpError::MissingHop { len })?;
        let body = match usize::try_from(body) {
            Ok(body) if body <= self.max_frame_bytes => body,
            _ => {
                return Err(SpError::TooLarge {
                    len: body,
                    max: self.max_frame_bytes,
                });
            }
        };
        if hop_bytes > 0 {
            let Some(hops) = rest.first_chunk() else {
                return Ok(Head::Needs(self.head_bytes()));
            };
            let hops = u32::from_be_bytes(*hops);
            if hops > u32::from(self.max_hops) {
                return Err(SpError::BadHop {
                    hops,
                    max: self.max_hops,
                });
            }
        }
        Ok(Head::Body(body))
    }

    /// Appends the head of a message to `out`.
    pub(crate) fn write_head(&self, body_bytes: usize, out: &mut Vec<u8>) {
        if self.ipc {
            out.push(IPC_MESSAGE);
        }
        let hop_bytes = self.protocol.hop_bytes();
        out.extend_from_slice(&(hop_bytes as u64 + body_bytes as u64).to_be_bytes());
        if hop_bytes > 0 {
            out.extend_from_slice(&FIRST_HOP.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn framing(protocol: Protocol, ipc: bool) -> Framing {
        Framing {
            protocol,
            ipc,
            max_frame_bytes: 1000,
            max_hops: 8,
        }
    }

    fn head(framing: Framing, body_bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        framing.write_head(body_bytes, &mut out);
        out
    }

    #[test]
    fn heads_are_the_bytes_that_nng_puts_on_the_wire() {
        assert_eq!(handshake(Protocol::Pair1), *b"\0SP\0\0\x11\0\0");
        assert_eq!(handshake(Protocol::Pull), *b"\0SP\0\0\x51\0\0");
        let pair = head(framing(Protocol::Pair1, false), 3);
        assert_eq!(pair, [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1]);
        let push = head(framing(Protocol::Push, true), 258);
        assert_eq!(push, [1, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn a_head_is_complete_with_its_last_byte_and_not_before() {
        for protocol in [Protocol::Pair1, Protocol::Pull] {
            for ipc in [false, true] {
                let framing = framing(protocol, ipc);
                let bytes = head(framing, 77);
                assert_eq!(bytes.len(), framing.head_bytes());
                for cut in 0..bytes.len() {
                    let Head::Needs(more) = framing.parse(&bytes[..cut]).unwrap() else {
                        panic!("complete after {cut} of {} bytes", bytes.len());
                    };
                    assert!(more > cut && more <= bytes.len());
                }
                assert_eq!(framing.parse(&bytes).unwrap(), Head::Body(77));
            }
        }
    }

    #[test]
    fn a_hostile_head_is_refused_from_its_length_alone() {
        let pair = framing(Protocol::Pair1, false);
        let cause = |framing: Framing, bytes: &[u8]| framing.parse(bytes).unwrap_err().cause();
        assert_eq!(cause(pair, &u64::MAX.to_be_bytes()), "too_large");
        assert_eq!(cause(pair, &1005u64.to_be_bytes()), "too_large");
        assert_eq!(pair.parse(&1004u64.to_be_bytes()).unwrap(), Head::Needs(12));
        assert_eq!(cause(pair, &3u64.to_be_bytes()), "bad_hop");
        assert_eq!(cause(framing(Protocol::Pull, true), &[2]), "frame_kind");
    }

    #[test]
    fn hop_counts_up_to_the_limit_pass() {
        let pair = framing(Protocol::Pair1, false);
        let with_hops = |hops: u32| {
            let mut bytes = head(pair, 0);
            bytes[8..].copy_from_slice(&hops.to_be_bytes());
            pair.parse(&bytes).map_err(|e| e.to_string())
        };
        assert_eq!(with_hops(8), Ok(Head::Body(0)));
        for hops in [9, 256, u32::MAX] {
            let expected =
                format!("pair1 message with hop count {hops} exceeds the limit of 8 hops");
            assert_eq!(with_hops(hops), Err(expected));
        }
    }

    #[test]
    fn only_an_sp_handshake_of_the_meeting_protocol_passes() {
        check_handshake(Protocol::Pull, handshake(Protocol::Push)).unwrap();
        let wrong = check_handshake(Protocol::Pull, handshake(Protocol::Pull)).unwrap_err();
        assert_eq!(wrong.cause(), "incompatible");
        assert!(wrong.to_string().contains("0x0051"), "{wrong}");
        for got in [
            *b"GET / HT",
            [0; 8],
            *b"\0SP\x01\0\x50\0\0",
            *b"\0SP\0\0\x50\0\x01",
        ] {
            let error = check_handshake(Protocol::Pull, got).unwrap_err();
            assert_eq!(error.cause(), "handshake");
        }
    }
}
