//! Frames: one message with its lineage, its key and the time stamps of every stage that it passed.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::contain::{Contained, caught};
use crate::key::Key;
use crate::origins::{Merged, Origin, Origins};
use crate::payload::{Payload, PayloadError, Tensor};
use crate::ticket::Ticket;

/// Most stages whose stamps a frame carries; a longer path keeps the first ones.
pub const MAX_STAMPS: usize = 16;

/// One stage's work on a frame, in nanoseconds of the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the stage in the topology, the same on every node.
    pub stage: u16,
    /// When the stage took the frame from its edge.
    pub enter_ns: i64,
    /// When the stage emitted the frame that carries this stamp.
    pub leave_ns: i64,
}

/// Everything of a frame except its payload.
#[derive(Clone, Debug)]
pub struct Head {
    /// The source item that this frame derives from; of several ones the [newest](Origins::newest).
    pub origin: Origin,
    /// Key for conflation and partitioning.
    pub key: Key,
    /// When the source made the item, nanoseconds of the source node's clock.
    pub born_ns: i64,
    /// Work of each stage passed so far, in order.
    pub stamps: ArrayVec<Stamp, MAX_STAMPS>,
    /// When the stage that holds the frame now took it from its edge.
    pub enter_ns: i64,
    /// Which of the frames of its origin this is, in their order on the bridged edge that it crosses.
    pub part: u32,
    /// Index of the output port by which the frame leaves the stage that emitted it.
    pub port: u16,
    /// Whether the frame is a warm-up item: it fills the state of stages, and does not leave the node.
    pub warm_up: bool,
    /// The source items of a frame that is made from several frames.
    pub merged: Option<Arc<Merged>>,
    /// Keeps the frame unacknowledged at the bridge over which it arrived, as long as a frame derived from it exists.
    pub ticket: Option<Arc<Ticket>>,
}

impl Head {
    /// A head without stamps.
    #[must_use]
    pub fn new(origin: Origin, key: Key, born_ns: i64) -> Self {
        Self {
            origin,
            key,
            born_ns,
            stamps: ArrayVec::new(),
            enter_ns: born_ns,
            part: 0,
            port: 0,
            warm_up: false,
            merged: None,
            ticket: None,
        }
    }

    /// A head of these origins, without stamps.
    pub fn of(origins: &Origins, key: Key, born_ns: i64) -> Self {
        Self {
            merged: origins.merged().cloned(),
            ..Self::new(origins.newest(), key, born_ns)
        }
    }

    /// Whether this frame is made from several frames.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.merged.is_some()
    }

    /// The source items that this frame is made from.
    #[must_use]
    pub fn origins(&self) -> Origins {
        match &self.merged {
            Some(merged) => merged.clone().into(),
            None => self.origin.into(),
        }
    }

    /// When the previous stage emitted the frame: its last stamp, or its birth.
    #[must_use]
    pub fn last_leave_ns(&self) -> i64 {
        self.stamps
            .last()
            .map_or(self.born_ns, |stamp| stamp.leave_ns)
    }

    /// When the stage that holds the frame took it from its edge, nanoseconds of the node's clock.
    #[must_use]
    pub fn enter_ns(&self) -> i64 {
        self.enter_ns
    }

    /// The head of a frame that a stage derives from the one with this head.
    #[must_use]
    pub fn derive(&self, key: Key, stamp: Stamp) -> Self {
        let mut head = self.clone();
        head.key = key;
        // A path longer than MAX_STAMPS keeps its beginning: the stamps explain latency, they carry no data.
        let _ = head.stamps.try_push(stamp);
        head
    }
}

/// A payload of any type, so that edges and bridges need not know it.
pub trait Body: Any + Send + Sync {
    /// Wire name of the payload.
    fn payload_name(&self) -> &'static str;
    /// Appends the meta part of the payload.
    ///
    /// # Errors
    /// As [`Payload::encode`].
    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError>;
    /// The tensor of the payload.
    fn tensor(&self) -> Option<&Tensor>;
    /// For a downcast to the payload's type.
    fn as_any(&self) -> &dyn Any;
    /// As [`Body::as_any`], for the only owner.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Calls code of the payload `P`; a panic is an error of it.
pub fn sound<P: Payload, T>(
    work: impl FnOnce() -> Result<T, PayloadError>,
) -> Result<T, PayloadError> {
    caught(work).unwrap_or_else(|rule| {
        let payload = P::NAME;
        Err(PayloadError::Rule { payload, rule })
    })
}

impl<P: Payload> Body for Contained<P> {
    fn payload_name(&self) -> &'static str {
        P::NAME
    }

    fn encode(&self, meta: &mut Vec<u8>) -> Result<(), PayloadError> {
        sound::<P, _>(|| Payload::encode(&**self, meta))
    }

    fn tensor(&self) -> Option<&Tensor> {
        Payload::tensor(&**self)
    }

    fn as_any(&self) -> &dyn Any {
        &**self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// A payload type by name, which decodes its values from the wire.
#[derive(Clone, Copy)]
pub struct PayloadType {
    name: &'static str,
    on_wire: bool,
    version: u32,
    fields: [&'static str; 2],
    decode: Decode,
}

type Decode = fn(&[u8], Tensor) -> Result<Arc<dyn Body>, PayloadError>;

impl PayloadType {
    /// The description of `P` for an edge to another node. A type without a codec does not compile here:
    ///
    /// ```compile_fail
    /// use heqis_actors::{Payload, PayloadType};
    ///
    /// #[derive(Payload)]
    /// #[payload(local)]
    /// struct Reply(std::sync::mpsc::Sender<f64>);
    ///
    /// PayloadType::of::<Reply>();
    /// ```
    #[must_use]
    pub fn of<P: Payload>() -> Self {
        const {
            assert!(
                P::WIRE,
                "the payload type has no codec and cannot cross to another node: derive `Payload` without `local`, or set \
                 `WIRE` where the codec is written by hand"
            );
        }
        Self::declared::<P>()
    }

    /// The description of `P`, which may be a type without a codec.
    pub fn declared<P: Payload>() -> Self {
        Self {
            name: P::NAME,
            on_wire: P::WIRE,
            version: P::VERSION,
            fields: [P::FIELDS, P::FIELDS_WITHOUT_EXTENSION],
            decode: |meta, tensor| {
                sound::<P, Arc<dyn Body>>(|| Ok(Arc::new(Contained::new(P::decode(meta, tensor)?))))
            },
        }
    }

    /// Wire name of the type.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the type has a codec, as [`Payload::WIRE`].
    #[must_use]
    pub fn on_wire(&self) -> bool {
        self.on_wire
    }

    /// Name and version, by which two nodes agree on the type. Versions before there were any say the name alone.
    pub fn schema(&self) -> String {
        match self.version {
            1 => self.name.to_owned(),
            version => format!("{} version {version}", self.name),
        }
    }

    /// The fields of the type, as [`Payload::FIELDS`].
    #[must_use]
    pub fn fields(&self) -> &'static str {
        self.fields[0]
    }

    /// Whether frames with these fields are read.
    #[must_use]
    pub fn reads(&self, sent: &str) -> bool {
        let [fields, without] = self.fields;
        fields.is_empty() || sent == fields || (!without.is_empty() && sent == without)
    }

    /// Rebuilds a value from its two parts.
    pub fn decode(&self, meta: &[u8], tensor: Tensor) -> Result<Arc<dyn Body>, PayloadError> {
        (self.decode)(meta, tensor)
    }
}

impl std::fmt::Debug for PayloadType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PayloadType").field(&self.name).finish()
    }
}

/// A frame of any payload type, as edges carry it.
#[derive(Clone)]
pub struct AnyFrame {
    /// Boxed, because a head with its stamps is half a kilobyte and a frame is moved through several queues.
    pub head: Box<Head>,
    /// The payload.
    pub body: Arc<dyn Body>,
}

impl AnyFrame {
    /// A frame of a payload.
    pub fn new<P: Payload>(head: Head, payload: P) -> Self {
        Self::from_parts(head, Arc::new(Contained::new(payload)))
    }

    /// A frame of a payload that other frames may share.
    pub fn from_parts(head: Head, body: Arc<dyn Body>) -> Self {
        Self {
            head: Box::new(head),
            body,
        }
    }

    /// The frame's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The payload, when it is a `P`.
    #[must_use]
    pub fn payload<P: Payload>(&self) -> Option<&P> {
        (*self.body).as_any().downcast_ref()
    }

    /// Wire name of the payload's type.
    #[must_use]
    pub fn payload_name(&self) -> &'static str {
        self.body.payload_name()
    }
}

impl std::fmt::Debug for AnyFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyFrame")
            .field("head", &self.head)
            .field("payload", &self.payload_name())
            .finish()
    }
}

/// A frame whose payload is a `P`; dereferences to the payload. Cloning copies the head, not the payload.
///
/// ```
/// use heqis_actors::{Frame, Origin, Payload, Tensor};
///
/// #[derive(Payload)]
/// struct Row(#[payload(tensor)] Tensor);
///
/// let row = Row(Tensor::vector(vec![1.0, 2.0]));
/// let frame = Frame::detached(Origin { stream: 1, position: 1 }, 0, row);
/// assert_eq!(frame.0.data(), [1.0, 2.0]);
/// assert_eq!(frame.clone().head().origin, frame.head().origin);
/// ```
pub struct Frame<P> {
    frame: AnyFrame,
    payload: PhantomData<fn() -> P>,
}

impl<P: Payload> Frame<P> {
    /// Returns the frame when its payload is not a `P`.
    pub fn typed(frame: AnyFrame) -> Result<Self, AnyFrame> {
        if frame.payload::<P>().is_some() {
            Ok(Self {
                frame,
                payload: PhantomData,
            })
        } else {
            Err(frame)
        }
    }

    /// The frame without its payload's type.
    #[must_use]
    pub fn into_any(self) -> AnyFrame {
        self.frame
    }

    /// The frame without its payload's type.
    #[must_use]
    pub fn any(&self) -> &AnyFrame {
        &self.frame
    }

    /// The frame, without keeping it unacknowledged.
    pub fn unheld(mut self) -> Self {
        self.frame.head.ticket.take_if(|ticket| !ticket.is_local());
        self
    }

    /// The payload without a copy; the frame again when another frame shares it.
    ///
    /// # Errors
    /// The frame, when the payload is shared.
    pub fn into_payload(self) -> Result<P, Self> {
        let AnyFrame { head, body } = self.frame;
        match body
            .into_any()
            .downcast::<Contained<P>>()
            .map(Arc::try_unwrap)
        {
            Ok(Ok(payload)) => Ok(payload.into_inner()),
            Ok(Err(shared)) => Err(Self {
                frame: AnyFrame { head, body: shared },
                payload: PhantomData,
            }),
            Err(_) => unreachable!("a typed frame is only made around a payload of its type"),
        }
    }

    /// Makes a frame outside any graph, for tests and benches of a stage.
    #[must_use]
    pub fn detached(origin: Origin, born_ns: i64, payload: P) -> Self {
        let head = Head::new(origin, payload.key(), born_ns);
        Self {
            frame: AnyFrame::new(head, payload),
            payload: PhantomData,
        }
    }

    /// The frame's head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.frame.head
    }
}

impl<P> Clone for Frame<P> {
    fn clone(&self) -> Self {
        Self {
            frame: self.frame.clone(),
            payload: PhantomData,
        }
    }
}

impl<P: Payload> Deref for Frame<P> {
    type Target = P;

    fn deref(&self) -> &P {
        match self.frame.payload() {
            Some(payload) => payload,
            None => unreachable!("a typed frame is only made around a payload of its type"),
        }
    }
}

impl<P: Payload + std::fmt::Debug> std::fmt::Debug for Frame<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("head", self.head())
            .field("payload", &**self)
            .finish()
    }
}
