//! Checks whether the file that is written is still the one that its path names, and restores it when it is not.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use heqis_data::journal::JournalError;

use super::file::JournalFile;
use super::files::{RESTORED, lock, move_new, open_regular, sync_dir, with_suffix};

impl JournalFile {
    /// Compares the file with its path before anything is appended. What was written never stays in a file without a name,
    /// and a file of another program is written to only when it is empty.
    pub(super) fn watch(&mut self) -> Result<(), JournalError> {
        let path = self.names.active().to_owned();
        if self.is_ended() {
            let rule = "was set aside; start again".to_owned();
            return Err(JournalError::Files { path, rule });
        }
        let ours = self
            .file
            .metadata()
            .map_err(JournalError::io(&path, "inspect"))?;
        if ours.len() != self.whole_bytes {
            return Err(JournalError::Truncated {
                path,
                expected: self.whole_bytes,
                found: ours.len(),
            });
        }
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.restore(&path),
            Err(error) => Err(JournalError::io(&path, "inspect")(error)),
            Ok(there) if identity(&there) == self.id => Ok(()),
            // What a program that rotates files puts in id of the one that it moved away.
            Ok(there) if there.is_file() && there.len() == 0 => {
                let file = open_regular(&path, &mut OpenOptions::new())?;
                self.copy_into(file, &path)
            }
            Ok(there) => {
                if ours.nlink() == 0 {
                    self.rescue()?;
                }
                Err(JournalError::Replaced {
                    path,
                    ours: self.id,
                    theirs: identity(&there),
                })
            }
        }
    }

    /// Writes the segment again at its path, where there is no file any more.
    fn restore(&mut self, path: &Path) -> Result<(), JournalError> {
        std::fs::create_dir_all(self.names.dir())
            .map_err(JournalError::io(path, "make its directory"))?;
        // A kill must not leave a part of the segment under its name.
        let restored = with_suffix(path, RESTORED);
        if !std::fs::metadata(&restored).is_ok_and(|there| identity(&there) == self.id) {
            match std::fs::remove_file(&restored) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(JournalError::io(&restored, "remove")(error));
                }
                _ => {}
            }
            let file = open_regular(&restored, OpenOptions::new().create_new(true))?;
            self.copy_into(file, &restored)?;
        }
        move_new(&restored, path)?;
        sync_dir(self.names.dir())
    }

    /// Copies the segment into `file` at `path`, which is empty, and continues there.
    fn copy_into(&mut self, file: File, path: &Path) -> Result<(), JournalError> {
        lock(path, &file)?;
        let failed = || JournalError::io(path, "restore");
        let copied = self.copy_to(&file).and_then(|()| file.metadata());
        let meta = match copied {
            Ok(meta) => meta,
            Err(error) => {
                // A part of the segment would be taken for all of it.
                file.set_len(0).map_err(failed())?;
                return Err(failed()(error));
            }
        };
        tracing::warn!(
            path = %self.names.active().display(),
            bytes = self.whole_bytes,
            "the journal's file was moved away or removed by another program; it is written again at its path"
        );
        (self.file, self.id) = (file, identity(&meta));
        self.restored += 1;
        Ok(())
    }

    fn copy_to(&self, mut file: &File) -> io::Result<()> {
        let mut ours = &self.file;
        ours.rewind()?;
        let copied = io::copy(&mut ours.take(self.whole_bytes), &mut file)?;
        if copied != self.whole_bytes || file.metadata()?.len() != copied {
            return Err(io::Error::other("another program writes to it"));
        }
        file.sync_all()
    }

    /// Keeps a segment that has no name any more, while its path names another file.
    fn rescue(&self) -> Result<(), JournalError> {
        let path = (1..)
            .map(|number| with_suffix(self.names.active(), &format!(".rescued-{number:04}")))
            .find(|path| !path.exists())
            .unwrap_or_default();
        let file = open_regular(&path, OpenOptions::new().create_new(true))?;
        self.copy_to(&file)
            .map_err(JournalError::io(&path, "write"))?;
        tracing::error!(path = %path.display(), "the journal's file was replaced; what was written is kept");
        sync_dir(self.names.dir())
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}
