//! The last values of one slot, always contiguous.

/// The last `capacity` values. Each is written twice, a capacity apart, so that every window is one slice.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    buffer: Box<[f64]>,
    capacity: usize,
    len: usize,
    next: usize,
    /// Number of newest values of which none is missing.
    present: usize,
}

impl Ring {
    /// Makes an empty ring; `capacity` is at least 1.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            buffer: vec![0.0; 2 * capacity].into(),
            capacity,
            len: 0,
            next: 0,
            present: 0,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: f64) {
        self.buffer[self.next] = value;
        self.buffer[self.next + self.capacity] = value;
        self.next += 1;
        if self.next == self.capacity {
            self.next = 0;
        }
        self.len = (self.len + 1).min(self.capacity);
        self.present = match value.is_nan() {
            true => 0,
            false => (self.present + 1).min(self.capacity),
        };
    }

    /// Returns all values, the oldest first.
    pub(crate) fn values(&self) -> &[f64] {
        self.tail(self.len)
    }

    #[inline]
    fn tail(&self, n: usize) -> &[f64] {
        let end = self.next + self.capacity;
        &self.buffer[end - n..end]
    }

    /// Returns the last `n` values unless one of them is missing or not there yet.
    #[inline]
    pub(crate) fn window(&self, n: usize) -> Option<&[f64]> {
        (n <= self.present).then(|| self.tail(n))
    }

    /// Returns the value of `bars` bars ago, NaN where it is missing.
    #[inline]
    pub(crate) fn ago(&self, bars: usize) -> f64 {
        match bars < self.len {
            true => self.buffer[self.next + self.capacity - 1 - bars],
            false => f64::NAN,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn clear(&mut self) {
        (self.len, self.next, self.present) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_are_the_end_of_the_pushed_values(
            capacity in 1usize..9, pushed in proptest::collection::vec(proptest::option::of(-9f64..9.0), 0..40)
        ) {
            let mut ring = Ring::new(capacity);
            for i in 0..pushed.len() {
                ring.push(pushed[i].unwrap_or(f64::NAN));
                for n in 1..=capacity {
                    let tail: Option<Vec<f64>> =
                        (i + 1 >= n).then(|| pushed[i + 1 - n..=i].iter().copied().collect()).flatten();
                    prop_assert_eq!(ring.window(n).map(<[f64]>::to_vec), tail);
                    let ago = (i + 1 >= n).then(|| pushed[i + 1 - n]).flatten().unwrap_or(f64::NAN);
                    prop_assert_eq!(ring.ago(n - 1).to_bits(), ago.to_bits());
                }
                prop_assert_eq!(ring.values().len(), capacity.min(i + 1));
            }
        }
    }
}
