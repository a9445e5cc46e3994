//! The state of bridged edges: which frames the states of the node's stages include, and which ones the next node may not
//! have.

use actix::prelude::*;

use super::receiver::BridgeReceiver;
use super::sender::BridgeSender;
use crate::actor::{Restore, Saved, TakeSnapshot};
use heqis_core::link::messages::{decode_frame, encode_frame};
use heqis_core::wire::{WireError, WireFrame};
use heqis_core::{ActorState, Encoding, StageError};

impl BridgeReceiver {
    /// Keeps the state of this half, which ends because the node leaves.
    pub(super) fn deposit(&mut self) {
        if self.setup.control.saves_received() {
            let state = self.received();
            self.setup.control.deposit(state);
        }
    }

    fn received(&mut self) -> ActorState {
        ActorState::Received {
            edge: self.setup.edge.name.to_string(),
            frames: self.state.snapshot(),
        }
    }
}

impl Handler<TakeSnapshot> for BridgeReceiver {
    type Result = MessageResult<TakeSnapshot>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        MessageResult(vec![self.received()])
    }
}

impl Handler<Saved> for BridgeReceiver {
    type Result = ();

    fn handle(&mut self, _: Saved, ctx: &mut Self::Context) {
        self.state.saved();
        self.turn(true, ctx);
    }
}

impl Handler<Restore> for BridgeReceiver {
    type Result = Result<(), StageError>;

    fn handle(&mut self, Restore(saved): Restore, _: &mut Self::Context) -> Self::Result {
        self.state.restore(saved.received(&self.setup.edge.name));
        Ok(())
    }
}

impl BridgeSender {
    /// Keeps the frames that the next node may not have, because this node leaves.
    pub(super) fn deposit(&mut self) {
        if self.setup.control.saves_received()
            && let Some(state) = self.sent()
        {
            self.setup.control.deposit(state);
        }
    }

    /// The frames that the next node may not have; `None` when one cannot be written.
    fn sent(&mut self) -> Option<ActorState> {
        let route = self.setup.route;
        let frames = self.window.snapshot().into_iter().map(|frame| {
            let encoded = encode_frame(&frame, route, 0, 0, Encoding::F32)?;
            Ok::<_, WireError>(encoded.concat(frame.body.tensor()).to_vec())
        });
        let frames = frames.collect::<Result<_, _>>();
        let frames = frames.inspect_err(|error| {
            tracing::warn!(edge = %self.setup.edge.name, %error, "the node's state is not saved");
        });
        Some(ActorState::Sent {
            edge: self.setup.edge.name.to_string(),
            frames: frames.ok()?,
        })
    }
}

impl Handler<TakeSnapshot> for BridgeSender {
    type Result = MessageResult<TakeSnapshot>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        MessageResult(vec![self.sent().unwrap_or(ActorState::Busy)])
    }
}

impl Handler<Restore> for BridgeSender {
    type Result = Result<(), StageError>;

    fn handle(&mut self, Restore(saved): Restore, _: &mut Self::Context) -> Self::Result {
        let frames = saved.sent(&self.setup.edge.name).iter().map(|bytes| {
            let wire = WireFrame::parse(bytes.clone().into())?;
            decode_frame(&wire, self.setup.payload)
        });
        let frames = frames.collect::<Result<Vec<_>, _>>();
        self.window.restore(frames.map_err(StageError::config)?);
        Ok(())
    }
}
