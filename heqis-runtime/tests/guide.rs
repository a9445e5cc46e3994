//! The guide to certificates (docs/tls.md): its own commands give two boards what they need, and two nodes run with it, each
//! in a network namespace of its own with the address of the guide.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use heqis_test_harness::{Group, run, tests};
use heqis_tls::Authority;
use serde_json::Value;
use stand::{Stand, assert_books_close, metric, root, wait_until};

const RUNTIME: &str = env!("CARGO_BIN_EXE_heqis-runtime");
const BOARDS: [(&str, &str); 2] = [("gateway", "10.0.0.1"), ("compute", "10.0.0.2")];

/// The operator's folder, and what stands for the two boards.
struct Place {
    folder: tempfile::TempDir,
}

/// Programs of the guide that this machine stands in for: their effect on the folders of the boards.
const STAND_INS: [(&str, &str); 4] = [
    (
        "heqis-runtime",
        // /etc/heqis is that of the board whose node is asked for.
        r#"board=10.0.0.1; case "$*" in *"--node compute"*) board=10.0.0.2;; esac
arguments=""
for argument in "$@"; do
    case $argument in /etc/heqis/*) argument="$PLACE/boards/$board$argument";; esac
    arguments="$arguments '$argument'"
done
eval "exec '$RUNTIME' $arguments""#,
    ),
    (
        "scp",
        r#"for target in "$@"; do :; done
board=${target#root@}; cp --preserve=mode "${@:1:$#-1}" "$PLACE/boards/${board/:/}""#,
    ),
    ("ssh", r#"[ "$2 $3 $4" = "chown -R heqis:" ]"#),
    (
        "sudo",
        r#"case "$1 $2" in "systemctl restart") ;; "heqis-runtime check") exec "$@" ;; *) exit 1 ;; esac"#,
    ),
];

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(root().join("topologies/dual-board.toml")).unwrap();
        let text = text.replace("base = \"..\"", &format!("base = \"{}\"", root().display()));
        let place = Self { folder };
        place.write("topologies/dual-board.toml", &text);
        for (_, address) in BOARDS {
            place.write(&format!("boards/{address}/etc/heqis/topology.toml"), &text);
            fs::create_dir(place.certs(address)).unwrap();
        }
        for (name, body) in STAND_INS {
            let path = place.write(&format!("bin/{name}"), &format!("#!/bin/bash\n{body}\n"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn certs(&self, address: &str) -> PathBuf {
        self.path()
            .join(format!("boards/{address}/etc/heqis/certs"))
    }

    fn topology(&self, address: &str) -> PathBuf {
        self.certs(address).with_file_name("topology.toml")
    }

    /// Runs a block of the guide, from the operator's folder.
    fn shell(&self, block: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let output: Output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(self.path())
            .env_remove("HEQIS_SET")
            .env("PATH", format!("{}/bin:{path}", self.path().display()))
            .env("PLACE", self.path())
            .env("RUNTIME", RUNTIME)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{block}\n{text}");
        text
    }

    /// Runs the blocks of the guide up to the one that begins with `last`, and returns what they printed.
    fn follow(&self, last: &str) -> String {
        let guide = fs::read_to_string(root().join("docs/tls.md")).unwrap();
        let mut printed = String::new();
        for block in guide.split("```sh\n").skip(1) {
            let block = block.split("```").next().unwrap();
            printed += &self.shell(block);
            if block.starts_with(last) {
                return printed;
            }
        }
        panic!("the guide has no block that begins with: {last}")
    }
}

fn the_commands_of_the_guide_give_each_board_what_it_needs() {
    let place = Place::new();
    let printed = place.follow("heqis-runtime certs revoke");
    let here = place.path().join("topologies/certs");
    for (node, address) in BOARDS {
        let mut names: Vec<_> = fs::read_dir(place.certs(address))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut needed = ["ca.pem", "revoked.txt"].map(str::to_owned).to_vec();
        needed.extend([format!("{node}.key"), format!("{node}.pem")]);
        needed.sort();
        assert_eq!(names, needed);
        let key = place.certs(address).join(format!("{node}.key"));
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(printed.contains(node));
    }
    for entry in fs::read_dir(&here).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "key") {
            let key = fs::read_to_string(&path).unwrap();
            let secret = key.lines().nth(1).unwrap();
            assert!(!printed.contains(secret), "{} was printed", path.display());
        }
    }
    // The first certificate of the gateway and the renewed one were revoked, and the node has a third.
    let revoked = fs::read_to_string(here.join("revoked.txt")).unwrap();
    assert_eq!(revoked.matches(" gateway ").count(), 2, "{revoked}");
    let shown = place.shell("heqis-runtime certs show topologies/dual-board.toml");
    for word in ["(authority)", "gateway", "compute", "days left", "SHA-256"] {
        assert!(shown.contains(word), "{shown}");
    }
    assert_eq!(shown.matches("  valid  ").count(), 3, "{shown}");
    assert!(!shown.contains("revoked"), "{shown}");
}

fn commands_name_what_is_wrong_and_what_to_do() {
    let place = Place::new();
    let fails = |command: &str, code: i32, part: &str| {
        let text = place.shell(&format!(
            "code=0; heqis-runtime certs {command} || code=$?; echo \"code $code\""
        ));
        assert!(text.contains(&format!("code {code}")), "{command}: {text}");
        assert!(text.contains(part), "{command}: {text}");
    };
    let topology = "topologies/dual-board.toml";
    fails(&format!("issue {topology}"), 1, "ca.pem is missing");
    fails(&format!("show {topology}"), 1, "revoked.txt is missing");
    fails(
        &format!("init {topology}"),
        0,
        "keep ca.key on this machine",
    );
    fails(&format!("init {topology}"), 1, "another directory");
    fails(
        &format!("issue {topology} getaway"),
        2,
        "did you mean `gateway`?",
    );
    fails(&format!("renew {topology} gateway"), 2, "certs issue");
    fails(
        &format!("issue {topology} gateway"),
        0,
        "gateway: certificate",
    );
    fails(&format!("issue {topology}"), 0, "`certs renew` replaces it");
    fails(&format!("issue {topology} --days 0"), 2, "--days");
    fails(&format!("revoke {topology} third"), 0, "nothing to revoke");
    fails("show topologies/absent.toml", 2, "cannot be read");
    let issued = fs::read_to_string(place.path().join("topologies/certs/issued.txt")).unwrap();
    assert_eq!(issued.matches(" gateway ").count(), 1, "{issued}");
}

/// The value of a metric, once it is `wanted`.
fn becomes(port: u16, name: &str, label: &str, wanted: f64) {
    wait_until(&format!("{name} {label} is {wanted}"), || {
        metric(port, name, label) == Some(wanted)
    });
}

fn a_running_node_reads_new_certificates_and_reports_the_days_that_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::create(directory.path(), "dual-board", 1000).unwrap();
    for (node, _) in BOARDS {
        authority.issue(node, 365).unwrap();
    }
    let mut stand = Stand::dual_board()
        .set(&format!("tls.directory=\"{}\"", directory.path().display()))
        // Slow enough that the nodes run until they are stopped.
        .set("stages.market.params.speed=86400.0");
    for edge in ["ring->engine", "signal->feedback"] {
        stand = stand.set(&format!("edges.{edge}.transport.scheme=\"tls+tcp\""));
    }
    let nodes = BOARDS.map(|(node, _)| stand.start(&["--node", node]));
    let port = stand.ports[0];
    let days = "heqis_certificate_days_left";
    becomes(port, days, "certificate=\"node\"", 365.0);
    becomes(port, days, "certificate=\"authority\"", 1000.0);
    wait_until("both edges are up", || {
        ["ring->engine", "signal->feedback"]
            .iter()
            .all(|edge| metric(port, "heqis_link_up", &format!("edge=\"{edge}\"")) == Some(1.0))
    });
    authority.issue("gateway", 20).unwrap();
    becomes(port, days, "certificate=\"node\"", 20.0);
    fs::write(directory.path().join("gateway.pem"), "half a copy").unwrap();
    let unusable = "heqis_certificate_unusable";
    becomes(port, unusable, "cause=\"certificate_unusable\"", 1.0);
    becomes(port, days, "certificate=\"node\"", 20.0);
    authority.issue("gateway", 100).unwrap();
    becomes(port, days, "certificate=\"node\"", 100.0);
    wait_until("the fault is gone", || {
        metric(port, unusable, "cause").is_none()
    });
    for node in &nodes {
        node.signal("TERM");
    }
    let logs = nodes.map(|node| {
        let ended = node.finish();
        ended.clean();
        ended.log
    });
    assert!(logs[0].contains("the certificate ends soon"), "{}", logs[0]);
    assert!(
        logs[0].contains("cannot be used, the old one stays"),
        "{}",
        logs[0]
    );
}

/// Two namespaces with the addresses of the guide, joined by a cable.
struct Namespaces(Vec<String>);

fn ip(arguments: &[&str]) -> bool {
    let run = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

impl Namespaces {
    fn new() -> Option<Self> {
        let process = std::process::id();
        let names: Vec<String> = (0..2)
            .map(|side| format!("heqis-guide-{process}-{side}"))
            .collect();
        let spaces = Self(names.clone());
        let [near, far] = [&names[0], &names[1]].map(String::as_str);
        let made = names.iter().all(|name| ip(&["netns", "add", name]))
            && ip(&[
                "-n", near, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", far,
            ]);
        let addressed = made
            && BOARDS.iter().zip([near, far]).all(|((_, address), name)| {
                ip(&[
                    "-n",
                    name,
                    "addr",
                    "add",
                    &format!("{address}/24"),
                    "dev",
                    "cable",
                ]) && ip(&["-n", name, "link", "set", "cable", "up"])
                    && ip(&["-n", name, "link", "set", "lo", "up"])
            });
        addressed.then_some(spaces)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&["netns", "del", name]);
        }
    }
}

fn two_nodes_of_the_boards_profile_run_with_the_certificates_of_the_guide() {
    let place = Place::new();
    place.follow("sudo heqis-runtime check");
    let spaces = Namespaces::new().unwrap();
    let journal = place.path().join("decisions.jsonl");
    let start = |side: usize| -> Child {
        let (node, address) = BOARDS[side];
        let topology = place.topology(address).display().to_string();
        let path = format!("stages.journal.params.path=\"{}\"", journal.display());
        Command::new("ip")
            .args(["netns", "exec", &spaces.0[side], RUNTIME])
            .args([
                "--topology",
                &topology,
                "--profile",
                "boards",
                "--node",
                node,
            ])
            .args(["--set", &path, "--json"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let nodes = [start(0), start(1)];
    for node in nodes {
        let ended = node.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{log}");
        assert!(log.contains("tls+tcp://10.0.0."), "{log}");
        let summary: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_books_close(&summary);
    }
    let plain = Stand::dual_board();
    plain.run(&[]).clean();
    assert!(
        fs::read(&journal).unwrap() == plain.journal_bytes("journal"),
        "the same bars give the same journal, with TLS and without"
    );
}

fn main() -> ExitCode {
    let missing = match Namespaces::new() {
        Some(_) => None,
        None => Some("no right to make network namespaces with `ip`".to_owned()),
    };
    run([
        Group::always(tests![
            the_commands_of_the_guide_give_each_board_what_it_needs,
            commands_name_what_is_wrong_and_what_to_do,
            a_running_node_reads_new_certificates_and_reports_the_days_that_are_left,
        ]),
        Group::needs(
            missing,
            tests![two_nodes_of_the_boards_profile_run_with_the_certificates_of_the_guide],
        ),
    ])
}
