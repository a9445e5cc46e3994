//! A model's output on its way.

use heqis_actors::{Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::{Prediction, View};

use crate::view::{ViewWire, read_with_tail};
use crate::{BarRef, BarRefWire};

/// What a model says about the bar after this one.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionMessage {
    /// The bar that was looked at.
    pub bar: BarRef,
    /// Predicted return and class probabilities {down, flat, up}.
    pub prediction: Prediction,
    /// What filters need of the market, where they ask for it.
    pub view: Option<View>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct Wire {
    bar: BarRefWire,
    predicted_return: f64,
    probabilities: [f64; 3],
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct TailedWire {
    wire: Wire,
    tail: ViewWire,
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
        match &self.view {
            None => encode_meta(Self::NAME, &wire, out)?,
            Some(view) => {
                let tail = view.into();
                encode_meta(Self::NAME, &TailedWire { wire, tail }, out)?;
            }
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let (wire, tail) = read_with_tail!(Self::NAME, bytes, Wire, TailedWire);
        let bar = wire.bar.checked(Self::NAME)?;
        Ok(Self {
            bar,
            prediction: Prediction {
                predicted_return: wire.predicted_return,
                probabilities: wire.probabilities,
            },
            view: tail
                .map(|tail| tail.checked(Self::NAME, &bar))
                .transpose()?,
        })
    }
}
