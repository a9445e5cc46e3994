//! Joins: which frames of two sides belong together.

use std::collections::{BTreeMap, VecDeque};

use crate::key::Key;

/// How many frames a join holds, and what it does with frames that find no partner.
///
/// The first frame of a key from the left belongs to the first one from the right, the second to the second, and so on, in
/// whichever order they arrive: the pairs do not depend on the speed of the two sides. A frame that comes first is held. Where
/// its side holds [`capacity`](Join::capacity) frames already it is refused: dropped, cause `refused`, with an alarm, and
/// counted as the event `full`. At the end of both complete streams, held frames have no partner: they are counted as the event
/// `unmatched`, and done. Where the closure refuses a pair, the later frame is refused and the earlier one done.
///
/// The emitted frame derives from both: a node in front keeps a held frame, and sends it again to a killed node. Its credit must
/// therefore exceed the frames that are held. The stage is not saved by `state`.
#[derive(Clone, Copy, Debug)]
pub struct Join {
    capacity: usize,
}

impl Default for Join {
    fn default() -> Self {
        Self::capacity(65_536)
    }
}

impl Join {
    /// A join that holds at most `frames` of each side; 65,536 by default.
    #[must_use]
    pub fn capacity(frames: usize) -> Self {
        Self { capacity: frames }
    }
}

/// The frames of one side that wait for a partner, by key.
#[derive(Debug)]
pub struct Held<F> {
    frames: BTreeMap<Key, VecDeque<F>>,
    count: usize,
    most: usize,
}

impl<F> Held<F> {
    /// Holds none yet.
    #[must_use]
    pub fn new(join: Join) -> Self {
        Self {
            frames: BTreeMap::new(),
            count: 0,
            most: join.capacity,
        }
    }

    /// Number of frames held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Holds a frame; returns false where there are as many already as may be held.
    pub fn push(&mut self, key: Key, frame: impl FnOnce() -> F) -> bool {
        let has_room = self.count < self.most;
        if has_room {
            self.frames.entry(key).or_default().push_back(frame());
            self.count += 1;
        }
        has_room
    }

    /// The frame of the key that has waited longest.
    #[must_use]
    pub fn first(&self, key: Key) -> Option<&F> {
        self.frames.get(&key)?.front()
    }

    /// Releases the frame of the key that has waited longest.
    pub fn pop(&mut self, key: Key) {
        if let Some(frames) = self.frames.get_mut(&key) {
            self.count -= usize::from(frames.pop_front().is_some());
            if frames.is_empty() {
                self.frames.remove(&key);
            }
        }
    }
}
