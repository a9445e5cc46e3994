//! The actix actors that run stages, and what they share.
//!
//! Every actor has one message for data, [`Wake`](crate::doorbell::Wake): "look at your edges". A
//! [`Doorbell`](crate::doorbell::Doorbell) in front of the mailbox lets at most one `Wake` wait there, so that mailboxes
//! stay bounded although actix's `do_send` is not.

mod erased;
mod inlet;
mod messages;
mod outlet;
mod ring;
mod source;
mod stage;

pub(crate) use erased::{TypedSource, TypedStage};
pub(crate) use inlet::Inlet;
pub(crate) use messages::{Begin, Build, Hold, TakeUp};
pub(crate) use outlet::Outlet;
pub use ring::RingBufferConfig;
pub(crate) use ring::{RING_KIND, RingActor, RingSetup};
pub(crate) use source::{SourceActor, SourceFactory, SourceSetup};
pub(crate) use stage::{StageActor, StageFactory, StageSetup};
