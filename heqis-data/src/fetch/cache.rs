//! Raw replies on disk, one file a reply, nothing ever changed or removed.
//!
//! The replies to one request are `API/HASH.reply`, `API/HASH.1.reply`, `API/HASH.2.reply` … in the order in which they
//! came; the last one counts. A file is one line of JSON (request, time, SHA-256) and then the reply's bytes.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::DataError;
use crate::error::FetchError;

/// The first line of an entry; the reply's bytes follow it.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    request: String,
    fetched_unix_s: u64,
    sha256: String,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Absent,
    /// A file that is not what was written.
    Corrupt,
    /// The last reply.
    Valid {
        /// The reply's text.
        body: String,
        /// When it came.
        fetched_unix_s: u64,
    },
}

/// A directory of replies. Files come into being whole, by renaming, and one process at a time adds to them.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// Held from the first reply added to the end, so that reading needs no right to write. It dies with the process.
    lock: Option<File>,
}

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
        Self {
            dir: dir.to_owned(),
            lock: None,
        }
    }

    /// Returns the path of the last reply to a request, and the path that the next one will have.
    fn paths(&self, api: &str, request: &str) -> Result<(Option<PathBuf>, PathBuf), DataError> {
        let name = hex(request.as_bytes());
        let dir = self.dir.join(api);
        let (mut last, mut next) = (None, dir.join(format!("{name}.reply")));
        for number in 1.. {
            match next.try_exists() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(DataError::file(&next, error)),
            }
            let further = dir.join(format!("{name}.{number}.reply"));
            last = Some(std::mem::replace(&mut next, further));
        }
        Ok((last, next))
    }

    /// Looks a request up.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the file system fails.
    pub fn get(&self, api: &str, request: &str) -> Result<Entry, DataError> {
        let (Some(path), _) = self.paths(api, request)? else {
            return Ok(Entry::Absent);
        };
        let bytes = std::fs::read(&path).map_err(|error| DataError::file(&path, error))?;
        Ok(parse(bytes, request).unwrap_or(Entry::Corrupt))
    }

    /// Adds a reply, after those that are there.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the file system fails, [`FetchError::Setting`] when another process is adding replies.
    #[expect(
        clippy::disallowed_methods,
        reason = "a new file of an append-only cache, synced before"
    )]
    pub fn put(
        &mut self,
        api: &str,
        request: &str,
        body: &str,
        now_s: u64,
    ) -> Result<(), DataError> {
        self.lock()?;
        let (_, path) = self.paths(api, request)?;
        let head = Head {
            request: request.to_owned(),
            fetched_unix_s: now_s,
            sha256: hex(body.as_bytes()),
        };
        let head = serde_json::to_string(&head).map_err(|error| DataError::json(&path, error))?;
        let part = path.with_extension("part");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(self.dir.join(api))?;
            let mut file = File::create(&part)?;
            writeln!(file, "{head}")?;
            file.write_all(body.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        write().map_err(|error| DataError::file(&path, error))
    }

    fn lock(&mut self) -> Result<(), DataError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.dir.join("lock");
        let file = std::fs::create_dir_all(&self.dir)
            .and_then(|()| File::create(&path))
            .map_err(|error| DataError::file(&path, error))?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(FetchError::Setting {
                    place: path.display().to_string(),
                    rule: "another process is adding replies to this cache".to_owned(),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => return Err(DataError::file(&path, error)),
        }
        Ok(())
    }
}

fn parse(bytes: Vec<u8>, request: &str) -> Option<Entry> {
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once('\n')?;
    let head: Head = serde_json::from_str(head).ok()?;
    (head.request == request && head.sha256 == hex(body.as_bytes())).then(|| Entry::Valid {
        body: body.to_owned(),
        fetched_unix_s: head.fetched_unix_s,
    })
}
