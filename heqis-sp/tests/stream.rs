//! Messages cross a stream whole, in order, and however the stream cuts them up.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use heqis_sp::{Connection, Inproc, Listener, Protocol, Reader, SocketOptions, Writer, connect};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn pair1() -> SocketOptions {
    SocketOptions::new(Protocol::Pair1)
}

/// A connection over one end of a pipe, and the other end after its handshake.
async fn over_raw_pipe(options: &SocketOptions, pipe_bytes: usize) -> (Connection, DuplexStream) {
    let (ours, mut raw) = duplex(pipe_bytes);
    let shake = async {
        raw.write_all(b"\0SP\0\0\x11\0\0").await.unwrap();
        let mut theirs = [0; 8];
        raw.read_exact(&mut theirs).await.unwrap();
        assert_eq!(&theirs, b"\0SP\0\0\x11\0\0");
    };
    let (connection, ()) = tokio::join!(Connection::over(ours, options), shake);
    (connection.unwrap(), raw)
}

async fn over_pipe(options: &SocketOptions, pipe_bytes: usize) -> (Connection, Connection) {
    let (one, two) = duplex(pipe_bytes);
    tokio::try_join!(
        Connection::over(one, options),
        Connection::over(two, options)
    )
    .unwrap()
}

/// The bytes of pair1 messages, put together here by hand.
fn encoded(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend((message.len() as u64 + 4).to_be_bytes());
        bytes.extend([0, 0, 0, 1]);
        bytes.extend(message);
    }
    bytes
}

/// A message whose bytes depend on its place, so that a mix-up is detected.
fn message(index: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (index * 31 + i * 7 + i / 251) as u8)
        .collect()
}

fn messages(max_bytes: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sizes = prop_oneof![4 => 0usize..40, 3 => 40usize..3_000, 1 => 3_000usize..max_bytes];
    prop::collection::vec(sizes, 0..40).prop_map(|sizes| {
        let numbered = sizes.into_iter().enumerate();
        numbered.map(|(index, len)| message(index, len)).collect()
    })
}

async fn recv_all(mut reader: Reader, keep: bool) -> Vec<Vec<u8>> {
    let mut kept: Vec<Bytes> = Vec::new();
    let mut copies = Vec::new();
    while let Some(message) = reader.recv().await.unwrap() {
        copies.push(message.to_vec());
        if keep {
            kept.push(message);
        }
    }
    if keep {
        // What was handed out stays as it was while its buffer is read into again.
        assert_eq!(kept, copies);
    }
    copies
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_reader_hands_out_what_was_sent_however_it_is_chunked(
        messages in messages(30_000),
        chunks in prop::collection::vec(1usize..5_000, 1..20),
        read_buffer_bytes in 64usize..20_000,
        keep: bool,
    ) {
        let mut options = pair1();
        options.read_buffer_bytes = read_buffer_bytes;
        let received = run(async {
            let (connection, mut raw) = over_raw_pipe(&options, 70_000).await;
            let (reader, _writer) = connection.split();
            let bytes = encoded(&messages);
            let send = async move {
                let mut rest = bytes.as_slice();
                for chunk in chunks.iter().cycle() {
                    if rest.is_empty() { break; }
                    let (now, later) = rest.split_at(rest.len().min(*chunk));
                    raw.write_all(now).await.unwrap();
                    rest = later;
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(recv_all(reader, keep), send).0
        });
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn a_writer_puts_exactly_the_wire_bytes_into_a_narrow_pipe(
        messages in messages(30_000),
        pipe_bytes in 9usize..4_000,
        write_buffer_bytes in 1usize..30_000,
        split in 0usize..100,
    ) {
        let mut options = pair1();
        options.write_buffer_bytes = write_buffer_bytes;
        let bytes = run(async {
            let (connection, mut raw) = over_raw_pipe(&options, pipe_bytes).await;
            let (_reader, mut writer) = connection.split();
            let send = async {
                for (index, message) in messages.iter().enumerate() {
                    if writer.is_full() {
                        writer.flush().await.unwrap();
                    }
                    let (header, body) = message.split_at(split.min(message.len()));
                    if index % 2 == 0 {
                        writer.feed(&[header, &[], body]).unwrap();
                    } else {
                        writer.feed_bytes(header, Bytes::copy_from_slice(body)).unwrap();
                    }
                }
                writer.shutdown().await.unwrap();
            };
            let mut bytes = Vec::new();
            let (read, ()) = tokio::join!(raw.read_to_end(&mut bytes), send);
            read.unwrap();
            bytes
        });
        prop_assert!(bytes == encoded(&messages));
    }

    #[test]
    fn dropping_recv_and_flush_at_any_point_loses_nothing(
        messages in messages(12_000),
        pipe_bytes in 1usize..3_000,
        read_buffer_bytes in 64usize..8_000,
    ) {
        let mut options = pair1();
        options.read_buffer_bytes = read_buffer_bytes;
        options.write_buffer_bytes = 4_000;
        let received = run(async {
            let (one, two) = over_pipe(&options, pipe_bytes).await;
            let (_keep_open, mut writer) = one.split();
            let (mut reader, _unused) = two.split();
            let send = async {
                for message in &messages {
                    while writer.is_full() {
                        flush_or_give_up(&mut writer).await;
                    }
                    writer.feed_bytes(&[], Bytes::copy_from_slice(message)).unwrap();
                    flush_or_give_up(&mut writer).await;
                }
                while writer.buffered_bytes() > 0 {
                    flush_or_give_up(&mut writer).await;
                }
                drop(writer);
            };
            let receive = async {
                let mut received = Vec::new();
                loop {
                    tokio::select! {
                        biased;
                        message = reader.recv() => match message.unwrap() {
                            Some(message) => received.push(message.to_vec()),
                            None => return received,
                        },
                        () = tokio::task::yield_now() => {}
                    }
                }
            };
            tokio::join!(receive, send).0
        });
        prop_assert_eq!(received, messages);
    }
}

/// Polls a flush once or twice, then drops it.
async fn flush_or_give_up(writer: &mut Writer) {
    tokio::select! {
        biased;
        flushed = writer.flush() => flushed.unwrap(),
        () = tokio::task::yield_now() => {}
    }
}

#[test]
fn each_transport_carries_both_ways_and_ends_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let ipc = format!("ipc://{}/edge.sock", directory.path().display());
    for text in [
        "tcp://127.0.0.1:0",
        "tcp://localhost:0",
        &ipc,
        "inproc://edge",
    ] {
        run(async {
            let inproc = Inproc::new();
            let mut listener = Listener::bind(&text.parse().unwrap(), pair1(), &inproc)
                .await
                .unwrap();
            let endpoint = listener.endpoint().clone();
            let options = pair1();
            let dial = connect(&endpoint, &options, &inproc);
            let (accepted, dialed) = tokio::join!(listener.accept(), dial);
            let (accepted, dialed) = (accepted.unwrap(), dialed.unwrap());
            assert_eq!(dialed.peer(), endpoint.to_string());
            let sent: Vec<_> = [0, 1, 100, 9_000, 65_536, 1 << 20, 3]
                .map(|n| message(n, n))
                .into();
            let (one, two) = (accepted.split(), dialed.split());
            let both = async {
                tokio::join!(
                    send_all(one.1, &sent),
                    send_all(two.1, &sent),
                    recv_all(one.0, false),
                    recv_all(two.0, true),
                )
            };
            let ((), (), first, second) = both.await;
            assert!(first == sent && second == sent, "{text}");
        });
    }
}

async fn send_all(mut writer: Writer, messages: &[Vec<u8>]) {
    for message in messages {
        if writer.is_full() {
            writer.flush().await.unwrap();
        }
        writer
            .feed_bytes(&[], Bytes::copy_from_slice(message))
            .unwrap();
    }
    writer.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_message_that_was_read_ahead_needs_no_socket() {
    let (connection, mut raw) = over_raw_pipe(&pair1(), 1_000).await;
    let (mut reader, _writer) = connection.split();
    assert!(reader.recv_buffered().unwrap().is_none());
    raw.write_all(&encoded(&[vec![1], vec![2, 2], vec![3]])[..38])
        .await
        .unwrap();
    assert_eq!(reader.recv().await.unwrap().unwrap(), [1].as_slice());
    assert_eq!(reader.recv_buffered().unwrap().unwrap(), [2, 2].as_slice());
    assert!(reader.recv_buffered().unwrap().is_none());
    assert_eq!(reader.buffered_bytes(), 38 - 13 - 14);
}

#[tokio::test]
async fn a_flood_that_is_at_hand_lets_other_tasks_run() {
    let flood = vec![vec![1]; 10_000];
    let (connection, mut raw) = over_raw_pipe(&pair1(), 1 << 20).await;
    raw.write_all(&encoded(&flood)).await.unwrap();
    let (mut reader, _writer) = connection.split();
    let turns = std::cell::Cell::new(0);
    let receive = async {
        for _ in &flood {
            reader.recv().await.unwrap().unwrap();
        }
    };
    let other = async {
        loop {
            turns.set(turns.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = receive => {}
        () = other => {}
    }
    assert!(turns.get() > 10, "the other task had {} turns", turns.get());
}

#[tokio::test]
async fn the_writer_refuses_what_it_cannot_hold_and_stays_usable() {
    let mut options = pair1();
    options.max_frame_bytes = 100;
    options.write_buffer_bytes = 150;
    let (one, two) = over_pipe(&options, 1_000).await;
    let (mut writer, mut reader) = (one.split().1, two.split().0);
    let error = writer.feed(&[&[0; 60], &[0; 41]]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "message of 101 bytes exceeds the limit of 100 bytes"
    );
    writer.feed(&[&[7; 100]]).unwrap();
    writer.feed(&[&[8; 100]]).unwrap();
    assert!(writer.is_full());
    assert_eq!(writer.buffered_bytes(), 2 * 112);
    assert_eq!(writer.feed(&[&[9]]).unwrap_err().cause(), "full");
    writer.flush().await.unwrap();
    writer.feed(&[&[9]]).unwrap();
    writer.flush().await.unwrap();
    for expected in [vec![7; 100], vec![8; 100], vec![9]] {
        assert_eq!(reader.recv().await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn push_and_pull_move_messages_one_way_only() {
    let (push, pull) = duplex(1_000);
    let (push_options, pull_options) = (
        SocketOptions::new(Protocol::Push),
        SocketOptions::new(Protocol::Pull),
    );
    let (push, pull) = tokio::try_join!(
        Connection::over(push, &push_options),
        Connection::over(pull, &pull_options),
    )
    .unwrap();
    let (_, mut push) = push.split();
    let (mut reader, mut pull) = pull.split();
    assert_eq!(
        pull.feed(&[b"up"]).unwrap_err().to_string(),
        "a pull socket cannot send"
    );
    push.feed(&[b"down"]).unwrap();
    push.flush().await.unwrap();
    assert_eq!(reader.recv().await.unwrap().unwrap(), b"down".as_slice());
}

#[tokio::test]
async fn a_silent_dialer_does_not_keep_others_out() {
    let inproc = Inproc::new();
    let any = "tcp://127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(&any, pair1(), &inproc).await.unwrap();
    let address = listener.endpoint().to_string().replace("tcp://", "");
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let endpoint = listener.endpoint().clone();
    let options = pair1();
    let (accepted, dialed) = tokio::join!(listener.accept(), connect(&endpoint, &options, &inproc));
    accepted.unwrap();
    dialed.unwrap();
}

#[tokio::test]
async fn a_stale_socket_file_is_replaced_and_a_live_or_foreign_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.sock");
    let endpoint = format!("ipc://{}", path.display()).parse().unwrap();
    let inproc = Inproc::new();
    let bind = || Listener::bind(&endpoint, pair1(), &inproc);

    // A listener of the standard library leaves its file behind, as a killed process does.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let live = bind().await.unwrap();
    let error = bind().await.map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("bind {endpoint}: ")), "{error}");
    drop(live);
    assert!(!path.exists());

    std::fs::write(&path, "notes").unwrap();
    assert_eq!(bind().await.map(|_| ()).unwrap_err().cause(), "io");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
}

#[tokio::test]
async fn an_inproc_name_is_held_by_one_listener_and_free_after_it() {
    let inproc = Inproc::new();
    let endpoint = "inproc://edge".parse().unwrap();
    let options = pair1();
    let bind = || Listener::bind(&endpoint, pair1(), &inproc);
    let refused = connect(&endpoint, &options, &inproc)
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(refused.to_string().contains("inproc://edge"), "{refused}");
    let first = bind().await.unwrap();
    assert_eq!(bind().await.map(|_| ()).unwrap_err().cause(), "io");
    drop(first);
    bind().await.unwrap();
    // Another hub is another world.
    assert!(connect(&endpoint, &options, &Inproc::new()).await.is_err());
}

#[tokio::test]
async fn options_out_of_range_are_refused_before_anything_is_opened() {
    let mut bad = pair1();
    bad.keepalive_idle = Duration::ZERO;
    let endpoint = "inproc://edge".parse().unwrap();
    let inproc = Inproc::new();
    let bound = Listener::bind(&endpoint, bad.clone(), &inproc)
        .await
        .map(|_| ());
    let dialed = connect(&endpoint, &bad, &inproc).await.map(|_| ());
    for result in [bound, dialed] {
        assert_eq!(result.unwrap_err().cause(), "invalid_option");
    }
}
