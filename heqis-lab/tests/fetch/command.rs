//! The complete command over real sockets: a killed process, its output, and the token.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::vendor::{Fault, Server, market, repeated};
use crate::world::{TOKEN, files_in};

fn command(server: &Server, folder: &Path) -> Command {
    command_to(&server.url(), folder)
}

fn command_to(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
    command
        .args([
            "fetch",
            "--from",
            "2016-08-16",
            "--to",
            "2016-08-17",
            "--json",
        ])
        .args(["--calls-per-minute", "100000", "--attempts", "20"])
        .args(["--base-url", url])
        .arg("--cache")
        .arg(folder.join("cache"))
        .arg("--out")
        .arg(folder.join("out"))
        .env("HEQIS_TUSHARE_TOKEN", TOKEN)
        .stdin(Stdio::null());
    command
}

#[test]
fn a_killed_run_resumes_fetches_everything_once_and_leaves_the_token_nowhere() {
    // Occasional faults, so that retries are killed too.
    let faults = [None, Some(Fault::Truncated), None, Some(Fault::Closed)];
    let server = Server::start(market(), faults);
    let folder = tempfile::tempdir().unwrap();
    for answered in [2, 5, 9] {
        let held = server.hold_after(answered);
        let mut run = command(&server, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The process waits for a response that never comes, and is killed without a chance to clean up.
        held.recv().unwrap();
        run.kill().unwrap();
        run.wait().unwrap();
        assert_eq!(server.answered().len(), answered);
    }
    let _ = server.hold_after(usize::MAX);
    let last = command(&server, folder.path()).output().unwrap();
    let stderr = String::from_utf8(last.stderr).unwrap();
    assert!(last.status.success(), "{stderr}");
    let answered = server.answered();
    assert_eq!(repeated(&answered), Vec::<&String>::new());
    // A calendar, three lists, six interfaces on two days, and the names.
    assert_eq!(answered.len(), 1 + 3 + 12 + 1);
    let daily = std::fs::read_to_string(folder.path().join("out/daily.csv")).unwrap();
    assert_eq!(
        daily.lines().count(),
        1 + 6,
        "three stocks on two days: {daily}"
    );
    let offline = command(&server, folder.path())
        .env_remove("HEQIS_TUSHARE_TOKEN")
        .output()
        .unwrap();
    let counts: Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert_eq!(
        (&counts["requests"], &counts["cached"]),
        (&0.into(), &17.into()),
        "{counts}"
    );
    assert_eq!(
        server.answered().len(),
        answered.len(),
        "the last run is offline"
    );
    let mut all: Vec<u8> = files_in(folder.path())
        .into_iter()
        .flat_map(|file| file.1)
        .collect();
    all.extend(
        [
            stderr.as_bytes(),
            &last.stdout,
            &offline.stdout,
            &offline.stderr,
        ]
        .concat(),
    );
    assert!(!String::from_utf8_lossy(&all).contains(TOKEN));
    assert!(!stderr.contains("plain HTTP"), "loopback: {stderr}");
}

#[test]
fn a_token_leaves_the_machine_by_https_unless_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    for (url, rule) in [
        ("http://192.0.2.1:1", "--insecure"),
        ("http://api.example", "--insecure"),
        ("ftp://api.example", "must begin with https://"),
        ("api.example", "must begin with https://"),
    ] {
        let run = command_to(url, folder.path()).output().unwrap();
        let stderr = String::from_utf8(run.stderr).unwrap();
        assert!(
            !run.status.success() && stderr.contains(rule),
            "{url}: {stderr}"
        );
    }
}

#[test]
fn the_command_prints_plain_lines_without_a_terminal() {
    let server = Server::start(market(), []);
    let folder = tempfile::tempdir().unwrap();
    let run = command(&server, folder.path()).output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{stderr}");
    assert!(
        stderr
            .lines()
            .any(|line| line.starts_with("namechange: 13 of 13 calls")),
        "{stderr}"
    );
    assert!(!stderr.contains(['\r', '\u{1b}']), "{stderr:?}");
    let stdout = String::from_utf8(run.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
}

#[test]
fn the_command_takes_its_token_from_a_file_and_rejects_an_invalid_one() {
    let server = Server::start(market(), []);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    let with_file = |server: &Server| {
        let mut command = command(server, folder.path());
        command
            .env_remove("HEQIS_TUSHARE_TOKEN")
            .arg("--token-file")
            .arg(&path);
        command
    };
    let run = with_file(&server).output().unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    std::fs::write(&path, "wrong-token-0123").unwrap();
    std::fs::remove_dir_all(folder.path().join("cache")).unwrap();
    let run = with_file(&server).output().unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success());
    assert!(
        stderr.contains("refused (code 40101)") && !stderr.contains("wrong-token"),
        "{stderr}"
    );
    let run = command(&server, folder.path())
        .env_remove("HEQIS_TUSHARE_TOKEN")
        .output()
        .unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(
        stderr.contains("HEQIS_TUSHARE_TOKEN or --token-file must be given"),
        "{stderr}"
    );
    let run = command(&server, folder.path())
        .args(["--base-url", "https://127.0.0.1"])
        .output()
        .unwrap();
    let stderr = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success());
    assert!(
        stderr.contains("cannot be used multiple times")
            || stderr.contains("must begin with http://"),
        "{stderr}"
    );
}
