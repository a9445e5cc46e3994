//! The commands reject each defect of a bundle with the contract's message, as the stages do.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../heqis-bundle/tests/support/mod.rs"]
mod bundles;

use std::path::{Path, PathBuf};

use clap::Parser;
use heqis_lab::LabError;
use heqis_lab::backtest::{BacktestArgs, backtest};
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
fn backtest_predict_and_verify_reject_every_defect_with_the_contracts_message() {
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
        let backtested = backtest(&Backtest::parse_from(words("backtest", &strategy, &out)).args);
        let table = out.with_extension("csv");
        let predicted =
            predict::run(&Predict::parse_from(words("predict", &strategy, &table)).args);
        let accepts_any_role = message.replace("must be factors,", "must be factors or direction,");
        for (command, refused, expected) in [
            ("backtest", backtested.unwrap_err(), &message),
            ("predict", predicted.unwrap_err(), &message),
            ("verify", verified(dir).unwrap_err(), &accepts_any_role),
        ] {
            let refused = refused.to_string();
            assert!(
                refused.starts_with(expected),
                "{command}, {}: expected {expected:?}, got {refused:?}",
                case.name
            );
        }
    }
}
