//! Which frames an output is made from.

use crate::frame::Head;
use crate::origins::{Merged, Origins};

/// The frames that an output is made from, for `Emitter::emit_merged`.
///
/// A frame is *done* with the output when no later output is made from it, and *kept* when one is: in windows that overlap,
/// the frames of the next window are kept. A restarted node drops what is done and processes again what is kept.
///
/// ```
/// use heqis_actors::{Clock, Collector, Emitter, Frame, Merge, Nothing, Origin, Payload};
/// # #[derive(Payload)]
/// # struct Sum(u64);
/// let item = |position| Frame::detached(Origin { stream: 1, position }, 0, Sum(position));
/// let window: Vec<_> = (1..=4).map(item).collect();
/// let mut collector = Collector::new(Clock::virtual_at(0));
///
/// // A window of four that moves by two: the first two frames are done, the others belong to the next window too.
/// let merge = Merge::of(window[..2].iter().map(Frame::head)).keeping(window[2..].iter().map(Frame::head));
/// collector.emitter().emit_merged(merge, Sum(10));
///
/// let emitted = collector.take::<Sum>();
/// let origins = emitted[0].head().origins();
/// assert_eq!((origins.newest().position, origins.done()[0].last, origins.kept()[0].first), (4, 2, 3));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Merge<'h> {
    /// Heads of the frames that are complete.
    pub done: Vec<&'h Head>,
    /// Heads of those that later outputs are made from too.
    pub kept: Vec<&'h Head>,
    held: Merged,
}

impl<'h> Merge<'h> {
    /// An output that is made from `parents`, which are done with it.
    pub fn of(parents: impl IntoIterator<Item = &'h Head>) -> Self {
        Self {
            done: parents.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Adds frames from which later outputs are made too.
    #[must_use]
    pub fn keeping(mut self, parents: impl IntoIterator<Item = &'h Head>) -> Self {
        self.kept.extend(parents);
        self
    }

    /// Adds items whose frames the stage holds only by its state. They are done with the output.
    #[must_use]
    pub fn with(mut self, origins: &Origins) -> Self {
        self.held.add(origins);
        self
    }

    /// As [`Merge::with`], for items from which later outputs are made too.
    #[must_use]
    pub fn keeping_with(mut self, origins: &Origins) -> Self {
        self.held.keep(origins);
        self
    }

    /// Distinguishes outputs that are made from the same items and complete none of them, by a number that a restarted stage
    /// gives them again, such as the start of a window.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.held.tag = tag;
        self
    }

    /// The single frame that the output is made from, where there is no other.
    pub fn single(&self) -> Option<&'h Head> {
        match self.done[..] {
            [parent] if self.kept.is_empty() && self.held == Merged::default() => Some(parent),
            _ => None,
        }
    }

    /// All heads.
    pub fn heads(&self) -> impl Iterator<Item = &'h Head> {
        self.done.iter().chain(&self.kept).copied()
    }

    /// The items of all frames; warm-up frames have none.
    pub fn origins(&self) -> Origins {
        let mut merged = self.held.clone();
        let items = |heads: &[&'h Head]| -> Vec<Origins> {
            let real = heads.iter().filter(|head| !head.warm_up);
            real.map(|head| head.origins()).collect()
        };
        items(&self.done).iter().for_each(|one| merged.add(one));
        items(&self.kept).iter().for_each(|one| merged.keep(one));
        Origins::from(merged)
    }
}
