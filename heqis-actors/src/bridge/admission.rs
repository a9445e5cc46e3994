//! How a sending half introduces itself, and whether a receiving half accepts it.

use std::borrow::Cow;

use super::conn::{Conn, LinkError};
use super::setup::BridgeSetup;
use heqis_core::link::authority::{Action, Denial};
use heqis_core::link::messages::{
    Hello, MAX_NAMES, MAX_RANGES_SENT, MAX_SEQ, PositionRange, PropertyText,
};
use heqis_core::link::requests::REQUESTS;
use heqis_core::{Delivery, Encoding};
use heqis_sp::PeerIdentity;

/// Subject under which a hello states the fields of its payload type. A receiver that does not know it ignores it.
const FIELDS: &str = "payload fields";

/// Subject under which a hello states the frames that an earlier receiver was done with, as [`write_ranges`] does.
const ACKNOWLEDGED: &str = "acknowledged";

/// The sender that a receiving half has accepted.
pub(super) struct Sender {
    pub(super) instance: u64,
    pub(super) node: String,
}

/// A connection that has said a valid hello.
pub(super) struct Claim {
    pub(super) id: u64,
    pub(super) hello: Hello,
    pub(super) epoch: u32,
    pub(super) encoding: Encoding,
}

impl BridgeSetup {
    /// The introduction of the sending half, whose window starts at `first_seq` and which knows of these frames that a
    /// receiver was done with.
    pub(super) fn hello(&self, first_seq: u64, acknowledged: &[PositionRange]) -> Hello {
        let fields = self.payload.fields();
        let acknowledged = write_ranges(acknowledged);
        let requests = self.peer.requests.as_ref().map_or("", |_| "1");
        let stated = [
            (FIELDS, fields),
            (ACKNOWLEDGED, &*acknowledged),
            (REQUESTS, requests),
        ];
        let stated = stated.into_iter().filter(|(_, text)| !text.is_empty());
        let properties = (self.peer.properties.iter())
            .map(|(subject, value)| (subject.as_str(), value.as_str()))
            .chain(stated);
        Hello {
            edge: self.edge.name.to_string(),
            payload: self.payload.schema(),
            instance: self.instance,
            first_seq,
            at_least_once: self.options.delivery == Delivery::AtLeastOnce,
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            streams: self.committed.streams().iter().map(Into::into).collect(),
            properties: properties
                .map(|(subject, value)| PropertyText {
                    subject: subject.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
        }
    }

    /// Checks that a hello is for this edge and within its limits.
    pub(super) fn check_hello(&self, hello: &Hello) -> Result<(), LinkError> {
        let edge = &*self.edge.name;
        if hello.edge != edge {
            return Err(LinkError::Protocol(format!(
                "says hello for edge '{}', this is '{edge}'",
                hello.edge
            )));
        }
        let delivery = self.options.delivery;
        if hello.at_least_once != (delivery == Delivery::AtLeastOnce) {
            return Err(LinkError::Protocol(format!(
                "the sender does not deliver {delivery:?}, as this node does"
            )));
        }
        if !(1..=MAX_SEQ).contains(&hello.first_seq) {
            return Err(LinkError::Protocol(format!(
                "numbers start between 1 and 2^62, hello says {}",
                hello.first_seq
            )));
        }
        if hello.streams.len() > MAX_NAMES || hello.properties.len() > MAX_NAMES {
            return Err(LinkError::Protocol(format!(
                "hello names {} streams and {} properties, at most {MAX_NAMES} are accepted",
                hello.streams.len(),
                hello.properties.len()
            )));
        }
        Ok(())
    }

    /// Why a sender may not take the place of the one of this edge; `None` when it may. `identity` is what it has proved
    /// about itself, `active` the sender that this half has accepted, with its live connection.
    fn denial(
        &self,
        hello: &Hello,
        identity: Option<&PeerIdentity>,
        active: Option<(&Sender, &Conn)>,
    ) -> Option<(Denial, String)> {
        let (node, edge, expected) = (&self.node, &self.edge.name, &self.peer.node);
        if let Some(PeerIdentity { name, serial }) = identity
            && hello.node != *name
        {
            let reason = format!(
                "edge '{edge}': it says that it is node '{}' and has the certificate of node '{name}' ({serial})",
                hello.node
            );
            return Some((Denial::OtherNode, reason));
        }
        if !expected.is_empty() && *expected != hello.node {
            let reason = format!(
                "node '{node}' takes edge '{edge}' from node '{expected}', this is node '{}'",
                hello.node
            );
            return Some((Denial::OtherNode, reason));
        }
        let (sender, conn) = active.filter(|(sender, _)| sender.instance != hello.instance)?;
        Some({
            let reason = format!(
                "node '{node}' already takes edge '{edge}' from node '{}' at {}, which is alive",
                sender.node, conn.peer
            );
            (Denial::Takeover, reason)
        })
    }

    /// Why a second connection is refused that says it is of the sender whose connection is in use.
    pub(super) fn takeover(&self) -> LinkError {
        LinkError::Denied {
            denial: Denial::Takeover,
            action: Action::TakeSendersPlace,
            reason: format!(
                "node '{}' already takes edge '{}' from this sender, over a connection which is alive",
                self.node, self.edge.name
            ),
        }
    }

    /// Why a sender with a valid hello is refused; `None` when it is accepted.
    pub(super) fn refusal(
        &self,
        hello: &Hello,
        identity: Option<&PeerIdentity>,
        active: Option<(&Sender, &Conn)>,
    ) -> Option<LinkError> {
        if let Some((denial, reason)) = self.denial(hello, identity, active) {
            return Some(LinkError::Denied {
                denial,
                action: Action::TakeSendersPlace,
                reason,
            });
        }
        self.mismatch(hello).map(LinkError::Protocol)
    }

    /// What of the frames of a sender is not as this node takes it.
    fn mismatch(&self, hello: &Hello) -> Option<String> {
        let (node, edge) = (&self.node, &self.edge.name);
        let differs = |what: &str, sent: &str, taken: &str| {
            format!(
                "{what} on edge '{edge}': node '{}' (version {}) sends {sent}, node '{node}' (version {}) takes {taken}",
                hello.node,
                hello.version,
                env!("CARGO_PKG_VERSION"),
            )
        };
        let (schema, fields) = (self.payload.schema(), self.payload.fields());
        if hello.payload != schema {
            return Some(differs(
                "payload",
                &versioned(&hello.payload),
                &versioned(&schema),
            ));
        }
        hello.properties.iter().find_map(|provided| {
            let (subject, sent) = (&provided.subject, &provided.value);
            if subject == FIELDS {
                let fits = self.payload.reads(sent);
                let what = || format!("fields of payload '{}'", self.payload.name());
                return (!fits)
                    .then(|| differs(&what(), &format!("`{sent}`"), &format!("`{fields}`")));
            }
            let taken = self.peer.properties.get(subject)?;
            (taken != sent).then(|| differs(subject, sent, taken))
        })
    }

    /// The encoding that this node accepts of the number that a hello offers: every one that it knows.
    pub(super) fn accepted_encoding(&self, offered: u64) -> Encoding {
        let known = Encoding::from_number(offered);
        let configured = self.options.encoding;
        if known != Some(configured) {
            tracing::warn!(edge = %self.edge.name, offered, configured = configured.name(), "the sender offers another encoding than this node's topology");
        }
        known.unwrap_or(Encoding::F32)
    }

    /// The encoding that a welcome accepts: the one that was offered, or `f32`.
    pub(super) fn agreed_encoding(&self, taken: u64) -> Result<Encoding, LinkError> {
        let offered = self.options.encoding;
        match Encoding::from_number(taken) {
            Some(taken) if taken == offered => Ok(offered),
            Some(Encoding::F32) => {
                tracing::warn!(edge = %self.edge.name, offered = offered.name(), "the receiver does not accept the encoding, tensors are sent as f32");
                Ok(Encoding::F32)
            }
            _ => Err(LinkError::Protocol(format!(
                "accepts the encoding number {taken}, {} was offered",
                offered.name()
            ))),
        }
    }
}

/// Whether the node of a hello exchanges requests over the edge.
pub(super) fn asks_for_requests(hello: &Hello) -> bool {
    let mut properties = hello.properties.iter();
    properties.any(|property| property.subject == REQUESTS)
}

/// The frames that an earlier receiver was done with, as a hello states them; of a text that is invalid, those before the fault.
pub(super) fn acknowledged(hello: &Hello) -> impl Iterator<Item = PositionRange> {
    let mut properties = hello.properties.iter();
    let text = properties.find(|property| property.subject == ACKNOWLEDGED);
    let ranges = text.into_iter().flat_map(|text| text.value.split(' '));
    ranges.map_while(read_range).take(MAX_RANGES_SENT)
}

/// Ranges as `stream:part:first-last`, separated by spaces.
fn write_ranges(ranges: &[PositionRange]) -> String {
    let ranges = ranges.iter().map(|range| {
        let PositionRange {
            stream,
            part,
            first,
            last,
        } = range;
        format!("{stream:x}:{part:x}:{first}-{last}")
    });
    ranges.collect::<Vec<_>>().join(" ")
}

fn read_range(text: &str) -> Option<PositionRange> {
    let mut parts = text.splitn(3, ':');
    let stream = u64::from_str_radix(parts.next()?, 16).ok()?;
    let part = u32::from_str_radix(parts.next()?, 16).ok()?;
    let (first, last) = parts.next()?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(PositionRange {
        stream,
        part,
        first,
        last,
    })
}

/// A schema in words: a name alone has version 1.
fn versioned(schema: &str) -> Cow<'_, str> {
    match schema.contains(" version ") {
        true => schema.into(),
        false => format!("{schema} version 1").into(),
    }
}
