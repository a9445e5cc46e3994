//! Whatever lies where a file is expected, the check ends at once and says so: it never waits for a pipe and never reads a
//! device.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Override, Request, load};

/// Longer than any check here takes, and shorter than anyone would wait.
const AT_ONCE: Duration = Duration::from_secs(30);

fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap()
}

/// Checks a file with settings changed, in a thread that may hang; the faults by name and message.
fn faults(file: PathBuf, sets: Vec<String>) -> Vec<String> {
    let (answers, asked) = channel();
    let what = format!("{} {sets:?}", file.display());
    std::thread::spawn(move || {
        let mut request = Request::new(file, repository());
        request
            .overrides
            .extend(sets.into_iter().map(Override::set));
        let faults = match load(&request, &registry()) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .list
                .iter()
                .map(|fault| format!("{} {}", fault.code.name(), fault.message))
                .collect(),
        };
        answers.send(faults)
    });
    let found = asked.recv_timeout(AT_ONCE);
    found.unwrap_or_else(|_| panic!("the check hangs: {what}"))
}

/// A pipe, a directory and a device, and what is none of them in a way of its own.
fn awful(directory: &Path) -> Vec<PathBuf> {
    let pipe = directory.join("pipe");
    if !pipe.exists() {
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        fs::create_dir(directory.join("directory")).unwrap();
        symlink("/dev/zero", directory.join("zero")).unwrap();
        symlink(&pipe, directory.join("to-pipe")).unwrap();
    }
    let made = ["pipe", "directory", "zero", "to-pipe"];
    made.map(|name| directory.join(name)).to_vec()
}

#[test]
fn no_path_among_the_parameters_makes_the_check_wait() {
    let directory = tempfile::tempdir().unwrap();
    let live = fs::read_to_string(repository().join("topologies/live-tcp.toml")).unwrap();
    let tcp = "\"tcp-lines\"\nnode = \"gateway\"\nparams = { listen = \"127.0.0.1:5700\", format = \"json\" }";
    assert!(live.contains(tcp));
    let base = format!("base = \"{}\"", repository().display());
    let serial = "\"serial\"\nnode = \"gateway\"\nparams = { path = \"/dev/ttyS99\" }";
    let texts = [
        ("tcp.toml", live.clone()),
        ("serial.toml", live.replace(tcp, serial)),
    ];
    let texts = texts.map(|(name, text)| {
        let file = directory.path().join(name);
        fs::write(&file, text.replace("base = \"..\"", &base)).unwrap();
        assert_eq!(faults(file.clone(), Vec::new()), [""; 0]);
        file
    });
    for path in awful(directory.path()) {
        let shown = path.display().to_string();
        for (sets, wanted) in [
            (
                &["stages.market.params.paths=[\"PATH\"]"][..],
                "unusable-parameters",
            ),
            (
                &["stages.features.params.bundle=\"PATH\""],
                "unusable-parameters",
            ),
            (
                &["stages.engine.params.bundle=\"PATH\""],
                "unusable-parameters",
            ),
            (
                &["stages.signal.params.trading_state_file=\"PATH\""],
                "unusable-parameters",
            ),
            (
                &["stages.journal.params.path=\"PATH\""],
                "unusable-parameters",
            ),
            (
                &["nodes.gateway.dashboard={ address = \"127.0.0.1:9180\", names = \"PATH\" }"],
                "unusable-file",
            ),
        ] {
            let sets: Vec<String> = sets.iter().map(|set| set.replace("PATH", &shown)).collect();
            let found = faults(
                repository().join("topologies/dual-board.toml"),
                sets.clone(),
            );
            assert!(
                found.iter().any(|fault| fault.starts_with(wanted)),
                "{sets:?}: {found:?}"
            );
        }
    }
    for path in awful(directory.path()) {
        let set = format!("stages.market.params.symbols_file=\"{}\"", path.display());
        for file in &texts {
            let found = faults(file.clone(), vec![set.clone()]);
            assert!(
                found
                    .iter()
                    .any(|fault| fault.contains("must be a regular file")),
                "{found:?}"
            );
        }
    }
    // What is no character device is no line.
    for path in ["pipe", "directory", "to-pipe"] {
        let path = directory.path().join(path);
        let set = format!("stages.market.params.path=\"{}\"", path.display());
        let found = faults(texts[1].clone(), vec![set]);
        assert!(
            found.iter().any(|fault| fault.contains("serial line")),
            "{found:?}"
        );
    }
}

#[test]
fn no_file_of_a_bundle_makes_the_check_wait() {
    let directory = tempfile::tempdir().unwrap();
    let shipped = repository().join("models/baseline-direction");
    for name in ["manifest.json", "model.onnx", "scaler_params.json"] {
        for (at, path) in awful(directory.path()).into_iter().enumerate() {
            let bundle = directory.path().join(format!("{name}-{at}"));
            fs::create_dir(&bundle).unwrap();
            for entry in fs::read_dir(&shipped).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name() != name {
                    fs::copy(entry.path(), bundle.join(entry.file_name())).unwrap();
                }
            }
            match path.is_dir() {
                true => fs::create_dir(bundle.join(name)).unwrap(),
                false if path.ends_with("pipe") => {
                    let made = Command::new("mkfifo").arg(bundle.join(name)).status();
                    assert!(made.unwrap().success());
                }
                false => symlink(&path, bundle.join(name)).unwrap(),
            }
            let set = format!("stages.engine.params.bundle=\"{}\"", bundle.display());
            let found = faults(repository().join("topologies/dual-board.toml"), vec![set]);
            assert!(found.iter().any(|fault| fault.contains(name)), "{found:?}");
        }
    }
}

#[test]
fn a_topology_file_is_a_regular_file_of_a_bounded_size() {
    let directory = tempfile::tempdir().unwrap();
    for path in awful(directory.path()) {
        let found = faults(path, Vec::new());
        assert!(
            found.len() == 1 && found[0].contains("must be a regular file"),
            "{found:?}"
        );
    }
    let large = directory.path().join("large.toml");
    let file = fs::File::create(&large).unwrap();
    file.set_len(16 * 1024 * 1024 + 1).unwrap();
    let found = faults(large, Vec::new());
    assert!(
        found[0].contains("must hold at most 16777216 bytes"),
        "{found:?}"
    );
}

#[test]
fn a_base_that_is_no_directory_is_a_fault_of_the_files_below_it() {
    let directory = tempfile::tempdir().unwrap();
    awful(directory.path());
    let text = fs::read_to_string(repository().join("topologies/dual-board.toml")).unwrap();
    let set = format!(
        "topology.base=\"{}\"",
        directory.path().join("pipe").display()
    );
    let file = directory.path().join("topology.toml");
    fs::write(&file, text).unwrap();
    let found = faults(file, vec![set]);
    assert!(!found.is_empty());
}
