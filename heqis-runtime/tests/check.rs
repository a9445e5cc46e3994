//! Every rule of a topology has a file that breaks it, and the report is what a reader expects.
//!
//! `HEQIS_BLESS=1 cargo test -p heqis-runtime --test check` rewrites the expected reports in `tests/faults`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heqis_actors::{Delivery, Policy};
use heqis_runtime::topology::report::{self, Look};
use heqis_runtime::topology::{Code, Faults, Override, Plan, Request, graph, load, load_text};

fn faults_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults")
}

/// The fault files by name, each with the arguments of its first line.
fn fixtures() -> Vec<(String, String)> {
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(faults_directory()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            fixtures.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    fixtures.sort();
    fixtures
}

/// What `heqis-runtime check` would be asked: `#: --set path=value --profile name` on the first line.
fn request(name: &str, text: &str) -> Request {
    let mut request = Request::new(format!("{name}.toml"), faults_directory());
    let arguments = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#: "))
        .unwrap_or_default();
    let mut words = arguments.split(' ');
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        match option {
            "--set" => request.overrides.push(Override::set(value)),
            "--profile" => request.profile = Some(value.to_owned()),
            other => panic!("{name}: {other} is no option of a fault file"),
        }
    }
    request
}

fn check(text: &str) -> Result<Plan, Faults> {
    load_text(
        text,
        &Request::new("topology.toml", faults_directory()),
        &support::registry(),
    )
}

#[test]
fn every_fault_file_gives_its_own_fault_and_the_expected_report() {
    let bless = std::env::var_os("HEQIS_BLESS").is_some();
    let mut differing = Vec::new();
    for (name, text) in fixtures() {
        let faults = match load(&request(&name, &text), &support::registry()) {
            Err(faults) => faults,
            Ok(plan) => plan.warnings,
        };
        assert!(!faults.list.is_empty(), "{name}.toml has no fault");
        let drawn = report::render(&faults, Look::Plain, 100);
        let golden = faults_directory().join(format!("{name}.txt"));
        if bless {
            fs::write(&golden, &drawn).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != drawn {
            differing.push(format!("--- {name} ---\n{drawn}"));
        }
        let wanted = name.split('.').next().unwrap();
        for fault in faults.list.iter().filter(|_| wanted != "many") {
            assert_eq!(fault.code.name(), wanted, "{name}.toml: {}", fault.message);
        }
    }
    assert!(
        differing.is_empty(),
        "other reports than expected:\n{}",
        differing.join("\n")
    );
}

#[test]
fn every_code_has_a_fault_file_and_is_documented() {
    let files: BTreeSet<String> = fixtures()
        .into_iter()
        .map(|(name, _)| name.split('.').next().unwrap().to_owned())
        .collect();
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/topology.md"))
            .unwrap();
    for code in Code::ALL {
        // A file that cannot be read cannot be a file of this directory.
        assert!(
            *code == Code::UnreadableFile || files.contains(code.name()),
            "no file breaks {}",
            code.name()
        );
        let row = format!(
            "| `{}` | `{}` | {} |",
            code.number(),
            code.name(),
            code.rule()
        );
        assert!(
            guide.contains(&row),
            "docs/topology.md lacks the line\n{row}"
        );
    }
}

#[test]
fn a_file_with_many_faults_reports_them_all() {
    let (name, text) = fixtures()
        .into_iter()
        .find(|(name, _)| name == "many")
        .unwrap();
    let faults = load(&request(&name, &text), &support::registry()).unwrap_err();
    let found: BTreeSet<Code> = faults.list.iter().map(|fault| fault.code).collect();
    for code in [
        Code::UnknownKey,
        Code::UnknownNode,
        Code::UnknownStage,
        Code::UnknownKind,
        Code::UnknownParameter,
        Code::BadName,
        Code::MissingKey,
        Code::WrongType,
        Code::OutOfRange,
        Code::UnknownValue,
        Code::BadTime,
        Code::AddressInUse,
    ] {
        assert!(found.contains(&code), "{} is not reported", code.name());
    }
    assert!(
        faults.list.len() >= 20,
        "only {} faults are reported",
        faults.list.len()
    );
}

#[test]
fn a_missing_or_binary_file_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("binary.toml"), b"heqis = 1 # \xff").unwrap();
    for (name, reason) in [
        ("nowhere.toml", "cannot be read"),
        ("binary.toml", "is not UTF-8 at byte 12"),
    ] {
        let faults = load(&Request::new(name, directory.path()), &support::registry()).unwrap_err();
        assert_eq!(faults.list.len(), 1);
        assert_eq!(faults.list[0].code, Code::UnreadableFile);
        let drawn = report::render(&faults, Look::Plain, 100);
        assert!(drawn.contains(name) && drawn.contains(reason), "{drawn}");
    }
}

#[test]
fn json_gives_code_place_message_and_help_of_each_fault() {
    let (name, text) = fixtures()
        .into_iter()
        .find(|(name, _)| name == "unknown-node")
        .unwrap();
    let faults = load(&request(&name, &text), &support::registry()).unwrap_err();
    let json: serde_json::Value = serde_json::from_str(&report::json(&faults)).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "code": "E0102",
            "name": "unknown-node",
            "file": "unknown-node.toml",
            "line": 7,
            "column": 30,
            "message": "stage `tap` is placed on the unknown node `gatway`",
            "help": "did you mean `gateway`?",
        }])
    );
}

#[test]
fn a_sound_file_becomes_a_plan_with_every_default_filled_in() {
    let plan = check(support::SOUND).unwrap();
    assert_eq!(
        (plan.name.as_str(), plan.drain_timeout),
        ("sound", Duration::from_millis(1500))
    );
    let names: Vec<&str> = plan
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["market", "rows", "ring", "engine", "journal", "feedback"]
    );
    assert!(
        plan.stages
            .iter()
            .enumerate()
            .all(|(at, stage)| usize::from(stage.index) == at && stage.prepared.is_some())
    );
    assert!(plan.stages[0].is_source() && plan.stages[0].kind.replayable);

    let engine = &plan.stages[3].options;
    assert_eq!(
        (engine.batch.max, engine.batch.max_delay),
        (8, Duration::from_micros(200))
    );
    assert_eq!(
        (engine.restart.max, engine.restart.backoff_min),
        (2, Duration::from_millis(10))
    );
    assert_eq!(
        plan.stages[4].options.restart.max, 0,
        "a policy of never allows no restart"
    );

    let first = &plan.edges[0];
    assert_eq!(
        (first.name.as_str(), first.route, first.bridge.is_none()),
        ("market->rows", 0, true)
    );
    assert_eq!(
        (first.options.capacity, first.options.max_age),
        (256, Some(Duration::from_secs(1)))
    );
    assert_eq!(plan.edges[1].options.capacity, 1, "latest keeps one frame");

    let out = plan.edges[2].bridge.as_ref().unwrap();
    assert_eq!(
        out.options.endpoint.to_string(),
        "tls+tcp://10.0.0.2:5555",
        "the receiving node listens"
    );
    assert_eq!(
        out.payload.name(),
        "row",
        "a ring buffer carries what feeds it"
    );
    assert_eq!(
        (out.options.credit, out.options.delivery),
        (32, Delivery::AtLeastOnce)
    );
    assert_eq!(
        plan.edges[2].options.max_age,
        Some(Duration::from_millis(50))
    );

    let back = plan.edges[4].bridge.as_ref().unwrap();
    assert_eq!(back.options.endpoint.to_string(), "tls+tcp://10.0.0.1:5556");
    assert_eq!(
        (plan.edges[4].options.policy, back.options.delivery),
        (Policy::DropOldest, Delivery::AtMostOnce)
    );
    assert_eq!(plan.budgets[0].path, [0, 3]);
}

#[test]
fn profiles_yield_to_the_environment_and_that_to_the_command_line() {
    let mut request = Request::new("topology.toml", faults_directory());
    let endpoint = |request: &Request| {
        let plan = load_text(support::SOUND, request, &support::registry()).unwrap();
        plan.edges[2]
            .bridge
            .as_ref()
            .unwrap()
            .options
            .endpoint
            .to_string()
    };
    request.profile = Some("laptop".into());
    assert_eq!(endpoint(&request), "tls+tcp://localhost:6000");
    request.overrides = Override::from_environment(
        "nodes.compute.address=10.9.9.9; edges.ring->engine.transport.port=7000",
    );
    assert_eq!(endpoint(&request), "tls+tcp://10.9.9.9:7000");
    request
        .overrides
        .push(Override::set("nodes.compute.address=\"jetson.local\""));
    assert_eq!(endpoint(&request), "tls+tcp://jetson.local:7000");
}

#[test]
fn a_profile_that_is_not_chosen_is_checked_too() {
    let text = support::SOUND.replace("board = \"host\"\naddress", "bord = \"host\"\naddress");
    assert!(check(&text).is_ok());
    let mut request = Request::new("topology.toml", faults_directory());
    request.every_profile = true;
    let faults = load_text(&text, &request, &support::registry()).unwrap_err();
    assert_eq!(faults.list.len(), 1, "{faults}");
    assert_eq!(faults.list[0].code, Code::UnknownKey);
    assert!(
        faults.list[0].message.starts_with("with --profile laptop:"),
        "{faults}"
    );
}

#[test]
fn the_same_words_on_two_machines_are_two_addresses() {
    let text = support::SOUND.replace(
        "board = \"jetson\"",
        "board = \"jetson\"\nmetrics = \"0.0.0.0:9101\"",
    );
    assert!(
        check(&text).is_ok(),
        "both nodes serve metrics everywhere, each on its own machine"
    );
    let faults = check(&text.replace("10.0.0.2", "10.0.0.1")).unwrap_err();
    assert_eq!(faults.list.len(), 1, "{faults}");
    assert_eq!(faults.list[0].code, Code::AddressInUse);
    assert!(
        check(
            &text
                .replace("10.0.0.2", "localhost")
                .replace("10.0.0.1", "127.0.0.1")
        )
        .is_err()
    );
}

#[test]
fn relative_paths_start_at_the_base_that_the_file_states() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("topologies")).unwrap();
    fs::write(directory.path().join("bars.csv"), "").unwrap();
    let text = support::SOUND.replace("name = \"sound\"", "name = \"sound\"\nbase = \"..\"");
    let file = directory.path().join("topologies/sound.toml");
    fs::write(&file, text).unwrap();
    let plan = load(&Request::new(&file, "/"), &support::registry()).unwrap();
    assert_eq!(plan.base, directory.path().canonicalize().unwrap());
}

#[test]
fn files_of_other_nodes_are_not_needed_when_one_node_is_asked_for() {
    let text = support::SOUND
        .replace("bars.csv", "on-the-gateway-only.csv")
        .replace("name = \"sound\"", "name = \"sound\"\ninsecure = true")
        .replace("tls+tcp", "tcp");
    let mut request = Request::new("topology.toml", faults_directory());
    assert!(load_text(&text, &request, &support::registry()).is_err());
    request.node = Some("compute".into());
    let plan = load_text(&text, &request, &support::registry()).unwrap();
    let prepared: Vec<bool> = plan
        .stages
        .iter()
        .map(|stage| stage.prepared.is_some())
        .collect();
    assert_eq!(prepared, [false, false, false, true, true, false]);
}

#[test]
fn drawings_name_every_stage_and_mark_what_crosses() {
    let plan = check(support::SOUND).unwrap();
    let (mermaid, dot) = (graph::mermaid(&plan), graph::dot(&plan));
    for stage in &plan.stages {
        assert!(
            mermaid.contains(&format!("stage_{}", stage.name))
                && dot.contains(&format!("\"{}\"", stage.name))
        );
    }
    assert!(
        mermaid.contains("stage_ring ==>|\"block 256<br/>tls+tcp://10.0.0.2:5555\"| stage_engine"),
        "{mermaid}"
    );
    assert!(
        mermaid.contains("stage_market -->|\"block 256\"| stage_rows"),
        "{mermaid}"
    );
    assert!(
        dot.contains(
            "\"ring\" -> \"engine\" [label=\"block 256\\ntls+tcp://10.0.0.2:5555\", penwidth=2];"
        ),
        "{dot}"
    );
}

#[test]
fn warnings_are_reported_with_a_plan_and_with_faults() {
    let (name, text) = fixtures()
        .into_iter()
        .find(|(name, _)| name == "order-not-repeatable")
        .unwrap();
    let plan = load(&request(&name, &text), &support::registry()).unwrap();
    let codes = |faults: &Faults| -> Vec<&str> {
        let codes = faults.list.iter().map(|fault| fault.code.number());
        codes.collect()
    };
    assert_eq!(codes(&plan.warnings), ["W0001"]);
    assert!(check(support::SOUND).unwrap().warnings.list.is_empty());
    let faulty = text.replace("kind = \"rows\"", "kind = \"rows\", cores = [9]");
    let faults = check(&faulty).unwrap_err();
    assert!(codes(&faults).contains(&"W0001") && faults.list.len() > 1);
    let drawn = report::render(&faults, Look::Plain, 100);
    assert!(drawn.ends_with(", 1 warning\n"), "{drawn}");
    // One worker, or no journal behind it, and the order is that of the source.
    assert!(
        check(&text.replace("workers = 2", "workers = 1"))
            .unwrap()
            .warnings
            .list
            .is_empty()
    );
}

#[test]
fn a_frame_is_counted_with_its_rows_features_and_encoding() {
    let (_, text) = fixtures()
        .into_iter()
        .find(|(name, _)| name == "frame-too-small")
        .unwrap();
    let refused = |encoding: &str, max_frame: usize| {
        let text = text
            .replace("\"f16\"", &format!("\"{encoding}\""))
            .replace("4600", &max_frame.to_string());
        check(&text).is_err()
    };
    // 64 rows of four features behind an envelope of 64 + 4096 bytes.
    for (encoding, bytes) in [("f32", 1024), ("f16", 512), ("int8", 264)] {
        assert!(refused(encoding, 4159 + bytes), "{encoding}");
        assert!(!refused(encoding, 4160 + bytes), "{encoding}");
    }
    // What the file leaves out is too small as well for 2^20 rows.
    let large = text
        .replace("rows = 64", "rows = 1048576")
        .replace(", max_frame = 4600", "");
    let faults = check(&large).unwrap_err();
    assert_eq!(faults.list[0].code, Code::FrameTooSmall, "{faults}");
}

#[test]
fn partitions_that_meet_again_are_one_way() {
    let (_, text) = fixtures()
        .into_iter()
        .find(|(name, _)| name == "two-ways.partition")
        .unwrap();
    let without_all = text
        .replace("[[edges]]\nfrom = \"market\"\nto = \"all\"\n", "")
        .replace("[[edges]]\nfrom = \"all\"\nto = \"tap\"\n", "")
        .replace("all = { kind = \"cleaner\", node = \"gateway\" }\n", "");
    assert!(check(&without_all).is_ok());
}
