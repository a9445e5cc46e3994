//! Looking at the frames that enter a stage, without being a stage.

use std::fmt;
use std::sync::Arc;

use crate::frame::AnyFrame;

/// Is handed every frame that a stage takes from its edges, before the stage is. Cheap to clone.
///
/// It runs on the stage's thread and in its way: what it keeps has to be copied out, since a frame that is held stays
/// unacknowledged, and whatever takes long belongs elsewhere.
#[derive(Clone)]
pub struct Tap(Arc<dyn Fn(&AnyFrame) + Send + Sync>);

impl Tap {
    /// A tap that hands each frame to `look`.
    pub fn new(look: impl Fn(&AnyFrame) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(crate) fn show(&self, frame: &AnyFrame) {
        (self.0)(frame);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap(…)")
    }
}
