//! The shipped topologies hold no fault, whatever the profile, and their schema is current.
//!
//! `HEQIS_BLESS=1 cargo test -p heqis-runtime --test topologies` rewrites `topologies/heqis.schema.json`.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-bundle/tests/support/mod.rs"]
mod bundles;

use std::fs;
use std::path::{Path, PathBuf};

use heqis_runtime::cli::schema;
use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Override, Plan, Request, load};

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
            "terms-mismatch stage `engine` (trt-engine) takes rows = 32, but `features` makes rows = 4"
        ]
    );
    assert_eq!(
        faults(&["stages.indicators.params.features=[\"return_1\", \"return_5\"]"]),
        [
            "terms-mismatch stage `features` (npu-feature) takes number of features = 12, but `indicators` makes \
             number of features = 2"
        ]
    );
    // The factors of another encoder are other numbers under the same names.
    let other = faults(&["stages.features.params.bundle=\"models/baseline-factors\""]);
    assert!(
        other.iter().any(|fault| fault
            .starts_with("terms-mismatch stage `engine` (trt-engine) after `features`: bundle ")
            && fault.contains(
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
fn filters_without_their_gauges_are_a_fault_before_the_start() {
    let trend = "stages.signal.params.filters={ trend = { short_bars = 5, long_bars = 20 } }";
    let market = |long_bars: usize| {
        let trend = format!("{{ trend = {{ short_bars = 5, long_bars = {long_bars} }} }}");
        format!("stages.indicators.params.market={{ filter_indicators = {trend} }}")
    };
    let wanted = "terms-mismatch stage `signal` (signal) takes filter indicators = [\"ma_5\", \"ma_20\"], but \
                  `indicators` makes filter indicators = ";
    // Both speak through the models and the ring buffer between them.
    assert_eq!(faults(&[trend]), [format!("{wanted}nothing")]);
    assert_eq!(
        faults(&[trend, &market(30)]),
        [format!("{wanted}[\"ma_5\", \"ma_30\"]")]
    );
    assert_eq!(faults(&[trend, &market(20)]), [""; 0]);
    // Limits and the entry price need the market, and no gauge.
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
    assert!(
        fs::read_to_string(path).unwrap() == current,
        "run this test with HEQIS_BLESS=1 to rewrite the schema"
    );
}
