//! A version under construction, and its publication.
//!
//! A draft is written into a directory of its own. Publishing renames that directory to the name of the version, and then
//! renames a new manifest over the old one, which atomically makes the new version current. After an interruption before
//! that rename the old version remains current, and the next draft removes the remains.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use heqis_base::files::{sync_directory, write_atomically};

use super::manifest::{self, Manifest};
use crate::error::DataError;

const DRAFT: &str = "draft";
const LOCK: &str = "lock";
// What an interrupted publication leaves: the draft of the manifest, under its name of this version and of the one before.
const MANIFEST_DRAFTS: [&str; 2] = ["manifest.json.new", "manifest.json.next"];

/// The exclusive writer of a data set.
#[derive(Debug)]
pub struct Draft {
    root: PathBuf,
    dir: PathBuf,
    /// Held until the draft is dropped; the operating system releases it when the process ends.
    _lock: Lock,
}

/// The lock of the writer. It is released explicitly and not by closing the file, since a child process shares the open
/// file between `fork` and `exec`.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl Draft {
    /// Begins a draft in the data set `root`, which is created if missing, and removes the remains of an interrupted
    /// writer.
    ///
    /// # Errors
    ///
    /// [`DataError::Rule`] when another process writes to this data set, and [`DataError::File`] when the directory
    /// cannot be written.
    pub fn begin(root: &Path) -> Result<Self, DataError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::file(&path, source)
        };
        fs::create_dir_all(root).map_err(at(root))?;
        let lock_path = root.join(LOCK);
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                DataError::kind(root, "another process is writing to this data set")
            }
            TryLockError::Error(source) => DataError::file(&lock_path, source),
        })?;
        let dir = root.join(DRAFT);
        let draft = Self {
            root: root.to_owned(),
            dir,
            _lock: Lock(lock),
        };
        draft.sweep()?;
        fs::create_dir(&draft.dir).map_err(at(&draft.dir))?;
        Ok(draft)
    }

    /// Returns the directory to write the version into.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes one file of the version and syncs it to the disk.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when it cannot be written.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), DataError> {
        let path = self.dir.join(name);
        let put = || -> std::io::Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        put().map_err(|source| DataError::file(&path, source))
    }

    /// Makes the version current, removes the previous one, and returns the manifest as written.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when a rename fails; the previous version is then still current.
    pub fn publish(self, mut manifest: Manifest) -> Result<Manifest, DataError> {
        // With the same settings and inputs the version has the same name, and the current one must not be overwritten.
        if self.root.join(&manifest.version).exists() {
            manifest.version.push('0');
        }
        rename(&self.dir, &self.root.join(&manifest.version))?;
        sync_directory(&self.root).map_err(|source| DataError::file(&self.root, source))?;
        let current = self.root.join(manifest::FILE);
        write_atomically(&current, manifest.to_json()?.as_bytes())
            .map_err(|source| DataError::file(&current, source))?;
        self.sweep()?;
        Ok(manifest)
    }

    /// Removes the draft.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when the directory cannot be removed.
    pub fn discard(self) -> Result<(), DataError> {
        self.sweep()
    }

    /// Removes drafts, and versions that are not current.
    fn sweep(&self) -> Result<(), DataError> {
        let exists = self.root.join(manifest::FILE).exists();
        let current = Manifest::read(&self.root).map(|manifest| manifest.version);
        // The version of an unreadable manifest is unknown, so all versions are kept until another is current.
        let keeps_all = exists && current.is_err();
        let entries =
            fs::read_dir(&self.root).map_err(|source| DataError::file(&self.root, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| DataError::file(&self.root, source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let hex = name.strip_prefix("v-").unwrap_or_default();
            let version = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let path = entry.path();
            if name == DRAFT || (version && !keeps_all && Some(&name) != current.as_ref().ok()) {
                fs::remove_dir_all(&path).map_err(|source| DataError::file(&path, source))?;
            } else if MANIFEST_DRAFTS.contains(&name.as_str()) {
                fs::remove_file(&path).map_err(|source| DataError::file(&path, source))?;
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a version is a directory, renamed after its files were synced"
)]
fn rename(from: &Path, to: &Path) -> Result<(), DataError> {
    fs::rename(from, to).map_err(|source| DataError::file(to, source))
}
