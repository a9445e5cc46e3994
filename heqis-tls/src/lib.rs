//! The identity of a node: certificate, key and authority, and TLS 1.3 with them.
//!
//! ```text
//! ca.pem, NODE.pem, NODE.key, revoked.txt ▸ Identity ▸ server_config, client_config   page, metrics, clients
//!        ▲                                    │        link_with(peer) ▸ heqis_sp::Security   bridged edges
//! Authority::create, issue, revoke            └ days_left, problem                    metrics, alarms
//! ```
//!
//! - `identity`: the files of a node, read again when they change; a bad new file leaves the old one in use.
//! - `loaded`: one reading of them, checked. `verify`: who is accepted. `config`: rustls's configurations.
//! - `link`: the handshakes of bridged edges, which heqis-sp asks for. `stream`: their streams.
//! - `web`: HTTPS servers and clients.
//! - `authority`: makes an authority, and issues and revokes certificates. `certificate`: what a certificate says.
//! - `files`: where they lie. `crypto`: graviola and the time. `cpu`: what the processor must have. `error`: what can be wrong, with what to do.
//!
//! Not here: sockets, topologies, and any decision about who may talk to whom; the names are handed in.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod authority;
mod certificate;
mod config;
mod cpu;
mod crypto;
mod error;
mod files;
mod identity;
mod link;
mod loaded;
mod stream;
mod verify;
mod web;

pub use authority::{Authority, AuthorityFiles, Issued, check_host, check_node_name};
pub use certificate::Certificate;
pub use config::{Clients, client_config, server_config};
pub use cpu::missing_features;
pub use error::{TlsError, Whose};
pub use files::IdentityFiles;
pub use heqis_sp::PeerIdentity;
pub use identity::Identity;
pub use loaded::{Loaded, read_certificate, revoked as revoked_serials};
pub use web::{OwnCertificate, WebCertificate};
#[cfg(feature = "client")]
pub use web::{is_readable, web_client};
