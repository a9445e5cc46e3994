//! Every exported network gives the results of its forward pass: in RTen, as the boards run it, and in ONNX Runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::Device;
use burn::tensor::activation::softmax;
use heqis_bundle::Provenance;
use heqis_infer::onnx::Signature;
use heqis_infer::{CpuEngine, Engine, TensorView};
use heqis_train::nets::discriminator::DiscriminatorConfig;
use heqis_train::nets::generator::TargetScale;
use prost::Message;

use crate::common::{FEATURES, ROWS, elements, encoders, generators, random};

/// Number of windows for each network.
const WINDOWS: usize = 1000;
/// Static batch of the larger of each network's two models.
const BATCH: usize = 250;
/// Largest difference allowed.
const TOLERANCE: f32 = 1e-5;

/// A network's two models, and the inputs and the framework's outputs over all windows.
struct Case {
    name: String,
    single: Vec<u8>,
    batched: Vec<u8>,
    inputs: Vec<(&'static str, Vec<f32>)>,
    outputs: Vec<(&'static str, Vec<f32>)>,
}

fn provenance<T>(export: impl FnOnce(&Provenance<'_>) -> T) -> T {
    let names: Vec<String> = (0..FEATURES).map(|i| format!("f{i}")).collect();
    export(&Provenance {
        scaler_sha256: "ab",
        feature_names: &names,
        window_bars: ROWS,
    })
}

fn cases() -> Vec<Case> {
    let device = Device::flex();
    let mut cases = Vec::new();
    let windows = random(11, [WINDOWS, ROWS, FEATURES], &device);
    let target = TargetScale {
        scale: 0.5,
        offset: -0.125,
    };
    for config in generators() {
        let generator = config.init(&device, 5).unwrap();
        let export = |batch| provenance(|p| generator.to_onnx(batch, target, p)).unwrap();
        let answer = generator.forward(windows.clone());
        cases.push(Case {
            name: format!("{:?} {:?}", config.kind, config.encoder),
            single: export(1),
            batched: export(BATCH),
            inputs: vec![("features", elements(windows.clone()))],
            outputs: vec![
                ("predicted_return", elements(answer.value * 0.5 - 0.125)),
                ("probabilities", elements(softmax(answer.logits, 1))),
            ],
        });
    }
    for config in encoders() {
        let encoder = config.init(&device, 5).unwrap();
        let export = |batch| provenance(|p| encoder.to_onnx(batch, p)).unwrap();
        cases.push(Case {
            name: format!("{config:?}"),
            single: export(1),
            batched: export(BATCH),
            inputs: vec![("window", elements(windows.clone()))],
            outputs: vec![("factors", elements(encoder.encode(windows.clone())))],
        });
    }
    let discriminator = DiscriminatorConfig::default().init(&device, 5).unwrap();
    let series = random(12, [WINDOWS, ROWS], &device);
    let classes = softmax(random(13, [WINDOWS, ROWS, 3], &device), 2);
    cases.push(Case {
        name: "discriminator".to_owned(),
        single: discriminator.to_onnx(1, ROWS).unwrap(),
        batched: discriminator.to_onnx(BATCH, ROWS).unwrap(),
        inputs: vec![
            ("series", elements(series.clone())),
            ("classes", elements(classes.clone())),
        ],
        outputs: vec![("logit", elements(discriminator.forward(series, classes)))],
    });
    cases
}

fn assert_near(place: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{place}");
    let worst = got
        .iter()
        .zip(expected)
        .map(|(got, expected)| (got - expected).abs())
        .fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "{place}: largest difference {worst:e}");
}

/// Computes the first `windows` of a case with RTen.
fn with_rten(case: &Case, model: &[u8], windows: usize) {
    let mut engine = CpuEngine::load(model).unwrap();
    let specs = engine.inputs().to_vec();
    let batch = specs[0].shape[0];
    let mut whole = vec![Vec::new(); engine.outputs().len()];
    for start in (0..windows).step_by(batch) {
        let parts: Vec<&[f32]> = specs
            .iter()
            .map(|spec| {
                let (_, data) = case
                    .inputs
                    .iter()
                    .find(|(name, _)| *name == spec.name)
                    .unwrap();
                let item = data.len() / WINDOWS;
                &data[start * item..(start + batch) * item]
            })
            .collect();
        let views: Vec<_> = specs
            .iter()
            .zip(&parts)
            .map(|(spec, part)| TensorView::f32(&spec.shape, part))
            .collect();
        let mut outputs = vec![Vec::new(); whole.len()];
        engine.run(&views, &mut outputs).unwrap();
        for (whole, part) in whole.iter_mut().zip(outputs) {
            whole.extend(part);
        }
    }
    for (spec, got) in engine.outputs().iter().zip(&whole) {
        let (_, expected) = case
            .outputs
            .iter()
            .find(|(name, _)| *name == spec.name)
            .unwrap();
        let expected = &expected[..expected.len() / WINDOWS * windows];
        assert_near(
            &format!("{} in RTen, {}", case.name, spec.name),
            got,
            expected,
        );
    }
}

/// Returns the Python of the peers' environment.
fn peer_python() -> PathBuf {
    std::env::var_os("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a Python with onnx and onnxruntime; ./test makes one")
        .into()
}

/// Computes all windows of all cases with ONNX Runtime, after the official checker.
fn with_onnx_runtime(python: &Path, cases: &[Case]) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let bytes = |data: &[f32]| -> Vec<u8> { data.iter().flat_map(|x| x.to_le_bytes()).collect() };
    let mut jobs = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let model = format!("{index}.onnx");
        write(&model, &case.batched);
        let inputs: BTreeMap<&str, String> = case
            .inputs
            .iter()
            .map(|(name, data)| {
                let file = format!("{index}.{name}.in");
                write(&file, &bytes(data));
                (*name, file)
            })
            .collect();
        jobs.push(serde_json::json!({"model": model, "rows": WINDOWS, "inputs": inputs}));
    }
    write("jobs.json", &serde_json::to_vec(&jobs).unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/nets_peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (index, case) in cases.iter().enumerate() {
        for (name, expected) in &case.outputs {
            let path = dir.path().join(format!("{index}.onnx.{name}.f32"));
            let got: Vec<f32> = std::fs::read(path)
                .unwrap()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&word| f32::from_le_bytes(word))
                .collect();
            assert_near(
                &format!("{} in ONNX Runtime, {name}", case.name),
                &got,
                expected,
            );
        }
    }
}

#[test]
fn every_network_gives_equal_results_in_the_framework_rten_and_onnx_runtime() {
    let cases = cases();
    for case in &cases {
        with_rten(case, &case.batched, WINDOWS);
        with_rten(case, &case.single, 50);
    }
    with_onnx_runtime(&peer_python(), &cases);
}

#[test]
fn an_exported_model_has_its_provenance_and_the_layout_of_its_rotations() {
    for config in generators() {
        let generator = config.init(&Device::flex(), 5).unwrap();
        let target = TargetScale {
            scale: 1.0,
            offset: 0.0,
        };
        let model = provenance(|p| generator.to_onnx(1, target, p)).unwrap();
        let metadata = Signature::read(&model).unwrap().metadata;
        assert_eq!(metadata["heqis.feature_names"], "f0,f1,f2,f3,f4");
        assert_eq!(metadata["heqis.window_bars"], "8");
        let recurrent =
            ["Rnn", "Gru", "Lstm", "Tcn"].contains(&format!("{:?}", config.kind).as_str());
        let layout = metadata.get("heqis.rope_layout").map(String::as_str);
        assert_eq!(layout, (!recurrent).then_some("half-split"));
    }
}

/// The part of `ModelProto` with the operators.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "4")]
    op_type: String,
}

#[test]
fn an_encoder_exports_only_operators_that_npus_support_well() {
    for config in encoders() {
        let encoder = config.init(&Device::flex(), 5).unwrap();
        let model = provenance(|p| encoder.to_onnx(1, p)).unwrap();
        let graph = Model::decode(model.as_slice()).unwrap().graph.unwrap();
        let known = [
            "Conv",
            "Relu",
            "MaxPool",
            "AveragePool",
            "Reshape",
            "Transpose",
        ];
        for node in graph.node {
            assert!(known.contains(&node.op_type.as_str()), "{}", node.op_type);
        }
    }
}

#[test]
fn an_export_for_another_window_is_refused() {
    let generator = generators()[0].init(&Device::flex(), 5).unwrap();
    let names = vec!["f".to_owned()];
    let provenance = Provenance {
        scaler_sha256: "ab",
        feature_names: &names,
        window_bars: ROWS,
    };
    let target = TargetScale {
        scale: 1.0,
        offset: 0.0,
    };
    assert_eq!(
        generator
            .to_onnx(1, target, &provenance)
            .unwrap_err()
            .to_string(),
        "generator: takes windows of [8, 5], got [8, 1]"
    );
}
