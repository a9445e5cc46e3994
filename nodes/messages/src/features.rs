//! Model inputs on the wire: unscaled features, and scaled ones as a tensor.

use heqis_actors::{Key, Payload, PayloadError, Tensor, encode_meta};
use heqis_quant::{BarRef, MarketSnapshot};

use crate::snapshot::{MarketSnapshotWire, read_with_extension};
use crate::{BarRefWire, finite, rule};

/// Unscaled features of one bar.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow {
    /// The bar.
    pub bar: BarRef,
    /// Identity of the feature set, `heqis_quant::FeatureSet::id`.
    pub set_id: u32,
    /// Values in the set's order.
    pub values: Vec<f64>,
    /// The filters' inputs, where a topology asks for them.
    pub snapshot: Option<MarketSnapshot>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct RowWire {
    bar: BarRefWire,
    set_id: u32,
    values: Vec<f64>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct ExtendedRowWire {
    wire: RowWire,
    extension: MarketSnapshotWire,
}

impl Payload for FeatureRow {
    const NAME: &'static str = "feature-row";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let wire = RowWire {
            bar: (&self.bar).into(),
            set_id: self.set_id,
            values: self.values.clone(),
        };
        match &self.snapshot {
            None => encode_meta(Self::NAME, &wire, out)?,
            Some(snapshot) => {
                let extension = snapshot.into();
                encode_meta(Self::NAME, &ExtendedRowWire { wire, extension }, out)?;
            }
        }
        Ok(())
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let (wire, extension) = read_with_extension!(Self::NAME, bytes, RowWire, ExtendedRowWire);
        for value in &wire.values {
            finite(Self::NAME, "a feature", *value)?;
        }
        let bar = wire.bar.checked(Self::NAME)?;
        Ok(Self {
            bar,
            set_id: wire.set_id,
            values: wire.values,
            snapshot: extension
                .map(|extension| extension.checked(Self::NAME, &bar))
                .transpose()?,
        })
    }
}

/// The input of the compute node's model: rows of latent factors and the scaled features of one bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The last bar of the window.
    pub bar: BarRef,
    /// Identity of the feature names that the tensor holds, `heqis_quant::FeatureSet::id_of` their names.
    pub set_id: u32,
    /// One row of `n` values, shape `[1, n]`, or `rows` of them, the oldest first and at least two, shape
    /// `[1, rows, n]`.
    pub tensor: Tensor,
    /// The filters' inputs, where a topology asks for them.
    pub snapshot: Option<MarketSnapshot>,
}

impl Features {
    /// Returns the tensor's rows and the values in each; `None` for a shape that is not valid for this message.
    #[must_use]
    pub fn rows_and_width(&self) -> Option<(usize, usize)> {
        rows_and_width(self.tensor.shape())
    }
}

/// One row is sent as `[1, n]` alone, so that each message has one encoding.
fn rows_and_width(shape: &[u32]) -> Option<(usize, usize)> {
    match *shape {
        [1, width] => Some((1, usize::try_from(width).ok()?)),
        [1, rows, width] if rows > 1 => {
            Some((usize::try_from(rows).ok()?, usize::try_from(width).ok()?))
        }
        _ => None,
    }
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct FeaturesWire {
    bar: BarRefWire,
    set_id: u32,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct ExtendedFeaturesWire {
    wire: FeaturesWire,
    extension: MarketSnapshotWire,
}

impl Payload for Features {
    const NAME: &'static str = "features";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), PayloadError> {
        let wire = FeaturesWire {
            bar: (&self.bar).into(),
            set_id: self.set_id,
        };
        match &self.snapshot {
            None => encode_meta(Self::NAME, &wire, out)?,
            Some(snapshot) => {
                let extension = snapshot.into();
                encode_meta(Self::NAME, &ExtendedFeaturesWire { wire, extension }, out)?;
            }
        }
        Ok(())
    }

    fn tensor(&self) -> Option<&Tensor> {
        Some(&self.tensor)
    }

    fn decode(bytes: &[u8], tensor: Tensor) -> Result<Self, PayloadError> {
        let (wire, extension) =
            read_with_extension!(Self::NAME, bytes, FeaturesWire, ExtendedFeaturesWire);
        if rows_and_width(tensor.shape()).is_none() {
            return Err(rule(
                Self::NAME,
                format!(
                    "tensor shape {:?} is neither [1, n] nor [1, rows, n] with two rows or more",
                    tensor.shape()
                ),
            ));
        }
        if let Some(value) = tensor.data().iter().find(|value| !value.is_finite()) {
            return Err(rule(
                Self::NAME,
                format!("the tensor holds {value}, it must be finite"),
            ));
        }
        let bar = wire.bar.checked(Self::NAME)?;
        Ok(Self {
            bar,
            set_id: wire.set_id,
            tensor,
            snapshot: extension
                .map(|extension| extension.checked(Self::NAME, &bar))
                .transpose()?,
        })
    }
}
