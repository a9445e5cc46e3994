//! Notifications for the service manager: systemd's protocol, one datagram per message.
//!
//! A unit with `Type=notify` counts as started when the node sends `READY=1`, and one with `WatchdogSec=` is killed and
//! started again when `WATCHDOG=1` is missing. It is sent for as long as every arbiter makes progress, however many frames
//! wait, or answers a probe; a stage that does not return from a call stops it as surely as a process that hangs.
//! Protocol: `sd_notify(3)`. Not the crate `sd-notify`: it reads the environment by itself and blocks on a full socket.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use heqis_actors::{Clock, LivenessProbe};

/// What a service manager requests in the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// `NOTIFY_SOCKET`: a path, or a name in the abstract namespace after `@`.
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`, where `WATCHDOG_PID` is absent or this process: the longest time between two messages.
    pub watchdog: Option<Duration>,
}

impl Service {
    /// Reads the variables that the service manager set for the process `pid`.
    #[must_use]
    pub fn read(var: impl Fn(&str) -> Option<OsString>, pid: u32) -> Self {
        let number = |name: &str| var(name)?.to_str()?.parse::<u64>().ok();
        let for_us = var("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(pid.into());
        Self {
            socket: var("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()),
            watchdog: number("WATCHDOG_USEC")
                .filter(|&us| us > 0 && for_us)
                .map(Duration::from_micros),
        }
    }

    /// Opens the socket of the service manager; `None` when there is no manager.
    #[must_use]
    pub fn notifier(&self) -> Option<Notifier> {
        let socket = self.socket.as_ref()?;
        match Notifier::open(socket) {
            Ok(notifier) => Some(notifier),
            Err(error) => {
                tracing::warn!(?socket, %error, "the service manager cannot be notified");
                None
            }
        }
    }
}

/// The socket of the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    fn open(address: &OsString) -> io::Result<Self> {
        let manager = match address.as_bytes().strip_prefix(b"@") {
            #[cfg(target_os = "linux")]
            Some(name) => {
                use std::os::linux::net::SocketAddrExt as _;
                SocketAddr::from_abstract_name(name)?
            }
            _ => SocketAddr::from_pathname(address)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not block the node.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    fn send(&self, message: &str) {
        if let Err(error) = self.socket.send_to_addr(message.as_bytes(), &self.manager) {
            tracing::warn!(%error, message, "the service manager was not notified");
        }
    }

    /// Reports that every stage is built.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// Reports that the node begins to drain.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=draining");
    }

    /// Sends `WATCHDOG=1` four times in each span of `patience` for as long as every arbiter works. Never returns.
    pub async fn stay_alive(&self, patience: Duration, mut probe: LivenessProbe, clock: &Clock) {
        let mut logged = false;
        loop {
            let hung = probe.check(patience / 2);
            if hung.is_empty() {
                self.send("WATCHDOG=1");
                logged = false;
            } else if !std::mem::replace(&mut logged, true) {
                tracing::error!(arbiters = ?hung, "a stage does not return from a call; the service manager gets no watchdog message");
            }
            clock.sleep(patience / 4).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn service(pairs: &[(&str, &str)]) -> Service {
        let var = |name: &str| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Service::read(var, 42)
    }

    #[test]
    fn a_watchdog_is_ours_when_it_names_no_process_or_this_one() {
        let usec = ("WATCHDOG_USEC", "3000000");
        let three = Some(Duration::from_secs(3));
        assert_eq!(service(&[usec]).watchdog, three);
        assert_eq!(service(&[usec, ("WATCHDOG_PID", "42")]).watchdog, three);
        assert_eq!(service(&[usec, ("WATCHDOG_PID", "43")]).watchdog, None);
        assert_eq!(service(&[("WATCHDOG_USEC", "0")]).watchdog, None);
        assert_eq!(service(&[("WATCHDOG_USEC", "soon")]).watchdog, None);
        assert_eq!(service(&[]), Service::default());
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        use std::os::linux::net::SocketAddrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("heqis-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        let listeners = [
            (
                path.clone().into_os_string(),
                UnixDatagram::bind(&path).unwrap(),
            ),
            (
                format!("@{name}").into(),
                UnixDatagram::bind_addr(&abstract_name).unwrap(),
            ),
        ];
        for (address, listener) in listeners {
            let service = Service {
                socket: Some(address),
                watchdog: None,
            };
            service.notifier().unwrap().ready("runs");
            let mut said = [0; 64];
            let length = listener.recv(&mut said).unwrap();
            assert_eq!(&said[..length], b"READY=1\nSTATUS=runs");
        }
    }

    #[test]
    fn a_missing_manager_is_not_a_failure() {
        let service = Service {
            socket: Some("/nowhere/notify".into()),
            watchdog: None,
        };
        service.notifier().unwrap().ready("runs");
    }
}
