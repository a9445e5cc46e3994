//! The items of windows that are not closed yet, and when a group of them is complete.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::error::StageError;
use crate::frame::Frame;
use crate::key::Key;
use crate::outcome::Ending;
use crate::payload::Payload;
use crate::window::{Extent, Shape, Window, WindowSpan};

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
