//! The stream of an edge: its errors say what the peer thinks of our certificate.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use heqis_sp::SpError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::TlsError;

/// A TLS stream whose errors are typed.
///
/// In TLS 1.3 a client's handshake is over before the server has looked at its certificate: a refusal is the first
/// thing that it reads.
pub(crate) struct TypedStream<S>(pub(crate) S);

fn typed(error: io::Error) -> io::Error {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(inner) => io::Error::new(error.kind(), SpError::from(TlsError::of(inner))),
        None => error,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TypedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf).map_err(typed)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TypedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf).map_err(typed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0)
            .poll_write_vectored(cx, bufs)
            .map_err(typed)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(typed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(typed)
    }
}
