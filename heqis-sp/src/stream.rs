//! The byte streams below a connection, set up alike whichever side opened them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream, tcp, unix};

use crate::options::KEEPALIVE_RETRIES;
use crate::options::SocketOptions;
use crate::secure::Duplex;

/// A stream before its handshake.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A TLS stream, a stream of the caller's, or one end of an in-process pipe.
    Pipe(Box<dyn Duplex>),
}

/// The receiving half. An enum and not a trait object, because `recv` is the hot path.
pub(crate) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Pipe(tokio::io::ReadHalf<Box<dyn Duplex>>),
}

/// The sending half. Dropping it shuts the sending direction down, whatever the stream.
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    Pipe(tokio::io::WriteHalf<Box<dyn Duplex>>),
}

impl Stream {
    /// Takes over a connected TCP stream.
    pub(crate) fn tcp(stream: TcpStream, options: &SocketOptions) -> io::Result<Self> {
        // Coalescing is the writer's job; Nagle's delay on top would only add latency.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let (idle, interval) = (options.keepalive_idle, options.keepalive_interval);
        let keepalive = TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(KEEPALIVE_RETRIES);
        socket.set_tcp_keepalive(&keepalive)?;
        // Keepalive stays silent while sent bytes wait for their acknowledgement; without this
        // limit a peer whose cable was pulled would be noticed only after a quarter of an hour.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(idle + interval * KEEPALIVE_RETRIES))?;
        Ok(Self::Tcp(stream))
    }

    /// Takes over a connected Unix-domain stream.
    pub(crate) fn unix(stream: UnixStream, options: &SocketOptions) -> io::Result<Self> {
        let socket = SockRef::from(&stream);
        socket.set_send_buffer_size(options.send_buffer_bytes as usize)?;
        socket.set_recv_buffer_size(options.recv_buffer_bytes as usize)?;
        Ok(Self::Unix(stream))
    }

    pub(crate) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Unix(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
            Self::Pipe(stream) => {
                let (read, write) = tokio::io::split(stream);
                (ReadHalf::Pipe(read), WriteHalf::Pipe(write))
            }
        }
    }
}

/// Returns a TCP socket with our buffer sizes, which the kernel wants to know before it connects
/// or listens, because they decide the window scale.
pub(crate) fn tcp_socket(ipv4: bool, options: &SocketOptions) -> io::Result<TcpSocket> {
    let socket = if ipv4 {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_send_buffer_size(options.send_buffer_bytes)?;
    socket.set_recv_buffer_size(options.recv_buffer_bytes)?;
    Ok(socket)
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // The halves of sockets do this by themselves. A pipe takes it at once; a TLS stream with
        // a full socket may not, and then closes with its other half.
        if let Self::Pipe(half) = self {
            let _ = Pin::new(half).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(cx, buf),
            Self::Unix(half) => Pin::new(half).poll_read(cx, buf),
            Self::Pipe(half) => Pin::new(half).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(cx, buf),
            Self::Unix(half) => Pin::new(half).poll_write(cx, buf),
            Self::Pipe(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write_vectored(cx, bufs),
            Self::Unix(half) => Pin::new(half).poll_write_vectored(cx, bufs),
            Self::Pipe(half) => Pin::new(half).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_flush(cx),
            Self::Unix(half) => Pin::new(half).poll_flush(cx),
            Self::Pipe(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Self::Unix(half) => Pin::new(half).poll_shutdown(cx),
            Self::Pipe(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
