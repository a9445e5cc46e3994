//! The commands reject each defect of a bundle with the contract's message, as the stages do.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../heqis-bundle/tests/support/mod.rs"]
mod bundles;

use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_lab::LabError;
use heqis_lab::backtest::{BacktestArgs, backtest};
use heqis_lab::convert::{self, ConvertArgs, gpu};
use heqis_lab::predict::{self, PredictArgs};
use heqis_lab::verify::{self, BoardArgs, VerifyArgs};

#[derive(Parser)]
struct Backtest {
    #[command(flatten)]
    args: BacktestArgs,
}

#[derive(Parser)]
struct Predict {
    #[command(flatten)]
    args: PredictArgs,
}

/// Returns a command line with a table of bars, the strategy of the pair, and the directory of the result.
fn words(command: &str, strategy: &str, out: &Path) -> Vec<String> {
    let bars = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ashare/002032.SZ.csv");
    let words = [
        command.to_owned(),
        bars.display().to_string(),
        "--strategy".to_owned(),
        strategy.to_owned(),
        "--out".to_owned(),
        out.display().to_string(),
    ];
    words.to_vec()
}

#[derive(Parser)]
struct Convert {
    #[command(flatten)]
    args: ConvertArgs,
}

fn converted(bundle: &Path) -> Result<(), LabError> {
    let bundle = bundle.display().to_string();
    let words = ["convert", "rknn", &bundle, "--env", "/nowhere"];
    convert::run(&Convert::parse_from(words).args).map(drop)
}

fn verified(bundle: PathBuf) -> Result<(), LabError> {
    let args = VerifyArgs {
        bundle,
        run: None,
        windows: 1,
        seed: 1,
        tolerance: 1e-5,
        python: None,
        boards: BoardArgs::default(),
        json: false,
    };
    verify::run(&args).map(drop)
}

#[test]
fn backtest_predict_verify_and_convert_reject_every_defect_with_the_contracts_message() {
    let root = tempfile::tempdir().unwrap();
    let (factors, direction) = (root.path().join("factors"), root.path().join("direction"));
    bundles::factors(&factors);
    bundles::direction(&direction);
    let out = root.path().join("out");
    for case in bundles::cases() {
        let (dir, message) = case.write(root.path());
        let strategy = match case.task {
            "factors" => format!("{},{}", dir.display(), direction.display()),
            _ => format!("{},{}", factors.display(), dir.display()),
        };
        let engines = root.path().join("engines");
        let backtested = backtest(&Backtest::parse_from(words("backtest", &strategy, &out)).args);
        let table = out.with_extension("csv");
        let predicted =
            predict::run(&Predict::parse_from(words("predict", &strategy, &table)).args);
        for (command, refused, expected) in [
            ("backtest", backtested.unwrap_err(), &message),
            ("predict", predicted.unwrap_err(), &message),
            ("verify", verified(dir.clone()).unwrap_err(), &message),
            (
                "convert tensorrt",
                gpu::script(std::slice::from_ref(&dir), &engines).unwrap_err(),
                &message,
            ),
            (
                "convert adopt",
                gpu::adopt(std::slice::from_ref(&dir), &engines).unwrap_err(),
                &message,
            ),
            ("convert rknn", converted(&dir).unwrap_err(), &message),
        ] {
            let refused = refused.to_string();
            assert!(
                refused.starts_with(expected),
                "{command}, {}: expected {expected:?}, got {refused:?}",
                case.name
            );
        }
        assert!(!engines.exists() && !out.exists(), "{}", case.name);
    }
}

#[test]
fn a_defect_of_a_pair_and_a_wrong_golden_output_are_worded_by_the_contract() {
    let root = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let dir = |name: &str| models.join(name).display().to_string();
    let (other, direction) = (dir("baseline-factors"), dir("multi-gan-direction"));
    let out = root.path().join("out");
    let strategy = format!("{other},{direction}");
    let backtested = backtest(&Backtest::parse_from(words("backtest", &strategy, &out)).args);
    let table = out.with_extension("csv");
    let predicted = predict::run(&Predict::parse_from(words("predict", &strategy, &table)).args);
    for refused in [backtested.unwrap_err(), predicted.unwrap_err()] {
        let expected = format!(
            "bundle {direction}: scaler_params.json must be that of the feature model {other}, sha256 "
        );
        assert!(refused.to_string().starts_with(&expected), "{refused}");
    }

    let wrong = root.path().join("wrong");
    bundles::direction(&wrong);
    bundles::edit(&wrong, |manifest| {
        manifest["golden"]["windows"][0]["outputs"]["predicted_return"] = serde_json::json!([0.5]);
    });
    let factors = root.path().join("factors");
    bundles::factors(&factors);
    let strategy = format!("{},{}", factors.display(), wrong.display());
    let backtested = backtest(&Backtest::parse_from(words("backtest", &strategy, &out)).args);
    let predicted = predict::run(&Predict::parse_from(words("predict", &strategy, &table)).args);
    for refused in [backtested.unwrap_err(), predicted.unwrap_err()] {
        let expected = format!(
            "bundle {}: no backend available: backend cpu unavailable: self-test: window 0, output predicted_return[0]: expected \
             0.5, got 0, ",
            wrong.display()
        );
        assert!(refused.to_string().starts_with(&expected), "{refused}");
    }
}

#[test]
fn a_model_that_does_not_compute_is_worded_alike_by_backtest_and_verify() {
    let root = tempfile::tempdir().unwrap();
    let (factors, broken) = (root.path().join("factors"), root.path().join("broken"));
    bundles::factors(&factors);
    bundles::direction(&broken);
    bundles::rename_operator(&broken, b"Softmax", b"Softmux");
    let strategy = format!("{},{}", factors.display(), broken.display());
    let out = root.path().join("out");
    let backtested = backtest(&Backtest::parse_from(words("backtest", &strategy, &out)).args);
    for refused in [
        backtested.unwrap_err(),
        verified(broken.clone()).unwrap_err(),
    ] {
        assert_eq!(
            refused.to_string(),
            format!(
                "bundle {}: no backend available: backend cpu unavailable: operator not supported: Softmux",
                broken.display()
            )
        );
    }
}
