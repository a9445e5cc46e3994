//! What names, lists and certificates of others can do: nothing that was not meant.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use heqis_sp::{Inproc, SpError, connect};
use heqis_tls::{Loaded, TlsError};
use support::{Nodes, careless, listen};

/// A certificate of the authority that only openssl would make, in place of the one that `node` has: with these
/// extensions and the node's key.
fn forge(nodes: &Nodes, node: &str, extensions: &str) {
    let file = |name: &str| nodes.file(name).display().to_string();
    fs::write(nodes.file("extensions"), extensions).unwrap();
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
    };
    let (key, request) = (file(&format!("{node}.key")), file("request"));
    openssl(&[
        "req",
        "-new",
        "-key",
        &key,
        "-subj",
        &format!("/CN={node}"),
        "-out",
        &request,
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &file("ca.pem"),
        "-CAkey",
        &file("ca.key"),
        "-days",
        "5",
        "-extfile",
        &file("extensions"),
        "-out",
        &file(&format!("{node}.pem")),
    ]);
}

/// What the compute node says of a dialer with whatever certificate it has.
async fn refused(nodes: &Nodes, dialer: std::sync::Arc<rustls::ClientConfig>) -> SpError {
    let (mut listener, endpoint) = listen(nodes.options("compute", "gateway")).await;
    let address = endpoint.to_string().replace("tls+tcp://", "");
    let dial = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(dialer);
        let connected = connector.connect("compute".try_into().unwrap(), stream);
        if let Ok(mut stream) = connected.await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"\0SP\0\0\x11\0\0").await;
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new()).await;
        }
    };
    let (accepted, ()) = tokio::join!(listener.accept(), dial);
    accepted.map(drop).unwrap_err()
}

fn shows(nodes: &Nodes, name: &str) -> std::sync::Arc<rustls::ClientConfig> {
    let [certificate, key] = ["pem", "key"].map(|end| nodes.file(&format!("{name}.{end}")));
    careless::config(careless::TLS13, Some([&certificate, &key]))
}

#[tokio::test]
async fn certificates_for_another_purpose_are_refused() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    for (extensions, cause) in [
        (
            "subjectAltName=DNS:gateway\nextendedKeyUsage=serverAuth",
            "certificate_unusable",
        ),
        (
            "subjectAltName=DNS:gateway\nextendedKeyUsage=emailProtection",
            "certificate_unusable",
        ),
        (
            "subjectAltName=DNS:gateway\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign",
            "certificate_unusable",
        ),
        // The name of a node is the one for machines, not the one for people.
        ("extendedKeyUsage=clientAuth", "certificate_name"),
        (
            "subjectAltName=DNS:*\nextendedKeyUsage=clientAuth",
            "certificate_name",
        ),
        (
            "subjectAltName=DNS:Gateway\nextendedKeyUsage=clientAuth",
            "certificate_name",
        ),
        (
            "subjectAltName=email:gateway\nextendedKeyUsage=clientAuth",
            "certificate_name",
        ),
        // A further name is that of a host.
        (
            "subjectAltName=DNS:third,DNS:gateway\nextendedKeyUsage=clientAuth",
            "certificate_name",
        ),
    ] {
        forge(&nodes, "gateway", extensions);
        let error = refused(&nodes, shows(&nodes, "gateway")).await;
        assert_eq!(error.cause(), cause, "{extensions}: {error}");
    }
    // A listener with the certificate of a client, or with its name among others.
    nodes.authority.issue("gateway", 5).unwrap();
    for (extensions, cause) in [
        (
            "subjectAltName=DNS:compute\nextendedKeyUsage=clientAuth",
            "certificate_unusable",
        ),
        (
            "subjectAltName=DNS:third,DNS:compute\nextendedKeyUsage=serverAuth,clientAuth",
            "certificate_name",
        ),
    ] {
        forge(&nodes, "compute", extensions);
        let [certificate, key] = ["pem", "key"].map(|end| nodes.file(&format!("compute.{end}")));
        let acceptor = careless::server([&certificate, &key]);
        let bound = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addr().unwrap();
        let served = async {
            let (stream, _) = bound.accept().await.unwrap();
            let _ = acceptor.accept(stream).await;
        };
        let to = format!("tls+tcp://{address}").parse().unwrap();
        let (options, hub) = (nodes.options("gateway", "compute"), Inproc::new());
        let (dialed, ()) = tokio::join!(connect(&to, &options, &hub), served);
        let error = dialed.map(drop).unwrap_err();
        assert_eq!(error.cause(), cause, "{extensions}: {error}");
    }
}

#[tokio::test]
async fn what_a_peer_writes_into_its_certificate_does_not_fill_the_log() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    let foreign = Nodes::new(&["gateway"]);
    let names: Vec<String> = (0..500).map(|n| format!("DNS:{n:0>60}")).collect();
    forge(
        &foreign,
        "gateway",
        &format!("subjectAltName={}", names.join(",")),
    );
    let error = refused(&nodes, shows(&foreign, "gateway")).await;
    assert_eq!(error.cause(), "certificate_foreign");
    let text = error.to_string();
    assert!(
        text.len() < 500 && text.contains('…'),
        "{} bytes",
        text.len()
    );
}

#[test]
fn a_node_has_a_name_that_its_files_and_its_certificate_can_have() {
    let nodes = Nodes::new(&[]);
    let before = fs::read(nodes.file("ca.key")).unwrap();
    let long = "x".repeat(64);
    for name in [
        "ca", "", ".", "..", "../x", "x/y", "-x", "x-", ".x", "*", "A", "a_b", "a b", "ü", "a\nb",
        "1", &long,
    ] {
        let error = nodes.authority.issue(name, 5).unwrap_err();
        assert!(matches!(error, TlsError::BadName { .. }), "{name}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    assert!(fs::read(nodes.file("ca.key")).unwrap() == before);
    assert_eq!(nodes.authority.issued().unwrap(), []);
    let longest = "x".repeat(63);
    nodes.authority.issue(&longest, 5).unwrap();
    Loaded::read(&nodes.files(&longest), Some(&longest)).unwrap();
}

fn revoked(path: &Path, text: &str) -> Result<bool, TlsError> {
    fs::write(path, text).unwrap();
    heqis_tls::revoked_serials(path).map(|serials| serials.contains("ab"))
}

#[test]
fn no_part_of_a_list_of_revoked_certificates_is_left_out() {
    let nodes = Nodes::new(&[]);
    let path = nodes.file("revoked.txt");
    for text in ["ab\n", "AB gateway\n", "00ab\n", "# x\n\n  ab\n", "ab"] {
        assert!(revoked(&path, text).unwrap(), "{text}");
    }
    // One that is longer than what is read.
    let long = format!("{}ab\n", "cd gateway 2026-11-30\n".repeat(60_000));
    let error = revoked(&path, &long).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}
