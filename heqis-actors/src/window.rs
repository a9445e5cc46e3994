//! Windows of frames, for any stage: groups of frames, by time or by count, that become one frame each.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::BuildContext;
use crate::emitter::Emitter;
use crate::stage::Stage;
use heqis_core::ClosedUpTo;
use heqis_core::Merge;
use heqis_core::link::messages::{decode_frame, encode_frame};
use heqis_core::wire::{WireError, WireFrame};
use heqis_core::{
    ClosureResult, Counter, Encoding, Ending, Key, OpenGroup, OpenWindows, Payload, Snapshot,
    StageError, Window, WindowSpan,
};
use heqis_core::{Frame, PayloadType};

/// A window of frames that is closed.
#[non_exhaustive]
pub struct ClosedWindow<'a, P> {
    /// Its key and times.
    pub span: WindowSpan,
    /// Its frames: by birth in windows of time, by arrival in windows by count.
    pub frames: &'a [Frame<P>],
    /// What a frame made of it derives from, for [`Emitter::emit_merged`]: frames of later windows are kept.
    pub merge: Merge<'a>,
}

/// The open windows of a stage: what [`GraphBuilder::window`](crate::GraphBuilder::window) is made of, for a stage of one's
/// own. Windows that close are handed to a function, in order.
///
/// Where the node saves its state, the frames are a part of it ([`Windows::snapshot`]), and no node in front keeps them:
/// windows may then hold more frames than the credit of an edge. That needs a payload with a codec.
///
/// ```
/// use heqis_actors::testing::StageTest;
/// use heqis_actors::{
///     BuildContext, ClosedWindow, Emitter, Ending, Frame, Payload, Snapshot, Stage, StageError, Window, Windows,
/// };
///
/// #[derive(Payload)]
/// struct Price(f64);
///
/// /// The spread of each three prices.
/// struct Spread(Windows<Price>);
///
/// /// Emits what a window becomes.
/// fn spread(out: &mut Emitter<'_, Price>, window: ClosedWindow<'_, Price>) -> Result<(), StageError> {
///     let prices = || window.frames.iter().map(|price| price.0);
///     let spread = prices().fold(f64::MIN, f64::max) - prices().fold(f64::MAX, f64::min);
///     out.emit_merged(window.merge, Price(spread));
///     Ok(())
/// }
///
/// impl Stage for Spread {
///     type Config = ();
///     type In = Price;
///     type Out = Price;
///     const HOLDS_FRAMES: bool = true;
///
///     fn build(_: &(), cx: &BuildContext) -> Result<Self, StageError> {
///         Ok(Self(Windows::new(&Window::tumbling(3), cx)?))
///     }
///
///     fn process(&mut self, price: &Frame<Price>, out: &mut Emitter<'_, Price>) -> Result<(), StageError> {
///         self.0.push(price, |window| spread(out, window))
///     }
///
///     fn drain(&mut self, ending: Ending, out: &mut Emitter<'_, Price>) -> Result<(), StageError> {
///         self.0.drain(ending, |window| spread(out, window))
///     }
///
///     fn snapshot(&self) -> Snapshot {
///         self.0.snapshot()
///     }
///
///     fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
///         self.0.restore(state)
///     }
/// }
///
/// let mut stage = StageTest::<Spread>::new(())?;
/// assert!(stage.take(Price(1.0))?.is_empty());
/// let mut stage = stage.restart()?;
/// assert!(stage.take(Price(5.0))?.is_empty());
/// assert_eq!(stage.take(Price(2.0))?[0].0, 4.0);
/// # Ok::<(), StageError>(())
/// ```
pub struct Windows<P> {
    open: OpenWindows<Frame<P>>,
    late: Counter,
    closed: ClosedUpTo,
    cx: BuildContext,
}

/// The state of windows: which ones, and what they hold.
#[derive(Serialize, Deserialize)]
struct Saved {
    window: Window,
    watermark_ns: i64,
    groups: BTreeMap<Key, OpenGroup<SavedFrame>>,
}

/// A frame as on the wire.
#[derive(Serialize, Deserialize)]
struct SavedFrame {
    warm_up: bool,
    bytes: Vec<u8>,
}

impl SavedFrame {
    fn of<P: Payload>(frame: &Frame<P>) -> Result<Self, WireError> {
        let encoded = encode_frame(frame.any(), 0, 0, 0, Encoding::F32)?;
        Ok(Self {
            warm_up: frame.head().warm_up,
            bytes: encoded.concat(frame.tensor()).to_vec(),
        })
    }

    fn read<P: Payload>(&self, cx: &BuildContext) -> Result<Frame<P>, StageError> {
        let read = || {
            let wire = WireFrame::parse(self.bytes.clone().into())?;
            decode_frame(&wire, PayloadType::declared::<P>())
        };
        let fault = |error: WireError| StageError::config(format!("state: {error}"));
        let mut frame = read().map_err(fault)?;
        frame.head.warm_up = self.warm_up;
        cx.kept.add(&mut frame);
        Frame::typed(frame).map_err(|_| StageError::config("state: another payload"))
    }
}

impl<P: Payload> Windows<P> {
    /// No window is open. `cx` is the context of the stage, whose event `late` counts frames that are refused.
    ///
    /// # Errors
    /// [`StageError::Config`] for windows that hold nothing, or whose length and step do not fit.
    pub fn new(window: &Window, cx: &BuildContext) -> Result<Self, StageError> {
        let mut open = OpenWindows::new(window)?;
        // A rebuilt stage gets its frames again: of the windows that are closed they are done.
        let closed = cx.kept.closed_up_to();
        open.resume_after(closed.ns());
        Ok(Self {
            open,
            late: cx.counter("late"),
            closed,
            cx: cx.clone(),
        })
    }

    /// Adds a frame, and hands the windows that it closes to `close`. Call it from [`Stage::process`], and ask for the next
    /// call of [`Windows::on_timer`] where windows of time are to close by themselves.
    ///
    /// # Errors
    /// [`StageError::Refused`] for a frame whose windows are all closed, and for one above the windows' capacity. Else those
    /// of `close`, of which a refusal counts as a failure.
    pub fn push(
        &mut self,
        frame: &Frame<P>,
        close: impl FnMut(ClosedWindow<'_, P>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if let Some(late_ns) = self.open.late_ns(frame) {
            self.late.inc();
            return Err(StageError::refused(format!(
                "its windows were closed {late_ns} ns before"
            )));
        }
        let frame = match self.saves() {
            true => frame.clone().unheld(),
            false => frame.clone(),
        };
        self.open.push(frame, with_merge(close))?;
        self.closed.set(self.open.groups().0);
        Ok(())
    }

    /// Hands the windows of time that are over at `now_ns` to `close`. Call it from [`Stage::on_timer`].
    ///
    /// # Errors
    /// Those of `close`.
    pub fn on_timer(
        &mut self,
        now_ns: i64,
        close: impl FnMut(ClosedWindow<'_, P>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.open.close_at(now_ns, with_merge(close))?;
        self.closed.set(self.open.groups().0);
        Ok(())
    }

    /// At the end of a complete stream, hands every window to `close`, also one that is not full. Call it from
    /// [`Stage::drain`].
    ///
    /// # Errors
    /// Those of `close`.
    pub fn drain(
        &mut self,
        ending: Ending,
        close: impl FnMut(ClosedWindow<'_, P>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.open.drain(ending, with_merge(close))
    }

    /// When the next window closes by itself, nanoseconds, for [`Emitter::wake_at`].
    #[must_use]
    pub fn next_wake(&self) -> Option<i64> {
        self.open.next_wake()
    }

    /// The number of frames held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.open.held()
    }

    /// Whether the frames are in the node's saved state instead of with the nodes that sent them.
    fn saves(&self) -> bool {
        P::WIRE && self.cx.saves_state()
    }

    /// The open windows with their frames, for [`Stage::snapshot`]. Not supported for a payload without a codec.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        if !P::WIRE {
            return Snapshot::Unsupported;
        }
        let (watermark_ns, groups) = self.open.groups();
        let groups = groups.iter().map(|(key, group)| Ok((*key, saved(group)?)));
        match groups.collect::<Result<_, WireError>>() {
            Ok(groups) => Snapshot::of(&Saved {
                window: self.open.window().clone(),
                watermark_ns,
                groups,
            }),
            Err(error) => {
                tracing::error!(stage = self.cx.stage(), %error, "a frame in a window cannot be written");
                Snapshot::Unsupported
            }
        }
    }

    /// Continues from what [`Windows::snapshot`] gave, for [`Stage::restore`].
    ///
    /// # Errors
    /// [`StageError::Config`] when the state is of other windows.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        let saved: Saved = Snapshot::read(state)?;
        self.check_window(&saved.window)?;
        let groups = saved.groups.into_iter();
        let groups =
            groups.map(|(key, group)| Ok((key, group.try_map(|frame| frame.read(&self.cx))?)));
        let groups = groups.collect::<Result<_, StageError>>()?;
        self.open.restore(saved.watermark_ns, groups);
        self.closed.set(saved.watermark_ns);
        Ok(())
    }

    /// Takes the frames of a key out, for [`Stage::take_key`].
    ///
    /// # Errors
    /// [`StageError::Config`] for windows over all keys, and for a payload without a codec.
    pub fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        if !P::WIRE {
            return Err(StageError::config("its payload has no codec"));
        }
        let Some(group) = self.open.take_key(key)? else {
            return Ok(None);
        };
        let bytes = saved(&group)
            .map_err(StageError::config)
            .and_then(|group| Snapshot::bytes(&(self.open.window(), group)));
        if bytes.is_err() {
            self.open.put_key(key, group)?;
        }
        bytes.map(Some)
    }

    /// Adds the frames of a key that [`Windows::take_key`] gave, for [`Stage::put_key`]. Ask for the next call of
    /// [`Windows::on_timer`] afterwards.
    ///
    /// # Errors
    /// [`StageError::Config`] when the state is of other windows, the key has open windows here, or there is no room.
    pub fn put_key(&mut self, key: Key, state: &[u8]) -> Result<(), StageError> {
        let (window, group): (Window, OpenGroup<SavedFrame>) = Snapshot::read(state)?;
        self.check_window(&window)?;
        let group = group.try_map(|frame| frame.read(&self.cx))?;
        self.open.put_key(key, group)
    }

    fn check_window(&self, window: &Window) -> Result<(), StageError> {
        match window == self.open.window() {
            true => Ok(()),
            false => Err(StageError::config("the state is of other windows")),
        }
    }
}

fn saved<P: Payload>(group: &OpenGroup<Frame<P>>) -> Result<OpenGroup<SavedFrame>, WireError> {
    group.try_map(SavedFrame::of)
}

/// The function that windows call, with what the output derives from.
fn with_merge<P: Payload>(
    mut close: impl FnMut(ClosedWindow<'_, P>) -> Result<(), StageError>,
) -> impl FnMut(WindowSpan, &[Frame<P>], usize) -> Result<(), StageError> {
    move |span, frames, done| {
        let merge = Merge::of(frames[..done].iter().map(Frame::head))
            .keeping(frames[done..].iter().map(Frame::head))
            .tag(span.start_ns as u64);
        close(ClosedWindow {
            span,
            frames,
            merge,
        })
    }
}

/// The stage of [`GraphBuilder::window`](crate::GraphBuilder::window).
pub(crate) struct WindowStage<P, R, F> {
    windows: Windows<P>,
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
        Ok(Self {
            windows: Windows::new(window, cx)?,
            call,
            result: PhantomData,
        })
    }

    fn ask(&self, out: &mut Emitter<'_, R::Out>) {
        if let Some(at_ns) = self.windows.next_wake() {
            out.wake_at(at_ns);
        }
    }
}

/// Emits what `call` makes of a window.
fn emit<P: Payload, R: ClosureResult>(
    call: &impl Fn(&WindowSpan, &[Frame<P>]) -> R,
    out: &mut Emitter<'_, R::Out>,
    window: ClosedWindow<'_, P>,
) -> Result<(), StageError> {
    if let Some(payload) = call(&window.span, window.frames).into_payload()? {
        out.emit_merged(window.merge, payload);
    }
    Ok(())
}

impl<P: Payload, R: ClosureResult + 'static, F> Stage for WindowStage<P, R, F>
where
    F: Fn(&WindowSpan, &[Frame<P>]) -> R + 'static,
{
    type Config = ();
    type In = P;
    type Out = R::Out;
    const KIND: &'static str = heqis_core::WINDOW;
    const HOLDS_FRAMES: bool = true;

    fn process(
        &mut self,
        frame: &Frame<P>,
        out: &mut Emitter<'_, R::Out>,
    ) -> Result<(), StageError> {
        self.windows
            .push(frame, |window| emit(&*self.call, out, window))?;
        self.ask(out);
        Ok(())
    }

    fn on_timer(&mut self, now_ns: i64, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        self.windows
            .on_timer(now_ns, |window| emit(&*self.call, out, window))?;
        self.ask(out);
        Ok(())
    }

    fn drain(&mut self, ending: Ending, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        self.windows
            .drain(ending, |window| emit(&*self.call, out, window))
    }

    fn resume(&mut self, out: &mut Emitter<'_, R::Out>) -> Result<(), StageError> {
        // Of restored windows.
        self.ask(out);
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        self.windows.snapshot()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        self.windows.restore(state)
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        self.windows.take_key(key)
    }

    fn put_key(
        &mut self,
        key: Key,
        state: &[u8],
        out: &mut Emitter<'_, R::Out>,
    ) -> Result<(), StageError> {
        self.windows.put_key(key, state)?;
        self.ask(out);
        Ok(())
    }
}
