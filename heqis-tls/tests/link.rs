//! Who gets through a `tls+tcp` endpoint, and what both sides say of who does not.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use heqis_sp::{Connection, Endpoint, Inproc, Listener, Protocol, SocketOptions, SpError, connect};
use support::{DAY, Nodes, careless, listen, options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Lets a dialer meet a listener; both results.
async fn meet(
    listening: SocketOptions,
    dialing: SocketOptions,
) -> (Result<Connection, SpError>, Result<Connection, SpError>) {
    let (mut listener, endpoint) = listen(listening).await;
    let hub = Inproc::new();
    tokio::join!(listener.accept(), connect(&endpoint, &dialing, &hub))
}

/// The words for the metric of a refusal, and the sentences.
async fn refusal(listening: SocketOptions, dialing: SocketOptions) -> [(&'static str, String); 2] {
    let (accepted, dialed) = meet(listening, dialing).await;
    [accepted, dialed].map(|result| {
        let error = result.map(|_| ()).unwrap_err();
        (error.cause(), error.to_string())
    })
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Two nodes of one authority.
fn pair() -> Nodes {
    Nodes::new(&["gateway", "compute"])
}

fn host(endpoint: &Endpoint) -> String {
    endpoint.to_string().replace("tls+tcp://", "")
}

#[tokio::test]
async fn two_nodes_of_one_authority_exchange_messages_of_all_sizes() {
    let nodes = pair();
    let (accepted, dialed) = meet(
        nodes.options("compute", "gateway"),
        nodes.options("gateway", "compute"),
    )
    .await;
    let (accepted, dialed) = (accepted.unwrap(), dialed.unwrap());
    assert_eq!(accepted.identity().unwrap().name, "gateway");
    assert_eq!(dialed.identity().unwrap().name, "compute");
    assert_eq!(dialed.identity().unwrap().serial.len(), 32);
    let (mut reader, _keep) = accepted.split();
    let (_keep_too, mut writer) = dialed.split();
    let sizes = [0, 1, 3, 8_192, 65_536, 100_000, 1 << 20, 5];
    let sent = tokio::spawn(async move {
        for size in sizes {
            writer
                .feed_bytes(b"", Bytes::from(vec![size as u8; size]))
                .unwrap();
            writer.flush().await.unwrap();
        }
        writer
    });
    for size in sizes {
        let got = reader.recv().await.unwrap().unwrap();
        assert!(
            got == vec![size as u8; size],
            "{size} bytes arrived damaged"
        );
    }
    drop(sent.await.unwrap());
    assert!(
        reader.recv().await.unwrap().is_none(),
        "the end is not a failure"
    );
}

#[tokio::test]
async fn a_dialer_of_another_authority_is_refused_and_notified() {
    let (nodes, others) = (pair(), pair());
    // It trusts the listener, and the listener does not trust it.
    let mut theirs = fs::read(nodes.file("ca.pem")).unwrap();
    theirs.extend(fs::read(others.file("ca.pem")).unwrap());
    fs::write(others.file("ca.pem"), theirs).unwrap();
    let [ours, theirs] = refusal(
        nodes.options("compute", "gateway"),
        others.options("gateway", "compute"),
    )
    .await;
    assert_eq!(ours.0, "certificate_foreign");
    has(
        &ours.1,
        &[
            "tcp://127.0.0.1:",
            "`gateway`",
            "not signed by the authority",
        ],
    );
    assert_eq!(theirs.0, "refused_by_peer");
    has(
        &theirs.1,
        &["the peer refused our certificate (of another authority)"],
    );
}

#[tokio::test]
async fn a_listener_of_another_authority_is_refused() {
    let (nodes, others) = (pair(), pair());
    let [theirs, ours] = refusal(
        others.options("compute", "gateway"),
        nodes.options("gateway", "compute"),
    )
    .await;
    assert_eq!(ours.0, "certificate_foreign");
    has(&ours.1, &["`compute`", "not signed by the authority"]);
    assert_eq!(theirs.0, "refused_by_peer");
}

#[tokio::test]
async fn the_certificate_of_a_third_node_is_refused_on_both_sides() {
    let nodes = Nodes::new(&["gateway", "compute", "third"]);
    let [ours, theirs] = refusal(
        nodes.options("compute", "gateway"),
        nodes.options("third", "compute"),
    )
    .await;
    assert_eq!(ours.0, "certificate_name");
    has(&ours.1, &["`third`", "is not that of `gateway`"]);
    has(
        &theirs.1,
        &["the peer refused our certificate (not that of the node that it expects)"],
    );
    let [theirs, ours] = refusal(
        nodes.options("third", "gateway"),
        nodes.options("gateway", "compute"),
    )
    .await;
    assert_eq!(ours.0, "certificate_name");
    has(&ours.1, &["`third`", "is not that of `compute`"]);
    assert_eq!(theirs.0, "refused_by_peer");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_ends_a_link_that_is_up() {
    let nodes = pair();
    let listening = nodes.options("compute", "gateway");
    let dialing = nodes.options("gateway", "compute");
    let (accepted, dialed) = meet(listening.clone(), dialing.clone()).await;
    let (accepted, _dialed) = (accepted.unwrap(), dialed.unwrap());
    let security = listening.security.clone().unwrap();
    let peer = accepted.identity().unwrap();
    security.still_accepts(peer).unwrap();
    // The gateway still uses it, as one whose key was stolen would: only the compute node has the new list.
    let stolen = Nodes::new(&[]);
    for file in ["ca.pem", "gateway.pem", "gateway.key", "revoked.txt"] {
        fs::copy(nodes.file(file), stolen.file(file)).unwrap();
    }
    nodes.authority.revoke("gateway").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let error = security.still_accepts(peer).unwrap_err();
    assert_eq!(error.cause(), "certificate_revoked");
    let [ours, theirs] = refusal(listening, stolen.options("gateway", "compute")).await;
    assert_eq!(ours.0, "certificate_revoked");
    has(&ours.1, &["`gateway`", "is revoked", "certs renew"]);
    has(&theirs.1, &["the peer refused our certificate (revoked)"]);
}

/// What the compute node says of a careless dialer.
async fn refused(nodes: &Nodes, config: std::sync::Arc<rustls::ClientConfig>) -> SpError {
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let dialer = async {
        let stream = TcpStream::connect(host(&endpoint)).await.unwrap();
        let name = "compute".try_into().unwrap();
        let connected = tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await;
        let Ok(mut stream) = connected else { return };
        let _ = stream.write_all(b"\0SP\0\0\x11\0\0").await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (accepted, ()) = tokio::join!(listener.accept(), dialer);
    accepted.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn a_dialer_without_a_certificate_or_with_one_that_is_over_is_refused() {
    let nodes = pair();
    let error = refused(&nodes, careless::config(careless::TLS13, None)).await;
    assert_eq!(error.cause(), "no_certificate");
    has(
        &error.to_string(),
        &["the peer has no certificate", "certs issue"],
    );
    for (span, cause) in [
        ([0, DAY], "certificate_expired"),
        (
            [support::now() + DAY, support::now() + 2 * DAY],
            "certificate_not_yet_valid",
        ),
    ] {
        nodes.authority.issue_for("gateway", &[], span).unwrap();
        let files = [nodes.file("gateway.pem"), nodes.file("gateway.key")];
        let files = Some([files[0].as_path(), files[1].as_path()]);
        let error = refused(&nodes, careless::config(careless::TLS13, files)).await;
        assert_eq!(error.cause(), cause);
        has(&error.to_string(), &["the peer's certificate `gateway`"]);
    }
}

#[tokio::test]
async fn a_dialer_with_the_certificate_of_a_node_and_not_its_key_is_refused() {
    let nodes = pair();
    let files = [nodes.file("gateway.pem"), nodes.file("compute.key")];
    let files = Some([files[0].as_path(), files[1].as_path()]);
    let error = refused(&nodes, careless::config(careless::TLS13, files)).await;
    assert_eq!(error.cause(), "without_key");
    has(&error.to_string(), &["`gateway`", "does not have its key"]);
}

#[tokio::test]
async fn a_dialer_that_offers_an_older_version_is_refused() {
    let nodes = pair();
    let files = [nodes.file("gateway.pem"), nodes.file("gateway.key")];
    let files = Some([files[0].as_path(), files[1].as_path()]);
    let error = refused(&nodes, careless::config(careless::TLS12, files)).await;
    has(&error.to_string(), &["does not speak TLS 1.3"]);
}

#[tokio::test]
async fn a_plain_dialer_and_a_plain_listener_are_recognised() {
    let nodes = pair();
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let hub = Inproc::new();
    let plain = SocketOptions::new(Protocol::Pair1);
    let as_plain: Endpoint = format!("tcp://{}", host(&endpoint)).parse().unwrap();
    let (accepted, dialed) = tokio::join!(listener.accept(), connect(&as_plain, &plain, &hub));
    let error = accepted.map(|_| ()).unwrap_err();
    assert_eq!(error.cause(), "no_tls");
    has(&error.to_string(), &["speaks no TLS", "same scheme"]);
    assert!(dialed.is_err());
    let any = "tcp://127.0.0.1:0".parse().unwrap();
    let mut listener = Listener::bind(&any, plain, &hub).await.unwrap();
    let as_tls = listener
        .endpoint()
        .to_string()
        .replace("tcp://", "tls+tcp://");
    let (as_tls, options) = (as_tls.parse().unwrap(), nodes.options("gateway", "compute"));
    let (accepted, dialed) = tokio::join!(listener.accept(), connect(&as_tls, &options, &hub));
    assert_eq!(accepted.map(|_| ()).unwrap_err().cause(), "peer_speaks_tls");
    assert_eq!(dialed.map(|_| ()).unwrap_err().cause(), "no_tls");
}

/// Passes the bytes of one connection on in both directions, and keeps what the dialer sent.
async fn recording_proxy(to: String) -> (String, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let recorded = tokio::spawn(async move {
        let (dialer, _) = listener.accept().await.unwrap();
        let (mut from_dialer, mut to_dialer) = dialer.into_split();
        let (mut from_node, mut to_node) = TcpStream::connect(to).await.unwrap().into_split();
        let back = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from_node, &mut to_dialer).await;
        });
        let mut all = Vec::new();
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = from_dialer.read(&mut part).await {
            all.extend_from_slice(&part[..read]);
            to_node.write_all(&part[..read]).await.unwrap();
        }
        drop(to_node);
        back.await.unwrap();
        all
    });
    (address, recorded)
}

#[tokio::test]
async fn recorded_bytes_of_a_link_are_refused_when_they_are_sent_again() {
    let nodes = pair();
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let (proxy, recorded) = recording_proxy(host(&endpoint)).await;
    let through: Endpoint = format!("tls+tcp://{proxy}").parse().unwrap();
    let (options, hub) = (nodes.options("gateway", "compute"), Inproc::new());
    let (accepted, dialed) = tokio::join!(listener.accept(), connect(&through, &options, &hub));
    let (mut reader, writer) = accepted.unwrap().split();
    let (_, mut sender) = dialed.unwrap().split();
    sender.feed(&[b"buy"]).unwrap();
    sender.shutdown().await.unwrap();
    assert_eq!(reader.recv().await.unwrap().unwrap(), "buy");
    drop((reader, writer));
    let bytes = recorded.await.unwrap();
    assert!(
        bytes.len() > 500 && bytes[0] == 0x16,
        "a whole session was recorded"
    );
    let replay = async {
        let mut stream = TcpStream::connect(host(&endpoint)).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (accepted, ()) = tokio::join!(listener.accept(), replay);
    let error = accepted.map(|_| ()).unwrap_err();
    // The listener's random numbers are others now, so that its keys do not open the old records.
    assert_eq!(error.cause(), "tls", "{error}");
}

#[tokio::test]
async fn half_handshakes_end_in_time() {
    let nodes = pair();
    let mut options = nodes.options("compute", "gateway");
    options.handshake_timeout = Duration::from_millis(300);
    let (mut listener, endpoint) = listen(options).await;
    // The first byte of a handshake, half a record, and a record whose handshake never ends.
    let starts: [&[u8]; 3] = [
        b"\x16",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",
    ];
    for start in starts {
        let mut stream = TcpStream::connect(host(&endpoint)).await.unwrap();
        stream.write_all(start).await.unwrap();
        let error = listener.accept().await.map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "handshake timed out after 300 ms");
    }
}

#[tokio::test]
async fn a_peer_that_completes_tls_and_then_stays_silent_ends_in_time() {
    let nodes = pair();
    let mut options = nodes.options("compute", "gateway");
    options.handshake_timeout = Duration::from_millis(300);
    let (mut listener, endpoint) = listen(options).await;
    let files = [nodes.file("gateway.pem"), nodes.file("gateway.key")];
    let config = careless::config(careless::TLS13, Some([&files[0], &files[1]]));
    let dialer = async {
        let stream = TcpStream::connect(host(&endpoint)).await.unwrap();
        let name = "compute".try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let mut stream = connector.connect(name, stream).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (accepted, ()) = tokio::join!(listener.accept(), dialer);
    let error = accepted.map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "handshake timed out after 300 ms");
}

#[tokio::test]
async fn five_thousand_silent_peers_do_not_keep_others_out() {
    let nodes = pair();
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let address = host(&endpoint);
    let (found, mut wait) = tokio::sync::mpsc::channel(1);
    let accepting = tokio::spawn(async move {
        let mut crowded = 0;
        loop {
            match listener.accept().await {
                Ok(connection) => drop(found.send((connection, crowded)).await),
                // On a slow machine some are not ended by others, but by time.
                Err(error) if ["crowd", "timed_out", "closed"].contains(&error.cause()) => {
                    crowded += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    // Most of them are ended by the listener, so that this process has enough descriptors.
    let silent = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        for _ in 0..5_000 {
            held.push_back(TcpStream::connect(&address).await.unwrap());
            if held.len() > 300 {
                held.pop_front();
            }
        }
        held
    });
    let (options, hub) = (nodes.options("gateway", "compute"), Inproc::new());
    // During the flood and after it, while hundreds of silent peers are held.
    let mut during = connect(&endpoint, &options, &hub).await;
    let held = silent.await.unwrap();
    for _ in 0..20 {
        if during.is_ok() {
            break;
        }
        during = connect(&endpoint, &options, &hub).await;
    }
    during.unwrap();
    let (first, _) = wait.recv().await.unwrap();
    assert_eq!(first.identity().unwrap().name, "gateway");
    connect(&endpoint, &options, &hub).await.unwrap();
    let (second, crowded) = wait.recv().await.unwrap();
    assert_eq!(second.identity().unwrap().name, "gateway");
    assert!(crowded > 4_000, "{crowded} were ended to make room");
    drop(held);
    accepting.abort();
}

#[tokio::test]
async fn an_endpoint_without_a_certificate_is_a_fault_before_it_listens_or_dials() {
    let endpoint = "tls+tcp://127.0.0.1:0".parse().unwrap();
    let plain = SocketOptions::new(Protocol::Pair1);
    let error = Listener::bind(&endpoint, plain.clone(), &Inproc::new()).await;
    has(
        &error.map(|_| ()).unwrap_err().to_string(),
        &["tls+tcp endpoint needs a certificate"],
    );
    let nodes = pair();
    fs::remove_file(nodes.file("gateway.key")).unwrap();
    let identity = nodes.identity("gateway");
    let dialed = connect(&endpoint, &options(&identity, "compute"), &Inproc::new()).await;
    assert_eq!(
        dialed.map(|_| ()).unwrap_err().cause(),
        "certificate_missing"
    );
}
