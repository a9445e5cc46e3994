//! Windows: which items belong together, by time or by count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::duration_ns;
use crate::error::StageError;
use crate::key::Key;

/// Length or step of a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Extent {
    /// A span of time.
    Time(Duration),
    /// A number of frames.
    Count(usize),
}

impl From<Duration> for Extent {
    fn from(span: Duration) -> Self {
        Self::Time(span)
    }
}

impl From<usize> for Extent {
    fn from(frames: usize) -> Self {
        Self::Count(frames)
    }
}

/// Which frames a stage of windows puts together.
///
/// The time of a frame is its birth, `born_ns`, by the clock of its source's node. A window of time is closed when a frame
/// was born after its end, or when the node's clock has passed its end, each with the [`lateness`](Window::lateness) on top.
/// A frame whose windows are all closed is refused: it is dropped, cause `refused`, and counted as the event `late` of the
/// stage. At the end of a complete stream every window is closed, also one that is not full.
///
/// The stage holds the frames of its open windows, at most [`capacity`](Window::capacity), and the emitted frame derives from
/// all of them: a node in front of it keeps them until every window that they belong to is processed further on. Its credit
/// must then exceed the frames of the open windows, unless the node of the stage saves its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub(crate) shape: Shape,
    pub(crate) per_key: bool,
    pub(crate) lateness_ns: i64,
    pub(crate) capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Sliding { length: Extent, step: Extent },
    Session { gap_ns: i64 },
}

impl Window {
    fn of(shape: Shape) -> Self {
        Self {
            shape,
            per_key: false,
            lateness_ns: duration_ns(Duration::from_millis(100)),
            capacity: 65_536,
        }
    }

    /// Windows one after another, each of `length`: a `Duration`, aligned to the Unix epoch, or a number of frames.
    #[must_use]
    pub fn tumbling(length: impl Into<Extent>) -> Self {
        let length = length.into();
        Self::of(Shape::Sliding {
            length,
            step: length,
        })
    }

    /// Windows of `length` that begin `step` apart, so that a frame belongs to several; `step` is at most `length`.
    #[must_use]
    pub fn sliding<E: Into<Extent>>(length: E, step: E) -> Self {
        Self::of(Shape::Sliding {
            length: length.into(),
            step: step.into(),
        })
    }

    /// Windows that end when no frame was born for `gap`.
    #[must_use]
    pub fn session(gap: Duration) -> Self {
        Self::of(Shape::Session {
            gap_ns: duration_ns(gap),
        })
    }

    /// Gives each key windows of its own, instead of windows over all frames. Only such a stage may have several workers.
    #[must_use]
    pub fn per_key(mut self) -> Self {
        self.per_key = true;
        self
    }

    /// How long a window of time waits for frames that are still on their way, 100 ms where this is not set. It also covers
    /// the difference of the clocks where the source is on another node.
    #[must_use]
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness_ns = duration_ns(lateness);
        self
    }

    /// Most frames that the stage holds, 65,536 where this is not set; beyond it frames are refused.
    #[must_use]
    pub fn capacity(mut self, frames: usize) -> Self {
        self.capacity = frames;
        self
    }

    /// Whether each key has windows of its own.
    #[must_use]
    pub fn is_per_key(&self) -> bool {
        self.per_key
    }

    /// Checks that a window holds something, that length and step fit, and that a full window by count has room.
    ///
    /// # Errors
    /// [`StageError::Config`] with what is wrong.
    pub fn check(&self) -> Result<(), StageError> {
        let (length, step) = match self.shape {
            Shape::Session { gap_ns } => (gap_ns, gap_ns),
            Shape::Sliding { length, step } => match (length, step) {
                (Extent::Time(length), Extent::Time(step)) => {
                    (duration_ns(length), duration_ns(step))
                }
                (Extent::Count(length), Extent::Count(step)) => (signed(length), signed(step)),
                _ => {
                    return Err(StageError::config(
                        "a window has a length and a step of one kind",
                    ));
                }
            },
        };
        if step < 1 || step > length {
            return Err(StageError::config(
                "a window is not empty, and its step is not longer than itself",
            ));
        }
        let least = match self.shape {
            Shape::Sliding {
                length: Extent::Count(length),
                ..
            } => length,
            _ => 1,
        };
        if self.capacity < least {
            return Err(StageError::config(format!(
                "a capacity of {} is less than the {least} frames of a window",
                self.capacity
            )));
        }
        Ok(())
    }
}

/// A window that is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowSpan {
    /// Key of its frames; 0 for windows over all frames.
    pub key: Key,
    /// Begin, nanoseconds: of a session and of a window by count the birth of its first frame.
    pub start_ns: i64,
    /// End, nanoseconds, exclusive: of a session its last birth and the gap, of a window by count its last birth.
    pub end_ns: i64,
}

impl Shape {
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        match *self {
            Self::Sliding {
                length: Extent::Time(length),
                step: Extent::Time(step),
            } => Some((duration_ns(length), duration_ns(step))),
            Self::Sliding { .. } | Self::Session { .. } => None,
        }
    }

    pub(crate) fn is_timed(&self) -> bool {
        matches!(self, Self::Session { .. }) || self.times().is_some()
    }

    /// Start of the first window that contains `born_ns` and is open.
    pub(crate) fn first_start(&self, born_ns: i64, watermark_ns: i64) -> i64 {
        let Some((length_ns, step_ns)) = self.times() else {
            return i64::MIN;
        };
        let after = |ns: i64| {
            ns.saturating_sub(length_ns)
                .div_euclid(step_ns)
                .saturating_add(1)
        };
        after(born_ns)
            .max(after(watermark_ns))
            .saturating_mul(step_ns)
    }

    /// The end of the last window that may contain `born_ns`; `None` in windows by count.
    pub(crate) fn last_end(&self, born_ns: i64) -> Option<i64> {
        if let Self::Session { gap_ns } = self {
            return Some(born_ns.saturating_add(*gap_ns));
        }
        let (length_ns, step_ns) = self.times()?;
        Some(
            born_ns
                .div_euclid(step_ns)
                .saturating_mul(step_ns)
                .saturating_add(length_ns),
        )
    }
}

fn signed(frames: usize) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}
