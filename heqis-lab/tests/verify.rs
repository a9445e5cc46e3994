//! A bundle passes when all implementations agree; one that differs causes rejection, and the report names the place.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use heqis_infer::Bundle;
use heqis_lab::LabError;
use heqis_lab::implementation::Implementation;
use heqis_lab::verify::{BoardArgs, VerifyArgs, implementations, run, verify};
use heqis_lab::windows::{Outputs, Windows, golden, random};

/// Shipped bundles with the allowed difference: factors have no bounds.
const SHIPPED: [(&str, f32); 4] = [
    ("baseline-factors", 1e-4),
    ("baseline-direction", 1e-5),
    ("cae-factors", 1e-4),
    ("multi-gan-direction", 1e-5),
];

fn bundle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(name)
}

fn args(name: &str) -> VerifyArgs {
    VerifyArgs {
        bundle: bundle(name),
        run: None,
        windows: 100,
        seed: 1,
        tolerance: 1e-5,
        python: None,
        boards: BoardArgs::default(),
        json: false,
    }
}

#[test]
fn the_shipped_bundles_agree_on_single_windows_and_batches() {
    for name in SHIPPED.map(|(name, _)| name) {
        let output = run(&args(name)).unwrap();
        assert!(output.good, "{}", output.lines.join("\n"));
        let text = output.lines.join("\n");
        assert!(text.contains("not compared: ONNX Runtime"), "{text}");
        assert!(text.contains("every difference is allowed"), "{text}");
        // The engine in batches has the bits of RTen on single windows.
        let batches = output
            .lines
            .iter()
            .filter(|line| line.contains("batches of 8 | ") || line.contains("batches of 8) |"));
        assert!(
            batches
                .filter(|line| line.contains("| RTen |"))
                .all(|line| line.contains("| 0.00e0 |"))
        );
    }
}

#[test]
fn onnx_runtime_agrees_on_the_shipped_bundles() {
    let python = std::env::var_os("HEQIS_TEST_PYTHON")
        .expect("HEQIS_TEST_PYTHON must name a Python with onnx and onnxruntime; ./test makes one");
    for (name, tolerance) in SHIPPED {
        let args = VerifyArgs {
            python: Some(PathBuf::from(&python)),
            tolerance,
            json: true,
            ..args(name)
        };
        let output = run(&args).unwrap();
        let text = output.lines.join("\n");
        assert!(output.good, "{text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        let distances = report["distances"].as_array().unwrap();
        let runtime = |distance: &&serde_json::Value| {
            let implementation = distance["side"].as_str().unwrap();
            implementation.starts_with("ONNX Runtime (") && implementation.contains("opset 13")
        };
        let counts: Vec<u64> = distances
            .iter()
            .filter(runtime)
            .map(|distance| distance["count"].as_u64().unwrap())
            .collect();
        // Golden windows against the bundle and against RTen, then random ones against RTen.
        assert!(counts.contains(&4) && counts.contains(&100), "{text}");
        assert_eq!(report["skipped"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn a_missing_python_is_an_error_with_its_name() {
    let args = VerifyArgs {
        python: Some("no-such-python".into()),
        ..args("baseline-direction")
    };
    let refused = run(&args).unwrap_err().to_string();
    assert!(refused.contains("no-such-python"), "{refused}");
}

/// An implementation with an offset on one element.
struct Off {
    model: Box<dyn Implementation>,
    by: f32,
}

impl Implementation for Off {
    fn name(&self) -> String {
        "a network".to_owned()
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        let mut outputs = self.model.compute(windows)?;
        // The second class of the third window.
        if windows.count > 2 {
            outputs[1][7] += self.by;
        }
        Ok(outputs)
    }
}

#[test]
fn one_element_above_the_tolerance_rejects_the_bundle_and_names_its_window() {
    let args = args("baseline-direction");
    let bundle = Bundle::load(&args.bundle).unwrap();
    let report = |by: f32| {
        let mut all = implementations(&bundle, &args).unwrap();
        let model = all.remove(0);
        all.insert(0, Box::new(Off { model, by }));
        verify(&bundle, all, &args).unwrap()
    };
    assert!(report(0.0).is_good());
    assert!(report(5e-6).is_good());
    for by in [2e-5, f32::NAN] {
        let report = report(by);
        assert!(!report.is_good());
        let above: Vec<_> = report
            .distances
            .iter()
            .filter(|distance| !distance.is_within())
            .collect();
        for distance in &above {
            assert_eq!(
                (distance.output.as_str(), distance.window),
                ("probabilities", 2)
            );
            assert!(distance.implementation == "a network" || distance.with == "a network");
        }
        assert!(above.iter().any(|distance| distance.windows == "random"));
        assert!(above.iter().any(|distance| distance.with == "the bundle"));
        assert!(report.markdown().contains("rejected"));
    }
}

#[test]
fn windows_are_the_golden_ones_and_those_of_the_seed() {
    let bundle = Bundle::load(bundle("baseline-factors")).unwrap();
    let (windows, outputs) = golden(&bundle).unwrap();
    assert_eq!(
        (windows.count, windows.inputs[0].len(), outputs[0].len()),
        (4, 4 * 192, 4 * 8)
    );
    let drawn = random(&bundle, 50, 7).unwrap();
    assert_eq!(drawn, random(&bundle, 50, 7).unwrap());
    assert_ne!(drawn, random(&bundle, 50, 8).unwrap());
    let values = &drawn.inputs[0];
    let (least, most) = values
        .iter()
        .fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    assert!(least < -1.45 && most > 1.45 && least >= -1.5 && most < 1.5);
}

#[test]
fn an_empty_comparison_and_invalid_bounds_are_rejected() {
    let bundle = Bundle::load(bundle("baseline-direction")).unwrap();
    let args = args("baseline-direction");
    assert!(verify(&bundle, Vec::new(), &args).is_err());
    for broken in [
        VerifyArgs {
            windows: 0,
            ..self::args("baseline-direction")
        },
        VerifyArgs {
            tolerance: f32::NAN,
            ..self::args("baseline-direction")
        },
    ] {
        assert!(verify(&bundle, implementations(&bundle, &args).unwrap(), &broken).is_err());
    }
}

#[test]
fn options_of_trading_without_an_accelerator_or_without_bars_are_rejected() {
    let mut traded = args("baseline-direction");
    traded.boards.trade = vec!["bars.csv".into()];
    let rejected = |args: &VerifyArgs| heqis_lab::verify::run(args).unwrap_err().to_string();
    let message = rejected(&traded);
    assert!(
        message.ends_with("the model must read no factors without a feature model, got 8"),
        "{message}"
    );
    traded.boards.with = Some(bundle("multi-gan-direction"));
    let message = rejected(&traded);
    assert!(
        message.ends_with("task must be factors, got direction"),
        "{message}"
    );
    traded.boards.with = Some(bundle("baseline-factors"));
    let message = rejected(&traded);
    assert!(
        message.starts_with("--trade: compares the decisions of accelerators"),
        "{message}"
    );

    #[derive(clap::Parser)]
    struct Verify {
        #[command(flatten)]
        args: VerifyArgs,
    }
    for option in ["--with", "--settings", "--from", "--to"] {
        let words = ["verify", "--bundle", "b", option, "2020-01-02"];
        let refused = <Verify as clap::Parser>::try_parse_from(words).map(|parsed| parsed.args);
        assert!(
            refused.unwrap_err().to_string().contains("--trade <BARS>"),
            "{option}"
        );
    }
}
