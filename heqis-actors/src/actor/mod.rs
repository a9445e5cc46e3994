//! The actix actors that run stages, and what they share.
//!
//! Data reaches an actor through its edges only. The message [`Wake`](crate::doorbell::Wake) makes it check them, and a
//! [`Doorbell`](crate::doorbell::Doorbell) in front of the mailbox lets at most one `Wake` wait there, so that mailboxes
//! stay bounded although actix's `do_send` is not.
//!
//! - `stage`, `source`, `ring`: the three actors. `inlet`, `outlet`: their edges. `messages`: what the framework asks of them.
//! - `erased`: stages and sources of any type behind one trait. `channels`: the ends of channels. `alarm`: wakes
//!   an actor at a time.

mod alarm;
mod channels;
mod erased;
mod inlet;
mod messages;
mod outlet;
mod ring;
mod source;
mod stage;

pub(crate) use channels::{InputSource, OutputActor, OutputSetup};
pub(crate) use erased::{TypedSource, TypedStage};
pub(crate) use inlet::Inlet;
pub(crate) use messages::{
    Begin, Build, KeyAnswer, KeyRequest, MoveKey, Restore, Saved, TakeSnapshot,
};
pub(crate) use outlet::{Outlet, Targets};
pub use ring::RingBufferConfig;
pub(crate) use ring::{RING_KIND, RingActor, RingSetup};
pub(crate) use source::{SourceActor, SourceFactory, SourceSetup};
pub(crate) use stage::{StageActor, StageFactory, StageSetup};
