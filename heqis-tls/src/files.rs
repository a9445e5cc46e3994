//! Where the files of a node lie.

use std::path::{Path, PathBuf};

/// Where a node's identity lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Certificate of the authority, PEM; several are all trusted, as during the change from one to another.
    pub ca: PathBuf,
    /// Certificate of the node, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, closed to other users.
    pub key: PathBuf,
    /// Serial numbers of revoked certificates, one on a line. The file must be there: a list that is lost would accept
    /// whom it refused.
    pub revoked: PathBuf,
}

impl IdentityFiles {
    /// The files as `heqis-runtime certs` names them.
    #[must_use]
    pub fn in_directory(directory: impl AsRef<Path>, node: &str) -> Self {
        let directory = directory.as_ref();
        Self {
            ca: directory.join("ca.pem"),
            certificate: directory.join(format!("{node}.pem")),
            key: directory.join(format!("{node}.key")),
            revoked: directory.join("revoked.txt"),
        }
    }

    pub(crate) fn all(&self) -> [&Path; 4] {
        [&self.ca, &self.certificate, &self.key, &self.revoked]
    }
}
