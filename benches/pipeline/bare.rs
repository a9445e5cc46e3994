//! The cost of the machine itself: a message from process to process over a bare tokio socket.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{PACE_PER_S, PACED_DAYS, SYMBOLS, again, quantiles};

/// About the wire size of a frame with one row of features, bytes.
const MESSAGE_BYTES: usize = 256;

/// Returns the one-way time of a message over a bare tokio socket at the pace of the bars, µs.
pub(crate) fn one_way() -> (f64, f64) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let child = again(&["listen", &listener.local_addr().unwrap().to_string()]);
    let (stream, _) = listener.accept().unwrap();
    on_tokio(async move {
        let stream = tokio_stream(stream);
        let mut pace = tokio::time::interval(Duration::from_secs(1) / PACE_PER_S);
        let mut message = [0xA5; MESSAGE_BYTES];
        for _ in 0..PACED_DAYS * SYMBOLS {
            pace.tick().await;
            message[..16].copy_from_slice(&wall_ns().to_be_bytes());
            write(&stream, &message).await;
        }
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The receiver: prints the quantiles of the messages' ages.
pub(crate) fn listen(address: &str) {
    let stream = std::net::TcpStream::connect(address).unwrap();
    let ages_us = on_tokio(async move {
        let stream = tokio_stream(stream);
        let mut message = [0; MESSAGE_BYTES];
        let mut ages_us = Vec::new();
        while read(&stream, &mut message).await {
            let sent_ns = u128::from_be_bytes(message[..16].try_into().unwrap());
            ages_us.push(wall_ns().saturating_sub(sent_ns) as f64 / 1e3);
        }
        ages_us
    });
    println!("{}", serde_json::to_string(&quantiles(ages_us)).unwrap());
}

/// Returns the time of the clock that two processes on one machine share.
fn wall_ns() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_nanos()
}

fn on_tokio<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

fn tokio_stream(stream: std::net::TcpStream) -> tokio::net::TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

async fn write(stream: &tokio::net::TcpStream, message: &[u8]) {
    stream.writable().await.unwrap();
    // A message this short always fits into the empty buffer of a socket.
    assert_eq!(stream.try_write(message).unwrap(), message.len());
}

/// Reads a whole message; `false` when the peer has disconnected.
async fn read(stream: &tokio::net::TcpStream, message: &mut [u8]) -> bool {
    let mut filled = 0;
    while filled < message.len() {
        stream.readable().await.unwrap();
        match stream.try_read(&mut message[filled..]) {
            Ok(0) => return false,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}
