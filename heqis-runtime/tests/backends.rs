//! Accelerators in real nodes, against the stand-ins for the vendors' libraries: one that is lost in mid-run, and one that is
//! being made ready when the node is stopped.
#![allow(clippy::unwrap_used, missing_docs)]

mod stand;
#[path = "../../heqis-infer/tests/stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use heqis_infer::onnx::GraphBuilder;
use heqis_infer::{Bundle, BundleParts, Golden, GoldenWindow};
use serde_json::Value;
use stand::{Stand, assert_books_close, event, get, metric, root, wait_until};

/// The baseline's feature model with weights of whole numbers, which the stand-in for the NPU computes as well:
/// out[k] = k + Σ (j + 1)·in[j]. The `fail_run`th run of its build for the NPU fails.
fn sums(dir: &Path, fail_run: u32) {
    let baseline = Bundle::load(root().join("models/baseline-factors")).unwrap();
    let manifest = baseline.manifest();
    let (shape, factors) = (&manifest.inputs[0].shape, manifest.outputs[0].shape[1]);
    let [bars, width] = [shape[1], shape[2]];
    let len = bars * width;
    let mut graph = GraphBuilder::new("sums");
    let window = graph.input("window", shape);
    let flat = graph.int64s("flat_shape", &[1, len as i64]);
    let flat = graph.node("flat", "Reshape", &[&window, &flat], &[]);
    let weights: Vec<f32> = (1..=len).flat_map(|j| vec![j as f32; factors]).collect();
    let weights = graph.weights("weights", &[len, factors], &weights);
    let offsets: Vec<f32> = (0..factors).map(|k| k as f32).collect();
    let offset = graph.weights("offsets", &[factors], &offsets);
    let sums = graph.node("sums", "MatMul", &[&flat, &weights], &[]);
    let out = graph.node("factors", "Add", &[&sums, &offset], &[]);
    graph.output(&out, &[1, factors]);
    let npu = format!(
        "STANDIN\n\
         tensor in window 3 3 1 {bars} {width} 3 3 1 {bars} {width} 0 1 0 0 {}\n\
         tensor out factors 3 2 1 {factors} 3 2 1 {factors} 0 1 0 0 {}\n\
         fail_run {fail_run} -2\n",
        4 * len,
        4 * factors,
    );
    let parts = BundleParts {
        name: "sums".into(),
        task: manifest.task.clone(),
        created_by: "a test".into(),
        precision: manifest.precision,
        model: graph.finish().unwrap(),
        scaler_params: baseline.scaler_params().to_vec(),
        other_files: BTreeMap::from([("model.rknn".into(), npu.into_bytes())]),
        model_card: String::new(),
        feature_names: manifest.feature_names.clone(),
        window_bars: manifest.window_bars,
        training_span: manifest.training_span.clone(),
        figures: BTreeMap::new(),
        golden: Golden {
            tolerance: 1e-6,
            windows: vec![GoldenWindow {
                label: "zeros".into(),
                inputs: BTreeMap::from([("window".into(), vec![0.0; len])]),
                outputs: BTreeMap::from([("factors".into(), offsets)]),
            }],
        },
    };
    Bundle::write(dir, &parts).unwrap();
}

/// Two nodes with the baseline's predicting model behind the feature model in `bundle`.
fn with_factors(bundle: &Path) -> Stand {
    let bundle = bundle.display();
    Stand::dual_board()
        .set(&format!("stages.features.params.bundle=\"{bundle}\""))
        .set("stages.features.params.rows=1")
        .set("stages.engine.params.bundle=\"models/baseline-direction\"")
        .set("stages.engine.params.backends=[\"cpu\"]")
}

/// Which bar each decision of a journal is made on.
fn origins(journal: &[u8]) -> Vec<(Value, Value, Value)> {
    let text = std::str::from_utf8(journal).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| {
            let field = |name: &str| line[name].clone();
            (field("symbol"), field("date"), field("close"))
        })
        .collect()
}

#[test]
fn an_npu_that_is_lost_in_mid_run_costs_no_frame_and_is_counted_and_raised_as_an_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("sums");
    sums(&bundle, 1_000);
    let calm = with_factors(&bundle).set("stages.features.params.backends=[\"cpu\"]");
    calm.run(&[]).clean();

    let stand = with_factors(&bundle);
    let port = *stand.ports.last().unwrap();
    let library = stand_in::stand_in().to_str().unwrap();
    let stand = stand
        .env("HEQIS_RKNN_LIBRARY", library)
        .set(&format!(
            "nodes.gateway.dashboard.address=\"127.0.0.1:{port}\""
        ))
        // However fast the bars have passed, the page can still be read.
        .set("nodes.gateway.dashboard.stay=true");
    let gateway = stand.start(&["--node", "gateway"]);
    let compute = stand.start(&["--node", "compute"]);
    let mut live = Value::Null;
    wait_until("the alarm is raised", || {
        let answer = get(port, "/api/live").and_then(|(_, body)| serde_json::from_str(&body).ok());
        live = answer.unwrap_or_default();
        let alarms = live["alarms"].as_array();
        alarms.is_some_and(|alarms| {
            alarms
                .iter()
                .any(|alarm| alarm["name"] == "engine_fell_back")
        })
    });
    let engine = &live["nodes"][0]["engines"][0];
    assert_eq!(
        (&engine["stage"], &engine["backend"]),
        (&"features".into(), &"cpu".into())
    );
    let skipped = &engine["skipped"][0];
    assert_eq!(skipped["backend"], "rknn");
    let reason = skipped["reason"].as_str().unwrap();
    assert!(reason.contains("rknn_run returned -2"), "{reason}");
    let counted = metric(
        stand.ports[0],
        "heqis_stage_events_total",
        "event=\"fallback\"",
    );
    assert_eq!(counted, Some(1.0));

    let compute = compute.finish().clean();
    gateway.signal("TERM");
    let gateway = gateway.finish().clean();
    assert_eq!(event(&gateway, "features", "fallback"), 1);
    assert_books_close(&compute);
    let (got, expected) = (
        stand.journal_bytes("journal"),
        calm.journal_bytes("journal"),
    );
    assert!(origins(&got).len() > 5_000);
    assert!(
        origins(&got) == origins(&expected),
        "a frame is lost or made twice"
    );
}

#[test]
fn a_node_that_is_stopped_while_an_engine_is_built_ends_and_takes_the_builder_along() {
    let directory = tempfile::tempdir().unwrap();
    let builder = directory.path().join("trtexec");
    let pid = directory.path().join("pid");
    let script = format!(
        "#!/bin/sh\necho $$ >{0}.part && mv {0}.part {0}\nexec sleep 600\n",
        pid.display()
    );
    std::fs::write(&builder, script).unwrap();
    std::fs::set_permissions(&builder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let libraries = [
        (
            "HEQIS_CUDA_LIBRARY",
            stand_in::compile_from("cuda.c", "cuda", &[]),
        ),
        (
            "HEQIS_TENSORRT_SHIM",
            stand_in::shim("shim", &[stand_in::source("nvinfer/10")]),
        ),
        (
            "HEQIS_TENSORRT_LIBRARY",
            stand_in::compile_from("nvinfer.cpp", "nvinfer", &["MAJOR=10", "VERSION=100300"]),
        ),
        ("HEQIS_TRTEXEC", builder),
        ("HEQIS_CACHE", directory.path().join("cache")),
    ];
    let mut stand = Stand::dual_board();
    for (name, value) in &libraries {
        stand = stand.env(name, &path(value));
    }
    let compute = stand.start(&["--node", "compute"]);
    wait_until("the builder runs", || pid.exists());
    let builder = std::fs::read_to_string(&pid).unwrap();
    let builder = Path::new("/proc").join(builder.trim());
    assert!(builder.exists());
    compute.signal("TERM");
    let ended = compute.finish();
    assert!(!builder.exists(), "the builder is left behind");
    // The next backend was opened, and the node ended as one that is stopped before its first frame.
    ended.clean();
    assert!(
        ended.log.contains("cancelled, since the node stops"),
        "{}",
        ended.log
    );
    let left = std::fs::read_dir(directory.path().join("cache/tensorrt")).unwrap();
    assert_eq!(left.count(), 0, "nothing half built is kept");
}
