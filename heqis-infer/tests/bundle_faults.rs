//! A correct bundle loads; a bundle with one fault is refused with the file, the rule and the value.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{SCALER, small_model, small_parts};
use heqis_infer::bundle::{BundleFault, MAX_MANIFEST_BYTES, sha256_hex};
use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{BackendKind, Bundle, BundleParts, CpuEngine, InferError, TensorSpec, open};
use serde_json::{Value, json};

/// A bundle in a directory of its own, to be damaged.
struct Fixture {
    root: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Fixture {
            root: tempfile::tempdir().unwrap(),
        };
        Bundle::write(fixture.dir(), &small_parts()).unwrap();
        fixture
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("small")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Changes the manifest as JSON.
    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest: Value =
            serde_json::from_slice(&fs::read(self.path("manifest.json")).unwrap()).unwrap();
        change(&mut manifest);
        fs::write(
            self.path("manifest.json"),
            serde_json::to_vec_pretty(&manifest).unwrap(),
        )
        .unwrap();
    }

    /// Replaces the model and makes the manifest's size and hash agree with it.
    fn replace_model(&self, model: &[u8]) {
        fs::write(self.path("model.onnx"), model).unwrap();
        self.edit(|manifest| {
            manifest["files"]["model.onnx"] =
                json!({"bytes": model.len(), "sha256": sha256_hex(model)});
        });
    }

    /// Loads the bundle, which must fail, and returns the file's name and the message after it.
    fn fault(&self) -> (String, String) {
        fault(Bundle::load(self.dir()))
    }
}

fn fault(result: Result<Bundle, InferError>) -> (String, String) {
    match result.map(|_| ()).unwrap_err() {
        InferError::Bundle { file, fault } => (
            Path::new(&file)
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            fault.to_string(),
        ),
        other => panic!("expected a bundle fault, got {other}"),
    }
}

fn assert_fault(fixture: &Fixture, file: &str, message: &str) {
    assert_eq!(fixture.fault(), (file.to_owned(), message.to_owned()));
}

#[test]
fn a_correct_bundle_loads_and_passes_its_self_test() {
    let fixture = Fixture::new();
    let bundle = Bundle::load(fixture.dir()).unwrap();
    assert_eq!(bundle.manifest().name, "small");
    assert_eq!(
        bundle.manifest().inputs,
        [TensorSpec::f32("window", [1, 4, 3])]
    );
    assert_eq!(bundle.model(), small_model());
    assert_eq!(bundle.scaler_params(), SCALER);
    let mut engine = CpuEngine::load(bundle.model()).unwrap();
    let measured = bundle.self_test(&mut engine).unwrap();
    assert_eq!(measured.windows, 2);
    assert!(measured.max_abs_error <= 1e-5);
}

#[test]
fn writing_twice_gives_the_same_bytes_and_leaves_no_other_file() {
    let fixture = Fixture::new();
    let read = || -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(fixture.dir())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    fs::read(entry.path()).unwrap(),
                )
            })
            .collect()
    };
    let first = read();
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        [
            "MODEL_CARD.md",
            "manifest.json",
            "model.onnx",
            "scaler_params.json"
        ]
    );
    Bundle::write(fixture.dir(), &small_parts()).unwrap();
    assert_eq!(read(), first);
    assert_eq!(fs::read_dir(fixture.root.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_the_earlier_bundle_as_it_was() {
    let fixture = Fixture::new();
    let before = fs::read(fixture.path("manifest.json")).unwrap();
    let damages: [fn(&mut BundleParts); 4] = [
        |parts| parts.golden.windows[0].outputs.get_mut("scores").unwrap()[2] = f32::NAN,
        |parts| parts.model.truncate(100),
        |parts| parts.scaler_params.push(b' '),
        |parts| {
            parts
                .other_files
                .insert("../outside".to_owned(), Vec::new());
        },
    ];
    for damage in damages {
        let mut parts = small_parts();
        damage(&mut parts);
        Bundle::write(fixture.dir(), &parts).unwrap_err();
        assert_eq!(fs::read(fixture.path("manifest.json")).unwrap(), before);
        assert_eq!(fs::read_dir(fixture.root.path()).unwrap().count(), 1);
        Bundle::load(fixture.dir()).unwrap();
    }
}

#[test]
fn a_directory_that_is_not_a_bundle_is_not_replaced() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("thesis");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("chapter-1.txt"), "ten years of work").unwrap();
    let (file, message) = fault(Bundle::write(&dir, &small_parts()));
    assert_eq!(
        (file.as_str(), message.as_str()),
        ("manifest.json", "does not exist")
    );
    assert!(dir.join("chapter-1.txt").is_file());
}

#[test]
fn a_missing_file_is_named() {
    for name in ["manifest.json", "model.onnx", "scaler_params.json"] {
        let fixture = Fixture::new();
        fs::remove_file(fixture.path(name)).unwrap();
        assert_fault(&fixture, name, "does not exist");
    }
}

#[test]
fn a_missing_model_card_is_no_fault() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("MODEL_CARD.md")).unwrap();
    Bundle::load(fixture.dir()).unwrap();
}

#[test]
fn one_flipped_bit_anywhere_in_the_model_is_found() {
    let fixture = Fixture::new();
    let model = small_model();
    for at in 0..model.len() {
        let mut flipped = model.clone();
        flipped[at] ^= 1;
        fs::write(fixture.path("model.onnx"), flipped).unwrap();
        let (file, message) = fixture.fault();
        assert_eq!(file, "model.onnx");
        assert!(
            message.starts_with("sha256 must be "),
            "byte {at}: {message}"
        );
    }
}

#[test]
fn a_changed_scaler_is_found() {
    let fixture = Fixture::new();
    fs::write(fixture.path("scaler_params.json"), b"{\"kind\":\"some\"}\n").unwrap();
    let (file, message) = fixture.fault();
    assert_eq!(file, "scaler_params.json");
    assert!(message.starts_with("sha256 must be "), "{message}");
}

#[test]
fn another_models_scaler_is_found_although_the_manifest_agrees_with_it() {
    let fixture = Fixture::new();
    let other = b"{\"kind\":\"some\"}\n";
    fs::write(fixture.path("scaler_params.json"), other).unwrap();
    fixture.edit(|manifest| {
        manifest["files"]["scaler_params.json"]["sha256"] = json!(sha256_hex(other))
    });
    let message = format!(
        "the model was trained with the scaler of sha256 {}, the bundle holds {}",
        sha256_hex(SCALER),
        sha256_hex(other)
    );
    assert_fault(&fixture, "model.onnx", &message);
}

#[test]
fn a_wrong_hash_in_the_manifest_is_found() {
    let fixture = Fixture::new();
    let wrong = "0".repeat(64);
    fixture.edit(|manifest| manifest["files"]["model.onnx"]["sha256"] = json!(wrong));
    let message = format!(
        "sha256 must be {wrong} by the manifest, is {}",
        sha256_hex(&small_model())
    );
    assert_fault(&fixture, "model.onnx", &message);
}

#[test]
fn a_truncated_file_is_found_by_its_size() {
    let fixture = Fixture::new();
    fs::write(fixture.path("model.onnx"), &small_model()[..100]).unwrap();
    let message = format!(
        "must have {} bytes by the manifest, has 100",
        small_model().len()
    );
    assert_fault(&fixture, "model.onnx", &message);
}

#[test]
fn a_truncated_model_with_a_matching_hash_is_refused_at_every_length() {
    let fixture = Fixture::new();
    let model = small_model();
    // The operator set follows the graph; a file that is cut later still has the whole graph.
    let graph_end = model
        .windows(4)
        .rposition(|bytes| bytes == b"\x42\x02\x10\x0d")
        .unwrap();
    for len in 0..=graph_end - 1 {
        fixture.replace_model(&model[..len]);
        assert_eq!(fixture.fault().0, "model.onnx", "length {len}");
    }
}

#[test]
fn one_wrong_shape_name_or_type_is_shown_with_the_models() {
    for (field, value, shown) in [
        ("shape", json!([1, 4, 2]), "window f32 [1, 4, 2]"),
        ("name", json!("windows"), "windows f32 [1, 4, 3]"),
        ("dtype", json!("i32"), "window i32 [1, 4, 3]"),
    ] {
        let fixture = Fixture::new();
        let len = if field == "shape" { 8 } else { 12 };
        fixture.edit(|manifest| {
            manifest["inputs"][0][field] = value;
            let name = manifest["inputs"][0]["name"].as_str().unwrap().to_owned();
            for window in manifest["golden"]["windows"].as_array_mut().unwrap() {
                window["inputs"] = json!({ name.as_str(): vec![0.0; len] });
            }
        });
        let message =
            format!("input must be {shown} by the manifest, the model has window f32 [1, 4, 3]");
        assert_fault(&fixture, "model.onnx", &message);
    }
}

#[test]
fn a_model_with_another_number_of_outputs_is_refused() {
    let fixture = Fixture::new();
    let mut graph = GraphBuilder::new("one output");
    let window = graph.input("window", &[1, 4, 3]);
    let scores = graph.node("scores", "Neg", &[&window], &[]);
    graph.output(&scores, &[1, 5]);
    fixture.replace_model(&graph.finish().unwrap());
    assert_fault(
        &fixture,
        "model.onnx",
        "the manifest has 2 outputs, the model has 1",
    );
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for pointer in [
        "",
        "/training_span",
        "/golden",
        "/golden/windows/0",
        "/inputs/0",
        "/files/model.onnx",
    ] {
        let fixture = Fixture::new();
        fixture.edit(|manifest| manifest.pointer_mut(pointer).unwrap()["colour"] = json!("green"));
        let (file, message) = fixture.fault();
        assert_eq!(file, "manifest.json");
        assert!(
            message.starts_with("unknown field `colour`"),
            "{pointer}: {message}"
        );
    }
}

#[test]
fn another_schema_version_is_refused_for_its_version() {
    for (schema, shown) in [
        (json!(2), "2"),
        (json!("1"), "\"1\""),
        (json!(null), "nothing"),
    ] {
        let fixture = Fixture::new();
        fixture.edit(|manifest| {
            manifest["schema"] = schema;
            manifest["key_of_the_future"] = json!(true);
        });
        assert_fault(
            &fixture,
            "manifest.json",
            &format!("schema must be 1, got {shown}"),
        );
    }
}

#[test]
fn a_file_name_that_leaves_the_directory_is_refused() {
    for name in [
        "../model.onnx",
        "/etc/passwd",
        "a/b",
        "..",
        ".hidden",
        "c:\\x",
        "",
        "manifest.json",
    ] {
        let fixture = Fixture::new();
        fixture.edit(|manifest| {
            manifest["files"][name] = json!({"bytes": 1, "sha256": "0".repeat(64)})
        });
        let message = format!(
            "files lists {name:?}, which must be a plain file name other than the manifest's and the card's"
        );
        assert_fault(&fixture, "manifest.json", &message);
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_refused_even_to_the_right_content() {
    let fixture = Fixture::new();
    let elsewhere = fixture.root.path().join("elsewhere.onnx");
    fs::rename(fixture.path("model.onnx"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, fixture.path("model.onnx")).unwrap();
    assert_fault(
        &fixture,
        "model.onnx",
        "must be a plain file, not a directory or a link",
    );
}

#[test]
fn a_manifest_over_its_limit_is_refused_unread() {
    let fixture = Fixture::new();
    let bytes = MAX_MANIFEST_BYTES + 10;
    fs::File::create(fixture.path("manifest.json"))
        .unwrap()
        .set_len(bytes)
        .unwrap();
    let message = format!("must have at most {MAX_MANIFEST_BYTES} bytes, has {bytes}");
    assert_fault(&fixture, "manifest.json", &message);
}

#[test]
fn a_field_that_breaks_its_rule_is_named_with_its_value() {
    let cases: [(&str, Value, &str); 14] = [
        ("/name", json!(""), "name must not be empty, got "),
        (
            "/window_bars",
            json!(0),
            "window_bars must be at least 1, got 0",
        ),
        (
            "/feature_names",
            json!(["a", "a"]),
            "feature_names must hold non-empty names, each once, got \"a\"",
        ),
        (
            "/training_span/from",
            json!("17.8.2004"),
            "training_span.from must be a date YYYY-MM-DD of the years 1900 to 2199, got 17.8.2004",
        ),
        (
            "/training_span/to",
            json!("2015-02-29"),
            "training_span.to must be a date YYYY-MM-DD of the years 1900 to 2199, got 2015-02-29",
        ),
        (
            "/golden/tolerance",
            json!(1e30),
            "golden.tolerance must be finite, at least 0 and at most 0.01, or 1 % of the largest golden output where that is \
             more, got 1000000000000000000000000000000",
        ),
        (
            "/name",
            json!("../../evil"),
            "name must be a plain name of at most 100 letters, digits and any of `._-+ `, beginning with a letter or digit, \
             got \"../../evil\"",
        ),
        (
            "/name",
            json!("a\n\u{1b}[31mred"),
            "name must be a plain name of at most 100 letters, digits and any of `._-+ `, beginning with a letter or digit, \
             got \"a\\n\\u{1b}[31mred\"",
        ),
        (
            "/verified",
            json!({"cpu": {"by": "x", "windows": 0, "max_abs_error": 0.0, "mean_abs_error": 0.0, "tolerance": 0.0, "passed": true}}),
            "verified.cpu.windows must be at least 1, got 0",
        ),
        (
            "/verified",
            json!({"cpu": {"by": "x", "windows": 1, "max_abs_error": 0.0, "mean_abs_error": 0.0, "tolerance": 1e38, "passed": true}}),
            "verified.cpu.tolerance must be finite, at least 0 and at most 0.01, or 1 % of the largest golden output where \
             that is more, got 100000000000000000000000000000000000000",
        ),
        (
            "/training_span/from",
            json!("2013-01-01"),
            "training_span.from must not be after training_span.to, got 2013-01-01",
        ),
        (
            "/golden/tolerance",
            json!(-0.5),
            "golden.tolerance must be finite, at least 0 and at most 0.01, or 1 % of the largest golden output where that is more, got -0.5",
        ),
        (
            "/golden/windows",
            json!([]),
            "golden.windows must hold at least one window, got 0",
        ),
        (
            "/golden/windows/1/outputs/scores",
            json!([0.0]),
            "golden.windows[1].outputs.scores must fill the tensor's shape, got 1",
        ),
    ];
    for (pointer, value, message) in cases {
        let fixture = Fixture::new();
        fixture.edit(|manifest| match pointer {
            "/verified" => manifest["verified"] = value,
            _ => *manifest.pointer_mut(pointer).unwrap() = value,
        });
        assert_fault(&fixture, "manifest.json", message);
    }
}

#[test]
fn a_golden_value_that_is_not_finite_is_refused() {
    let fixture = Fixture::new();
    fixture.edit(|manifest| manifest["golden"]["windows"][0]["outputs"]["scores"][3] = json!(1e39));
    let (file, message) = fixture.fault();
    assert_eq!(file, "manifest.json");
    assert!(
        message.starts_with("number out of range at line"),
        "{message}"
    );
    // JSON has no NaN: the null that many writers leave instead is refused as well.
    fixture.edit(|manifest| manifest["golden"]["windows"][0]["outputs"]["scores"][3] = json!(null));
    assert!(
        fixture.fault().1.starts_with("invalid type: null"),
        "{:?}",
        fixture.fault()
    );
}

#[test]
fn a_wrong_golden_output_fails_the_self_test_and_the_opening() {
    let mut parts = small_parts();
    parts.golden.windows[1].outputs.get_mut("shares").unwrap()[4] += 1e-3;
    let root = tempfile::tempdir().unwrap();
    let bundle = Bundle::write(root.path().join("small"), &parts).unwrap();
    let mut engine = CpuEngine::load(bundle.model()).unwrap();
    match bundle.self_test(&mut engine).unwrap_err() {
        InferError::SelfTest {
            window: 1,
            output,
            index: 4,
            ..
        } => assert_eq!(output, "shares"),
        other => panic!("{other}"),
    }
    match open(&bundle, &[BackendKind::Cpu], false).unwrap_err() {
        InferError::NoBackend { tried, .. } => {
            assert_eq!(tried.len(), 1);
            assert!(
                tried[0]
                    .reason
                    .starts_with("self-test: window 1, output shares[4]"),
                "{}",
                tried[0]
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_fault_can_be_matched() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("model.onnx")).unwrap();
    let error = Bundle::load(fixture.dir()).unwrap_err();
    assert!(matches!(
        error,
        InferError::Bundle {
            fault: BundleFault::Missing,
            ..
        }
    ));
}
