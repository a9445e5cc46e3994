//! Names of the listeners inside one process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// The dialers that may wait for one listener to accept them; the next one is refused.
const BACKLOG: usize = 64;

/// A hub in which `inproc://` listeners and dialers find each other.
///
/// Clones share the hub. It is handed in rather than kept in a process-wide static, so that two
/// nodes or two tests inside one process cannot meet by accident.
#[derive(Clone, Debug, Default)]
pub struct Inproc {
    listeners: Arc<Mutex<HashMap<String, mpsc::Sender<DuplexStream>>>>,
}

/// A name taken in the hub; dropping it gives the name back.
#[derive(Debug)]
pub(crate) struct Listening {
    hub: Inproc,
    name: String,
    pub(crate) dialers: mpsc::Receiver<DuplexStream>,
}

impl Inproc {
    /// Returns an empty hub.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn listen(&self, name: &str) -> io::Result<Listening> {
        match self.lock().entry(name.to_owned()) {
            Entry::Occupied(_) => Err(io::ErrorKind::AddrInUse.into()),
            Entry::Vacant(free) => {
                let (sender, dialers) = mpsc::channel(BACKLOG);
                free.insert(sender);
                Ok(Listening {
                    hub: self.clone(),
                    name: name.to_owned(),
                    dialers,
                })
            }
        }
    }

    /// Gives the listener one end of a pipe that holds `pipe_bytes` each way, and returns the other.
    pub(crate) fn dial(&self, name: &str, pipe_bytes: usize) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        self.lock()
            .get(name)
            .and_then(|listener| listener.try_send(theirs).ok())
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }

    /// A panic elsewhere cannot leave the map half-changed, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<DuplexStream>>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.hub.lock().remove(&self.name);
    }
}
