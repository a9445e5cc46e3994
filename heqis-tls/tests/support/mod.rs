//! An authority with nodes in a directory that is removed at the end.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod careless;

use std::path::{Path, PathBuf};

use heqis_sp::{Endpoint, Inproc, Listener, Protocol, SocketOptions};
use heqis_tls::{Authority, Identity, IdentityFiles};

pub const DAY: i64 = 86_400;

pub struct Nodes {
    directory: tempfile::TempDir,
    pub authority: Authority,
}

impl Nodes {
    /// An authority that has issued a certificate to each of `names`.
    pub fn new(names: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path(), "test", 3650).unwrap();
        for name in names {
            authority.issue(name, 365).unwrap();
        }
        Self {
            directory,
            authority,
        }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn files(&self, name: &str) -> IdentityFiles {
        IdentityFiles::in_directory(self.path(), name)
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity::new(self.files(name), Some(name))
    }

    /// Options of `name`, which talks to `peer`.
    pub fn options(&self, name: &str, peer: &str) -> SocketOptions {
        options(&self.identity(name), peer)
    }
}

pub fn options(identity: &Identity, peer: &str) -> SocketOptions {
    let mut options = SocketOptions::new(Protocol::Pair1);
    options.security = Some(identity.link_with(peer));
    options
}

/// A listener at a free port, and its address.
pub async fn listen(options: SocketOptions) -> (Listener, Endpoint) {
    let any = "tls+tcp://127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&any, options, &Inproc::new()).await.unwrap();
    let endpoint = listener.endpoint().clone();
    (listener, endpoint)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs().cast_signed()
}
