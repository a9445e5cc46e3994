//! The subcommands that only look: what they print, where, and with which exit code.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use clap::Parser as _;
use heqis_runtime::cli::{self, Cli, Command, World};
use heqis_runtime::topology::report::Look;
use serde_json::Value;

/// Exit code, standard output and standard error of a command line.
fn heqis_runtime(arguments: &[&str]) -> (u8, String, String) {
    let world = World {
        directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults"),
        overrides: None,
        look: Look::Plain,
        width: 100,
    };
    let registry = support::registry();
    let cli = Cli::try_parse_from([&["heqis-runtime"], arguments].concat()).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = match cli.command.as_ref().unwrap() {
        Command::Certs(args) => cli::certs::certs(args, &world, &registry, &mut out, &mut err),
        Command::Check(args) => cli::check::check(args, &world, &registry, &mut out, &mut err),
        Command::Graph(args) => cli::graph::graph(args, &world, &registry, &mut out, &mut err),
        Command::Journal(args) => cli::journal::journal(args, &world, &mut out, &mut err),
        Command::Stages(args) => cli::stages::stages(args, &world, &registry, &mut out, &mut err),
        Command::Schema => cli::schema::schema(&registry, &mut out),
    };
    (
        code.unwrap(),
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

#[test]
fn a_faulty_topology_ends_with_code_2_and_draws_its_faults_on_standard_error() {
    let (code, out, err) = heqis_runtime(&["check", "unused-node.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("E0308 unused-node") && err.ends_with("unused-node.toml: 1 fault\n"),
        "{err}"
    );
}

#[test]
fn json_goes_to_standard_output_with_or_without_faults() {
    let (code, out, err) = heqis_runtime(&["check", "unused-node.toml", "--format", "json"]);
    assert_eq!((code, err.as_str()), (2, ""));
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap()[0]["code"],
        "E0308"
    );
    let sound = [
        "check",
        "unknown-core.toml",
        "--format",
        "json",
        "--set",
        "stages.tap.cores=[3]",
    ];
    assert_eq!(heqis_runtime(&sound), (0, "[]\n".to_owned(), String::new()));
}

#[test]
fn a_sound_topology_is_summed_up_in_one_line() {
    let (code, out, err) = heqis_runtime(&[
        "check",
        "unknown-core.toml",
        "--set",
        "stages.tap.cores=[3]",
    ]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "small: no faults in 1 node, 2 stages and 1 edge (0 between nodes)\n"
    );
}

#[test]
fn a_faulty_topology_is_not_drawn_as_a_graph() {
    let (code, out, err) = heqis_runtime(&["graph", "cycle.toml", "--format", "dot"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("E0306 cycle"), "{err}");
}

#[test]
fn every_kind_is_listed_with_its_ports() {
    let (code, out, _) = heqis_runtime(&["stages"]);
    assert_eq!(code, 0);
    let row = out
        .lines()
        .find(|line| line.trim_start().starts_with("engine"))
        .unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["engine", "row", "prediction", "predicts"]
    );
    let source = out
        .lines()
        .find(|line| line.trim_start().starts_with("replay"))
        .unwrap();
    assert_eq!(
        source.split_whitespace().take(3).collect::<Vec<_>>(),
        ["replay", "-", "bar"]
    );
}

#[test]
fn a_kind_is_described_with_the_type_default_and_meaning_of_each_parameter() {
    let (_, out, _) = heqis_runtime(&["stages", "cleaner"]);
    let words = |name: &str| {
        let row = out
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap();
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        words("max_move"),
        "max_move number 0..1 none Largest move of one bar, as a fraction."
    );
    let (_, out, _) = heqis_runtime(&["stages", "replay"]);
    assert!(out.contains("replayable"), "{out}");
    assert!(out.contains("number >= 0.1 | \"max\""), "{out}");
    assert!(out.contains("required"), "{out}");
}

#[test]
fn an_unknown_kind_gets_a_hint() {
    let (code, out, err) = heqis_runtime(&["stages", "claner"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "heqis-runtime: there is no stage kind `claner`; did you mean `cleaner`?\n"
    );
}

#[test]
fn the_editor_schema_ties_parameters_to_kinds_and_every_reference_in_it_leads_somewhere() {
    let (_, out, _) = heqis_runtime(&["schema"]);
    let schema: Value = serde_json::from_str(&out).unwrap();
    let kinds = schema
        .pointer("/$defs/StageSpec/properties/kind/oneOf")
        .unwrap()
        .as_array()
        .unwrap();
    assert_eq!(kinds.len(), support::registry().kinds().count());
    let mut references = 0;
    let mut open = vec![&schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(object) => {
                if let Some(target) = object.get("$ref").and_then(Value::as_str) {
                    assert!(
                        schema.pointer(target.trim_start_matches('#')).is_some(),
                        "{target} leads nowhere"
                    );
                    references += 1;
                }
                open.extend(object.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(references > kinds.len());
}
