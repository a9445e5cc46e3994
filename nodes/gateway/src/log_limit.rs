//! Keeps floods out of the log.

/// Lets the first few lines of a kind into the log; the rest is only counted.
#[derive(Clone, Debug)]
pub(crate) struct LogLimit(u32);

impl LogLimit {
    /// Lines of a kind that are shown.
    const SHOWN: u32 = 20;

    pub(crate) fn new() -> Self {
        Self(Self::SHOWN)
    }

    /// Whether the next line is to be shown.
    pub(crate) fn admit(&mut self) -> bool {
        let admitted = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        admitted
    }
}
