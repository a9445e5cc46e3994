//! Whatever a peer sends, the outcome is a typed error; never a panic, never a hang.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use heqis_sp::{Connection, Inproc, Listener, Protocol, Reader, SocketOptions, SpError, connect};
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

const PAIR1: &[u8] = b"\0SP\0\0\x11\0\0";
const PUSH: &[u8] = b"\0SP\0\0\x50\0\0";

fn options(protocol: Protocol) -> SocketOptions {
    let mut options = SocketOptions::new(protocol);
    options.max_frame_bytes = 1_000;
    options
}

/// The peer's end of a pipe into which it has put `bytes`, and our end.
async fn peer_that_sent(bytes: &[u8]) -> (DuplexStream, DuplexStream) {
    let (ours, mut peer) = duplex(100_000);
    peer.write_all(bytes).await.unwrap();
    (ours, peer)
}

async fn handshake_error(bytes: &[u8]) -> SpError {
    let (ours, _peer) = peer_that_sent(bytes).await;
    let made = Connection::over(ours, &options(Protocol::Pair1)).await;
    made.map(|_| ()).unwrap_err()
}

/// A reader whose peer has sent `bytes` after its handshake and closed.
async fn reader_of(protocol: Protocol, handshake: &[u8], bytes: &[u8]) -> Reader {
    let (ours, _closed) = peer_that_sent(&[handshake, bytes].concat()).await;
    let connection = Connection::over(ours, &options(protocol)).await.unwrap();
    connection.split().0
}

async fn first_error(mut reader: Reader) -> SpError {
    loop {
        match reader.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without an error"),
            Err(error) => {
                assert_eq!(reader.recv().await.unwrap_err().cause(), "closed");
                assert_eq!(reader.recv_buffered().unwrap_err().cause(), "closed");
                return error;
            }
        }
    }
}

#[tokio::test]
async fn a_web_browser_is_recognised() {
    let error = handshake_error(b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(matches!(error, SpError::Handshake { got } if &got == b"GET / HT"));
}

#[tokio::test]
async fn a_peer_of_another_protocol_is_recognised() {
    let error = handshake_error(PUSH).await;
    assert!(matches!(
        error,
        SpError::Incompatible {
            ours: Protocol::Pair1,
            theirs: 0x50
        }
    ));
}

#[tokio::test]
async fn a_peer_that_leaves_during_the_handshake_is_closed() {
    let (ours, peer) = peer_that_sent(&PAIR1[..7]).await;
    drop(peer);
    let made = Connection::over(ours, &options(Protocol::Pair1)).await;
    assert_eq!(made.map(|_| ()).unwrap_err().cause(), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_is_ended_in_time() {
    let (ours, mut peer) = duplex(64);
    let drip = async {
        for byte in PAIR1 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if peer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    let options = options(Protocol::Pair1);
    let (made, ()) = tokio::join!(Connection::over(ours, &options), drip);
    let error = made.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "handshake timed out after 5000 ms");
}

#[tokio::test(start_paused = true)]
async fn a_listener_reports_a_silent_dialer_and_continues() {
    let inproc = Inproc::new();
    let any = "tcp://127.0.0.1:0".parse().unwrap();
    let options = options(Protocol::Pair1);
    let mut listener = Listener::bind(&any, options.clone(), &inproc)
        .await
        .unwrap();
    let endpoint = listener.endpoint().clone();
    let address = endpoint.to_string().replace("tcp://", "");
    let _silent = std::net::TcpStream::connect(address).unwrap();
    let error = listener.accept().await.map(|_| ()).unwrap_err();
    assert_eq!(error.cause(), "timed_out");
    // From here on the kernel takes real time.
    tokio::time::resume();
    let (accepted, dialed) = tokio::join!(listener.accept(), connect(&endpoint, &options, &inproc));
    accepted.unwrap();
    dialed.unwrap();
}

#[tokio::test]
async fn a_planted_length_is_refused_before_its_body_arrives() {
    for len in [1_005, 1 << 40, u64::MAX] {
        let reader = reader_of(Protocol::Pair1, PAIR1, &u64::to_be_bytes(len)).await;
        let error = first_error(reader).await;
        let planted = len - 4;
        assert!(matches!(error, SpError::TooLarge { len, max: 1_000 } if len == planted));
    }
}

#[tokio::test]
async fn a_message_cut_anywhere_is_truncated_by_what_is_missing() {
    let whole = [&[0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1][..], b"hello"].concat();
    for cut in 1..whole.len() {
        // A whole message goes ahead: the cut must not be blamed on it.
        let bytes = [&whole[..], &whole[..cut]].concat();
        let error = first_error(reader_of(Protocol::Pair1, PAIR1, &bytes).await).await;
        let SpError::Truncated { missing } = error else {
            panic!("cut after {cut} bytes: {error}");
        };
        let known = if cut < 8 {
            8
        } else if cut < 12 {
            12
        } else {
            whole.len()
        };
        assert_eq!(missing, (known - cut) as u64, "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn a_message_that_bounced_too_often_or_without_a_count_is_refused() {
    let head = |len: u64, hops: u32| [&len.to_be_bytes()[..], &hops.to_be_bytes()].concat();
    let bad = first_error(reader_of(Protocol::Pair1, PAIR1, &head(4, 256)).await).await;
    assert!(matches!(bad, SpError::BadHop { hops: 256, max: 8 }));
    let none = first_error(reader_of(Protocol::Pair1, PAIR1, &head(3, 0)).await).await;
    assert!(matches!(none, SpError::MissingHop { len: 3 }));
}

#[tokio::test]
async fn a_pull_peer_that_sends_is_refused() {
    let pull = b"\0SP\0\0\x51\0\0";
    let bytes = [0, 0, 0, 0, 0, 0, 0, 1, 42];
    let error = first_error(reader_of(Protocol::Push, pull, &bytes).await).await;
    assert_eq!(error.to_string(), "a push socket cannot receive");
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    // Noise alone dies at its first length; plausible heads let it reach the later rules.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        (0u64..1_100, 0u32..12)
            .prop_map(|(len, hops)| { [&len.to_be_bytes()[..], &hops.to_be_bytes()].concat() }),
        (4u64..300).prop_map(|len| {
            let body = vec![0xA5; len as usize - 4];
            [&len.to_be_bytes()[..], &[0, 0, 0, 1], &body].concat()
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_clean_end_or_a_typed_error(
        chunks in prop::collection::vec(chunk(), 0..20),
        handshake in prop_oneof![4 => Just(PAIR1.to_vec()), 1 => prop::collection::vec(any::<u8>(), 8)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let bytes = chunks.concat();
            let (ours, mut peer) = peer_that_sent(&[&handshake[..], &bytes].concat()).await;
            peer.shutdown().await.unwrap();
            let Ok(connection) = Connection::over(ours, &options(Protocol::Pair1)).await else {
                return;
            };
            let (mut reader, _writer) = connection.split();
            let mut taken = 0;
            while let Ok(Some(message)) = reader.recv().await {
                assert!(message.len() <= 1_000);
                taken += 12 + message.len();
            }
            assert!(taken <= bytes.len());
            assert!(reader.buffered_bytes() <= bytes.len() - taken);
        });
    }
}
