//! Windows: which items belong together, by time or by count, and when a group of them is complete.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::duration_ns;
use crate::error::StageError;
use crate::frame::Frame;
use crate::key::Key;
use crate::outcome::Ending;
use crate::payload::Payload;

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
    shape: Shape,
    per_key: bool,
    lateness_ns: i64,
    capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What windows need to know of an item.
pub trait WindowItem {
    /// Its time, nanoseconds.
    fn born_ns(&self) -> i64;
    /// Its key.
    fn key(&self) -> Key;
}

impl<P: Payload> WindowItem for Frame<P> {
    fn born_ns(&self) -> i64 {
        self.head().born_ns
    }

    fn key(&self) -> Key {
        self.head().key
    }
}

/// The items of one key that belong to open windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenGroup<T> {
    /// By birth in windows of time, by arrival in windows by count.
    items: VecDeque<T>,
    /// Start of the first open window of time.
    start_ns: i64,
    /// Items that were in no closed window by count.
    fresh: usize,
    /// No window of this key that ends at this time or earlier is open, of a key that was moved here.
    closed_ns: i64,
}

impl<T> OpenGroup<T> {
    fn new(closed_ns: i64) -> Self {
        Self {
            items: VecDeque::new(),
            start_ns: i64::MAX,
            fresh: 0,
            closed_ns,
        }
    }

    /// The items, made to others.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_map<'t, O, E>(
        &'t self,
        make: impl FnMut(&'t T) -> Result<O, E>,
    ) -> Result<OpenGroup<O>, E> {
        Ok(OpenGroup {
            items: self.items.iter().map(make).collect::<Result<_, _>>()?,
            start_ns: self.start_ns,
            fresh: self.fresh,
            closed_ns: self.closed_ns,
        })
    }
}

/// Items of windows that are not closed yet. [`OpenWindows::push`] and `close` hand each window that closes to
/// a function, in order: its span, its items, and how many of them, from the first on, belong to no later window.
pub struct OpenWindows<T> {
    window: Window,
    groups: BTreeMap<Key, OpenGroup<T>>,
    held: usize,
    /// No window that ends at this time or earlier is open.
    watermark_ns: i64,
    /// The earliest end of an open window of time.
    next_end_ns: i64,
}

/// The time of an item, which is before the end of the last window there can be.
fn born(item: &impl WindowItem) -> i64 {
    item.born_ns().min(i64::MAX - 1)
}

impl<T: WindowItem> OpenWindows<T> {
    /// No window is open.
    ///
    /// # Errors
    /// Those of [`Window::check`].
    pub fn new(window: &Window) -> Result<Self, StageError> {
        window.check()?;
        Ok(Self {
            window: window.clone(),
            groups: BTreeMap::new(),
            held: 0,
            watermark_ns: i64::MIN,
            next_end_ns: i64::MAX,
        })
    }

    /// The windows.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The number of items held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// When [`OpenWindows::close_at`] closes a window, nanoseconds, if no item is added before.
    #[must_use]
    pub fn next_wake(&self) -> Option<i64> {
        (self.next_end_ns < i64::MAX)
            .then(|| self.next_end_ns.saturating_add(self.window.lateness_ns))
    }

    fn key_of(&self, item: &T) -> Key {
        if self.window.per_key { item.key() } else { 0 }
    }

    /// How long ago the last window of an item was closed, nanoseconds; `None` while one is open.
    #[must_use]
    pub fn late_ns(&self, item: &T) -> Option<i64> {
        let end_ns = self.window.shape.last_end(born(item))?;
        let group = self.groups.get(&self.key_of(item));
        let closed_ns = group.map_or(i64::MIN, |group| group.closed_ns);
        let late_ns = self.watermark_ns.max(closed_ns).saturating_sub(end_ns);
        (late_ns >= 0).then_some(late_ns)
    }

    /// Adds an item that is not late, after it has closed what the item's time closes.
    ///
    /// # Errors
    /// [`StageError::Refused`] when the windows are full; then none was closed. Else those of `close`, as failures: there is
    /// no single item that could be refused.
    pub fn push(
        &mut self,
        item: T,
        mut close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if self.window.shape.is_timed() {
            let watermark_ns = born(&item).saturating_sub(self.window.lateness_ns);
            // A refusal takes back what was emitted for the item, so that nothing is closed before it.
            if self.held < self.window.capacity || self.next_end_ns <= watermark_ns {
                self.close(watermark_ns, &mut close)?;
            }
        }
        if self.held >= self.window.capacity {
            return Err(StageError::refused(format!(
                "the open windows hold {} frames already",
                self.held
            )));
        }
        self.add(item, &mut close)
    }

    /// Closes every window of time that is over at `now_ns`.
    ///
    /// # Errors
    /// As [`OpenWindows::push`].
    pub fn close_at(
        &mut self,
        now_ns: i64,
        close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        self.close(now_ns.saturating_sub(self.window.lateness_ns), close)
    }

    /// Closes every window at the end of a complete stream. Where the node leaves in mid-stream they stay open: their items
    /// are restored or sent again to the process that continues.
    ///
    /// # Errors
    /// As [`OpenWindows::push`].
    pub fn drain(
        &mut self,
        ending: Ending,
        mut close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        if ending == Ending::Left {
            return Ok(());
        }
        self.close(i64::MAX, &mut close)?;
        // What fails to close is still held.
        while let Some(mut entry) = self.groups.first_entry() {
            let (key, group) = (*entry.key(), entry.get_mut());
            if group.fresh > 0 {
                let len = group.items.len();
                hand_out(group.span(key), group, (len, len), &mut close)?;
            }
            entry.remove();
        }
        self.held = 0;
        Ok(())
    }

    /// Closes every window of time that ends at `watermark_ns` or earlier.
    fn close(
        &mut self,
        watermark_ns: i64,
        mut close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
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
                hand_out(span, group, (closing.len, closing.done), &mut close)?;
                if let Some((_, step_ns)) = self.window.shape.times() {
                    group.start_ns = span.start_ns.saturating_add(step_ns);
                }
            }
        }
        let watermark_ns = self.watermark_ns;
        self.groups
            .retain(|_, group| !group.items.is_empty() || group.closed_ns > watermark_ns);
        Ok(())
    }

    /// Adds the item to its group, and closes the window by count that it completes.
    fn add(
        &mut self,
        item: T,
        close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let key = self.key_of(&item);
        let group = self.groups.entry(key);
        let group = group.or_insert_with(|| OpenGroup::new(i64::MIN));
        self.held += 1;
        group.fresh += 1;
        if let Shape::Sliding {
            length: Extent::Count(length),
            step: Extent::Count(step),
        } = self.window.shape
        {
            group.items.push_back(item);
            if group.items.len() == length {
                self.held -= step;
                group.fresh = 0;
                hand_out(group.span(key), group, (length, step), close)?;
            }
            return Ok(());
        }
        let born_ns = born(&item);
        let at = (group.items).partition_point(|other| born(other) <= born_ns);
        group.items.insert(at, item);
        let closed_ns = self.watermark_ns.max(group.closed_ns);
        let first_ns = self.window.shape.first_start(born_ns, closed_ns);
        group.start_ns = group.start_ns.min(first_ns);
        if let Some(first) = self.window.shape.first(group) {
            self.next_end_ns = self.next_end_ns.min(first.end_ns);
        }
        Ok(())
    }

    /// What is open, for a saved state: the time up to which windows are closed, and the items by key.
    #[must_use]
    pub fn groups(&self) -> (i64, &BTreeMap<Key, OpenGroup<T>>) {
        (self.watermark_ns, &self.groups)
    }

    /// Continues from what [`OpenWindows::groups`] gave.
    pub fn restore(&mut self, watermark_ns: i64, groups: BTreeMap<Key, OpenGroup<T>>) {
        (self.watermark_ns, self.groups) = (watermark_ns, groups);
        self.held = self.groups.values().map(|group| group.items.len()).sum();
        let ends = self.groups.values();
        let ends = ends.filter_map(|group| Some(self.window.shape.first(group)?.end_ns));
        self.next_end_ns = ends.min().unwrap_or(i64::MAX);
    }

    /// Begins after the windows that end at `closed_ns` or earlier, with the items of those that were open then still to come.
    /// Sessions start afresh: none of their items belongs to two.
    pub fn resume_after(&mut self, closed_ns: i64) {
        if self.window.shape.times().is_some() {
            self.watermark_ns = closed_ns;
        }
    }

    /// Takes the items of a key out, with the time up to which its windows are closed. `None` where nothing is known of it.
    ///
    /// # Errors
    /// [`StageError::Config`] for windows over all keys.
    pub fn take_key(&mut self, key: Key) -> Result<Option<OpenGroup<T>>, StageError> {
        self.check_keyed()?;
        let timed = self.window.shape.is_timed() && self.watermark_ns > i64::MIN;
        let group = self.groups.remove(&key);
        let group = group.or_else(|| timed.then(|| OpenGroup::new(i64::MIN)));
        Ok(group.map(|mut group| {
            self.held -= group.items.len();
            group.closed_ns = group.closed_ns.max(self.watermark_ns);
            group
        }))
    }

    /// Adds the items of a key that were taken out elsewhere.
    ///
    /// # Errors
    /// [`StageError::Config`] for windows over all keys, where the key has items here, and where there is no room.
    pub fn put_key(&mut self, key: Key, group: OpenGroup<T>) -> Result<(), StageError> {
        self.check_keyed()?;
        if self.groups.contains_key(&key) {
            return Err(StageError::config("the key has open windows here"));
        }
        let held = self.held + group.items.len();
        if held > self.window.capacity {
            let capacity = self.window.capacity;
            return Err(StageError::config(format!(
                "the open windows would hold {held} frames, at most {capacity} fit"
            )));
        }
        self.held = held;
        if let Some(first) = self.window.shape.first(&group) {
            self.next_end_ns = self.next_end_ns.min(first.end_ns);
        }
        self.groups.insert(key, group);
        Ok(())
    }

    fn check_keyed(&self) -> Result<(), StageError> {
        match self.window.per_key {
            true => Ok(()),
            false => Err(StageError::config("the windows are not per key")),
        }
    }
}

/// The next window of a group that closes.
struct Closing {
    span: WindowSpan,
    end_ns: i64,
    /// Items in it, and those of them that are in no later one.
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

    fn is_timed(&self) -> bool {
        matches!(self, Self::Session { .. }) || self.times().is_some()
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
        Some(
            born_ns
                .div_euclid(step_ns)
                .saturating_mul(step_ns)
                .saturating_add(length_ns),
        )
    }

    /// The next window of time of a group that closes.
    fn first<T: WindowItem>(&self, group: &OpenGroup<T>) -> Option<Closing> {
        let first_ns = born(group.items.front()?);
        if let Self::Session { gap_ns } = self {
            let born_at = |at: usize| group.items.get(at).map(born);
            let mut len = 1;
            let mut last_ns = first_ns;
            while let Some(next_ns) =
                born_at(len).filter(|next_ns| next_ns.saturating_sub(last_ns) < *gap_ns)
            {
                last_ns = next_ns;
                len += 1;
            }
            let end_ns = last_ns.saturating_add(*gap_ns);
            return Some(Closing {
                span: WindowSpan {
                    key: 0,
                    start_ns: first_ns,
                    end_ns,
                },
                end_ns,
                len,
                done: len,
            });
        }
        let (length_ns, step_ns) = self.times()?;
        // Windows without any item are left out.
        let start_ns = group.start_ns.max(self.first_start(first_ns, i64::MIN));
        let end_ns = start_ns.saturating_add(length_ns);
        let before = |ns: i64| group.items.partition_point(|item| born(item) < ns);
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

impl<T: WindowItem> OpenGroup<T> {
    /// The span of a window by count.
    fn span(&self, key: Key) -> WindowSpan {
        let time = |item: Option<&T>| item.map_or(0, born);
        WindowSpan {
            key,
            start_ns: time(self.items.front()),
            end_ns: time(self.items.back()),
        }
    }
}

/// Hands out the window of the first `len` items of the group, and lets go of the first `done` of them.
fn hand_out<T>(
    span: WindowSpan,
    group: &mut OpenGroup<T>,
    (len, done): (usize, usize),
    mut close: impl FnMut(WindowSpan, &[T], usize) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let items = &group.items.make_contiguous()[..len];
    close(span, items, done).map_err(|error| match error {
        StageError::Refused(reason) => StageError::Failed(reason),
        error => error,
    })?;
    group.items.drain(..done);
    Ok(())
}

fn signed(frames: usize) -> i64 {
    i64::try_from(frames).unwrap_or(i64::MAX)
}
