//! Observes the frames that enter a stage.

use std::fmt;
use std::sync::Arc;

use heqis_core::AnyFrame;

/// Gets every frame that a stage takes from its edges, before the stage processes it. Cheap to clone.
///
/// It runs on the stage's thread. It copies what it keeps, because a frame that it held would stay unacknowledged, and
/// passes slow work to another thread.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
///
/// let last = Arc::new(AtomicU64::new(0));
/// let copy = last.clone();
/// let tap = heqis_actors::Tap::new(move |frame| {
///     copy.store(frame.head().origin.position, Ordering::Relaxed);
/// });
/// # let _ = tap;
/// ```
#[derive(Clone)]
pub struct Tap(Arc<dyn Fn(&AnyFrame) + Send + Sync>);

impl Tap {
    /// A tap that calls `observe` with each frame.
    pub fn new(observe: impl Fn(&AnyFrame) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn observe(&self, frame: &AnyFrame) {
        (self.0)(frame);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap(…)")
    }
}
