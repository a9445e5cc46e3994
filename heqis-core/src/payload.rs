//! Payloads: the typed content of frames, which can cross a wire.
//!
//! On a wire a payload is a small **meta** part in the bincode-1 layout and an optional **tensor** of little-endian `f32`.
//! Inside a node payloads are shared as `Arc`s, and are neither encoded nor decoded.

use std::any::Any;

use thiserror::Error;

use crate::key::Key;
/// Largest meta part that a decoder accepts, in bytes; larger announcements are refused before any allocation.
pub const MAX_META_BYTES: usize = 64 * 1024;

/// Highest tensor rank on the wire: the header has room for four dimensions.
pub const MAX_RANK: usize = 4;

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
pub fn element_count(shape: &[u32]) -> Option<usize> {
    if shape.is_empty() {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, &dim| {
        product.checked_mul(usize::try_from(dim).ok()?)
    })
}

/// Why a payload could not be written or read.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload type of this name has no codec.
    #[error("payload '{0}' has no codec: its frames stay in their process")]
    Local(&'static str),
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
/// `#[derive(Payload)]` writes everything:
///
/// ```
/// use heqis_actors::{Payload, Tensor};
///
/// /// A price, and the window of prices before it.
/// #[derive(Debug, PartialEq, Payload)]
/// #[payload(version = 2)]
/// struct Tick {
///     #[payload(key)]
///     instrument: u32,
///     price: f64,
///     #[payload(tensor)]
///     window: Tensor,
/// }
///
/// let tick = Tick { instrument: 7, price: 9.5, window: Tensor::vector(vec![9.0, 9.25]) };
/// assert_eq!((Tick::NAME, Tick::VERSION, tick.key()), ("tick", 2, 7));
///
/// // The frame around a payload writes and reads its two parts.
/// let mut meta = Vec::new();
/// tick.encode(&mut meta)?;
/// assert_eq!(meta.len(), 4 + 8);
/// assert_eq!(Tick::decode(&meta, tick.window.clone())?, tick);
/// assert!(Tick::decode(&meta[1..], tick.window.clone()).is_err());
/// # Ok::<(), heqis_actors::PayloadError>(())
/// ```
///
/// A type that never leaves its process needs no codec, and its fields may be of any type:
///
/// ```
/// use heqis_actors::Payload;
///
/// #[derive(Payload)]
/// #[payload(local)]
/// struct Reply(std::sync::mpsc::Sender<f64>);
///
/// assert!(!Reply::WIRE);
/// ```
///
/// # Attributes
/// On the type:
///
/// | attribute | meaning |
/// |---|---|
/// | `name = "tick"` | [`NAME`](Payload::NAME); by default the type's name in kebab-case |
/// | `version = 2` | [`VERSION`](Payload::VERSION); by default 1 |
/// | `local` | no codec: frames of the type stay in their process |
/// | `check = function` | `fn(&mut Self) -> Result<(), E>`, called with each decoded value: refuses one that breaks a rule, and may complete what follows from other fields |
/// | `crate = path` | where `heqis_actors` is, for a program that depends on it under another name |
///
/// On a field:
///
/// | attribute | meaning |
/// |---|---|
/// | `key` | the [`key`](Payload::key), by [`AsKey`](crate::AsKey); at most one field of a struct or variant |
/// | `key = function` | the same, by `fn(&Field) -> Key` |
/// | `tensor` | the field is a [`Tensor`], which is written to the wire from where it lies |
/// | `as = Wire` | the field goes to the wire as a `Wire`, which is `From<&Field>`, and `Field` is `TryFrom<Wire>` |
/// | `extension` | the last field, an `Option`, takes no byte where it is `None`: frames of a sender that does not know it are read, so that receivers are updated first |
///
/// All other fields are written to the meta part in their order, a variant of an enum after its index: the bincode-1 layout.
/// A field of a type of one's own derives that layout with
/// `#[derive(wincode::SchemaRead, wincode::SchemaWrite)]`, and, in a program that does not depend on `wincode` itself,
/// `#[wincode(crate = heqis_actors::wincode)]`. Types with generic parameters are refused:
///
/// ```compile_fail
/// # use heqis_actors::Payload;
/// #[derive(Payload)]
/// struct Series<T>(Vec<T>);
/// ```
///
/// # Versions
/// Two nodes compare names, versions and fields when they connect, and one that differs is refused with both. A field that is
/// added, removed, reordered or renamed, or has another type, makes [`FIELDS`](Payload::FIELDS) differ; what a type inside a
/// field consists of is not looked into. A change that no field shows (another unit, another meaning) takes the next
/// `version`. A node that states no version has version 1, and one that states no fields fits all.
///
/// # By hand
/// A type that decodes by rules of its own implements the trait:
///
/// ```
/// use heqis_actors::{FieldReader, Payload, PayloadError, Tensor, encode_meta};
///
/// #[derive(Debug)]
/// struct Level(f64);
///
/// impl Payload for Level {
///     const NAME: &'static str = "level";
///     const WIRE: bool = true;
///
///     fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
///         encode_meta(Self::NAME, &self.0, meta)
///     }
///
///     fn decode(meta: &[u8], _: Tensor) -> Result<Self, PayloadError> {
///         let mut fields = FieldReader::new(Self::NAME, meta)?;
///         let level: f64 = fields.read()?;
///         fields.finish()?;
///         if level < 0.0 {
///             return Err(fields.rule(format_args!("level {level} is negative")));
///         }
///         Ok(Self(level))
///     }
/// }
///
/// let mut meta = Vec::new();
/// Level(-1.0).encode(&mut meta)?;
/// assert_eq!(Level::decode(&meta, Tensor::default()).unwrap_err().to_string(), "payload 'level': level -1 is negative");
/// # Ok::<(), PayloadError>(())
/// ```
pub trait Payload: Any + Send + Sync + Sized {
    /// Name of the type on ports, on the wire and in error messages. Two ports fit when their names are equal.
    const NAME: &'static str;

    /// Whether the type has a codec. Without one its frames stay in their process, and an edge to another node or a recording
    /// is refused before anything starts.
    const WIRE: bool = false;

    /// Version of the layout and the meaning, from 1. Nodes with different versions of a type refuse one another.
    const VERSION: u32 = 1;

    /// The fields as they go to the wire, for people to read and for two nodes to compare; empty where they are not stated.
    const FIELDS: &'static str = "";

    /// As [`FIELDS`](Payload::FIELDS), of a sender that does not know the `extension`, which this type reads too; empty where
    /// it has none.
    const FIELDS_WITHOUT_EXTENSION: &'static str = "";

    /// Key for conflation and partitioning; frames of a keyless type all share key 0.
    fn key(&self) -> Key {
        0
    }

    /// Appends the meta part to `meta`: everything but the tensor.
    ///
    /// # Errors
    /// When a value cannot be written in the wire layout; always for a type without a codec.
    fn encode(&self, _meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        Err(PayloadError::Local(Self::NAME))
    }

    /// Returns the tensor part, which is written to the wire from where it lies; `None` for a type without one.
    fn tensor(&self) -> Option<&Tensor> {
        None
    }

    /// Rebuilds the payload from its two parts; `tensor` is empty when none was sent.
    ///
    /// # Errors
    /// When the bytes are not a value of this type; always for a type without a codec.
    fn decode(_meta: &[u8], _tensor: Tensor) -> Result<Self, PayloadError> {
        Err(PayloadError::Local(Self::NAME))
    }
}

/// The output type of sinks and the input type of sources: no value of it exists.
#[derive(Clone, Copy, Debug)]
pub enum Nothing {}

impl Payload for Nothing {
    const NAME: &'static str = "nothing";
}
