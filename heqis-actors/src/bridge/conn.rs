//! One live connection of a bridge: writes without waiting, reads as an actor stream, heartbeats.

use std::future::Future as _;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use heqis_core::Body;
use heqis_core::link::authority::{Action, Denial};
use heqis_core::link::messages::{Heartbeat, control_header, is_time};
use heqis_core::link::requests::{Message, RequestPort};
use heqis_core::wire::{
    Encoded, Header, MessageKind, WireError, WireFrame, WireMeta, tensor_bytes,
};
use heqis_core::{BridgeOptions, ClockOffset, ClockSync, Encoding, duration_ns};
use heqis_sp::{Connection, PeerIdentity, Protocol, Reader, SocketOptions, SpError, Writer};

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the peer counts as dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);
/// Silence up to which a connection is certainly in use: its peer has sent one of its last two heartbeats.
const IN_USE: Duration = Duration::from_millis(2_500);
/// Time between two checks of both.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Tensors from this size on are written from where they lie instead of being copied into the write buffer.
const COPY_BELOW_BYTES: usize = 16 * 1024;

/// What the reader of a connection passes to its actor.
pub(super) struct Received {
    pub(super) conn: u64,
    pub(super) message: Result<Option<Bytes>, SpError>,
}

/// A live connection.
pub(super) struct Conn {
    pub(super) id: u64,
    pub(super) peer: String,
    /// What the peer has proved about itself; absent without TLS.
    pub(super) identity: Option<PeerIdentity>,
    /// Absent while a flush that had to wait owns it.
    writer: Option<Writer>,
    reader: SpawnHandle,
    flusher: Option<SpawnHandle>,
    /// When the last message arrived.
    received_ns: i64,
    /// When the next heartbeat is due.
    heartbeat_ns: i64,
    clock_sync: ClockSync,
    /// The encoding of tensors that the two sides have agreed on.
    pub(super) encoding: Encoding,
}

/// An actor that owns connections.
pub(super) trait Owner: Actor<Context = Context<Self>> + StreamHandler<Received> {
    fn conn(&mut self, id: u64) -> Option<&mut Conn>;
    /// A flush that had to wait has ended.
    fn flushed(&mut self, id: u64, result: Result<(), SpError>, ctx: &mut Context<Self>);
}

impl Conn {
    /// Opens a connection, whose messages arrive at the actor as [`Received`].
    pub(super) fn open<A: Owner>(
        id: u64,
        connection: Connection,
        now_ns: i64,
        ctx: &mut Context<A>,
    ) -> Self {
        let peer = connection.peer().to_owned();
        let identity = connection.identity().cloned();
        let (reader, writer) = connection.split();
        let reader = ctx.add_stream(messages(id, reader));
        Self {
            id,
            peer,
            identity,
            writer: Some(writer),
            reader,
            flusher: None,
            received_ns: now_ns,
            heartbeat_ns: now_ns + duration_ns(HEARTBEAT),
            clock_sync: ClockSync::default(),
            encoding: Encoding::F32,
        }
    }

    /// Closes the connection by dropping both halves.
    pub(super) fn close<A: Owner>(self, ctx: &mut Context<A>) {
        ctx.cancel_future(self.reader);
        if let Some(flusher) = self.flusher {
            ctx.cancel_future(flusher);
        }
    }

    /// Whether more may be written now.
    pub(super) fn is_writable(&self) -> bool {
        self.writer.as_ref().is_some_and(|writer| !writer.is_full())
    }

    /// Whether everything queued has been passed to the operating system.
    pub(super) fn is_flushed(&self) -> bool {
        self.writer
            .as_ref()
            .is_some_and(|writer| writer.buffered_bytes() == 0)
    }

    /// Queues a control message; returns whether it did. While a flush owns the writer the message is left out: every
    /// control message is repeated or superseded by a later one.
    pub(super) fn control(
        &mut self,
        kind: MessageKind,
        route: u32,
        epoch: u32,
        message: &impl WireMeta,
    ) -> Result<bool, LinkError> {
        self.queue(control_header(kind, route, epoch), message)
    }

    /// As [`Conn::control`], for a message that offers or accepts an encoding. `flags` of a welcome say what else this node
    /// takes.
    pub(super) fn negotiate(
        &mut self,
        header: Header,
        encoding: Encoding,
        flags: i64,
        message: &impl WireMeta,
    ) -> Result<bool, LinkError> {
        let header = Header {
            seq: encoding.number(),
            ts_ns: flags,
            ..header
        };
        self.queue(header, message)
    }

    /// Queues the request or reply that waits at `port`.
    pub(super) fn send_request(
        &mut self,
        port: Option<&RequestPort>,
        route: u32,
        epoch: u32,
    ) -> Result<(), LinkError> {
        let Some((port, message)) = port.and_then(|port| Some((port, port.take_due()?))) else {
            return Ok(());
        };
        let queued = match &message {
            Message::Request(request) => self.control(MessageKind::Request, route, epoch, request),
            Message::Reply(reply) => self.control(MessageKind::Reply, route, epoch, reply),
        };
        if !queued? {
            port.put_back(message);
        }
        Ok(())
    }

    fn queue(&mut self, header: Header, message: &impl WireMeta) -> Result<bool, LinkError> {
        let Some(writer) = &mut self.writer else {
            return Ok(false);
        };
        writer.feed(&[&Encoded::new(header, message, None)?.head])?;
        Ok(true)
    }

    /// Queues a heartbeat when one is due and may be written.
    pub(super) fn send_heartbeat_if_due(
        &mut self,
        route: u32,
        epoch: u32,
        now_ns: i64,
    ) -> Result<(), LinkError> {
        if now_ns < self.heartbeat_ns || !self.is_writable() {
            return Ok(());
        }
        self.heartbeat_ns = now_ns + duration_ns(HEARTBEAT);
        let header = Header {
            ts_ns: now_ns,
            ..control_header(MessageKind::Heartbeat, route, epoch)
        };
        let delay_ns = self.clock_sync.report_local(now_ns);
        self.queue(header, &Heartbeat { delay_ns }).map(|_| ())
    }

    /// Makes the next heartbeat due now.
    pub(super) fn hasten_heartbeat(&mut self, now_ns: i64) {
        self.heartbeat_ns = now_ns;
    }

    /// Handles a heartbeat that arrived at `now_ns`, and compares the clocks if it carries a time.
    pub(super) fn on_heartbeat(
        &mut self,
        wire: &WireFrame,
        now_ns: i64,
    ) -> Result<Option<ClockOffset>, LinkError> {
        let Heartbeat { delay_ns } = wire.read()?;
        let sent_ns = wire.header.ts_ns;
        if !is_time(sent_ns) {
            return Err(LinkError::Protocol(format!(
                "a heartbeat at {sent_ns} ns, not less than 2^62 ns from the epoch"
            )));
        }
        if sent_ns != 0 {
            self.clock_sync.record_remote(now_ns, sent_ns, delay_ns);
            if self.clock_sync.reply_is_due() {
                self.hasten_heartbeat(now_ns);
            }
        }
        Ok(self.clock_sync.offset(now_ns))
    }

    /// Whether nothing has arrived for too long.
    pub(super) fn is_silent(&self, now_ns: i64) -> bool {
        now_ns - self.received_ns > duration_ns(SILENCE_LIMIT)
    }

    /// Whether another peer that claims to be this one cannot be.
    pub(super) fn is_in_use(&self, now_ns: i64) -> bool {
        now_ns - self.received_ns <= duration_ns(IN_USE)
    }

    /// The peer by its certificate and its address, for events.
    pub(super) fn who(&self) -> String {
        match &self.identity {
            Some(PeerIdentity { name, serial }) => {
                format!("node '{name}' (certificate {serial}) at {}", self.peer)
            }
            None => self.peer.clone(),
        }
    }

    /// Why the connection cannot continue: silence, or a certificate that was revoked since it was accepted.
    pub(super) fn fault(&self, options: &BridgeOptions, now_ns: i64) -> Option<LinkError> {
        if self.is_silent(now_ns) {
            return Some(LinkError::Silent);
        }
        let (identity, security) = (self.identity.as_ref()?, options.security.as_ref()?);
        security.still_accepts(identity).err().map(Into::into)
    }

    /// Checks a message of the reader; every one proves that the peer is alive.
    pub(super) fn parse(
        &mut self,
        message: Result<Option<Bytes>, SpError>,
        now_ns: i64,
    ) -> Result<WireFrame, LinkError> {
        self.received_ns = now_ns;
        let bytes = message?.ok_or(LinkError::Closed)?;
        Ok(WireFrame::parse(bytes)?)
    }

    /// Queues a data frame and returns its length in bytes; the caller has checked that the connection is
    /// [`Conn::is_writable`].
    pub(super) fn data(
        &mut self,
        encoded: Encoded,
        body: &Arc<dyn Body>,
    ) -> Result<usize, LinkError> {
        let Some(writer) = &mut self.writer else {
            return Ok(0);
        };
        let head = encoded.head.len();
        if let Some(bytes) = encoded.tensor {
            let length = head + bytes.len();
            if bytes.len() < COPY_BELOW_BYTES {
                writer.feed(&[&encoded.head, &bytes])?;
            } else {
                writer.feed_bytes(&encoded.head, bytes.into())?;
            }
            return Ok(length);
        }
        let tensor = TensorOf(body.clone());
        let bytes = tensor.as_ref();
        let length = head + bytes.len();
        if bytes.len() < COPY_BELOW_BYTES {
            writer.feed(&[&encoded.head, bytes])?;
        } else {
            writer.feed_bytes(&encoded.head, Bytes::from_owner(tensor))?;
        }
        Ok(length)
    }
}

/// Lends a payload's tensor to the socket for as long as it is being written.
struct TensorOf(Arc<dyn Body>);

impl AsRef<[u8]> for TensorOf {
    fn as_ref(&self) -> &[u8] {
        self.0.tensor().map_or(&[], tensor_bytes)
    }
}

/// Whether the peer takes nothing more. Its last messages may still be unread, such as the answer of a receiver that has
/// ended: the connection then counts as lost when the reader has come to its end.
fn is_closed(error: &SpError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    match error {
        SpError::Closed => true,
        SpError::Io { source, .. } => matches!(source.kind(), BrokenPipe | ConnectionReset),
        _ => false,
    }
}

/// Writes what is queued on connection `id`: at once where the socket accepts it, else by a future of the actor.
pub(super) fn flush<A: Owner>(actor: &mut A, id: u64, ctx: &mut Context<A>) {
    let Some(conn) = actor.conn(id) else { return };
    let Some(mut writer) = conn.writer.take() else {
        return;
    };
    if writer.buffered_bytes() == 0 {
        conn.writer = Some(writer);
        return;
    }
    let at_once = {
        let mut flushing = std::pin::pin!(writer.flush());
        // Polled once with a waker without effect; the future below registers a real one when that is not enough.
        flushing
            .as_mut()
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    };
    match at_once {
        std::task::Poll::Ready(Err(error)) if is_closed(&error) => {}
        std::task::Poll::Ready(result) => {
            conn.writer = Some(writer);
            if let Err(error) = result {
                actor.flushed(id, Err(error), ctx);
            }
        }
        std::task::Poll::Pending => {
            let rest = async move {
                let result = writer.flush().await;
                (writer, result)
            };
            let handle = ctx.spawn(rest.into_actor(actor).map(
                move |(writer, result), actor, ctx| {
                    if let Some(conn) = actor.conn(id) {
                        conn.flusher = None;
                        if result.as_ref().is_err_and(is_closed) {
                            return;
                        }
                        conn.writer = Some(writer);
                        actor.flushed(id, result, ctx);
                    }
                },
            ));
            if let Some(conn) = actor.conn(id) {
                conn.flusher = Some(handle);
            }
        }
    }
}

fn messages(conn: u64, reader: Reader) -> impl Stream<Item = Received> {
    stream::unfold(Some(reader), move |reader| async move {
        let mut reader = reader?;
        let message = reader.recv().await;
        let rest = matches!(message, Ok(Some(_))).then_some(reader);
        Some((Received { conn, message }, rest))
    })
}

/// Why a connection cannot continue.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Socket(#[from] SpError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("protocol: {0}")]
    Protocol(String),
    #[error("silent for {} s", SILENCE_LIMIT.as_secs())]
    Silent,
    #[error("closed by the peer")]
    Closed,
    #[error("the peer leaves")]
    Goodbye,
    #[error("replaced by a newer connection")]
    Replaced,
    #[error("a stage has failed: the frames that it has held are to be sent again")]
    Again,
    #[error("refused: {0}")]
    Refused(String),
    #[error("said no hello before further connections were opened")]
    Crowded,
    #[error("{reason}")]
    Denied {
        denial: Denial,
        action: Action,
        reason: String,
    },
}

impl LinkError {
    /// One word for the metric of rejected peers; `None` when the peer did nothing wrong.
    pub(super) fn cause(&self) -> Option<&'static str> {
        match self {
            // A link may break anywhere, also in the middle of a message.
            Self::Socket(
                SpError::Closed
                | SpError::Truncated { .. }
                | SpError::Io { .. }
                | SpError::Tls { of_peer: false, .. },
            ) => None,
            Self::Socket(error) => Some(error.cause()),
            Self::Wire(error) => Some(error.cause()),
            Self::Protocol(_) => Some("protocol"),
            Self::Crowded => Some("crowd"),
            Self::Denied { denial, .. } => Some(denial.cause()),
            Self::Silent
            | Self::Closed
            | Self::Goodbye
            | Self::Replaced
            | Self::Again
            | Self::Refused(_) => None,
        }
    }

    /// What the peer may not do, where that is the reason.
    pub(super) fn action(&self) -> Option<&'static str> {
        match self {
            Self::Denied { action, .. } => Some(action.name()),
            _ => None,
        }
    }
}

/// Socket options of a bridge.
pub(super) fn socket_options(bridge: &BridgeOptions) -> SocketOptions {
    let mut options = SocketOptions::new(Protocol::Pair1);
    options.max_frame_bytes = bridge.max_frame;
    options.security.clone_from(&bridge.security);
    options
}
