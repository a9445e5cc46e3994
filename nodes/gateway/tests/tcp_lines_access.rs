//! Who may send bars to `tcp-lines`: TLS, the token, and addresses that other machines reach.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use heqis_actors::{Next, Source};
use heqis_gateway::source::TcpLines;
use heqis_messages::BarMessage;
use heqis_tls::{Authority, Identity, IdentityFiles, client_config};
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};
use support::{config, context, count, wait_for};

const TOKEN: &str = "a-token-of-thirty-two-characters";
const BAR: &str = "{\"symbol\":\"600000.SH\",\"date\":\"2015-06-01\",\"open\":7,\"high\":7,\"low\":7,\"close\":7,\"volume\":1}\n";

/// A folder with the certificates of `gateway` and `feed`, and the token.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "live", 5).unwrap();
    for name in ["gateway", "feed"] {
        authority.issue(name, 2).unwrap();
    }
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

fn params(folder: &Path) -> Value {
    let file = |name: &str| folder.join(name).display().to_string();
    json!({
        "listen": "127.0.0.1:0", "format": "json", "token_file": file("token"),
        "tls": { "certificate": file("gateway.pem"), "key": file("gateway.key") },
    })
}

fn secure(stream: TcpStream, folder: &Path) -> impl Read + Write {
    let identity = Identity::new(IdentityFiles::in_directory(folder, "feed"), None);
    let config = client_config(&identity.current().unwrap()).unwrap();
    let name = "gateway".to_owned().try_into().unwrap();
    StreamOwned::new(
        ClientConnection::new(Arc::new(config), name).unwrap(),
        stream,
    )
}

#[test]
fn bars_are_taken_after_a_handshake_and_the_token_alone() {
    let folder = folder();
    let cx = context("");
    let mut source = TcpLines::build(&config(params(folder.path())), &cx).unwrap();
    let connect = || TcpStream::connect(source.address()).unwrap();

    let mut plain = connect();
    plain
        .write_all(format!("{TOKEN}\n{BAR}").as_bytes())
        .unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest);
    for first in [
        BAR.to_owned(),
        format!("{}\n{BAR}", &TOKEN[1..]),
        "x".repeat(10_000),
    ] {
        let mut client = secure(connect(), folder.path());
        // The source may hang up before all of it is sent.
        let _ = client
            .write_all(first.as_bytes())
            .and_then(|()| client.flush());
        let _ = client.read_to_end(&mut rest);
    }
    let address = source.address();
    wait_for("refused clients are counted", || {
        (count(&cx, "wrong_token") == 3 && count(&cx, "failed_handshake") == 1).then_some(())
    });
    assert!(
        matches!(source.next().unwrap(), Next::Waiting),
        "no bar of a refused client"
    );

    let mut client = secure(TcpStream::connect(address).unwrap(), folder.path());
    client
        .write_all(format!("{TOKEN}\n{BAR}").as_bytes())
        .unwrap();
    client.flush().unwrap();
    let bar = wait_for("a bar comes", || match source.next().unwrap() {
        Next::Item(BarMessage(bar)) => Some(bar),
        _ => None,
    });
    assert_eq!((bar.close, count(&cx, "bad_line")), (7.0, 0));
}

#[test]
fn connections_without_the_token_neither_keep_the_feed_out_nor_end_the_source() {
    let folder = folder();
    let cx = context("");
    let mut params = params(folder.path());
    params["end_on_close"] = true.into();
    params["max_clients"] = 1.into();
    let mut source = TcpLines::build(&config(params), &cx).unwrap();
    let address = source.address();
    // One that comes and leaves, and more silent ones than there are places.
    drop(TcpStream::connect(address).unwrap());
    wait_for("the first one has left", || {
        (count(&cx, "failed_handshake") == 1).then_some(())
    });
    assert!(
        matches!(source.next().unwrap(), Next::Waiting),
        "it had proved nothing"
    );
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    wait_for("silent ones make room for each other", || {
        (count(&cx, "refused_client") >= 136).then_some(())
    });
    let mut feed = secure(TcpStream::connect(address).unwrap(), folder.path());
    feed.write_all(format!("{TOKEN}\n{BAR}").as_bytes())
        .unwrap();
    feed.flush().unwrap();
    wait_for("a bar comes", || match source.next().unwrap() {
        Next::Item(BarMessage(_)) => Some(()),
        _ => None,
    });
    drop(feed);
    wait_for("the source ends with its feed", || {
        matches!(source.next().unwrap(), Next::End).then_some(())
    });
    drop(silent);
}

#[test]
fn an_address_that_others_reach_needs_tls_and_a_token() {
    let folder = folder();
    let faults = |change: Value| {
        let mut params = params(folder.path());
        let map = params.as_object_mut().unwrap();
        map.extend(change.as_object().unwrap().clone());
        map.retain(|_, value| !value.is_null());
        TcpLines::check(&config(params), folder.path()).join("; ")
    };
    let open = "0.0.0.0:0";
    assert_eq!(faults(json!({ "listen": open })), "");
    for (change, missing) in [
        (json!({ "listen": open, "tls": null }), "needs tls, or"),
        (
            json!({ "listen": open, "token_file": null }),
            "needs token_file, or",
        ),
        (
            json!({ "listen": "10.0.0.1:0", "token_file": null, "tls": null }),
            "needs tls and token_file, or",
        ),
    ] {
        let found = faults(change);
        assert!(found.contains(missing), "{missing}: {found}");
    }
    let accepted = json!({ "listen": open, "token_file": null, "tls": null, "insecure": true });
    assert_eq!(faults(accepted), "");
    assert_eq!(
        faults(json!({ "token_file": null, "tls": null })),
        "",
        "loopback"
    );

    // A token that others can read, or that is short, is refused at the start.
    let token = folder.path().join("token");
    let build = || {
        TcpLines::build(&config(params(folder.path())), &context(""))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(build().contains("chmod 600"), "{}", build());
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&token, "short").unwrap();
    let short = build();
    assert!(
        short.contains("32 to 256") && !short.contains("short"),
        "{short}"
    );
}
