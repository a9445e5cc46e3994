//! Model inputs on the wire: unscaled features, and scaled ones as a tensor.

use heqis_actors::{Payload, Tensor};
use heqis_quant::{BarRef, MarketSnapshot};

use crate::snapshot::{MarketSnapshotWire, complete};
use crate::{BarRefWire, finite, key};

/// Unscaled features of one bar.
#[derive(Clone, Debug, PartialEq, Payload)]
#[payload(check = Self::check)]
pub struct FeatureRow {
    /// The bar.
    #[payload(key = key, as = BarRefWire)]
    pub bar: BarRef,
    /// Identity of the feature set, `heqis_quant::FeatureSet::id`.
    pub set_id: u32,
    /// Values in the set's order.
    pub values: Vec<f64>,
    /// The filters' inputs, where a topology asks for them.
    #[payload(extension, as = MarketSnapshotWire)]
    pub snapshot: Option<MarketSnapshot>,
}

impl FeatureRow {
    fn check(&mut self) -> Result<(), String> {
        for value in &self.values {
            finite("a feature", *value)?;
        }
        complete(&mut self.snapshot, &self.bar)
    }
}

/// The input of the compute node's model: rows of latent factors and the scaled features of one bar.
#[derive(Clone, Debug, PartialEq, Payload)]
#[payload(check = Self::check)]
pub struct Features {
    /// The last bar of the window.
    #[payload(key = key, as = BarRefWire)]
    pub bar: BarRef,
    /// Identity of the feature names that the tensor holds, `heqis_quant::FeatureSet::id_of` their names.
    pub set_id: u32,
    /// One row of `n` values, shape `[1, n]`, or `rows` of them, the oldest first and at least two, shape
    /// `[1, rows, n]`.
    #[payload(tensor)]
    pub tensor: Tensor,
    /// The filters' inputs, where a topology asks for them.
    #[payload(extension, as = MarketSnapshotWire)]
    pub snapshot: Option<MarketSnapshot>,
}

impl Features {
    /// Returns the tensor's rows and the values in each; `None` for a shape that is not valid for this message. One row is
    /// sent as `[1, n]` alone, so that each message has one encoding.
    #[must_use]
    pub fn rows_and_width(&self) -> Option<(usize, usize)> {
        match *self.tensor.shape() {
            [1, width] => Some((1, usize::try_from(width).ok()?)),
            [1, rows, width] if rows > 1 => {
                Some((usize::try_from(rows).ok()?, usize::try_from(width).ok()?))
            }
            _ => None,
        }
    }

    fn check(&mut self) -> Result<(), String> {
        if self.rows_and_width().is_none() {
            return Err(format!(
                "tensor shape {:?} is neither [1, n] nor [1, rows, n] with two rows or more",
                self.tensor.shape()
            ));
        }
        if let Some(value) = self.tensor.data().iter().find(|value| !value.is_finite()) {
            return Err(format!("the tensor holds {value}, it must be finite"));
        }
        complete(&mut self.snapshot, &self.bar)
    }
}
