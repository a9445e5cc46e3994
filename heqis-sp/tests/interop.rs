//! The wire is that of NNG: pynng, which wraps the C library, talks to us both ways.
//!
//! The peer runs under the Python that `HEQIS_TEST_PYTHON` names, in which pynng 0.9.0 is
//! installed; `./test` prepares it.
#![allow(clippy::unwrap_used)]

mod nng;

use bytes::Bytes;
use heqis_sp::{Connection, Endpoint, Inproc, Listener, Protocol, SocketOptions, connect};
use nng::{Peer, python};

const SIZES: [usize; 8] = [0, 1, 3, 8_192, 65_536, 100_000, 1 << 20, 5];

/// Both directions in which a connection can come about.
#[derive(Clone, Copy, Debug)]
enum EdgeSide {
    WeListen,
    WeDial,
}

fn message(size: usize) -> Bytes {
    (0..size).map(|i| (size * 31 + i * 7) as u8).collect()
}

/// Brings about one connection between us, with `options`, and a pynng peer in `role`.
async fn meet(
    python: &str,
    side: EdgeSide,
    endpoint: &str,
    options: &SocketOptions,
    role: &[&str],
) -> (Connection, Peer) {
    let theirs = options.protocol.peer().to_string();
    let inproc = Inproc::new();
    let parsed: Endpoint = endpoint.parse().unwrap();
    let mut listener = Listener::bind(&parsed, options.clone(), &inproc)
        .await
        .unwrap();
    let bound = listener.endpoint().clone();
    match side {
        EdgeSide::WeListen => {
            let peer = Peer::start(python, &theirs, "dial", &bound.to_string(), role);
            (listener.accept().await.unwrap(), peer)
        }
        EdgeSide::WeDial => {
            // The port that was free a moment ago is the peer's now.
            drop(listener);
            let peer = Peer::start(python, &theirs, "listen", &bound.to_string(), role);
            (connect(&bound, options, &inproc).await.unwrap(), peer)
        }
    }
}

async fn in_each_way(protocol: Protocol, role: &[&str], talk: impl AsyncFn(Connection, &mut Peer)) {
    let python = python();
    let directory = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://{}/peer.sock", directory.path().display());
    for endpoint in ["tcp://127.0.0.1:0", &ipc] {
        for side in [EdgeSide::WeListen, EdgeSide::WeDial] {
            let options = SocketOptions::new(protocol);
            let (connection, mut peer) = meet(&python, side, endpoint, &options, role).await;
            talk(connection, &mut peer).await;
        }
    }
}

fn with_sizes(role: &str) -> Vec<String> {
    let sizes = SIZES.iter().map(usize::to_string);
    std::iter::once(role.to_owned()).chain(sizes).collect()
}

#[tokio::test]
async fn pair1_messages_come_back_from_pynng_as_they_were() {
    in_each_way(Protocol::Pair1, &["echo"], async |connection, peer| {
        let (mut reader, mut writer) = connection.split();
        // The empty message goes last: it ends the echo.
        for size in SIZES.iter().filter(|size| **size > 0).chain(&[0]) {
            let sent = message(*size);
            let (header, body) = (sent.slice(..size / 3), sent.slice(size / 3..));
            writer.feed_bytes(&header, body).unwrap();
            writer.flush().await.unwrap();
            let got = reader.recv().await.unwrap().unwrap();
            assert!(got == sent, "{size} bytes came back damaged");
        }
        peer.expect("done");
    })
    .await;
}

#[tokio::test]
async fn pynng_pulls_what_we_push() {
    let role = with_sizes("recv");
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    in_each_way(Protocol::Push, &role, async |connection, peer| {
        let (_reader, mut writer) = connection.split();
        for size in SIZES {
            // Several messages leave in one write where they are small.
            if writer.is_full() {
                writer.flush().await.unwrap();
            }
            writer.feed(&[&message(size)]).unwrap();
        }
        writer.flush().await.unwrap();
        peer.expect("done");
    })
    .await;
}

#[tokio::test]
async fn we_pull_what_pynng_pushes() {
    let role = with_sizes("send");
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    in_each_way(Protocol::Pull, &role, async |connection, _peer| {
        let (mut reader, _writer) = connection.split();
        for size in SIZES {
            let got = reader.recv().await.unwrap().unwrap();
            assert!(got == message(size), "{size} bytes arrived damaged");
        }
    })
    .await;
}

#[tokio::test]
async fn an_oversize_message_from_pynng_is_refused_with_a_cause_to_count() {
    let python = python();
    let mut options = SocketOptions::new(Protocol::Pair1);
    options.max_frame_bytes = 1_000;
    let role = ["send", "1000", "1001"];
    let endpoint = "tcp://127.0.0.1:0";
    let (connection, _peer) = meet(&python, EdgeSide::WeListen, endpoint, &options, &role).await;
    let (mut reader, _writer) = connection.split();
    assert_eq!(reader.recv().await.unwrap().unwrap(), message(1_000));
    let error = reader.recv().await.unwrap_err();
    assert_eq!(error.cause(), "too_large");
    assert_eq!(
        error.to_string(),
        "message of 1001 bytes exceeds the limit of 1000 bytes"
    );
}

#[tokio::test]
async fn pynng_of_another_protocol_is_refused_with_a_cause_to_count() {
    let python = python();
    let inproc = Inproc::new();
    let any = "tcp://127.0.0.1:0".parse().unwrap();
    let options = SocketOptions::new(Protocol::Pair1);
    let mut listener = Listener::bind(&any, options, &inproc).await.unwrap();
    let endpoint = listener.endpoint().to_string();
    let _peer = Peer::start(&python, "push", "dial", &endpoint, &["send", "1"]);
    let error = listener.accept().await.map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "handshake: pair1 cannot talk to a peer with protocol id 0x0050"
    );
}
