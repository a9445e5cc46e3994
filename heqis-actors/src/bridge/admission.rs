//! Whether a receiving half accepts the sender that says hello.

use super::conn::{Conn, LinkError};
use super::messages::{Hello, MAX_NAMES, MAX_SEQ};
use super::setup::BridgeSetup;
use crate::encoding::Encoding;
use crate::options::Delivery;

/// The sender that a receiving half has accepted.
pub(super) struct Sender {
    pub(super) instance: u64,
    pub(super) node: String,
}

impl BridgeSetup {
    /// Checks that a hello is for this edge and within its limits.
    pub(super) fn check_hello(&self, hello: &Hello) -> Result<(), LinkError> {
        let (edge, payload) = (&*self.edge.name, self.payload.name());
        if hello.edge != edge || hello.payload != payload {
            return Err(LinkError::Protocol(format!(
                "says hello for edge '{}' of '{}', this is '{edge}' of '{payload}'",
                hello.edge, hello.payload
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

    /// Why a sender with a valid hello is refused; `None` when it is accepted. `active` is the sender that this half has
    /// accepted, with its live connection.
    pub(super) fn refusal(
        &self,
        hello: &Hello,
        active: Option<(&Sender, &Conn)>,
    ) -> Option<String> {
        let (node, edge) = (&self.node, &self.edge.name);
        if let Some((sender, conn)) = active
            && sender.instance != hello.instance
        {
            return Some(format!(
                "node '{node}' already takes edge '{edge}' from node '{}' at {}, which is alive",
                sender.node, conn.peer
            ));
        }
        let expected = &self.peer.node;
        if !expected.is_empty() && !hello.node.is_empty() && *expected != hello.node {
            return Some(format!(
                "node '{node}' takes edge '{edge}' from node '{expected}', this is node '{}'",
                hello.node
            ));
        }
        hello.properties.iter().find_map(|provided| {
            let required = self.peer.properties.get(&provided.subject)?;
            (*required != provided.value).then(|| {
                format!(
                    "{} on edge '{edge}': node '{}' (version {}) sends {}, node '{node}' (version {}) takes {required}",
                    provided.subject,
                    hello.node,
                    hello.version,
                    provided.value,
                    env!("CARGO_PKG_VERSION"),
                )
            })
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
}
