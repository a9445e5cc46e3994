//! The bytes of a payload's meta part: the bincode-1 layout, written by `wincode`.

use std::fmt;

use wincode::config::{Configuration, DefaultConfig};

use crate::payload::{MAX_META_BYTES, PayloadError, Tensor};

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
    let mut fields = FieldReader::new(payload, bytes)?;
    let value = fields.read()?;
    fields.finish()?;
    Ok(value)
}

/// Reads values that [`encode_meta`] wrote one after another, as the codec of `#[derive(Payload)]` does.
///
/// ```
/// use heqis_actors::{FieldReader, encode_meta};
///
/// let mut meta = Vec::new();
/// encode_meta("tick", &7u64, &mut meta)?;
/// encode_meta("tick", &9.5f64, &mut meta)?;
///
/// let mut fields = FieldReader::new("tick", &meta)?;
/// assert_eq!(fields.read::<u64>()?, 7);
/// assert!(fields.finish().is_err(), "the price is left");
/// assert_eq!(fields.read::<f64>()?, 9.5);
/// fields.finish()?;
/// # Ok::<(), heqis_actors::PayloadError>(())
/// ```
#[derive(Debug)]
pub struct FieldReader<'de> {
    payload: &'static str,
    len: usize,
    rest: &'de [u8],
}

impl<'de> FieldReader<'de> {
    /// A reader of the meta part of the payload type called `payload`.
    ///
    /// # Errors
    /// [`PayloadError::Meta`] for a meta part above [`MAX_META_BYTES`].
    pub fn new(payload: &'static str, meta: &'de [u8]) -> Result<Self, PayloadError> {
        let fields = Self {
            payload,
            len: meta.len(),
            rest: meta,
        };
        match fields.len > MAX_META_BYTES {
            true => Err(fields.fault(format_args!("it may have {MAX_META_BYTES} bytes"))),
            false => Ok(fields),
        }
    }

    /// Reads the next value. No length in the bytes makes it allocate more than [`MAX_META_BYTES`].
    ///
    /// # Errors
    /// [`PayloadError::Meta`] with the decoder's reason.
    pub fn read<T>(&mut self) -> Result<T, PayloadError>
    where
        T: wincode::SchemaRead<'de, Layout, Dst = T>,
    {
        T::get(wincode::io::Reader::by_ref(&mut self.rest)).map_err(|error| self.fault(error))
    }

    /// Whether everything is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Checks that everything is read.
    ///
    /// # Errors
    /// [`PayloadError::Meta`] when bytes are left.
    pub fn finish(&self) -> Result<(), PayloadError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.fault(format_args!("{left} bytes are left"))),
        }
    }

    /// Checks that no tensor was sent, for a type without one.
    ///
    /// # Errors
    /// [`PayloadError::Rule`] when there is one.
    pub fn no_tensor(&self, tensor: &Tensor) -> Result<(), PayloadError> {
        match tensor.shape() {
            [] => Ok(()),
            shape => Err(self.rule(format_args!(
                "a tensor of shape {shape:?} was sent, the type has none"
            ))),
        }
    }

    /// The error of a value that breaks a rule of the type.
    pub fn rule(&self, broken: impl fmt::Display) -> PayloadError {
        PayloadError::Rule {
            payload: self.payload,
            rule: broken.to_string(),
        }
    }

    fn fault(&self, reason: impl fmt::Display) -> PayloadError {
        PayloadError::Meta {
            payload: self.payload,
            len: self.len,
            reason: reason.to_string(),
        }
    }
}
