//! Payloads: the typed content of frames, which can cross a wire.
//!
//! A payload is a small **meta** part in the bincode-1 layout (written by `wincode`) and an optional **tensor** of
//! little-endian `f32`. Inside a node payloads are shared as `Arc`s, and are neither encoded nor decoded.

use std::any::Any;

use thiserror::Error;
use wincode::config::{Configuration, DefaultConfig};

/// Largest meta part that a decoder accepts, in bytes; larger announcements are refused before any allocation.
pub const MAX_META_BYTES: usize = 64 * 1024;

/// Highest tensor rank on the wire: the header has room for four dimensions.
pub const MAX_RANK: usize = 4;

/// Identity by which frames are conflated and partitioned, such as an instrument packed into 16 bytes.
///
/// Two frames of one key keep their order on every path; frames of different keys need not.
pub type Key = u128;

/// The partition of `key` among `lanes`, the same on every machine and in every run.
#[must_use]
pub fn partition(key: Key, lanes: usize) -> usize {
    // Fibonacci hashing over the folded key: cheap, and stable unlike the standard library's seeded hasher.
    let folded = (key as u64) ^ ((key >> 64) as u64);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 32) as usize) % lanes.max(1)
}

/// A dense row-major tensor of `f32`, at most rank [`MAX_RANK`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    shape: arrayvec::ArrayVec<u32, MAX_RANK>,
    data: Vec<f32>,
}

impl Tensor {
    /// Makes a tensor of `shape` from row-major `data`.
    ///
    /// # Errors
    /// [`PayloadError::Tensor`] when the rank is above [`MAX_RANK`] or the product of `shape` is not `data.len()`.
    pub fn new(shape: &[u32], data: Vec<f32>) -> Result<Self, PayloadError> {
        let dims = arrayvec::ArrayVec::try_from(shape).map_err(|_| {
            PayloadError::Tensor(format!(
                "rank {} is above the limit of {MAX_RANK}",
                shape.len()
            ))
        })?;
        match element_count(shape) {
            Some(elements) if elements == data.len() => Ok(Self { shape: dims, data }),
            _ => Err(PayloadError::Tensor(format!(
                "shape {shape:?} does not hold {} elements",
                data.len()
            ))),
        }
    }

    /// Makes a rank-1 tensor.
    ///
    /// # Panics
    /// Never for vectors shorter than `u32::MAX` elements.
    #[must_use]
    pub fn vector(data: Vec<f32>) -> Self {
        let mut shape = arrayvec::ArrayVec::new();
        shape.push(u32::try_from(data.len()).unwrap_or(u32::MAX));
        Self { shape, data }
    }

    /// Dimensions, outermost first; empty for "no tensor".
    #[must_use]
    pub fn shape(&self) -> &[u32] {
        &self.shape
    }

    /// Elements in row-major order.
    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Takes the elements out.
    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// Whether there is no tensor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }
}

/// Product of `shape` in checked arithmetic; `Some(0)` for "no tensor".
pub(crate) fn element_count(shape: &[u32]) -> Option<usize> {
    if shape.is_empty() {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, &dim| {
        product.checked_mul(usize::try_from(dim).ok()?)
    })
}

/// Why a payload could not be written or read.
#[derive(Debug, Error, PartialEq)]
pub enum PayloadError {
    /// The meta part does not have the layout of the payload type.
    #[error("payload '{payload}': meta part of {len} bytes does not decode: {reason}")]
    Meta {
        /// Wire name of the payload type.
        payload: &'static str,
        /// Length of the meta part, bytes.
        len: usize,
        /// The reason of the decoder.
        reason: String,
    },
    /// The tensor part breaks a rule of the payload type.
    #[error("tensor: {0}")]
    Tensor(String),
    /// A value decoded well but breaks a rule of the payload type.
    #[error("payload '{payload}': {rule}")]
    Rule {
        /// Wire name of the payload type.
        payload: &'static str,
        /// The rule, with the value that breaks it.
        rule: String,
    },
}

/// A message type that stages exchange.
///
/// [`encode_meta`] and [`decode_meta`] encode types that derive wincode's schemas.
///
/// ```
/// use heqis_actors::{Payload, PayloadError, Tensor, decode_meta, encode_meta};
///
/// #[derive(Debug, PartialEq)]
/// struct Tick {
///     price: f64,
/// }
///
/// impl Payload for Tick {
///     const NAME: &'static str = "tick";
///
///     fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
///         encode_meta(Self::NAME, &self.price, meta)
///     }
///
///     fn decode(meta: &[u8], _: Tensor) -> Result<Self, PayloadError> {
///         let price = decode_meta(Self::NAME, meta)?;
///         Ok(Self { price })
///     }
/// }
///
/// let mut meta = Vec::new();
/// Tick { price: 9.5 }.encode(&mut meta)?;
/// assert_eq!(Tick::decode(&meta, Tensor::default())?, Tick { price: 9.5 });
/// assert!(Tick::decode(&meta[1..], Tensor::default()).is_err());
/// # Ok::<(), PayloadError>(())
/// ```
pub trait Payload: Any + Send + Sync + Sized {
    /// Name of the type on ports, on the wire and in error messages. Two ports fit when their names are equal.
    const NAME: &'static str;

    /// Key for conflation and partitioning; frames of a keyless type all share key 0.
    fn key(&self) -> Key {
        0
    }

    /// Appends the meta part to `meta`: everything but the tensor.
    ///
    /// # Errors
    /// When a value cannot be written in the wire layout.
    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError>;

    /// Returns the tensor part, which is written to the wire from where it lies; `None` for a type without one.
    fn tensor(&self) -> Option<&Tensor> {
        None
    }

    /// Rebuilds the payload from its two parts; `tensor` is empty when none was sent.
    ///
    /// # Errors
    /// When the bytes are not a value of this type.
    fn decode(meta: &[u8], tensor: Tensor) -> Result<Self, PayloadError>;
}

/// The output type of sinks and the input type of sources: no value of it exists.
#[derive(Clone, Copy, Debug)]
pub enum Nothing {}

impl Payload for Nothing {
    const NAME: &'static str = "nothing";

    fn encode(&self, _meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        match *self {}
    }

    fn decode(_meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        Err(PayloadError::Rule {
            payload: Self::NAME,
            rule: "no value of this type exists".into(),
        })
    }
}

/// wincode with both limits set: bincode-1 layout, no allocation above the limit for any value of a length field.
type Layout = Configuration<
    true,
    MAX_META_BYTES,
    wincode::len::BincodeLen,
    wincode::int_encoding::LittleEndian,
    wincode::int_encoding::FixInt,
    u32,
    MAX_META_BYTES,
>;

const LAYOUT: Layout = DefaultConfig::default()
    .with_preallocation_size_limit::<MAX_META_BYTES>()
    .with_deserialization_size_limit::<MAX_META_BYTES>();

/// Appends `value` to `meta` in the bincode-1 layout.
///
/// # Errors
/// [`PayloadError::Meta`] when wincode cannot write the value.
pub fn encode_meta<T>(
    payload: &'static str,
    value: &T,
    meta: &mut Vec<u8>,
) -> Result<(), PayloadError>
where
    T: wincode::SchemaWrite<Layout, Src = T>,
{
    wincode::config::serialize_into(&mut *meta, value, LAYOUT).map_err(|error| PayloadError::Meta {
        payload,
        len: meta.len(),
        reason: error.to_string(),
    })
}

/// Reads a value that [`encode_meta`] wrote, refusing trailing bytes and lengths above [`MAX_META_BYTES`].
///
/// # Errors
/// [`PayloadError::Meta`] with the decoder's reason.
pub fn decode_meta<'de, T>(payload: &'static str, bytes: &'de [u8]) -> Result<T, PayloadError>
where
    T: wincode::SchemaRead<'de, Layout, Dst = T>,
{
    wincode::config::deserialize_exact(bytes, LAYOUT).map_err(|error| PayloadError::Meta {
        payload,
        len: bytes.len(),
        reason: error.to_string(),
    })
}
