//! Model inputs on their way: unscaled by name, and scaled as a tensor.

use heqis_actors::{Key, Payload, PayloadError, Tensor, meta, read_meta};

use crate::{BarRef, BarRefWire, finite, rule};

/// Unscaled features of one bar.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow {
    /// The bar.
    pub bar: BarRef,
    /// Identity of the feature set, `heqis_quant::FeatureSet::id`.
    pub set_id: u32,
    /// Values in the set's order.
    pub values: Vec<f64>,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct RowWire {
    bar: BarRefWire,
    set_id: u32,
    values: Vec<f64>,
}

impl Payload for FeatureRow {
    const NAME: &'static str = "feature-row";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<Option<&Tensor>, PayloadError> {
        let wire = RowWire {
            bar: (&self.bar).into(),
            set_id: self.set_id,
            values: self.values.clone(),
        };
        meta(Self::NAME, &wire, out)?;
        Ok(None)
    }

    fn decode(bytes: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        let wire: RowWire = read_meta(Self::NAME, bytes)?;
        for value in &wire.values {
            finite(Self::NAME, "a feature", *value)?;
        }
        Ok(Self {
            bar: wire.bar.checked(Self::NAME)?,
            set_id: wire.set_id,
            values: wire.values,
        })
    }
}

/// What the compute node's model reads: latent factors, then the scaled features of the last bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// The last bar of the window.
    pub bar: BarRef,
    /// Identity of the feature names that the tensor holds, `heqis_quant::FeatureSet::id_of` their names.
    pub set_id: u32,
    /// Shape `[1, n]`.
    pub tensor: Tensor,
}

#[derive(wincode::SchemaRead, wincode::SchemaWrite)]
struct FeaturesWire {
    bar: BarRefWire,
    set_id: u32,
}

impl Payload for Features {
    const NAME: &'static str = "features";

    fn key(&self) -> Key {
        self.bar.symbol.as_key()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<Option<&Tensor>, PayloadError> {
        meta(
            Self::NAME,
            &FeaturesWire {
                bar: (&self.bar).into(),
                set_id: self.set_id,
            },
            out,
        )?;
        Ok(Some(&self.tensor))
    }

    fn decode(bytes: &[u8], tensor: Tensor) -> Result<Self, PayloadError> {
        let wire: FeaturesWire = read_meta(Self::NAME, bytes)?;
        let &[1, _] = tensor.shape() else {
            return Err(rule(
                Self::NAME,
                format!("tensor shape {:?} is not [1, n]", tensor.shape()),
            ));
        };
        if let Some(value) = tensor.data().iter().find(|value| !value.is_finite()) {
            return Err(rule(
                Self::NAME,
                format!("the tensor holds {value}, it must be finite"),
            ));
        }
        Ok(Self {
            bar: wire.bar.checked(Self::NAME)?,
            set_id: wire.set_id,
            tensor,
        })
    }
}
