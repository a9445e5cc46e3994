//! An ipc socket is for one user: its file is closed to others, and a peer of another user is refused.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use heqis_sp::{Endpoint, Inproc, Listener, Protocol, SocketOptions, SpError, connect};
use heqis_test_harness::{Group, run, tests};

/// A user without files of its own.
const OTHER_USER: u32 = 65_534;

fn with_socket<T>(test: impl AsyncFnOnce(Listener, Endpoint, std::path::PathBuf) -> T) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.sock");
    let endpoint = Endpoint::Ipc { path: path.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let options = SocketOptions::new(Protocol::Pair1);
        let listener = Listener::bind(&endpoint, options, &Inproc::new())
            .await
            .unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        test(listener, endpoint, path).await
    })
}

fn the_file_of_a_socket_is_closed_to_others() {
    with_socket(async |mut listener, endpoint, path| {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (options, hub) = (SocketOptions::new(Protocol::Pair1), Inproc::new());
        let (accepted, dialed) =
            tokio::join!(listener.accept(), connect(&endpoint, &options, &hub));
        accepted.unwrap();
        dialed.unwrap();
    });
}

/// Connects as another user and sends a sound handshake; returns whether the file could be opened.
fn dial_as_another(path: &std::path::Path) -> bool {
    let program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                   s.sendall(b'\\0SP\\0\\0\\x11\\0\\0'); s.recv(100)";
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(path).uid(OTHER_USER);
    command.output().unwrap().status.success()
}

fn a_peer_of_another_user_is_refused_and_counted() {
    with_socket(async |mut listener, _, path| {
        assert!(!dial_as_another(&path), "the mode of the file keeps it out");
        // As between binding and the change of the mode.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        let dialer = std::thread::spawn(move || dial_as_another(&path));
        let error = listener.accept().await.map(|_| ()).unwrap_err();
        assert_eq!(error.cause(), "foreign_user");
        assert!(matches!(
            error,
            SpError::ForeignUser {
                uid: OTHER_USER,
                ..
            }
        ));
        dialer.join().unwrap();
    });
}

fn main() -> ExitCode {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|id| id.stdout == b"0\n");
    let missing = (!is_root).then(|| "only root can start a program as another user".to_owned());
    run([
        Group::always(tests![the_file_of_a_socket_is_closed_to_others]),
        Group::needs(
            missing,
            tests![a_peer_of_another_user_is_refused_and_counted],
        ),
    ])
}
