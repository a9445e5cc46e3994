//! The protocols of the scalability family that this module speaks, and which of them may meet.

use std::fmt;

/// One side of a scalability-protocol conversation.
///
/// Ids are those of the SP registry, so a peer written with NNG or nanomsg recognises them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Both sides send and receive, one peer at a time; each message carries a hop count.
    Pair1,
    /// Sends only, towards a [`Protocol::Pull`].
    Push,
    /// Receives only, from a [`Protocol::Push`].
    Pull,
}

impl Protocol {
    /// Returns the id that the handshake carries.
    pub const fn id(self) -> u16 {
        match self {
            Self::Pair1 => 0x11,
            Self::Push => 0x50,
            Self::Pull => 0x51,
        }
    }

    /// Returns the protocol that the other side of a conversation must speak.
    pub const fn peer(self) -> Self {
        match self {
            Self::Pair1 => Self::Pair1,
            Self::Push => Self::Pull,
            Self::Pull => Self::Push,
        }
    }

    /// Returns whether a peer that announced `peer_id` may be talked to.
    pub const fn accepts(self, peer_id: u16) -> bool {
        self.peer().id() == peer_id
    }

    /// Returns whether this side may send messages.
    pub const fn sends(self) -> bool {
        !matches!(self, Self::Pull)
    }

    /// Returns whether this side may receive messages.
    pub const fn receives(self) -> bool {
        !matches!(self, Self::Push)
    }

    /// Returns the bytes in front of each message body: the hop count of pair1, else none.
    pub(crate) const fn hop_bytes(self) -> usize {
        match self {
            Self::Pair1 => 4,
            Self::Push | Self::Pull => 0,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pair1 => "pair1",
            Self::Push => "push",
            Self::Pull => "pull",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol::{Pair1, Pull, Push};

    #[test]
    fn pair1_meets_pair1_and_push_meets_pull_and_nothing_else() {
        let all = [Pair1, Push, Pull];
        let meets: Vec<_> = all
            .iter()
            .flat_map(|a| all.iter().map(move |b| (*a, *b)))
            .filter(|(a, b)| a.accepts(b.id()))
            .collect();
        assert_eq!(meets, [(Pair1, Pair1), (Push, Pull), (Pull, Push)]);
    }

    #[test]
    fn ids_are_those_of_the_sp_registry() {
        // Sixteen times the protocol family plus the role, as nanomsg's nn.h headers define them.
        assert_eq!(
            (Pair1.id(), Push.id(), Pull.id()),
            (16 + 1, 5 * 16, 5 * 16 + 1)
        );
    }
}
