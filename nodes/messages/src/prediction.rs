//! A model's output on the wire.

use heqis_actors::{Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::{BarRef, MarketSnapshot, Prediction};

use crate::BarRefWire;
use crate::snapshot::{MarketSnapshotWire, read_with_extension};

/// A model's prediction of the bar after this one.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionMessage {
    /// The last bar that the model read.
    pub bar: BarRef,
    /// Predicted return and class probabilities {down, flat, up}.
    pub prediction: Prediction,
    /// The filters' inputs, where a topology asks for them.
    pub snapshot: Option<MarketSnapshot>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    bar: BarRefWire,
    predicted_return: f64,
    probabilities: [f64; 3],
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct ExtendedWire {
    wire: Wire,
    extension: MarketSnapshotWire,
}

impl Payload for PredictionMessage {
    const NAME: &'static str = "prediction";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let wire = Wire {
            bar: (&self.bar).into(),
            predicted_return: self.prediction.predicted_return,
            probabilities: self.prediction.probabilities,
        };
        match &self.snapshot {
            None => encode_meta(Self::NAME, &wire, out)?,
            Some(snapshot) => {
                let extension = snapshot.into();
                encode_meta(Self::NAME, &ExtendedWire { wire, extension }, out)?;
            }
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let (wire, extension) = read_with_extension!(Self::NAME, bytes, Wire, ExtendedWire);
        let bar = wire.bar.checked(Self::NAME)?;
        Ok(Self {
            bar,
            prediction: Prediction {
                predicted_return: wire.predicted_return,
                probabilities: wire.probabilities,
            },
            snapshot: extension
                .map(|extension| extension.checked(Self::NAME, &bar))
                .transpose()?,
        })
    }
}
