//! `tls+tcp` is that of NNG: pynng, which wraps the C library and mbed TLS, talks to us both ways, each side with a
//! certificate that the other requires.
//!
//! The peer runs under the Python that `HEQIS_TEST_PYTHON` names, in which pynng 0.9.0 is installed; `./test` prepares it.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-sp/tests/nng/mod.rs"]
mod nng;
mod support;

use bytes::Bytes;
use heqis_sp::{Connection, Endpoint, Inproc, connect};
use nng::{Peer, python};
use support::{Nodes, listen};

fn role<'a>(nodes: &'a Nodes, side: [&'a str; 2]) -> [&'a str; 5] {
    let [own, other] = side;
    ["echo", "--tls", nodes.path().to_str().unwrap(), own, other]
}

async fn echoes(connection: Connection, mut peer: Peer) {
    let (mut reader, mut writer) = connection.split();
    // The empty message goes last: it ends the echo.
    for size in [1, 3, 8_192, 65_536, 100_000, 1 << 20, 5, 0] {
        let sent: Bytes = (0..size).map(|i| (size * 31 + i * 7) as u8).collect();
        writer
            .feed_bytes(&sent[..size / 3], sent.slice(size / 3..))
            .unwrap();
        writer.flush().await.unwrap();
        let got = reader.recv().await.unwrap().unwrap();
        assert!(got == sent, "{size} bytes came back damaged");
    }
    peer.expect("done");
}

#[tokio::test]
async fn pynng_dials_us_over_tls_with_its_certificate() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let role = role(&nodes, ["gateway", "compute"]);
    let peer = Peer::start(&python(), "pair1", "dial", &endpoint.to_string(), &role);
    let connection = listener.accept().await.unwrap();
    assert_eq!(connection.identity().unwrap().name, "gateway");
    echoes(connection, peer).await;
}

#[tokio::test]
async fn we_dial_pynng_over_tls_and_it_requires_our_certificate() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    let (listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    // The port that was free a moment ago is the peer's now.
    drop(listener);
    let role = role(&nodes, ["compute", "gateway"]);
    let peer = Peer::start(&python(), "pair1", "listen", &endpoint.to_string(), &role);
    let options = nodes.options("gateway", "compute");
    let connection = connect(&endpoint, &options, &Inproc::new()).await.unwrap();
    assert_eq!(connection.identity().unwrap().name, "compute");
    echoes(connection, peer).await;
}

#[tokio::test]
async fn pynng_of_another_authority_is_refused() {
    let (nodes, others) = (
        Nodes::new(&["gateway", "compute"]),
        Nodes::new(&["gateway", "compute"]),
    );
    let (mut listener, endpoint): (_, Endpoint) = listen(nodes.options("compute", "gateway")).await;
    std::fs::copy(nodes.file("ca.pem"), others.file("ca.pem")).unwrap();
    let role = role(&others, ["gateway", "compute"]);
    let _peer = Peer::start(&python(), "pair1", "dial", &endpoint.to_string(), &role);
    let error = listener.accept().await.map(|_| ()).unwrap_err();
    assert_eq!(error.cause(), "certificate_foreign", "{error}");
}
