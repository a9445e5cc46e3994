//! The files of a node, read again when they change.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::crypto::now;
use crate::error::{TlsError, Whose};
use crate::files::IdentityFiles;
use crate::loaded::Loaded;

/// The shortest time between two looks at the files.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The identity of a node. Clones share it.
///
/// The files are read when they are first needed, and again when one of them has changed; there is no thread: each
/// use of the identity looks, once a second at most. A new file that cannot be used leaves the last good reading in use,
/// and [`Identity::problem`] says what is wrong with it.
#[derive(Clone)]
pub struct Identity(Arc<Shared>);

struct Shared {
    files: IdentityFiles,
    name: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    /// Why the last reading failed; none after one that did not.
    problem: Option<TlsError>,
    /// What the files were at the last reading.
    stamps: Option<[Option<Stamp>; 4]>,
    looked: Option<Instant>,
}

/// Changes when a file does: time of change, size and number on its disk.
pub(crate) type Stamp = (SystemTime, u64, u64);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.0.files).finish()
    }
}

impl Identity {
    /// The identity in `files`, of the node called `name` where one is given. Reads nothing yet.
    #[must_use]
    pub fn new(files: IdentityFiles, name: Option<&str>) -> Self {
        Self(Arc::new(Shared {
            files,
            name: name.map(str::to_owned),
            state: Mutex::default(),
        }))
    }

    /// Returns the last good reading of the files, after a look at them where the last one is a second old.
    ///
    /// # Errors
    /// What is wrong with the files while there is no good reading, and [`TlsError::Expired`] once the own certificate
    /// is too old.
    pub fn current(&self) -> Result<Arc<Loaded>, TlsError> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut state);
        let Some(loaded) = &state.loaded else {
            return Err(state.problem.clone().unwrap_or(TlsError::NoCertificate));
        };
        let (now, not_after) = (now(), loaded.certificate.not_after);
        match now > not_after {
            true => Err(TlsError::Expired {
                whose: Whose::Own(self.0.files.certificate.clone()),
                not_after,
                now,
            }),
            false => Ok(loaded.clone()),
        }
    }

    /// The last good reading, even if the own certificate is too old by now.
    pub(crate) fn last(&self) -> Option<Arc<Loaded>> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut state);
        state.loaded.clone()
    }

    /// Returns why the files as they are now cannot be used, while an older reading may be in use.
    #[must_use]
    pub fn problem(&self) -> Option<TlsError> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.look(&mut state);
        state.problem.clone()
    }

    /// Returns the whole days for which the certificate in use is still valid, negative when it is over; `None` without
    /// one.
    #[must_use]
    pub fn days_left(&self) -> Option<i64> {
        Some(self.last()?.certificate.days_left(now()))
    }

    /// As [`Identity::days_left`], for the certificate of the authority.
    #[must_use]
    pub fn authority_days_left(&self) -> Option<i64> {
        Some(self.last()?.authority.days_left(now()))
    }

    /// Returns where the identity lies.
    #[must_use]
    pub fn files(&self) -> &IdentityFiles {
        &self.0.files
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a bound on how often the files are looked at"
    )]
    fn look(&self, state: &mut State) {
        let at = Instant::now();
        if state.looked.is_some_and(|last| at - last < LOOK_EVERY) {
            return;
        }
        state.looked = Some(at);
        let stamps = self.0.files.all().map(stamp);
        // While something is wrong, time alone may mend it: a clock that is set, a mode that is changed.
        if state.stamps.as_ref() == Some(&stamps) && state.problem.is_none() {
            return;
        }
        let is_new = state.stamps.replace(stamps).as_ref() != Some(&stamps);
        match Loaded::read(&self.0.files, self.0.name.as_deref()) {
            Ok(mut loaded) => {
                if let Some(earlier) = &state.loaded {
                    loaded.keep_revoked(earlier);
                    let days_left = loaded.certificate.days_left(now());
                    let serial = &loaded.certificate.serial;
                    tracing::info!(serial, days_left, "the certificate was read again");
                }
                state.loaded = Some(Arc::new(loaded));
                state.problem = None;
            }
            Err(problem) => {
                if is_new && state.loaded.is_some() {
                    tracing::error!(%problem, "the new certificate cannot be used, the old one stays");
                }
                state.problem = Some(problem);
            }
        }
    }
}

pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
