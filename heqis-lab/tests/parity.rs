//! The lab, one process, two nodes and a journal make the same decisions, with the real binary.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../nodes/gateway/tests/support/recurrent.rs"]
mod recurrent;

use std::path::{Path, PathBuf};
use std::process::Command;

use heqis_lab::parity::{ParityArgs, compare, run, strategies};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Builds the current runtime. It belongs to another crate, so Cargo does not build it for these tests. The build uses the
/// Cargo features of the whole workspace, as previous builds do.
fn runtime() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--quiet", "--workspace", "--bin", "heqis-runtime"])
        .status()
        .unwrap();
    assert!(status.success());
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().unwrap().parent().unwrap();
    profile.join(format!("heqis-runtime{}", std::env::consts::EXE_SUFFIX))
}

fn args(work: &Path) -> ParityArgs {
    ParityArgs {
        strategies: root().join("examples/strategies.toml"),
        portfolios: None,
        only: Vec::new(),
        data: [
            "ashare/000300.SH.csv",
            "ashare/002032.SZ.csv",
            "ashare/600000.SH.csv",
            "us/bokeh_5stocks_unadj_adjclose_2000_2013.csv",
        ]
        .map(|name| root().join("data").join(name))
        .to_vec(),
        factors: root().join("models/baseline-factors"),
        direction: root().join("models/baseline-direction"),
        runtime: None,
        work: work.to_owned(),
    }
}

#[test]
fn four_ways_agree_for_every_strategy_on_every_committed_symbol() {
    let work = tempfile::tempdir().unwrap();
    let answer = run(&ParityArgs {
        runtime: Some(runtime()),
        ..args(work.path())
    })
    .unwrap();
    let text = answer.lines.join("\n");
    assert!(answer.good, "{text}");
    assert_eq!(answer.lines.len(), 4 + 1);
    assert!(text.contains("plain: "), "{text}");
    let last = answer.lines.last().unwrap();
    assert!(last.starts_with("4 strategies, 8 instruments, "), "{last}");
    // All filters of the last strategy but the rarest are active; otherwise the comparison would prove little.
    let every = answer
        .lines
        .iter()
        .find(|line| line.starts_with("every-filter"))
        .unwrap();
    for reason in [
        "entered",
        "exited",
        "stop_loss",
        "cool_down",
        "no_trend",
        "rsi_gate",
        "adx_gate",
        "low_return",
        "daily_gain",
    ] {
        assert!(
            every.contains(&format!("{reason} ")),
            "no {reason} in {every}"
        );
    }
}

/// The trained models read 32 rows, each with factors of convolutions: which exercises more arithmetic.
#[test]
fn four_ways_agree_with_the_trained_bundles() {
    let work = tempfile::tempdir().unwrap();
    let strategies = work.path().join("strategies.toml");
    let topology = std::fs::read_to_string(root().join("topologies/dual-board.toml")).unwrap();
    let topology: toml::Table = topology.parse().unwrap();
    let rule = &topology["stages"]["signal"]["params"]["rule"];
    std::fs::write(&strategies, format!("[shipped]\nrule = {rule}\n")).unwrap();
    let answer = run(&ParityArgs {
        strategies,
        data: ["002032.SZ.csv", "600000.SH.csv"]
            .map(|name| root().join("data/ashare").join(name))
            .to_vec(),
        factors: root().join("models/cae-factors"),
        direction: root().join("models/multi-gan-direction"),
        runtime: Some(runtime()),
        ..args(work.path())
    })
    .unwrap();
    let text = answer.lines.join("\n");
    assert!(answer.good, "{text}");
    assert!(
        text.contains("entered ") && text.contains("exited "),
        "{text}"
    );
}

#[test]
fn four_ways_agree_for_a_portfolio() {
    let work = tempfile::tempdir().unwrap();
    let answer = run(&ParityArgs {
        portfolios: Some(root().join("examples/portfolios.toml")),
        only: vec!["inverse-volatility".into()],
        data: ["002032.SZ.csv", "600000.SH.csv"]
            .map(|name| root().join("data/ashare").join(name))
            .to_vec(),
        runtime: Some(runtime()),
        ..args(work.path())
    })
    .unwrap();
    let text = answer.lines.join("\n");
    assert!(answer.good, "{text}");
    assert!(
        text.contains("top_ranked ") && text.contains("reduced "),
        "{text}"
    );
}

/// `cargo test -p heqis-lab --test parity -- --ignored`: 21,426 decisions of each of three portfolios.
#[test]
#[ignore = "takes minutes"]
fn four_ways_agree_for_every_portfolio_on_every_committed_symbol() {
    let work = tempfile::tempdir().unwrap();
    let answer = run(&ParityArgs {
        portfolios: Some(root().join("examples/portfolios.toml")),
        runtime: Some(runtime()),
        ..args(work.path())
    })
    .unwrap();
    let text = answer.lines.join("\n");
    assert!(answer.good, "{text}");
    assert!(
        text.contains("3 portfolios, 8 instruments, 192834 decisions compared"),
        "{text}"
    );
    for reason in [
        "late ",
        "given_up ",
        "sector_cap ",
        "below_cost ",
        "turnover_limit ",
    ] {
        assert!(text.contains(reason), "no {reason} in {text}");
    }
}

/// A stateful model: the lab keeps one state for each stock, as the gateway does.
#[test]
fn four_ways_agree_with_a_stateful_model() {
    let work = tempfile::tempdir().unwrap();
    let factors = work.path().join("recurrent");
    recurrent::write(&root().join("models"), &factors);
    let answer = run(&ParityArgs {
        only: vec!["plain".into()],
        data: ["002032.SZ.csv", "600000.SH.csv"]
            .map(|name| root().join("data/ashare").join(name))
            .to_vec(),
        factors,
        runtime: Some(runtime()),
        ..args(work.path())
    })
    .unwrap();
    let text = answer.lines.join("\n");
    assert!(answer.good, "{text}");
}

#[test]
fn the_first_different_byte_is_found_with_its_position() {
    let lines = |texts: &[&str]| -> Vec<String> { texts.iter().map(|t| (*t).to_owned()).collect() };
    let expected = lines(&["a", "b", "c"]);
    assert_eq!(compare("two-nodes", &expected, &expected), None);
    let changed = compare("two-nodes", &expected, &lines(&["a", "x", "y"])).unwrap();
    assert_eq!(
        (
            changed.decision,
            changed.expected.as_deref(),
            changed.got.as_deref()
        ),
        (2, Some("b"), Some("x"))
    );
    let short = compare("two-nodes", &expected, &lines(&["a", "b"])).unwrap();
    assert_eq!(
        (short.decision, short.expected.as_deref(), short.got),
        (3, Some("c"), None)
    );
    let long = compare("two-nodes", &expected[..2], &expected).unwrap();
    assert_eq!(
        (long.decision, long.expected, long.got.as_deref()),
        (3, None, Some("c"))
    );
}

#[test]
fn invalid_inputs_are_rejected_with_the_reason() {
    let work = tempfile::tempdir().unwrap();
    let good = args(work.path());
    let message = |args: ParityArgs| run(&args).unwrap_err().to_string();
    let unknown = ParityArgs {
        only: vec!["plan".into()],
        ..good.clone()
    };
    assert!(message(unknown).contains("holds no strategy 'plan', but "));
    let nowhere = ParityArgs {
        runtime: Some(work.path().join("nowhere")),
        ..good.clone()
    };
    assert!(message(nowhere).contains("nowhere"));
    let swapped = ParityArgs {
        factors: good.direction.clone(),
        ..good
    };
    assert!(message(swapped).contains("baseline-direction"));
    let file = work.path().join("strategies.toml");
    for (text, reason) in [
        ("", "holds no strategy"),
        (
            "[a]\nrule = { enter = 0.1, exit = 0.2, min_confidence = 0.5 }",
            "exit: must lie below enter",
        ),
        (
            "[a]\nrule = { enter = 0.1, exit = 0.0, min_confidence = 0.5 }\nfilters = { stop = 1 }",
            "unknown field `stop`",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = strategies(&file).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}
