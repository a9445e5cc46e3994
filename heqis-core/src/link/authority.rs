//! What a peer may do at the border of a node, written once.
//!
//! Each message on a link and each path of a node's HTTP endpoint is an [`Action`], and each action has one [`Party`] that
//! may do it. The border asks [`Grants::allow`]; nothing else decides. [`table`] is the table of the documentation.

use crate::wire::MessageKind;

/// Something that a peer may ask of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Says hello: offers to be the sender of an edge.
    TakeSendersPlace,
    /// Sends frames.
    SendFrames,
    /// Declares the stream complete.
    EndStream,
    /// Announces that its node leaves in mid-stream.
    AnnounceLeave,
    /// Accepts or refuses a sender.
    AnswerHello,
    /// Acknowledges frames and grants credit.
    Acknowledge,
    /// Sends heartbeats and says goodbye.
    KeepLink,
    /// Asks the node to change something that it offers, such as its trading state.
    Request,
    /// Reports what became of a request.
    Reply,
    /// Reads `/healthz`.
    ReadHealth,
    /// Reads `/metrics`, `/report` and `/readyz`.
    ReadReport,
}

/// Who may do an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The sender of the edge.
    Sender,
    /// The receiver of the edge.
    Receiver,
    /// Either of them.
    EitherEnd,
    /// A node in `trading_state_from` of this one.
    Controller,
    /// The node that this one has asked.
    Controlled,
    /// Who shows a certificate or the token.
    Scraper,
    /// Who reaches the port.
    Anyone,
}

/// Why a peer is refused what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The action is another party's.
    NotAllowed,
    /// It is not the node that the topology names.
    OtherNode,
    /// Another peer has this place, over a link that is alive.
    Takeover,
}

impl Denial {
    /// One word for the metric of rejected peers.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::OtherNode => "other_node",
            Self::Takeover => "takeover",
        }
    }
}

impl Action {
    /// Every action, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::TakeSendersPlace,
        Self::SendFrames,
        Self::EndStream,
        Self::AnnounceLeave,
        Self::AnswerHello,
        Self::Acknowledge,
        Self::KeepLink,
        Self::Request,
        Self::Reply,
        Self::ReadReport,
        Self::ReadHealth,
    ];

    /// The action that a message of this kind is.
    #[must_use]
    pub const fn of(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Hello => Self::TakeSendersPlace,
            MessageKind::Data | MessageKind::Merged => Self::SendFrames,
            MessageKind::End => Self::EndStream,
            MessageKind::Leave => Self::AnnounceLeave,
            MessageKind::Welcome | MessageKind::Refuse => Self::AnswerHello,
            MessageKind::Ack => Self::Acknowledge,
            MessageKind::Heartbeat | MessageKind::Goodbye => Self::KeepLink,
            MessageKind::Request => Self::Request,
            MessageKind::Reply => Self::Reply,
        }
    }

    /// The action that a request for this path of a node's HTTP endpoint is.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        match path {
            "/healthz" => Self::ReadHealth,
            _ => Self::ReadReport,
        }
    }

    /// Who may do it.
    #[must_use]
    pub const fn party(self) -> Party {
        match self {
            Self::TakeSendersPlace | Self::SendFrames | Self::EndStream | Self::AnnounceLeave => {
                Party::Sender
            }
            Self::AnswerHello | Self::Acknowledge => Party::Receiver,
            Self::KeepLink => Party::EitherEnd,
            Self::Request => Party::Controller,
            Self::Reply => Party::Controlled,
            Self::ReadReport => Party::Scraper,
            Self::ReadHealth => Party::Anyone,
        }
    }

    /// The action in words, as in "may not acknowledge frames".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TakeSendersPlace => "take the place of the sender",
            Self::SendFrames => "send frames",
            Self::EndStream => "end the stream",
            Self::AnnounceLeave => "announce that the sender leaves",
            Self::AnswerHello => "accept or refuse a sender",
            Self::Acknowledge => "acknowledge frames",
            Self::KeepLink => "send heartbeats, say goodbye",
            Self::Request => "set the trading state",
            Self::Reply => "report what became of that",
            Self::ReadReport => "read `/metrics`, `/report`, `/readyz`",
            Self::ReadHealth => "read `/healthz`",
        }
    }
}

impl Party {
    /// The party in words, and what it proves that by.
    #[must_use]
    pub const fn about(self) -> (&'static str, &'static str) {
        let node = "its certificate";
        match self {
            Self::Sender => ("the node that the topology names as its sender", node),
            Self::Receiver => ("the node that the topology names as its receiver", node),
            Self::EitherEnd => ("its sender and its receiver", node),
            Self::Controller => (
                "a node in `trading_state_from` of the node that decides",
                node,
            ),
            Self::Controlled => ("the node that was asked", node),
            Self::Scraper => (
                "a node of the topology, or who has the token",
                "its certificate, or `HEQIS_METRICS_TOKEN`",
            ),
            Self::Anyone => ("anyone who reaches the port", "nothing"),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Sender => 1,
            Self::Receiver => 2,
            Self::EitherEnd => 3,
            Self::Controller => 4,
            Self::Controlled => 8,
            Self::Scraper => 16,
            Self::Anyone => 32,
        }
    }
}

/// What a peer has proved to be.
///
/// ```
/// use heqis_core::link::authority::{Action, Grants, Party};
///
/// let sender = Grants::of(Party::Sender);
/// assert!(sender.allow(Action::EndStream) && !sender.allow(Action::Acknowledge));
/// assert!(!sender.allow(Action::Request) && sender.and(Party::Controller).allow(Action::Request));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants(u8);

impl Grants {
    /// What `party` may do.
    #[must_use]
    pub const fn of(party: Party) -> Self {
        Self(party.bits() | Party::Anyone.bits())
    }

    /// What `party` may do as well.
    #[must_use]
    pub const fn and(self, party: Party) -> Self {
        Self(self.0 | party.bits())
    }

    /// Whether the table allows `action`.
    #[must_use]
    #[inline]
    pub const fn allow(self, action: Action) -> bool {
        self.0 & action.party().bits() != 0
    }
}

/// The table as the documentation has it, in Markdown.
#[must_use]
pub fn table() -> String {
    let mut table = String::from("| A peer may | if it is | and shows |\n|---|---|---|\n");
    for action in Action::ALL {
        let (party, proof) = action.party().about();
        let place = match action.party() {
            Party::Sender | Party::Receiver | Party::EitherEnd => "on an edge: ",
            _ => "",
        };
        let name = action.name();
        table.push_str(&format!("| {place}{name} | {party} | {proof} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_an_edge_may_do_what_is_its_own_and_nothing_of_the_other() {
        let (sender, receiver) = (Grants::of(Party::Sender), Grants::of(Party::Receiver));
        for action in Action::ALL {
            let allowed = (sender.allow(action), receiver.allow(action));
            let expected = match action.party() {
                Party::Sender => (true, false),
                Party::Receiver => (false, true),
                Party::EitherEnd | Party::Anyone => (true, true),
                Party::Controller | Party::Controlled | Party::Scraper => (false, false),
            };
            assert_eq!(allowed, expected, "{action:?}");
        }
    }

    #[test]
    fn who_may_ask_may_not_answer_and_the_other_way_round() {
        let (asks, answers) = (Party::Controller, Party::Controlled);
        let [asks, answers] = [asks, answers].map(|party| Grants::of(Party::Sender).and(party));
        let both = [Action::Request, Action::Reply];
        assert_eq!(both.map(|action| asks.allow(action)), [true, false]);
        assert_eq!(both.map(|action| answers.allow(action)), [false, true]);
    }
}
