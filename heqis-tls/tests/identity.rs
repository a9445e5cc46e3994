//! The files of a node: each fault is named with what to do, and a new certificate is taken without a restart.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use heqis_tls::{Authority, Identity, Loaded};
use support::{DAY, Nodes, now};

/// What reading the files of `name` gives.
fn fault(nodes: &Nodes, name: &str) -> (&'static str, String) {
    let error = Loaded::read(&nodes.files(name), Some(name)).unwrap_err();
    (error.cause(), error.to_string())
}

#[test]
fn a_certificate_says_what_it_was_issued_for() {
    let nodes = Nodes::new(&["gateway"]);
    let loaded = Loaded::read(&nodes.files("gateway"), Some("gateway")).unwrap();
    let certificate = &loaded.certificate;
    assert_eq!(certificate.names, ["gateway"]);
    assert_eq!(certificate.subject, "gateway");
    assert_eq!(certificate.issuer, nodes.authority.certificate.subject);
    assert_eq!(certificate.days_left(now()), 365);
    assert_eq!(certificate.serial.len(), 32);
    assert_eq!(certificate.fingerprint.len(), 64);
    let issued = nodes.authority.issued().unwrap();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].serial, certificate.serial);
    assert_eq!(issued[0].last_day, certificate.last_day());
}

#[test]
fn keys_are_closed_to_others_and_an_open_one_is_refused() {
    let nodes = Nodes::new(&["gateway"]);
    for key in ["ca.key", "gateway.key"] {
        let mode = fs::metadata(nodes.file(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(nodes.file("gateway.key"), open).unwrap();
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "key_mode");
    assert!(message.contains("gateway.key is open to other users (mode 0640): `chmod 600`"));
}

#[test]
fn every_missing_file_is_named() {
    for file in ["ca.pem", "gateway.pem", "gateway.key", "revoked.txt"] {
        let nodes = Nodes::new(&["gateway"]);
        fs::remove_file(nodes.file(file)).unwrap();
        let (cause, message) = fault(&nodes, "gateway");
        assert_eq!(cause, "certificate_missing", "{file}");
        assert!(
            message.contains(file) && message.contains("heqis-runtime certs"),
            "{message}"
        );
    }
}

#[test]
fn files_that_hold_something_else_are_named() {
    let swaps = [
        (
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("gateway.pem", "no certificate"),
        ("gateway.key", "no key"),
        ("revoked.txt", "compute was here\n"),
    ];
    for (file, text) in swaps {
        let nodes = Nodes::new(&["gateway"]);
        fs::write(nodes.file(file), text).unwrap();
        let (cause, message) = fault(&nodes, "gateway");
        assert_eq!(cause, "certificate_unusable", "{message}");
        assert!(message.contains(file), "{message}");
    }
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    fs::copy(nodes.file("compute.key"), nodes.file("gateway.key")).unwrap();
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "key_mismatch");
    assert!(
        message.contains("gateway.key") && message.contains("gateway.pem"),
        "{message}"
    );
}

#[test]
fn the_certificate_of_another_node_is_named() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    for kind in ["pem", "key"] {
        fs::copy(
            nodes.file(&format!("compute.{kind}")),
            nodes.file(&format!("gateway.{kind}")),
        )
        .unwrap();
    }
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "certificate_name");
    assert!(
        message.ends_with("gateway.pem is not that of `gateway`"),
        "{message}"
    );
}

#[test]
fn a_certificate_of_another_authority_is_named() {
    let (nodes, others) = (Nodes::new(&["gateway"]), Nodes::new(&["gateway"]));
    fs::copy(others.file("ca.pem"), nodes.file("ca.pem")).unwrap();
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "certificate_foreign");
    assert!(
        message.contains("same `heqis-runtime certs init`"),
        "{message}"
    );
}

#[test]
fn spans_that_are_over_or_have_not_begun_give_both_dates() {
    let nodes = Nodes::new(&[]);
    nodes.authority.issue_for("gateway", &[], [0, DAY]).unwrap();
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "certificate_expired");
    assert!(message.contains("expired on 1970-01-02"), "{message}");
    assert!(message.contains("certs renew"), "{message}");
    let far = now() + 400 * DAY;
    nodes
        .authority
        .issue_for("gateway", &[], [far, far + DAY])
        .unwrap();
    let (cause, message) = fault(&nodes, "gateway");
    assert_eq!(cause, "certificate_not_yet_valid");
    assert!(message.contains("set the clock"), "{message}");
}

#[test]
fn a_revoked_certificate_is_not_used_and_its_successor_is() {
    let nodes = Nodes::new(&["gateway", "compute"]);
    assert_eq!(nodes.authority.revoke("gateway").unwrap().len(), 1);
    assert_eq!(nodes.authority.revoke("gateway").unwrap().len(), 0);
    let (cause, _) = fault(&nodes, "gateway");
    assert_eq!(cause, "certificate_revoked");
    Loaded::read(&nodes.files("compute"), Some("compute")).unwrap();
    nodes.authority.issue("gateway", 1).unwrap();
    Loaded::read(&nodes.files("gateway"), Some("gateway")).unwrap();
}

#[test]
fn an_authority_is_not_replaced_by_another() {
    let nodes = Nodes::new(&[]);
    let key = fs::read(nodes.file("ca.key")).unwrap();
    let message = Authority::create(nodes.path(), "again", 1)
        .unwrap_err()
        .to_string();
    assert!(message.contains("another directory"), "{message}");
    assert_eq!(fs::read(nodes.file("ca.key")).unwrap(), key);
}

#[test]
fn new_files_are_read_without_a_restart_and_bad_ones_leave_the_old_in_use() {
    let nodes = Nodes::new(&["gateway"]);
    let identity = Identity::new(nodes.files("gateway"), Some("gateway"));
    let serial = || identity.current().unwrap().certificate.serial.clone();
    let first = serial();
    let after_a_look = || std::thread::sleep(Duration::from_millis(1_100));
    let second = nodes.authority.issue("gateway", 30).unwrap().serial;
    after_a_look();
    assert_eq!(serial(), second);
    assert_ne!(first, second);
    assert_eq!(identity.days_left(), Some(30));
    fs::write(nodes.file("gateway.pem"), "a copy that was cut off").unwrap();
    after_a_look();
    assert_eq!(serial(), second);
    assert_eq!(identity.problem().unwrap().cause(), "certificate_unusable");
    let third = nodes.authority.issue("gateway", 365).unwrap().serial;
    after_a_look();
    assert_eq!(serial(), third);
    assert_eq!(identity.problem(), None);
}

#[test]
fn a_list_that_is_cut_short_while_it_is_copied_accepts_no_revoked_certificate_again() {
    let nodes = Nodes::new(&["gateway", "third"]);
    let serial = nodes.authority.revoke("third").unwrap()[0].serial.clone();
    let identity = nodes.identity("gateway");
    assert!(identity.current().unwrap().is_revoked(&serial));
    fs::write(nodes.file("revoked.txt"), "").unwrap();
    nodes.authority.issue("gateway", 30).unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    let loaded = identity.current().unwrap();
    assert_eq!(loaded.certificate.days_left(now()), 30, "read again");
    assert!(loaded.is_revoked(&serial));
}

#[test]
fn a_certificate_holds_the_hosts_of_its_node_after_its_name() {
    let nodes = Nodes::new(&[]);
    let hosts = [
        "10.0.0.1",
        "fe80::1",
        "board.lan",
        "10.0.0.1",
        "gateway",
        "BOARD.lan",
    ];
    let hosts = hosts.map(str::to_owned);
    nodes.authority.issue_with("gateway", &hosts, 5).unwrap();
    let loaded = Loaded::read(&nodes.files("gateway"), Some("gateway")).unwrap();
    let (node, found) = (loaded.certificate.node(), loaded.certificate.hosts());
    assert_eq!(node, Some("gateway"));
    assert_eq!(
        found.collect::<Vec<_>>(),
        ["board.lan", "10.0.0.1", "fe80::1"]
    );
    let other = Loaded::read(&nodes.files("gateway"), Some("board.lan"));
    assert_eq!(other.unwrap_err().cause(), "certificate_name");
    for host in ["*.lan", "a b", "", "x..y", "-x", "http://x", "x:80"] {
        let error = nodes.authority.issue_with("gateway", &[host.into()], 5);
        assert_eq!(error.unwrap_err().cause(), "bad_name", "{host}");
    }
}

#[test]
fn debug_output_has_no_key() {
    let nodes = Nodes::new(&["gateway"]);
    let identity = nodes.identity("gateway");
    let loaded = identity.current().unwrap();
    let key = fs::read_to_string(nodes.file("gateway.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let text = format!(
        "{identity:?} {loaded:?} {:?} {:?}",
        nodes.authority,
        identity.link_with("compute")
    );
    assert!(!text.contains(secret));
}
