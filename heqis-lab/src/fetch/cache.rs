//! Raw replies on disk, one file a call.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::LabError;

/// The first line of an entry; the reply's bytes follow it.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    request: String,
    fetched_unix_s: u64,
    sha256: String,
}

/// What is known of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A file that is not what was written; it has been set aside.
    Corrupt,
    /// A reply.
    Whole {
        /// The reply's text.
        body: String,
        /// When it came.
        fetched_unix_s: u64,
    },
}

/// A directory of replies. Files come into being whole, by renaming.
#[derive(Debug)]
pub struct Cache(PathBuf);

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Cache {
    /// Uses a directory, which need not exist yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    fn path(&self, api: &str, request: &str) -> PathBuf {
        self.0
            .join(api)
            .join(format!("{}.reply", hex(request.as_bytes())))
    }

    /// Looks a request up.
    ///
    /// # Errors
    ///
    /// [`LabError::File`] when the file system fails.
    pub fn get(&self, api: &str, request: &str) -> Result<Entry, LabError> {
        let path = self.path(api, request);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Entry::Absent),
            Err(error) => return Err(LabError::file(&path, error)),
        };
        if let Some(entry) = parse(bytes, request) {
            return Ok(entry);
        }
        let aside = path.with_extension("corrupt");
        std::fs::rename(&path, &aside).map_err(|error| LabError::file(&path, error))?;
        Ok(Entry::Corrupt)
    }

    /// Stores a reply.
    ///
    /// # Errors
    ///
    /// [`LabError::File`] when the file system fails.
    pub fn put(&self, api: &str, request: &str, body: &str, now_s: u64) -> Result<(), LabError> {
        let path = self.path(api, request);
        let head = Head {
            request: request.to_owned(),
            fetched_unix_s: now_s,
            sha256: hex(body.as_bytes()),
        };
        let head = serde_json::to_string(&head).map_err(|error| LabError::json(&path, error))?;
        let part = path.with_extension("part");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(self.0.join(api))?;
            let mut file = std::fs::File::create(&part)?;
            writeln!(file, "{head}")?;
            file.write_all(body.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        write().map_err(|error| LabError::file(&path, error))
    }
}

fn parse(bytes: Vec<u8>, request: &str) -> Option<Entry> {
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once('\n')?;
    let head: Head = serde_json::from_str(head).ok()?;
    (head.request == request && head.sha256 == hex(body.as_bytes())).then(|| Entry::Whole {
        body: body.to_owned(),
        fetched_unix_s: head.fetched_unix_s,
    })
}
