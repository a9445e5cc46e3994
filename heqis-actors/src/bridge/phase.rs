//! What a receiving half does, and how far the end of its stream is agreed.

/// What this half does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Built or being built; accepts no connections.
    New,
    /// Accepts connections and frames.
    Open,
    /// This node leaves: no further frames are accepted. `answered`: the sender has answered the goodbye, and nothing that
    /// it sent is left to read.
    Closing { answered: bool },
    /// Ended for good.
    Ended,
}

/// How far the end of a complete stream is agreed with its sender.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// The stream is not complete, or the sender does not know every outcome.
    Pending,
    /// The sender knows that everything has its outcome.
    Confirmed,
    /// The stages of this node have finished, and the sender was notified.
    Answered,
}
