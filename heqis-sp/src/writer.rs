//! Messages into a byte stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::error::SpError;
use crate::framing::Framing;
use crate::options::SocketOptions;
use crate::stream::WriteHalf;

/// Bodies from this length on are sent from where they lie. Copying a shorter one costs less than
/// its own place in the list of a vectored write.
const SEND_IN_PLACE_BYTES: usize = 8 << 10;

/// The places in the list of one vectored write.
const SLICES: usize = 64;

/// The sending half of a connection.
///
/// Messages are queued with [`feed`](Writer::feed) or [`feed_bytes`](Writer::feed_bytes) and leave
/// together in [`flush`](Writer::flush), many of them in one system call. The queue is the only
/// one between the caller and the kernel; it takes a message while it is below
/// `write_buffer_bytes` and so never holds more than that plus one message.
pub struct Writer {
    half: WriteHalf,
    framing: Framing,
    limit_bytes: usize,
    /// What was copied: heads, headers and short bodies, in order.
    copied: Vec<u8>,
    /// How much of `copied` has been written.
    copied_written: usize,
    pieces: VecDeque<Piece>,
    buffered: usize,
    failed: bool,
}

/// A run of bytes that waits to be written.
enum Piece {
    /// This number of bytes of `copied`.
    Copied(usize),
    /// A body that is sent from where it lies.
    InPlace(Bytes),
}

impl Writer {
    pub(crate) fn new(half: WriteHalf, framing: Framing, options: &SocketOptions) -> Self {
        Self {
            half,
            framing,
            limit_bytes: options.write_buffer_bytes,
            copied: Vec::new(),
            copied_written: 0,
            pieces: VecDeque::new(),
            buffered: 0,
            failed: false,
        }
    }

    /// Queues one message whose body is the concatenation of `parts`, which are copied.
    ///
    /// # Errors
    /// [`SpError::Full`] when [`is_full`](Writer::is_full), [`SpError::TooLarge`] when the body
    /// exceeds `max_frame_bytes`, [`SpError::Direction`] on a pull socket, and [`SpError::Closed`]
    /// after a failed flush. The message is then not queued, and the writer otherwise unchanged.
    pub fn feed(&mut self, parts: &[&[u8]]) -> Result<(), SpError> {
        // Slices cannot sum past the address space unless they overlap; saturate for those.
        let body_bytes = parts
            .iter()
            .fold(0, |sum: usize, p| sum.saturating_add(p.len()));
        self.admit(body_bytes)?;
        self.copy(|copied, framing| {
            copied.reserve(framing.head_bytes() + body_bytes);
            framing.write_head(body_bytes, copied);
            for part in parts {
                copied.extend_from_slice(part);
            }
        });
        Ok(())
    }

    /// Queues one message whose body is `header`, which is copied, followed by `body`, which is
    /// not when it is long.
    ///
    /// # Errors
    /// As [`Writer::feed`].
    pub fn feed_bytes(&mut self, header: &[u8], body: Bytes) -> Result<(), SpError> {
        if body.len() < SEND_IN_PLACE_BYTES {
            return self.feed(&[header, &body]);
        }
        let body_bytes = header.len().saturating_add(body.len());
        self.admit(body_bytes)?;
        self.copy(|copied, framing| {
            framing.write_head(body_bytes, copied);
            copied.extend_from_slice(header);
        });
        self.buffered += body.len();
        self.pieces.push_back(Piece::InPlace(body));
        Ok(())
    }

    /// Returns whether the queued bytes have reached `write_buffer_bytes`.
    pub fn is_full(&self) -> bool {
        self.buffered >= self.limit_bytes
    }

    /// Returns the bytes queued and not yet given to the kernel.
    pub fn buffered_bytes(&self) -> usize {
        self.buffered
    }

    /// Gives all queued bytes to the kernel.
    ///
    /// Cancel-safe: dropping the future keeps what was not written, and the next flush continues
    /// from there.
    ///
    /// # Errors
    /// [`SpError::Io`] from the socket, and [`SpError::Closed`] after an earlier failure.
    pub async fn flush(&mut self) -> Result<(), SpError> {
        if self.failed {
            return Err(SpError::Closed);
        }
        let result = poll_fn(|cx| self.poll_flush(cx)).await;
        result.map_err(|source| {
            self.failed = true;
            SpError::io("write to peer")(source)
        })
    }

    /// Flushes, then signals to the peer that no further message follows. Messages of the peer can
    /// still be received.
    ///
    /// # Errors
    /// As [`Writer::flush`].
    pub async fn shutdown(mut self) -> Result<(), SpError> {
        self.flush().await?;
        let action = "shut down towards peer";
        self.half.shutdown().await.map_err(SpError::io(action))
    }

    fn admit(&self, body_bytes: usize) -> Result<(), SpError> {
        let max = self.framing.max_frame_bytes;
        if self.failed {
            Err(SpError::Closed)
        } else if !self.framing.protocol.sends() {
            Err(SpError::Direction {
                protocol: self.framing.protocol,
                action: "send",
            })
        } else if body_bytes > max {
            Err(SpError::TooLarge {
                len: body_bytes as u64,
                max,
            })
        } else if self.is_full() {
            Err(SpError::Full {
                buffered: self.buffered,
                limit: self.limit_bytes,
            })
        } else {
            Ok(())
        }
    }

    /// Lets `append` extend the copied bytes and accounts for them.
    fn copy(&mut self, append: impl FnOnce(&mut Vec<u8>, &Framing)) {
        // Feeding between cancelled flushes must not let the written part pile up.
        if self.copied_written > self.limit_bytes {
            self.copied.drain(..self.copied_written);
            self.copied_written = 0;
        }
        let before = self.copied.len();
        append(&mut self.copied, &self.framing);
        let added = self.copied.len() - before;
        self.buffered += added;
        match self.pieces.back_mut() {
            Some(Piece::Copied(bytes)) => *bytes += added,
            _ => self.pieces.push_back(Piece::Copied(added)),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.buffered > 0 {
            let written = ready!(self.poll_write(cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.forget(written);
        }
        Pin::new(&mut self.half).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut copied = &self.copied[self.copied_written..];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(match piece {
                Piece::Copied(bytes) => {
                    let (run, rest) = copied.split_at(*bytes);
                    copied = rest;
                    run
                }
                Piece::InPlace(body) => body,
            });
            used += 1;
        }
        Pin::new(&mut self.half).poll_write_vectored(cx, &slices[..used])
    }

    /// Takes `written` bytes off the front of the queue.
    fn forget(&mut self, mut written: usize) {
        self.buffered -= written;
        while let Some(piece) = self.pieces.front_mut() {
            let whole = match piece {
                Piece::Copied(bytes) => {
                    let taken = written.min(*bytes);
                    self.copied_written += taken;
                    *bytes -= taken;
                    written -= taken;
                    *bytes == 0
                }
                Piece::InPlace(body) => {
                    let taken = written.min(body.len());
                    body.advance(taken);
                    written -= taken;
                    body.is_empty()
                }
            };
            if !whole {
                return;
            }
            self.pieces.pop_front();
        }
        self.copied.clear();
        self.copied_written = 0;
        // One huge scattered message must not hold its memory for ever.
        self.copied.shrink_to(self.limit_bytes.saturating_mul(2));
    }
}
