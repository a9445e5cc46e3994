//! Raw replies on disk, one file for each reply. No file is changed or removed.
//!
//! The replies to one request are `API/HASH.reply`, `API/HASH.1.reply`, `API/HASH.2.reply` … in the order of
//! arrival; the last one is valid. A file is one line of JSON (request, time, SHA-256), followed by the bytes of the reply.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use heqis_base::files::write_atomically_with;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::FetchError;
use heqis_data::DataError;
use heqis_data::digest::hex;

/// The first line of a file, before the bytes of the reply.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    request: String,
    fetched_unix_s: u64,
    sha256: String,
}

/// The cached state of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// No reply.
    Absent,
    /// The last file is damaged.
    Corrupt,
    /// The last reply.
    Valid {
        /// The reply's text.
        body: String,
        /// The time of arrival.
        fetched_unix_s: u64,
    },
}

/// A directory of replies. Files are created atomically by renaming, and only one process at a time adds files.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    /// Held from the first added reply on, so that reading needs no write permission. The process releases it when it ends.
    lock: Option<File>,
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Cache {
    /// Uses a directory, which is created with the first reply.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            lock: None,
        }
    }

    /// Returns the path of the last reply to a request, if any, and the path of the next one.
    fn paths(&self, api: &str, request: &str) -> Result<(Option<PathBuf>, PathBuf), FetchError> {
        let name = sha256(request.as_bytes());
        let dir = self.dir.join(api);
        let (mut last, mut next) = (None, dir.join(format!("{name}.reply")));
        for number in 1.. {
            match next.try_exists() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(DataError::file(&next, error).into()),
            }
            let further = dir.join(format!("{name}.{number}.reply"));
            last = Some(std::mem::replace(&mut next, further));
        }
        Ok((last, next))
    }

    /// Returns the last reply to a request.
    ///
    /// # Errors
    ///
    /// [`FetchError::Data`] when the file system fails.
    pub fn get(&self, api: &str, request: &str) -> Result<Entry, FetchError> {
        let (Some(path), _) = self.paths(api, request)? else {
            return Ok(Entry::Absent);
        };
        let bytes = std::fs::read(&path).map_err(|error| DataError::file(&path, error))?;
        Ok(parse(bytes, request).unwrap_or(Entry::Corrupt))
    }

    /// Adds a reply after the existing ones.
    ///
    /// # Errors
    ///
    /// [`FetchError::Data`] when the file system fails, [`FetchError::Setting`] when another process adds replies.
    pub fn put(
        &mut self,
        api: &str,
        request: &str,
        body: &str,
        now_s: u64,
    ) -> Result<(), FetchError> {
        self.lock()?;
        let (_, path) = self.paths(api, request)?;
        let head = Head {
            request: request.to_owned(),
            fetched_unix_s: now_s,
            sha256: sha256(body.as_bytes()),
        };
        let head = serde_json::to_string(&head).map_err(|error| DataError::json(&path, error))?;
        std::fs::create_dir_all(self.dir.join(api))
            .and_then(|()| {
                write_atomically_with(&path, |file| {
                    writeln!(file, "{head}")?;
                    file.write_all(body.as_bytes())
                })
            })
            .map_err(|error| DataError::file(&path, error).into())
    }

    fn lock(&mut self) -> Result<(), FetchError> {
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
                });
            }
            Err(TryLockError::Error(error)) => return Err(DataError::file(&path, error).into()),
        }
        Ok(())
    }
}

fn parse(bytes: Vec<u8>, request: &str) -> Option<Entry> {
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once('\n')?;
    let head: Head = serde_json::from_str(head).ok()?;
    (head.request == request && head.sha256 == sha256(body.as_bytes())).then(|| Entry::Valid {
        body: body.to_owned(),
        fetched_unix_s: head.fetched_unix_s,
    })
}
