//! A model's output on the wire.

use heqis_actors::Payload;
use heqis_quant::{BarRef, MarketSnapshot, Prediction};

use crate::snapshot::{MarketSnapshotWire, complete};
use crate::{BarRefWire, key};

/// A model's prediction of the bar after this one.
#[derive(Clone, Debug, PartialEq, Payload)]
#[payload(name = "prediction", check = Self::check)]
pub struct PredictionMessage {
    /// The last bar that the model read.
    #[payload(key = key, as = BarRefWire)]
    pub bar: BarRef,
    /// Predicted return and class probabilities {down, flat, up}.
    #[payload(as = Wire)]
    pub prediction: Prediction,
    /// The filters' inputs, where a topology asks for them.
    #[payload(extension, as = MarketSnapshotWire)]
    pub snapshot: Option<MarketSnapshot>,
}

impl PredictionMessage {
    fn check(&mut self) -> Result<(), String> {
        complete(&mut self.snapshot, &self.bar)
    }
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    predicted_return: f64,
    probabilities: [f64; 3],
}

impl From<&Prediction> for Wire {
    fn from(prediction: &Prediction) -> Self {
        Self {
            predicted_return: prediction.predicted_return,
            probabilities: prediction.probabilities,
        }
    }
}

impl From<Wire> for Prediction {
    fn from(wire: Wire) -> Self {
        Self {
            predicted_return: wire.predicted_return,
            probabilities: wire.probabilities,
        }
    }
}
