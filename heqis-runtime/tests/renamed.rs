//! Former names of keys are accepted with a warning, and change nothing of what is run.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::Path;

use heqis_runtime::registry::registry;
use heqis_runtime::topology::{Code, Override, Plan, Request, editor_schema, load_text};
use serde_json::Value;

/// The shipped topology of one host, with a watch and a trading state under the names that are given.
fn plan(state: &str, file: &str, indicators: &str) -> Result<Plan, Vec<String>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies");
    let text = fs::read_to_string(directory.join("single-host.toml")).unwrap();
    let text = format!(
        "{text}\n[profiles.test.stages.signal.params]\n{state} = \"halted\"\n\
         filters = {{ stop_loss = 0.1 }}\n"
    );
    let mut request = Request::new(directory.join("single-host.toml"), "/");
    request.profile = Some("test".into());
    for set in [
        format!("stages.signal.params.{file}=\"state\""),
        format!("stages.indicators.params.market={{ {indicators} = {{}} }}"),
    ] {
        request.overrides.push(Override::set(set));
    }
    load_text(&text, &request, &registry()).map_err(|faults| {
        let list = faults.list.iter();
        list.map(|fault| format!("{} {}", fault.code.name(), fault.message))
            .collect()
    })
}

#[test]
fn parameters_under_their_former_names_run_the_same_with_a_warning_each() {
    let new = plan("trading_state", "trading_state_file", "filter_indicators").unwrap();
    let old = plan("kill", "kill_file", "gauges").unwrap();
    assert!(new.warnings.list.is_empty());
    let warnings: Vec<_> = (old.warnings.list.iter())
        .map(|warning| (warning.code, old.warnings.sources.name(warning.place)))
        .collect();
    let file = old.file.display().to_string();
    assert_eq!(
        warnings,
        [
            (Code::RenamedKey, file.as_str()),
            (Code::RenamedKey, "--set"),
            (Code::RenamedKey, "--set"),
        ]
    );
    for (new, old) in new.stages.iter().zip(&old.stages) {
        assert_eq!(new.params, old.params);
    }
    assert_eq!(new.identity(0), old.identity(0));
}

#[test]
fn a_former_name_in_one_layer_is_overridden_under_the_current_name_in_another() {
    let plan = |set: &str| {
        let text = "heqis = 1\ntopology.name = \"t\"\n\
            nodes.a = { board = \"host\", watch = { b = { silence = \"1s\" } } }\n\
            nodes.b = { board = \"host\" }\n\
            stages.m = { kind = \"simulated\", node = \"a\" }\n\
            stages.f = { kind = \"cleaner\", node = \"b\" }\n\
            edges = [{ from = \"m\", to = \"f\", transport = { scheme = \"tcp\", port = 5 } }]\n";
        let mut request = Request::new("t.toml", "/");
        request.overrides.push(Override::set(set));
        load_text(text, &request, &registry()).map_err(|faults| faults.to_string())
    };
    let faults = plan("nodes.a.watch.b.stall_timeout=2s").unwrap_err();
    // No stage has its parameters; of the watch nothing is wrong but the former name.
    let of_watch: Vec<&str> = faults
        .lines()
        .filter(|line| line.contains("watch"))
        .collect();
    assert_eq!(of_watch.len(), 1, "{faults}");
    assert!(of_watch[0].starts_with("t.toml:3:45: W0002"), "{faults}");
}

#[test]
fn the_schema_of_editors_marks_former_names_as_deprecated_and_has_none_in_a_default() {
    fn objects<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
        visit(value);
        match value {
            Value::Object(object) => object.values().for_each(|value| objects(value, visit)),
            Value::Array(items) => items.iter().for_each(|item| objects(item, visit)),
            _ => {}
        }
    }
    let schema = editor_schema(&registry());
    let mut former = Vec::new();
    objects(&schema, &mut |value| {
        for (name, property) in value["properties"].as_object().into_iter().flatten() {
            if let Some(old) = property["x-formerly"].as_str() {
                assert!(
                    value["properties"][old]["deprecated"] == true,
                    "{old} of {name}"
                );
                former.push(old);
            }
        }
    });
    assert!(former.len() >= 6, "{former:?}");
    let mut defaults = 0;
    objects(&schema, &mut |value| {
        objects(&value["default"], &mut |default| {
            for key in default
                .as_object()
                .into_iter()
                .flat_map(|object| object.keys())
            {
                defaults += 1;
                assert!(!former.contains(&key.as_str()), "{key} in a default");
            }
        });
    });
    assert!(defaults > 10);
}
