//! The shipped topologies hold no fault, whatever the profile, and their schema is current.
//!
//! `HEQIS_BLESS=1 cargo test -p heqis-runtime --test topologies` rewrites `topologies/heqis.schema.json`.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-bundle/tests/support/mod.rs"]
mod bundles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use heqis_runtime::cli::schema;
use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Override, Plan, Request, load};
use serde_json::Value;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies")
}

/// The faults of the two boards with some settings changed.
fn faults(sets: &[&str]) -> Vec<String> {
    let mut request = Request::new(directory().join("dual-board.toml"), "/");
    request
        .overrides
        .extend(sets.iter().map(|set| Override::set(*set)));
    match load(&request, &registry()) {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .list
            .iter()
            .map(|fault| format!("{} {}", fault.code.name(), fault.message))
            .collect(),
    }
}

fn plan(name: &str) -> Plan {
    // The root as working directory: the files must not depend on where they are used from.
    let mut request = Request::new(directory().join(name), "/");
    request.every_profile = true;
    load(&request, &registry()).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn every_shipped_topology_is_sound_with_every_profile() {
    let mut checked = 0;
    for entry in fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let plan = plan(path.file_name().unwrap().to_str().unwrap());
            assert_eq!(Some(plan.name.as_str()), path.file_stem().unwrap().to_str());
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} topologies were found");
}

#[test]
fn two_bundles_that_do_not_fit_each_other_are_a_fault_before_the_start() {
    assert_eq!(
        faults(&["stages.features.params.rows=4"]),
        [
            "contract-mismatch stage `engine` (trt-engine) requires rows = 32, but `features` provides rows = 4"
        ]
    );
    assert_eq!(
        faults(&["stages.indicators.params.features=[\"return_1\", \"return_5\"]"]),
        [
            "contract-mismatch stage `features` (npu-feature) requires number of features = 12, but `indicators` provides \
             number of features = 2"
        ]
    );
    // The factors of another encoder are other numbers under the same names.
    let other = faults(&["stages.features.params.bundle=\"models/baseline-factors\""]);
    assert!(
        other.iter().any(|fault| fault.starts_with(
            "contract-mismatch stage `engine` (trt-engine) after `features`: bundle "
        ) && fault.contains(
            "multi-gan-direction: scaler_params.json must be that of the feature model "
        )),
        "{other:?}"
    );
    assert_eq!(faults(&["stages.features.params.rows=32"]), [""; 0]);
}

#[test]
fn every_defect_of_a_bundle_is_a_fault_with_the_contracts_message() {
    let root = tempfile::tempdir().unwrap();
    for case in bundles::cases() {
        let (stage, kind) = match case.task {
            "factors" => ("features", "npu-feature"),
            _ => ("engine", "trt-engine"),
        };
        let (dir, message) = case.write(root.path());
        let set = format!("stages.{stage}.params.bundle={:?}", dir.to_str().unwrap());
        let faults = faults(&[&set]);
        let expected = format!("unusable-parameters stage `{stage}` ({kind}): {message}");
        assert!(
            faults.iter().any(|fault| fault.starts_with(&expected)),
            "{}: expected {expected:?}, got {faults:?}",
            case.name
        );
    }
}

#[test]
fn filters_without_their_indicators_are_a_fault_before_the_start() {
    let trend = "stages.signal.params.filters={ trend = { short_bars = 5, long_bars = 20 } }";
    let market = |long_bars: usize| {
        let trend = format!("{{ trend = {{ short_bars = 5, long_bars = {long_bars} }} }}");
        format!("stages.indicators.params.market={{ filter_indicators = {trend} }}")
    };
    let wanted = "contract-mismatch stage `signal` (signal) requires filter indicators = [\"ma_5\", \"ma_20\"], but \
                  `indicators` provides filter indicators = ";
    // Both speak through the models and the ring buffer between them.
    assert_eq!(faults(&[trend]), [format!("{wanted}nothing")]);
    assert_eq!(
        faults(&[trend, &market(30)]),
        [format!("{wanted}[\"ma_5\", \"ma_30\"]")]
    );
    assert_eq!(faults(&[trend, &market(20)]), [""; 0]);
    // Limits and the entry price need the market, and no filter indicator.
    let stop = "stages.signal.params.filters={ stop_loss = 0.1 }";
    assert_eq!(faults(&[stop]).len(), 1);
    assert_eq!(
        faults(&[stop, "stages.indicators.params.market={}"]),
        [""; 0]
    );
    // Indicators that no filter reads are allowed.
    assert_eq!(faults(&[&market(20)]), [""; 0]);
}

#[test]
fn one_host_and_two_boards_run_the_same_stages() {
    let stages = |plan: &Plan| -> Vec<(String, &str)> {
        let mut stages: Vec<_> = plan
            .stages
            .iter()
            .map(|stage| (stage.name.clone(), stage.kind.name))
            .collect();
        stages.sort();
        stages
    };
    let (boards, host) = (plan("dual-board.toml"), plan("single-host.toml"));
    assert_eq!(stages(&boards), stages(&host));
    assert_eq!((boards.bridged().count(), host.bridged().count()), (2, 0));
}

#[test]
fn the_fan_out_shares_symbols_between_two_machines() {
    let plan = plan("fan-out.toml");
    let shared: Vec<&str> = plan
        .edges
        .iter()
        .filter(|edge| edge.options.partition_by_key)
        .map(|edge| edge.name.as_str())
        .collect();
    assert_eq!(shared, ["ring->engine-left", "ring->engine-right"]);
}

#[test]
fn the_shipped_editor_schema_is_current() {
    let path = directory().join("heqis.schema.json");
    let current = schema::text(&registry());
    if std::env::var_os("HEQIS_BLESS").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let shipped = fs::read_to_string(path).unwrap();
    let kinds = |text: &str| -> BTreeSet<String> {
        let schema: Value = serde_json::from_str(text).unwrap();
        let kinds = schema["$defs"]["kinds"].as_object().unwrap();
        kinds.keys().cloned().collect()
    };
    let (lists, knows) = (kinds(&shipped), kinds(&current));
    assert!(
        shipped == current,
        "topologies/heqis.schema.json lacks the kinds {:?}, has {:?} too many, or describes parameters that have changed: \
         `HEQIS_BLESS=1 cargo test -p heqis-runtime --test topologies` rewrites it",
        knows.difference(&lists).collect::<Vec<_>>(),
        lists.difference(&knows).collect::<Vec<_>>(),
    );
}

/// Parameters that may be left out, without a default in the schema, by their path.
fn without_default(schema: &Value, root: &Value, path: &str, found: &mut Vec<String>) {
    let target = schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'));
    let schema = target
        .and_then(|target| root.pointer(target))
        .unwrap_or(schema);
    let required = schema["required"].as_array().into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let parts = ["anyOf", "oneOf"]
            .into_iter()
            .flat_map(|key| property[key].as_array());
        let types = parts
            .flatten()
            .chain([property])
            .flat_map(|part| match &part["type"] {
                Value::Array(types) => types.clone(),
                one => vec![one.clone()],
            });
        // `Option`, and tables and lists that are empty: nothing is what they are without a value.
        let may_be_nothing = types
            .filter_map(|name| name.as_str().map(str::to_owned))
            .any(|name| ["null", "array", "object"].contains(&name.as_str()));
        if property.get("default").is_none()
            && !may_be_nothing
            && !required.contains(&name.as_str())
        {
            found.push(path.clone());
        }
        if path.matches('.').count() < 4 {
            without_default(property, root, &path, found);
        }
    }
}

#[test]
fn a_parameter_with_a_default_shows_it() {
    let (registry, mut found) = (registry(), Vec::new());
    for kind in registry.kinds() {
        without_default(&kind.schema, &kind.schema, kind.name, &mut found);
    }
    assert!(
        found.is_empty(),
        "`heqis-runtime stages` shows no default for {found:?}: their types need `Serialize`"
    );
    let idle = &registry.kind("tcp-lines").unwrap().schema["properties"]["idle_timeout"];
    assert_eq!(idle["default"], "60s");
}

/// The lists of kinds that only readers use, and nothing derives from the registry.
#[test]
fn every_kind_is_in_a_diagram_and_every_live_source_in_the_table_of_the_page() {
    let read = |path: &str| fs::read_to_string(directory().join("..").join(path)).unwrap();
    let nodes = read("nodes/gateway/src/lib.rs") + &read("nodes/compute/src/lib.rs");
    let diagrams: BTreeSet<&str> = nodes
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .flat_map(str::split_whitespace)
        .collect();
    let page = read("docs/topology.md");
    let (_, table) = page.split_once("### Live sources\n").unwrap();
    let (table, _) = table.split_once("\n#").unwrap();
    for kind in registry().kinds() {
        // The ring buffer is no stage of a node.
        assert!(
            diagrams.contains(kind.name) || kind.name == "ring-buffer",
            "`{}` is missing in the diagram at the top of nodes/gateway/src/lib.rs or nodes/compute/src/lib.rs",
            kind.name
        );
        let is_live = kind.is_source() && !kind.replayable;
        assert!(
            !is_live || table.contains(&format!("\n| `{}` |", kind.name)),
            "`{}` is missing in the table of live sources of docs/topology.md",
            kind.name
        );
    }
}
