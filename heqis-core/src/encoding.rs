//! Element types of tensors on the wire, and the error of each.
//!
//! | encoding | bytes | error of a value |
//! |---|---|---|
//! | `f32` | 4 n | none |
//! | `f16` | 2 n | at most 2⁻¹¹ of the value, or 2⁻²⁵ |
//! | `int8` | 8 + n | at most half a step; a step is the tensor's range, zero included, by 255 |
//!
//! `int8` is laid out as scale (f32), zero point (i32), values (i8), little-endian; a value is scale × (q − zero point).
//! Nothing is clamped: a value that an encoding cannot represent is an error that names it, and its frame is dropped and
//! counted like any other that cannot be written.

use half::f16;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payload::PayloadError;

/// Bytes in front of the values of an `int8` tensor.
pub(crate) const INT8_HEAD_BYTES: usize = 8;

/// Element type of tensors on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// Unchanged.
    #[default]
    F32,
    /// IEEE-754 binary16: half the bytes. Finite values up to 65504.
    F16,
    /// Eight bits with a scale and a zero point for the tensor: a quarter of the bytes. Finite values only.
    Int8,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Int8];

    /// Name in topologies and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// The number by which two nodes agree on it; every version supports 0.
    pub fn number(self) -> u64 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Int8 => 2,
        }
    }

    /// The encoding of a number; `None` for an unknown one.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.number() == number)
    }

    /// Bytes of `elements` values; `None` where the sum wraps.
    pub(crate) fn bytes(self, elements: usize) -> Option<usize> {
        match self {
            Self::F32 => elements.checked_mul(4),
            Self::F16 => elements.checked_mul(2),
            Self::Int8 => elements.checked_add(INT8_HEAD_BYTES),
        }
    }

    /// Lays out values; `None` for `f32`, whose bytes are those in memory.
    ///
    /// # Errors
    /// A value that the encoding cannot represent.
    pub(crate) fn encode(self, values: &[f32]) -> Result<Option<Vec<u8>>, PayloadError> {
        match self {
            Self::F32 => Ok(None),
            Self::F16 => encode_f16(values).map(Some),
            Self::Int8 => encode_int8(values).map(Some),
        }
    }

    /// Decodes values. `bytes` has the length that [`Encoding::bytes`] gives, and a head that [`is_valid_head`] accepts.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => {
                let mut values = vec![0f32; bytes.len() / size_of::<f32>()];
                // Copying bytes tolerates any alignment of the receive buffer.
                bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytes);
                values
            }
            Self::F16 => {
                let (halves, _) = bytes.as_chunks::<2>();
                halves
                    .iter()
                    .map(|&half| f16::from_le_bytes(half).to_f32())
                    .collect()
            }
            Self::Int8 => {
                let Some((scale, zero)) = head(bytes) else {
                    return Vec::new();
                };
                bytes[INT8_HEAD_BYTES..]
                    .iter()
                    .map(|&q| scale * (i32::from(q as i8) - zero) as f32)
                    .collect()
            }
        }
    }
}

fn encode_f16(values: &[f32]) -> Result<Vec<u8>, PayloadError> {
    let mut bytes = Vec::with_capacity(values.len() * 2);
    for &value in values {
        let half = f16::from_f32(value);
        if half.is_infinite() && value.is_finite() {
            return Err(PayloadError::Tensor(format!(
                "{value} is too large for the encoding f16, whose largest value is {}",
                f16::MAX
            )));
        }
        bytes.extend(half.to_le_bytes());
    }
    Ok(bytes)
}

fn encode_int8(values: &[f32]) -> Result<Vec<u8>, PayloadError> {
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(PayloadError::Tensor(format!(
            "{value} cannot be sent with the encoding int8, which carries finite values"
        )));
    }
    // Zero is in the range, so that it comes back as zero.
    let (low, high) = values.iter().fold((0f64, 0f64), |(low, high), &value| {
        (low.min(f64::from(value)), high.max(f64::from(value)))
    });
    let scale = ((high - low) / 255.0) as f32;
    let step = f64::from(scale);
    let zero = if scale > 0.0 {
        (-128.0 - low / step).round().clamp(-128.0, 127.0)
    } else {
        0.0
    };
    let mut bytes = Vec::with_capacity(INT8_HEAD_BYTES + values.len());
    bytes.extend(scale.to_le_bytes());
    bytes.extend((zero as i32).to_le_bytes());
    bytes.extend(values.iter().map(|&value| {
        let q = if scale > 0.0 {
            // Rounding the zero point may move one end of the range out of it by up to half a step.
            (f64::from(value) / step + zero)
                .round()
                .clamp(-128.0, 127.0)
        } else {
            0.0
        };
        q as i8 as u8
    }));
    Ok(bytes)
}

/// Scale and zero point in front of an `int8` tensor, if an encoder can have written them.
fn head(bytes: &[u8]) -> Option<(f32, i32)> {
    let (&scale, rest) = bytes.split_first_chunk::<4>()?;
    let &zero = rest.first_chunk::<4>()?;
    let (scale, zero) = (f32::from_le_bytes(scale), i32::from_le_bytes(zero));
    (scale.is_finite() && scale >= 0.0 && (-128..=127).contains(&zero)).then_some((scale, zero))
}

/// Whether the bytes in front of the values are valid in the encoding.
pub(crate) fn is_valid_head(encoding: Encoding, bytes: &[u8]) -> bool {
    encoding != Encoding::Int8 || head(bytes).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn round_trip(encoding: Encoding, values: &[f32]) -> Vec<f32> {
        let bytes = encoding.encode(values).unwrap().unwrap();
        assert_eq!(Some(bytes.len()), encoding.bytes(values.len()));
        assert!(is_valid_head(encoding, &bytes));
        encoding.decode(&bytes)
    }

    #[test]
    fn the_layouts_are_these_bytes() {
        // 1.0, −2.0 and the smallest subnormal of binary16.
        let halves = Encoding::F16.encode(&[1.0, -2.0, 2f32.powi(-24)]).unwrap();
        assert_eq!(halves.unwrap(), [0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00]);
        // From 0 to 255 in steps of 1: scale 1, zero point −128.
        let bytes = Encoding::Int8
            .encode(&[0.0, 255.0, 100.0])
            .unwrap()
            .unwrap();
        assert_eq!(bytes, [0, 0, 128, 63, 128, 255, 255, 255, 128, 127, 228]);
    }

    #[test]
    fn a_value_that_an_encoding_cannot_represent_is_named() {
        let fault =
            |encoding: Encoding, value| encoding.encode(&[1.0, value]).unwrap_err().to_string();
        assert!(fault(Encoding::F16, 1e6).contains("1000000 is too large"));
        assert!(fault(Encoding::Int8, f32::NAN).contains("NaN"));
        assert!(fault(Encoding::Int8, f32::INFINITY).contains("inf"));
        assert!(round_trip(Encoding::F16, &[f32::NAN])[0].is_nan());
        assert!(round_trip(Encoding::Int8, &[]).is_empty());
        assert_eq!(round_trip(Encoding::Int8, &[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(round_trip(Encoding::Int8, &[-3.0]), [-3.0]);
    }

    #[test]
    fn a_head_that_no_encoder_writes_is_not_valid() {
        let bytes =
            |scale: f32, zero: i32| [&scale.to_le_bytes()[..], &zero.to_le_bytes()].concat();
        assert!(is_valid_head(Encoding::Int8, &bytes(0.5, -128)));
        for (scale, zero) in [
            (f32::NAN, 0),
            (-1.0, 0),
            (f32::INFINITY, 0),
            (1.0, 128),
            (1.0, i32::MIN),
        ] {
            assert!(
                !is_valid_head(Encoding::Int8, &bytes(scale, zero)),
                "{scale} {zero}"
            );
        }
        assert!(!is_valid_head(Encoding::Int8, &[0; 7]));
    }

    proptest! {
        #[test]
        fn an_f16_is_within_its_stated_error(values in prop::collection::vec(-65_000f32..65_000.0, 0..100)) {
            for (value, back) in values.iter().zip(round_trip(Encoding::F16, &values)) {
                let error = (f64::from(*value) - f64::from(back)).abs();
                let bound = (f64::from(value.abs()) * 2f64.powi(-11)).max(2f64.powi(-25));
                prop_assert!(error <= bound, "{value} came back as {back}");
            }
        }

        #[test]
        fn an_int8_is_within_half_a_step_and_zero_is_zero(
            values in prop::collection::vec(-1e4f32..1e6, 1..200),
            factor in prop::sample::select(vec![1e-30f32, 1e-3, 1.0, 1e25]),
        ) {
            let mut values: Vec<f32> = values.into_iter().map(|value| value * factor).collect();
            values.push(0.0);
            let back = round_trip(Encoding::Int8, &values);
            let range = values.iter().fold((0f32, 0f32), |(low, high), &v| (low.min(v), high.max(v)));
            let step = (f64::from(range.1) - f64::from(range.0)) / 255.0;
            for (value, back) in values.iter().zip(&back) {
                let error = (f64::from(*value) - f64::from(*back)).abs();
                // A millionth for the rounding of scale and product to f32.
                prop_assert!(error <= step * (0.5 + 1e-4), "{value} came back as {back}, a step is {step}");
            }
            prop_assert_eq!(back.last(), Some(&0.0));
        }
    }
}
