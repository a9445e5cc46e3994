//! Where the vendors' libraries are, and what else the environment says of backends.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backend::{BackendKind, Setting};

/// Environment variable that names the directory of [`Libraries::cache`].
pub const CACHE_VARIABLE: &str = "HEQIS_CACHE";

/// The settings of all backends, each a path, a name that the loader knows, or a word.
///
/// ```
/// use heqis_infer::{Libraries, backend};
///
/// let libraries = Libraries::from_env().with(backend::ORT_LIBRARY, "/opt/libonnxruntime.so");
/// assert_eq!(libraries.path(backend::ORT_LIBRARY), std::path::Path::new("/opt/libonnxruntime.so"));
/// ```
#[derive(Clone, Debug)]
pub struct Libraries {
    settings: BTreeMap<&'static str, OsString>,
    /// Directory that keeps what is built once for a machine.
    pub cache: PathBuf,
    /// Raised when the engine is no longer needed: work that takes minutes is cancelled, and its backend is unavailable.
    pub stop: Arc<AtomicBool>,
}

impl Libraries {
    /// Returns what the environment says: of each [`Setting`] in the catalogue the variable's value. The cache is the
    /// directory of [`CACHE_VARIABLE`], else the one that systemd gives a service, else one below the directory of temporary
    /// files.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the settings of backends from the environment"
    )]
    pub fn from_env() -> Self {
        let settings = BackendKind::ALL
            .iter()
            .flat_map(|kind| kind.info().settings);
        let cache = [CACHE_VARIABLE, "CACHE_DIRECTORY"]
            .into_iter()
            .find_map(std::env::var_os);
        Self {
            settings: settings
                .filter_map(|setting| Some((setting.variable, std::env::var_os(setting.variable)?)))
                .collect(),
            cache: cache.map_or_else(|| std::env::temp_dir().join("heqis-cache"), PathBuf::from),
            stop: Arc::default(),
        }
    }

    /// Replaces one setting.
    #[must_use]
    pub fn with(mut self, setting: Setting, value: impl Into<OsString>) -> Self {
        self.settings.insert(setting.variable, value.into());
        self
    }

    /// Replaces the directory that keeps what is built once for a machine.
    #[must_use]
    pub fn with_cache(mut self, cache: impl Into<PathBuf>) -> Self {
        self.cache = cache.into();
        self
    }

    /// Replaces the flag that cancels work which takes minutes.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Returns the value that was set, if any.
    #[must_use]
    pub fn get(&self, setting: Setting) -> Option<&OsStr> {
        self.settings.get(setting.variable).map(OsString::as_os_str)
    }

    /// Returns a setting as a path or a name that the loader knows: the value that was set, else the default.
    #[must_use]
    pub fn path(&self, setting: Setting) -> PathBuf {
        self.get(setting)
            .map_or_else(|| setting.default.into(), PathBuf::from)
    }
}
