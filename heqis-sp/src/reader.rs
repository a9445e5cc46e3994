//! Messages out of a byte stream.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::task::coop::consume_budget;

use crate::error::SpError;
use crate::framing::{Framing, Head};
use crate::options::SocketOptions;
use crate::stream::ReadHalf;

/// The most that is read ahead while large messages arrive: what is read ahead of a large body has
/// to be copied into the body's own buffer.
const PEEK_BYTES: usize = 8 << 10;

/// The receiving half of a connection.
///
/// One read call fills a buffer with many small messages, which are handed out as slices of it. A
/// message longer than half that buffer is read straight into a buffer of exactly its size. Either
/// buffer is used again once the messages from it are dropped, so a consumer that works message by
/// message causes no allocation; one that keeps a small message keeps its whole buffer alive.
///
/// Any error is final: the next call returns [`SpError::Closed`].
pub struct Reader {
    half: ReadHalf,
    framing: Framing,
    /// The bytes read ahead and not yet handed out.
    ahead: BytesMut,
    ahead_capacity: usize,
    /// Whether the last message was large, and so, most likely, the next.
    large_run: bool,
    /// The large body under way, or the memory of the last one.
    body: BytesMut,
    /// The full length of the large body under way.
    body_bytes: Option<usize>,
    failed: bool,
}

impl Reader {
    pub(crate) fn new(half: ReadHalf, framing: Framing, options: &SocketOptions) -> Self {
        Self {
            half,
            framing,
            ahead: BytesMut::new(),
            ahead_capacity: options.read_buffer_bytes,
            large_run: false,
            body: BytesMut::new(),
            body_bytes: None,
            failed: false,
        }
    }

    /// Returns the body of the next message, or `None` when the peer closed between two messages.
    ///
    /// Cancel-safe: dropping the future loses nothing. Fair: takes part in tokio's cooperative
    /// budget, so that a loop over it lets other tasks run even while messages are at hand.
    ///
    /// # Errors
    /// [`SpError::TooLarge`], [`SpError::BadHop`], [`SpError::MissingHop`], [`SpError::FrameKind`]
    /// and [`SpError::Direction`] when the peer breaks a rule, [`SpError::Truncated`] when it
    /// closes within a message, [`SpError::Io`] from the socket, and [`SpError::Closed`] after any
    /// of them.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, SpError> {
        // Thousands of messages may lie in the buffer: without this, a peer that floods would keep
        // every other task of a current-thread runtime from its turn.
        consume_budget().await;
        loop {
            if let Some(message) = self.recv_buffered()? {
                return Ok(Some(message));
            }
            if self.fill().await? == 0 {
                return self.end();
            }
        }
    }

    /// Returns the next message if all of it has been read already; never touches the socket.
    ///
    /// # Errors
    /// As [`Reader::recv`], without those that only the socket can cause.
    pub fn recv_buffered(&mut self) -> Result<Option<Bytes>, SpError> {
        if self.failed {
            return Err(SpError::Closed);
        }
        let step = self.step();
        self.failed = step.is_err();
        step
    }

    /// Returns the bytes that were read from the socket and not handed out yet.
    pub fn buffered_bytes(&self) -> usize {
        self.ahead.len() + self.body.len()
    }

    fn step(&mut self) -> Result<Option<Bytes>, SpError> {
        if let Some(body_bytes) = self.body_bytes {
            if self.body.len() < body_bytes {
                return Ok(None);
            }
            self.body_bytes = None;
            return Ok(Some(self.body.split().freeze()));
        }
        let Head::Body(body_bytes) = self.framing.parse(&self.ahead)? else {
            return Ok(None);
        };
        if !self.framing.protocol.receives() {
            return Err(SpError::Direction {
                protocol: self.framing.protocol,
                action: "receive",
            });
        }
        let head_bytes = self.framing.head_bytes();
        self.large_run = head_bytes + body_bytes > self.ahead_capacity / 2;
        if self.ahead.len() - head_bytes >= body_bytes {
            self.ahead.advance(head_bytes);
            return Ok(Some(self.ahead.split_to(body_bytes).freeze()));
        }
        if self.large_run {
            self.ahead.advance(head_bytes);
            if !self.body.try_reclaim(body_bytes) {
                self.body = BytesMut::with_capacity(body_bytes);
            }
            // All that is ahead belongs to this body, or it would have been complete.
            self.body.extend_from_slice(&self.ahead);
            self.ahead.clear();
            self.body_bytes = Some(body_bytes);
        }
        Ok(None)
    }

    /// Reads once into whichever buffer is being filled and returns the bytes read.
    async fn fill(&mut self) -> Result<usize, SpError> {
        let read = match self.body_bytes {
            Some(body_bytes) => {
                let missing = body_bytes - self.body.len();
                let mut room = (&mut self.body).limit(missing);
                self.half.read_buf(&mut room).await
            }
            None if self.large_run => {
                self.make_room();
                let mut room = (&mut self.ahead).limit(PEEK_BYTES);
                self.half.read_buf(&mut room).await
            }
            None => {
                self.make_room();
                self.half.read_buf(&mut self.ahead).await
            }
        };
        read.map_err(|source| {
            self.failed = true;
            SpError::io("read from peer")(source)
        })
    }

    /// Makes the read-ahead buffer worth a read call. What it holds is the start of one message
    /// that is not large, so moving that costs at most half the buffer.
    fn make_room(&mut self) {
        let occupied = self.ahead.len();
        // Succeeds at once, or by moving to the front, when no message of this buffer lives on.
        if self.ahead.try_reclaim(self.ahead_capacity - occupied) {
            return;
        }
        // Filling three quarters before leaving a shared buffer bounds what kept messages pin.
        if self.ahead.capacity() - occupied < self.ahead_capacity / 4 {
            let mut fresh = BytesMut::with_capacity(self.ahead_capacity);
            fresh.extend_from_slice(&self.ahead);
            self.ahead = fresh;
        }
    }

    /// Judges the end of the stream.
    fn end(&mut self) -> Result<Option<Bytes>, SpError> {
        let missing = match self.body_bytes {
            Some(body_bytes) => body_bytes - self.body.len(),
            None if self.ahead.is_empty() => return Ok(None),
            None => match self.framing.parse(&self.ahead)? {
                Head::Needs(bytes) => bytes - self.ahead.len(),
                Head::Body(bytes) => self.framing.head_bytes() + bytes - self.ahead.len(),
            },
        };
        self.failed = true;
        Err(SpError::Truncated {
            missing: missing as u64,
        })
    }
}
