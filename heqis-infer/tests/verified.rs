//! The measurement of a backend decides whether it may be used, and how far its results may differ.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "stand_in/mod.rs"]
mod stand_in;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use heqis_infer::backend::RKNN_LIBRARY;
use heqis_infer::{
    BackendKind, Bundle, InferError, Libraries, TensorView, TradingDifference, Verified, load,
    open_with,
};

fn bundle(dir: &Path) -> Bundle {
    Bundle::write(dir.join("small"), &common::small_parts()).unwrap()
}

fn verified(max_abs_error: f32, tolerance: f32, passed: bool) -> Verified {
    Verified {
        by: "a test".into(),
        windows: 100,
        max_abs_error,
        mean_abs_error: max_abs_error / 2.0,
        tolerance,
        trading: Some(TradingDifference {
            bars: 1000,
            class_flips: 1,
            decisions: 0,
            reference_return: 0.25,
            backend_return: 0.25,
        }),
        passed,
    }
}

fn amend(bundle: &Bundle, backend: BackendKind, verified: Verified) -> Bundle {
    let measured = BTreeMap::from([(backend, verified)]);
    bundle.amend(BTreeMap::new(), measured).unwrap()
}

#[test]
fn a_backend_that_failed_its_gate_is_refused_unless_it_is_forced() {
    let root = tempfile::tempdir().unwrap();
    let bundle = amend(
        &bundle(root.path()),
        BackendKind::Cpu,
        verified(0.5, 0.01, false),
    );
    let open =
        |bundle: &Bundle| open_with(bundle, &[BackendKind::Cpu], false, &Libraries::from_env());
    match open(&bundle).unwrap_err() {
        InferError::NoBackend { tried, .. } => assert_eq!(
            tried[0].reason,
            "verify has refused it: largest error 0.5 of 0.01 allowed, 1 of 1000 classes change, by a test"
        ),
        other => panic!("{other}"),
    }
    let opened = open(&bundle.force()).unwrap();
    assert_eq!((opened.backend, opened.forced), (BackendKind::Cpu, true));
    let good = amend(
        &Bundle::load(root.path().join("small")).unwrap(),
        BackendKind::Cpu,
        verified(0.005, 0.01, true),
    );
    assert!(!open(&good).unwrap().forced);
}

#[test]
fn the_self_test_uses_the_tolerance_of_the_measurement() {
    // The stand-in's results differ by 0.005 from the reference, and the measurement allows this backend so much.
    let root = tempfile::tempdir().unwrap();
    let mut parts = common::small_parts();
    parts.golden.windows.truncate(1);
    let rknn = "STANDIN\n\
        tensor in window 3 3 1 4 3 3 3 1 4 3 0 1 0 0 48\n\
        tensor out scores 3 2 1 5 3 2 1 5 0 1 0 0 20\n\
        tensor out shares 3 2 1 5 3 2 1 5 0 1 0 0 20\n";
    parts.other_files = BTreeMap::from([("model.rknn".to_owned(), rknn.into())]);
    let libraries = Libraries::from_env().with(RKNN_LIBRARY, stand_in::stand_in());
    let bundle = Bundle::write(root.path().join("small"), &parts).unwrap();
    let mut engine = load(&bundle, BackendKind::Rknn, &libraries).unwrap();
    let window = &mut parts.golden.windows[0];
    let shape = bundle.manifest().inputs[0].shape.clone();
    let input = TensorView::f32(&shape, &window.inputs["window"]);
    let mut outputs = vec![Vec::new(); 2];
    engine.run(&[input], &mut outputs).unwrap();
    for (spec, mut values) in engine.outputs().iter().zip(outputs) {
        values.iter_mut().for_each(|value| *value += 0.005);
        window.outputs.insert(spec.name.clone(), values);
    }
    let bundle = Bundle::write(root.path().join("small"), &parts).unwrap();
    let open = |bundle: &Bundle| open_with(bundle, &[BackendKind::Rknn], true, &libraries);
    let refused = open(&bundle).unwrap_err().to_string();
    assert!(refused.contains("tolerance 0.00001"), "{refused}");
    let wide = amend(&bundle, BackendKind::Rknn, verified(0.005, 0.008, true));
    assert!(open(&wide).unwrap().self_test.max_abs_error > 0.004);
}

#[test]
fn an_amended_bundle_keeps_everything_else() {
    let root = tempfile::tempdir().unwrap();
    let before = bundle(root.path());
    let builds = BTreeMap::from([("model.rknn".to_owned(), b"a build".to_vec())]);
    let measured = BTreeMap::from([(BackendKind::OrtTensorrt, verified(0.0, 0.0, true))]);
    let after = before.amend(builds, measured.clone()).unwrap();
    assert_eq!(after.file("model.rknn"), Some(&b"a build"[..]));
    assert_eq!(after.manifest().verified, measured);
    let again = amend(&after, BackendKind::Cpu, verified(0.0, 0.0, true));
    assert_eq!(again.manifest().verified.len(), 2);
    assert_eq!(again.file("model.rknn"), Some(&b"a build"[..]));
    let mut manifest = again.manifest().clone();
    manifest.files.remove("model.rknn");
    manifest.verified.clear();
    assert_eq!(&manifest, before.manifest());
    let card = fs::read_to_string(again.dir().join("MODEL_CARD.md")).unwrap();
    assert_eq!(card, common::small_parts().model_card);
    // A replaced build loses its measurement.
    let measured = amend(&again, BackendKind::Rknn, verified(0.0, 0.0, true));
    let build = |text: &str| BTreeMap::from([("model.rknn".to_owned(), text.into())]);
    let same = measured.amend(build("a build"), BTreeMap::new()).unwrap();
    assert_eq!(same.manifest().verified.len(), 3);
    let other = same.amend(build("another"), BTreeMap::new()).unwrap();
    assert_eq!(other.manifest().verified.len(), 2);
    assert!(!other.manifest().verified.contains_key(&BackendKind::Rknn));
    // The files on disk say the same.
    let again = other;
    assert_eq!(
        Bundle::load(again.dir()).unwrap().manifest(),
        again.manifest()
    );
}

#[test]
fn impossible_measurements_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let bundle = bundle(root.path());
    let refuse = |verified: Verified| {
        let measured = BTreeMap::from([(BackendKind::Rknn, verified)]);
        bundle
            .amend(BTreeMap::new(), measured)
            .unwrap_err()
            .to_string()
    };
    let refused = refuse(verified(0.5, 0.01, true));
    assert!(
        refused.ends_with("verified.rknn.passed must be false above the tolerance, got true"),
        "{refused}"
    );
    let refused = refuse(verified(f32::NAN, 0.01, false));
    assert!(
        refused.contains("verified.rknn.max_abs_error must be finite and not negative, got NaN"),
        "{refused}"
    );
    // The bundle is unchanged.
    assert_eq!(
        Bundle::load(bundle.dir()).unwrap().manifest(),
        bundle.manifest()
    );
}
