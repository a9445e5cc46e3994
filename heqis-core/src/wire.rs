//! The wire frame: a fixed 64-byte little-endian header, a bincode-layout meta part, padding to 16, a raw tensor.
//!
//! ```text
//!  0 magic "HQIS"   4 version u8   5 kind u8     6 flags u16    8 header_len u16  10 dtype u8  11 rank u8
//! 12 route u32     16 epoch u32   20 seq u64    28 ts_ns i64   36 meta_len u32   40 payload_len u32
//! 44 crc32 u32     48 shape 4 × u32             64 meta … pad to 16 … payload
//! ```
//!
//! Constraints that a decoder holds, in this order, each before anything is allocated: the body is at least a header
//! long; magic, version and header length are known; kind, dtype and rank are known and flags are zero; `meta_len`
//! and `payload_len` stay below their limits and add up, with the padding, to exactly the body's length; the CRC-32
//! over everything but its own field matches; the product of `shape` in the element type is `payload_len`; the bytes that an
//! element type puts in front of the values are valid.

use bytes::Bytes;
use thiserror::Error;

use crate::encoding::{Encoding, is_valid_head};
use crate::payload::{MAX_META_BYTES, MAX_RANK, PayloadError, Tensor, element_count};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"HQIS";
/// The only version that this build supports.
pub const VERSION: u8 = 1;
/// Length of the fixed header, bytes.
pub const HEADER_BYTES: usize = 64;
/// The payload starts at a multiple of this, counted from the start of the frame.
pub const PAYLOAD_ALIGN: usize = 16;

const CRC_AT: usize = 44;
const SHAPE_AT: usize = 48;

/// The purpose of a wire frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum MessageKind {
    /// A stage's message.
    Data = 1,
    /// The sender introduces its edge after a connect.
    Hello = 2,
    /// The receiver accepts the sender, and says where it continues.
    Welcome = 3,
    /// The receiver returns credit and acknowledges frames.
    Ack = 4,
    /// The stream of this edge is complete: its sources have ended.
    End = 5,
    /// From a receiver: its node leaves and accepts no further frames, or, as an answer, the exchange is complete. From a
    /// sender: it knows every outcome and sends nothing further on this connection.
    Goodbye = 6,
    /// Proof that the sender of this is alive, with the time of its clock.
    Heartbeat = 7,
    /// The sending node leaves (restart, upgrade, stop); the stream continues when it comes back.
    Leave = 8,
    /// The receiver refuses this sender, with a reason.
    Refuse = 9,
    /// A stage's message that is made from several messages. Sent only to a receiver whose welcome says that it takes them.
    Merged = 11,
    /// A node asks the node at the other end to change something. Sent only between nodes that agreed on it when they connected.
    Request = 12,
    /// What became of a request.
    Reply = 13,
}

impl MessageKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Data,
            2 => Self::Hello,
            3 => Self::Welcome,
            4 => Self::Ack,
            5 => Self::End,
            6 => Self::Goodbye,
            7 => Self::Heartbeat,
            8 => Self::Leave,
            9 => Self::Refuse,
            11 => Self::Merged,
            12 => Self::Request,
            13 => Self::Reply,
            _ => return None,
        })
    }
}

/// Element type of the tensor part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Dtype {
    /// No tensor.
    None = 0,
    /// IEEE-754 binary32, little-endian.
    F32 = 1,
    /// IEEE-754 binary16, little-endian.
    F16 = 2,
    /// Scale (f32), zero point (i32), then one signed byte a value.
    Int8 = 3,
}

impl From<Encoding> for Dtype {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::F32 => Self::F32,
            Encoding::F16 => Self::F16,
            Encoding::Int8 => Self::Int8,
        }
    }
}

/// The encoding of a dtype byte; [`Encoding::F32`] also for "no tensor", which has no bytes in any.
fn encoding_of(dtype: u8) -> Option<Encoding> {
    if dtype == Dtype::None as u8 {
        return Some(Encoding::F32);
    }
    Encoding::ALL
        .into_iter()
        .find(|&encoding| Dtype::from(encoding) as u8 == dtype)
}

/// The routing part of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The purpose of the frame.
    pub kind: MessageKind,
    /// Index of the edge in the topology.
    pub route: u32,
    /// Connection count of the sender; frames of an older epoch are stale.
    pub epoch: u32,
    /// Number of the frame on its edge, from 1. In a hello the encoding that the sender offers, in a welcome the one that
    /// the receiver accepts, as 0 (f32), 1 (f16) or 2 (int8); 0 in other control frames.
    pub seq: u64,
    /// When the frame's source item was born, nanoseconds since the Unix epoch; in a heartbeat when it was sent, 0 from
    /// versions that do not send it; in a welcome bit 0 from a receiver that takes [`MessageKind::Merged`], bit 1 from one
    /// that exchanges [`MessageKind::Request`]; 0 in other control frames.
    pub ts_ns: i64,
}

/// Why bytes are not a valid frame.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum WireError {
    /// Shorter than the header.
    #[error("frame of {len} bytes is shorter than the {HEADER_BYTES}-byte header")]
    Short {
        /// Body length, bytes.
        len: usize,
    },
    /// Not a frame of this protocol.
    #[error("magic {got:02x?} is not \"HQIS\"")]
    Magic {
        /// The first four bytes.
        got: [u8; 4],
    },
    /// A version, header length, flag, kind, dtype or rank of a future or broken peer.
    #[error("header field '{field}' has the unknown value {got}")]
    Unknown {
        /// Name of the header field.
        field: &'static str,
        /// The value found.
        got: u64,
    },
    /// Lengths exceed the limits or do not match the body.
    #[error("lengths do not fit: meta {meta_len}, payload {payload_len}, body {len} bytes")]
    Length {
        /// Announced meta length, bytes.
        meta_len: u32,
        /// Announced payload length, bytes.
        payload_len: u32,
        /// Body length, bytes.
        len: usize,
    },
    /// The checksum is wrong.
    #[error("crc is {got:08x}, the frame says {expected:08x}")]
    Crc {
        /// CRC-32 written in the frame.
        expected: u32,
        /// CRC-32 of the bytes received.
        got: u32,
    },
    /// Shape and payload length disagree.
    #[error("shape {shape:?} does not fit a payload of {payload_len} bytes")]
    Shape {
        /// The announced dimensions.
        shape: Vec<u32>,
        /// Announced payload length, bytes.
        payload_len: u32,
    },
    /// The frame is valid, but its meta part or tensor does not match its kind.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl WireError {
    /// One word for a metric label.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Short { .. } => "short",
            Self::Magic { .. } => "magic",
            Self::Unknown { .. } => "unknown",
            Self::Length { .. } => "length",
            Self::Crc { .. } => "crc",
            Self::Shape { .. } => "shape",
            Self::Payload(_) => "payload",
        }
    }
}

/// A frame whose header, lengths, checksum and shape have been checked.
#[derive(Debug)]
pub struct WireFrame {
    /// The routing part.
    pub header: Header,
    body: Bytes,
    meta_len: usize,
    encoding: Encoding,
    shape: arrayvec::ArrayVec<u32, MAX_RANK>,
}

impl WireFrame {
    /// Checks `body` and borrows its parts; allocates nothing.
    ///
    /// # Errors
    /// The first broken rule of the list on the module page.
    pub fn parse(body: Bytes) -> Result<Self, WireError> {
        let len = body.len();
        let Some(head) = body.first_chunk::<HEADER_BYTES>() else {
            return Err(WireError::Short { len });
        };
        let magic = [head[0], head[1], head[2], head[3]];
        if magic != MAGIC {
            return Err(WireError::Magic { got: magic });
        }
        let unknown = |field, got: u64| Err(WireError::Unknown { field, got });
        if head[4] != VERSION {
            return unknown("version", head[4].into());
        }
        let Some(kind) = MessageKind::from_byte(head[5]) else {
            return unknown("kind", head[5].into());
        };
        let flags = u16_at(head, 6);
        if flags != 0 {
            return unknown("flags", flags.into());
        }
        let header_len = u16_at(head, 8);
        if usize::from(header_len) != HEADER_BYTES {
            return unknown("header_len", header_len.into());
        }
        let (dtype, rank) = (head[10], usize::from(head[11]));
        let Some(encoding) = encoding_of(dtype) else {
            return unknown("dtype", dtype.into());
        };
        if rank > MAX_RANK || (dtype == Dtype::None as u8) != (rank == 0) {
            return unknown("rank", rank as u64);
        }
        let (meta_len, payload_len) = (u32_at(head, 36), u32_at(head, 40));
        let length = WireError::Length {
            meta_len,
            payload_len,
            len,
        };
        let (meta_bytes, payload_bytes) = (meta_len as usize, payload_len as usize);
        if meta_bytes > MAX_META_BYTES
            || payload_offset(meta_bytes).checked_add(payload_bytes) != Some(len)
        {
            return Err(length);
        }
        let expected = u32_at(head, CRC_AT);
        let got = crc(&body);
        if got != expected {
            return Err(WireError::Crc { expected, got });
        }
        let shape: arrayvec::ArrayVec<u32, MAX_RANK> =
            (0..rank).map(|i| u32_at(head, SHAPE_AT + 4 * i)).collect();
        let fits = if shape.is_empty() {
            payload_bytes == 0
        } else {
            element_count(&shape).and_then(|n| encoding.bytes(n)) == Some(payload_bytes)
        };
        if !fits {
            return Err(WireError::Shape {
                shape: shape.to_vec(),
                payload_len,
            });
        }
        if !shape.is_empty() && !is_valid_head(encoding, &body[payload_offset(meta_bytes)..]) {
            let rule = "an int8 tensor has no scale and zero point in front of it";
            return Err(PayloadError::Tensor(rule.into()).into());
        }
        let header = Header {
            kind,
            route: u32_at(head, 12),
            epoch: u32_at(head, 16),
            seq: u64::from_le_bytes(array_at(head, 20)),
            ts_ns: i64::from_le_bytes(array_at(head, 28)),
        };
        Ok(Self {
            header,
            body,
            meta_len: meta_bytes,
            encoding,
            shape,
        })
    }

    /// The meta part.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.body[HEADER_BYTES..HEADER_BYTES + self.meta_len]
    }

    /// Reads the meta part as a control message or an envelope.
    ///
    /// # Errors
    /// When the bytes are not a `T`.
    pub fn read<T: WireMeta>(&self) -> Result<T, WireError> {
        Ok(T::read(self.meta())?)
    }

    /// Copies the tensor out, once; empty when the frame carries none.
    ///
    /// # Errors
    /// Never for a parsed frame; the type keeps the caller free of panics.
    pub fn tensor(&self) -> Result<Tensor, WireError> {
        if self.shape.is_empty() {
            return Ok(Tensor::default());
        }
        let bytes = &self.body[payload_offset(self.meta_len)..];
        Ok(Tensor::new(&self.shape, self.encoding.decode(bytes))?)
    }

    /// The encoding of the tensor on the wire.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }
}

/// Types of a frame's meta part.
pub trait WireMeta: Sized {
    /// Name in error messages.
    const NAME: &'static str;
    /// Appends the bincode layout of `self`.
    ///
    /// # Errors
    /// When the value cannot be written.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), PayloadError>;
    /// Reads a value back, refusing trailing bytes.
    ///
    /// # Errors
    /// When the bytes are not a `Self`.
    fn read(bytes: &[u8]) -> Result<Self, PayloadError>;
}

#[doc(hidden)]
#[macro_export]
macro_rules! wire_meta {
    ($type:ty, $name:literal) => {
        impl $crate::wire::WireMeta for $type {
            const NAME: &'static str = $name;
            fn write(&self, out: &mut Vec<u8>) -> Result<(), $crate::PayloadError> {
                $crate::encode_meta($name, self, out)
            }
            fn read(bytes: &[u8]) -> Result<Self, $crate::PayloadError> {
                $crate::decode_meta($name, bytes)
            }
        }
    };
}

/// A frame to be written: header and meta in one buffer, the tensor apart so that it need not be copied.
#[derive(Debug)]
pub struct Encoded {
    /// Header, meta part and padding.
    pub head: Vec<u8>,
    /// The tensor's bytes, where they differ from those in memory.
    pub tensor: Option<Vec<u8>>,
}

impl Encoded {
    /// Lays out header, meta and padding for a frame whose payload is `tensor` in `f32`.
    ///
    /// # Errors
    /// As [`Encoded::with`].
    pub fn new(
        header: Header,
        meta_part: &impl WireMeta,
        tensor: Option<&Tensor>,
    ) -> Result<Self, WireError> {
        Self::with(header, meta_part, tensor, Encoding::F32)
    }

    /// Lays out a frame whose payload is `tensor` in `encoding`.
    ///
    /// # Errors
    /// When the encoding cannot carry a value of the tensor, the meta part cannot be written or is above
    /// [`MAX_META_BYTES`], or the tensor above `u32::MAX` bytes.
    pub fn with(
        header: Header,
        meta_part: &impl WireMeta,
        tensor: Option<&Tensor>,
        encoding: Encoding,
    ) -> Result<Self, WireError> {
        let tensor = tensor.filter(|tensor| !tensor.is_empty());
        let bytes = match tensor {
            Some(tensor) => encoding.encode(tensor.data())?,
            None => None,
        };
        let mut head = Vec::with_capacity(256);
        head.resize(HEADER_BYTES, 0);
        meta_part.write(&mut head)?;
        let meta_bytes = head.len() - HEADER_BYTES;
        head.resize(payload_offset(meta_bytes), 0);
        let payload = match &bytes {
            Some(bytes) => bytes.as_slice(),
            None => tensor.map_or(&[][..], tensor_bytes),
        };
        let lengths = (u32::try_from(meta_bytes), u32::try_from(payload.len()));
        let (Ok(meta_len), Ok(payload_len)) = lengths else {
            return Err(WireError::Length {
                meta_len: u32::MAX,
                payload_len: u32::MAX,
                len: payload.len(),
            });
        };
        if meta_bytes > MAX_META_BYTES {
            return Err(WireError::Length {
                meta_len,
                payload_len,
                len: head.len(),
            });
        }
        let shape = tensor.map_or(&[][..], Tensor::shape);
        head[..4].copy_from_slice(&MAGIC);
        head[4] = VERSION;
        head[5] = header.kind as u8;
        head[8..10].copy_from_slice(&(HEADER_BYTES as u16).to_le_bytes());
        head[10] = if shape.is_empty() {
            Dtype::None as u8
        } else {
            Dtype::from(encoding) as u8
        };
        head[11] = shape.len() as u8;
        head[12..16].copy_from_slice(&header.route.to_le_bytes());
        head[16..20].copy_from_slice(&header.epoch.to_le_bytes());
        head[20..28].copy_from_slice(&header.seq.to_le_bytes());
        head[28..36].copy_from_slice(&header.ts_ns.to_le_bytes());
        head[36..40].copy_from_slice(&meta_len.to_le_bytes());
        head[40..44].copy_from_slice(&payload_len.to_le_bytes());
        for (i, dim) in shape.iter().enumerate() {
            head[SHAPE_AT + 4 * i..SHAPE_AT + 4 * i + 4].copy_from_slice(&dim.to_le_bytes());
        }
        let mut hasher = crc32fast::Hasher::new();
        hash_head(&mut hasher, &head);
        hasher.update(payload);
        head[CRC_AT..CRC_AT + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        Ok(Self {
            head,
            tensor: bytes,
        })
    }

    /// Header, meta and tensor in one buffer.
    #[must_use]
    pub fn concat(&self, tensor: Option<&Tensor>) -> Bytes {
        let mut all = self.head.clone();
        match &self.tensor {
            Some(bytes) => all.extend_from_slice(bytes),
            None => all.extend_from_slice(tensor.map_or(&[][..], tensor_bytes)),
        }
        all.into()
    }
}

/// The tensor's elements as wire bytes.
#[cfg(target_endian = "little")]
#[must_use]
pub fn tensor_bytes(tensor: &Tensor) -> &[u8] {
    bytemuck::cast_slice(tensor.data())
}
#[cfg(target_endian = "big")]
compile_error!(
    "tensors are written to the wire as they are in memory: port `tensor_bytes` before building for a big-endian board"
);

fn payload_offset(meta_bytes: usize) -> usize {
    (HEADER_BYTES + meta_bytes).next_multiple_of(PAYLOAD_ALIGN)
}

/// CRC-32 over a whole frame but the four bytes that hold it.
fn crc(body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hash_head(&mut hasher, body);
    hasher.finalize()
}

fn hash_head(hasher: &mut crc32fast::Hasher, bytes: &[u8]) {
    hasher.update(&bytes[..CRC_AT]);
    hasher.update(&bytes[SHAPE_AT..]);
}

fn array_at<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u16_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}
