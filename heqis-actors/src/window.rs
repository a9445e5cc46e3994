//! Windows: groups of frames, by time or by count, that become one frame each.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::context::BuildContext;
use crate::emitter::Emitter;
use crate::frame::Frame;
use crate::merge::Merge;
use crate::stage::Stage;
use heqis_core::{ClosureResult, Counter, Ending, Key, Payload, StageError, duration_ns};

/// Length or step of a [`Window`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Which frames [`GraphBuilder::window`](crate::GraphBuilder::window) puts together.
///
/// The time of a frame is its birth, `born_ns`, by the clock of its source's node. A window of time is closed when a frame
/// was born after its end, or when the node's clock has passed its end, each with the [`lateness`](Window::lateness) on top.
/// A frame whose windows are all closed is refused: it is dropped, cause `refused`, and counted as the event `late` of the
/// stage. At the end of a complete stream every window is closed, also one that is not full.
///
/// The stage holds the frames of its open windows, at most [`capacity`](Window::capacity), and the emitted frame derives from
/// all of them ([`Emitter::emit_merged`]): a node in front of it keeps them until every window that they belong to is
/// processed further on. Its credit must therefore exceed the frames of the open windows.
#[derive(Clone, Debug)]
pub struct Window {
    shape: Shape,
    per_key: bool,
    lateness_ns: i64,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
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

    fn check(&self) -> Result<(), StageError> {
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

/// The frames of one key that belong to open windows.
struct Group<P> {
    /// By birth in windows of time, by arrival in windows by count.
    frames: VecDeque<Frame<P>>,
    /// Start of the first open window of time.
    start_ns: i64,
    /// Frames that were in no closed window by count.
    fresh: usize,
}

/// The stage of [`GraphBuilder::window`](crate::GraphBuilder::window).
pub(crate) struct WindowStage<P, R, F> {
    window: Window,
    groups: BTreeMap<Key, Group<P>>,
    held: usize,
    /// No window that ends at this time or earlier is open.
    watermark_ns: i64,
    /// The earliest end of an open window of time.
    next_end_ns: i64,
    late: Counter,
    call: Arc<F>,
    result: PhantomData<fn() -> R>,
}

impl<P: Payload, R: ClosureResult, F> WindowStage<P, R, F>
where
    F: Fn(&WindowSpan, &[Frame<P>]) -> R,
{
    pub(crate) fn new(
        window: &Window,
        call: Arc<F>,
        cx: &BuildContext,
    ) -> Result<Self, StageError> {
        window.check()?;
        Ok(Self {
            window: window.clone(),
            groups: BTreeMap::new(),
            held: 0,
            watermark_ns: i64::MIN,
            next_end_ns: i64::MAX,
            late: cx.counter("late"),
            call,
            result: PhantomData,
        })
    }

    /// Closes every window of time that ends at `watermark_ns` or earlier.
    fn close(
        &mut self,
        watermark_ns: i64,
        out: &mut Emitter<'_, R::Out>,
    ) -> Result<(), StageError> {
        self.watermark_ns = self.watermark_ns.max(watermark_ns);
        if self.next_end_ns > self.watermark_ns {
            return Ok(());
        }
        self.next_end_ns = i64::MAX;
        for (&key, group) in &mut self.groups {
            while let Some(closing) = self.window.shape.first(group) {
                if closing.end_ns > self.watermark_ns {
                    self.next_end_ns = self.next_end_ns.min(closing.end_ns);
                    break;
                }
                let span = WindowSpan {
                    key,
                    ..closing.span
                };
                self.held -= closing.done;
                emit(&*self.call, &span, group, (closing.len, closing.done), out)?;
                if let Some((_, step_ns)) = self.window.shape.times() {
                    group.start_ns = span.start_ns.saturating_add(step_ns);
                }
            }
        }
        self.groups.retain(|_, group| !group.frames.is_empty());
        Ok(())
    }

    /// Adds the frame to its group, and closes the window by count that it completes.
    fn add(&mut self, frame: &Frame<P>, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        let key = if self.window.per_key {
            frame.head().key
        } else {
            0
        };
        let group = self.groups.entry(key).or_insert_with(|| Group {
            frames: VecDeque::new(),
            start_ns: i64::MAX,
            fresh: 0,
        });
        self.held += 1;
        group.fresh += 1;
        if let Shape::Sliding {
            length: Extent::Count(length),
            step: Extent::Count(step),
        } = self.window.shape
        {
            group.frames.push_back(frame.clone());
            if group.frames.len() == length {
                self.held -= step;
                group.fresh = 0;
                emit(
                    &*self.call,
                    &span_of(key, &group.frames),
                    group,
                    (length, step),
                    out,
                )?;
            }
            return Ok(());
        }
        let born_ns = frame.head().born_ns;
        let at = group
            .frames
            .partition_point(|other| other.head().born_ns <= born_ns);
        group.frames.insert(at, frame.clone());
        let first_ns = self.window.shape.first_start(born_ns, self.watermark_ns);
        group.start_ns = group.start_ns.min(first_ns);
        if let Some(first) = self.window.shape.first(group) {
            self.next_end_ns = self.next_end_ns.min(first.end_ns);
        }
        Ok(())
    }

    fn ask(&self, out: &mut Emitter<'_, R::Out>) {
        if self.next_end_ns < i64::MAX {
            out.wake_at(self.next_end_ns.saturating_add(self.window.lateness_ns));
        }
    }
}

/// The next window of a group that closes.
struct Closing {
    span: WindowSpan,
    end_ns: i64,
    /// Frames in it, and those of them that are in no later one.
    len: usize,
    done: usize,
}

impl Shape {
    fn times(&self) -> Option<(i64, i64)> {
        match *self {
            Self::Sliding {
                length: Extent::Time(length),
                step: Extent::Time(step),
            } => Some((duration_ns(length), duration_ns(step))),
            Self::Sliding { .. } | Self::Session { .. } => None,
        }
    }

    /// Start of the first window that contains `born_ns` and is open.
    fn first_start(&self, born_ns: i64, watermark_ns: i64) -> i64 {
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
    fn last_end(&self, born_ns: i64) -> Option<i64> {
        if let Self::Session { gap_ns } = self {
            return Some(born_ns.saturating_add(*gap_ns));
        }
        let (length_ns, step_ns) = self.times()?;
        Some((born_ns.div_euclid(step_ns) * step_ns).saturating_add(length_ns))
    }

    /// The next window of time of a group that closes.
    fn first<P: Payload>(&self, group: &Group<P>) -> Option<Closing> {
        let first = group.frames.front()?.head();
        if let Self::Session { gap_ns } = self {
            let born = |at: usize| group.frames.get(at).map(|frame| frame.head().born_ns);
            let mut len = 1;
            let mut last_ns = first.born_ns;
            while let Some(next_ns) = born(len).filter(|next_ns| next_ns - last_ns < *gap_ns) {
                last_ns = next_ns;
                len += 1;
            }
            let end_ns = last_ns.saturating_add(*gap_ns);
            return Some(Closing {
                span: WindowSpan {
                    key: 0,
                    start_ns: first.born_ns,
                    end_ns,
                },
                end_ns,
                len,
                done: len,
            });
        }
        let (length_ns, step_ns) = self.times()?;
        // Windows without any frame are left out.
        let start_ns = group
            .start_ns
            .max(self.first_start(first.born_ns, i64::MIN));
        let end_ns = start_ns.saturating_add(length_ns);
        let before = |ns: i64| {
            group
                .frames
                .partition_point(|frame| frame.head().born_ns < ns)
        };
        Some(Closing {
            span: WindowSpan {
                key: 0,
                start_ns,
                end_ns,
            },
            end_ns,
            len: before(end_ns),
            done: before(start_ns.saturating_add(step_ns)),
        })
    }
}

/// Emits the frame of a window of the first `len` frames of the group, and lets go of the first `done` of them.
fn emit<P: Payload, R: ClosureResult>(
    call: &impl Fn(&WindowSpan, &[Frame<P>]) -> R,
    span: &WindowSpan,
    group: &mut Group<P>,
    (len, done): (usize, usize),
    out: &mut Emitter<'_, R::Out>,
) -> Result<(), StageError> {
    let frames = &group.frames.make_contiguous()[..len];
    let payload = call(span, frames)
        .into_payload()
        .map_err(|error| match error {
            // There is no single frame that could be refused.
            StageError::Refused(reason) => StageError::Failed(reason),
            error => error,
        })?;
    if let Some(payload) = payload {
        let merge = Merge::of(frames[..done].iter().map(Frame::head))
            .keeping(frames[done..].iter().map(Frame::head))
            .tag(span.start_ns as u64);
        out.emit_merged(merge, payload);
    }
    group.frames.drain(..done);
    Ok(())
}

/// The span of a window by count.
fn span_of<P: Payload>(key: Key, frames: &VecDeque<Frame<P>>) -> WindowSpan {
    let born = |frame: Option<&Frame<P>>| frame.map_or(0, |frame| frame.head().born_ns);
    WindowSpan {
        key,
        start_ns: born(frames.front()),
        end_ns: born(frames.back()),
    }
}

fn signed(frames: usize) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}

impl<P: Payload, R: ClosureResult + 'static, F> Stage for WindowStage<P, R, F>
where
    F: Fn(&WindowSpan, &[Frame<P>]) -> R + 'static,
{
    type Config = ();
    type In = P;
    type Out = R::Out;
    const KIND: &'static str = "window";

    fn process(
        &mut self,
        frame: &Frame<P>,
        out: &mut Emitter<'_, R::Out>,
    ) -> Result<(), StageError> {
        let born_ns = frame.head().born_ns;
        if let Some(end_ns) = self.window.shape.last_end(born_ns) {
            if end_ns <= self.watermark_ns {
                self.late.inc();
                let late_ns = self.watermark_ns - end_ns;
                return Err(StageError::refused(format!(
                    "its windows were closed {late_ns} ns before"
                )));
            }
            let watermark_ns = born_ns.saturating_sub(self.window.lateness_ns);
            // A refusal takes back what was emitted for the frame, so that nothing is closed before it.
            if self.held < self.window.capacity || self.next_end_ns <= watermark_ns {
                self.close(watermark_ns, out)?;
            }
        }
        if self.held >= self.window.capacity {
            return Err(StageError::refused(format!(
                "the open windows hold {} frames already",
                self.held
            )));
        }
        self.add(frame, out)?;
        self.ask(out);
        Ok(())
    }

    fn on_timer(&mut self, now_ns: i64, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        self.close(now_ns.saturating_sub(self.window.lateness_ns), out)?;
        self.ask(out);
        Ok(())
    }

    fn drain(&mut self, ending: Ending, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        if ending == Ending::Left {
            // The frames are sent again to the node that continues.
            return Ok(());
        }
        self.close(i64::MAX, out)?;
        for (key, mut group) in std::mem::take(&mut self.groups) {
            if group.fresh > 0 {
                let len = group.frames.len();
                emit(
                    &*self.call,
                    &span_of(key, &group.frames),
                    &mut group,
                    (len, len),
                    out,
                )?;
            }
        }
        Ok(())
    }
}
