//! Certificates, and the handshake of a peer that has none.

use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use heqis_tls::{Authority, Certificate, Clients, IdentityFiles, Loaded, server_config};
use rustls::{ServerConfig, ServerConnection};

/// Bytes read as a certificate: what is said of it can be printed on one line.
pub fn certificate(data: &[u8]) {
    let Some(certificate) = Certificate::read(data) else {
        return;
    };
    let names = certificate.names.join(",");
    assert!(names.chars().all(|letter| !letter.is_control()));
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(hex(&certificate.serial) && certificate.fingerprint.len() == 64);
    let _ = (certificate.days_left(0), certificate.last_day());
}

/// The configuration of a node, made once.
fn config() -> Arc<ServerConfig> {
    static CONFIG: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    let make = || {
        let directory = tempfile::tempdir().expect("a folder");
        let authority = Authority::create(directory.path(), "fuzz", 1).expect("an authority");
        authority.issue("compute", 1).expect("a certificate");
        let files = IdentityFiles::in_directory(directory.path(), "compute");
        let loaded = Arc::new(Loaded::read(&files, Some("compute")).expect("an identity"));
        let clients = Clients::Named(vec!["gateway".to_owned()]);
        Arc::new(server_config(&loaded, clients).expect("a configuration"))
    };
    CONFIG.get_or_init(make).clone()
}

/// The bytes of a dialer at a TLS endpoint: no bytes complete the handshake, since none of them are signed by the gateway.
pub fn tls_handshake(data: &[u8]) {
    let mut connection = ServerConnection::new(config()).expect("the configuration is sound");
    let mut bytes = Cursor::new(data);
    while connection.wants_read() {
        match connection.read_tls(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        if connection.process_new_packets().is_err() {
            break;
        }
        let _ = connection.write_tls(&mut std::io::sink());
    }
    assert!(connection.is_handshaking(), "a dialer without a key got through");
}
