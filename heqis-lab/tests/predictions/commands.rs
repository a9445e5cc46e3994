//! Tables of predictions on the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn lab(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .current_dir(project())
        .args(words.split_whitespace())
        .output()
        .unwrap()
}

fn done(words: &str) -> String {
    let output = lab(words);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Checks bundles with their own rule and without one.
#[test]
fn a_backtest_of_predicted_tables_equals_that_of_the_bundles_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let bars = "data/ashare/002032.SZ.csv data/ashare/600000.SH.csv";
    for (bundles, fitted_to) in [
        (
            "models/cae-factors,models/multi-gan-direction",
            "2014-05-08",
        ),
        (
            "models/baseline-factors,models/baseline-direction",
            "2014-06-25",
        ),
    ] {
        let common = "--mode return,class,both --from 2014-07-18 --no-pages";
        done(&format!(
            "backtest {bars} --strategy {bundles} {common} --out {at}/bundles"
        ));
        let name = bundles.rsplit('/').next().unwrap();
        for ending in ["csv", "parquet"] {
            let table = format!("{at}/{name}.{ending}");
            let text = done(&format!(
                "predict {bars} --strategy {bundles} --out {table}"
            ));
            assert!(text.contains(&format!("fitted to {fitted_to}")), "{text}");
            let text = done(&format!(
                "backtest {bars} --strategy {table} {common} --out {at}/table"
            ));
            assert_eq!(
                text.contains(".rule.toml)"),
                name == "multi-gan-direction",
                "{text}"
            );
            let mut compared = 0;
            for mode in ["return", "class", "both"] {
                for stock in ["002032.SZ", "600000.SH"] {
                    for file in [
                        "signals.csv",
                        "orders.csv",
                        "fills.csv",
                        "positions.csv",
                        "equity.csv",
                        "trips.csv",
                        "metrics.csv",
                    ] {
                        let path = Path::new(name).join(mode).join(stock).join(file);
                        let of = |side: &str| fs::read(dir.path().join(side).join(&path)).unwrap();
                        assert!(
                            of("bundles") == of("table"),
                            "{ending}: {} differs",
                            path.display()
                        );
                        compared += of("bundles").len();
                    }
                }
            }
            assert!(compared > 100_000, "{compared} bytes compared");
        }
    }
}

#[test]
fn a_bundle_trades_by_its_own_rule_unless_the_settings_have_one() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings.toml");
    let run = |bundles: &str, settings: &str| {
        let out = dir.path().join("out");
        let output = done(&format!(
            "backtest data/ashare/002032.SZ.csv --strategy {bundles} --from 2016-01-04 --no-pages {settings} --out {}",
            out.display()
        ));
        let text = fs::read_to_string(out.join("summary.json")).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        let line = summary[0].clone();
        assert!(
            output.contains(line["rule_from"].as_str().unwrap()),
            "{output}"
        );
        (
            line["rule"]["enter"].as_f64().unwrap(),
            line["rule_from"].as_str().unwrap().to_owned(),
        )
    };
    let shipped = "models/cae-factors,models/multi-gan-direction";
    let own = (0.00126, "bundle models/multi-gan-direction".to_owned());
    assert_eq!(run(shipped, ""), own);
    // Settings with the account only leave the rule to the bundle.
    fs::write(&settings, "allocation = { max_positions = 2 }\n").unwrap();
    let named = format!("--settings {}", settings.display());
    assert_eq!(run(shipped, &named), own);
    fs::write(
        &settings,
        "rule = { enter = 0.003, exit = 0.0, min_confidence = 0.0 }\n",
    )
    .unwrap();
    assert_eq!(
        run(shipped, &named),
        (0.003, format!("settings {}", settings.display()))
    );
    let baseline = "models/baseline-factors,models/baseline-direction";
    assert_eq!(run(baseline, ""), (0.002, "default".to_owned()));
}

#[test]
fn backtest_and_select_warn_of_unmatched_rows_and_reject_tables_without_a_match() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("p.csv");
    let (at, out) = (table.display(), dir.path().join("out"));
    let bars = "data/ashare/002032.SZ.csv";
    let backtest = format!(
        "backtest {bars} --strategy {at} --no-pages --out {}",
        out.display()
    );
    let head = "symbol,date,predicted_return\n";
    fs::write(&table, format!("{head}600000.SH,2010-01-04,0.01\n")).unwrap();
    let select = format!(
        "select {bars} --candidate g1={at} --validate-from 2008-01-02 --test-from 2014-01-02 --out {}",
        out.display()
    );
    for words in [
        &backtest,
        &select,
        &format!("audit {bars} --predictions {at} --test-from 2010-01-04"),
    ] {
        let refused = lab(words);
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success(), "{words}");
        assert!(
            text.contains("the first is 600000.SH 2010-01-04 (line 2)"),
            "{text}"
        );
        assert!(text.contains("the bars of 002032.SZ"), "{text}");
    }
    let rows = "600000.SH,2010-01-04,0.01\n002032.SZ,2010-01-04,0.01\n002032.SZ,2010-01-06,0.01\n";
    fs::write(&table, format!("{head}{rows}")).unwrap();
    let output = lab(&format!("{backtest} --from 2010-01-04 --to 2010-01-08"));
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(
            "1 of 3 rows belong to no accepted bar, the first is 600000.SH 2010-01-04 (line 2)"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "3 of 5 bars of the traded span have no prediction, the first is 002032.SZ 2010-01-05"
        ),
        "{text}"
    );
    for file in ["summary.json", "p/return/002032.SZ/summary.json"] {
        let text = fs::read_to_string(out.join(file)).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        let predictions = summary.get(0).unwrap_or(&summary)["predictions"].clone();
        assert_eq!(predictions["unmatched"], 1, "{file}");
        assert_eq!(predictions["bars_without_prediction"], 3, "{file}");
    }
    // Without probabilities only the return can decide.
    let signals = fs::read_to_string(out.join("p/return/002032.SZ/signals.csv")).unwrap();
    assert!(signals.contains("0.01,,,,buy,,entered"), "{signals}");
    let refused = lab(&format!("{backtest} --mode class"));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("which signal mode class needs"), "{text}");
}

/// Returns the code blocks of a language in docs/predictions.md.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(project().join("docs/predictions.md")).unwrap();
    let blocks = text.split("```").skip(1).step_by(2);
    let of = |block: &str| {
        block
            .strip_prefix(language)?
            .strip_prefix('\n')
            .map(str::to_owned)
    };
    blocks.filter_map(of).collect()
}

#[test]
fn the_examples_of_the_documentation_are_read_and_run() {
    let tables = blocks("csv");
    assert_eq!(tables.len(), 2);
    for table in &tables {
        assert_eq!(read(table).unwrap().len(), 2, "{table}");
    }
    let out = tempfile::tempdir().unwrap();
    let commands = blocks("sh").concat();
    let commands: Vec<&str> = commands.lines().collect();
    assert!(commands.len() >= 4);
    for command in commands {
        let words = command.strip_prefix("heqis-lab ").unwrap();
        done(&words.replace("out/", &format!("{}/", out.path().display())));
    }
}

/// Uses a copy of the bars in a file that is not named after the symbol, with the symbol in a column.
#[test]
fn the_symbol_column_takes_precedence_over_the_file_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my_bars_of_a_stock.csv");
    let text = fs::read_to_string(project().join("data/ashare/002032.SZ.csv")).unwrap();
    let mut lines = text.lines();
    let mut named = format!("symbol,{}\n", lines.next().unwrap());
    lines
        .clone()
        .for_each(|line| named += &format!("002032.SZ,{line}\n"));
    fs::write(&path, &named).unwrap();
    let (bars, at) = (path.display(), dir.path().display());
    let text = done(&format!(
        "audit {bars} --test-from 2013-01-04 --cuts 2 --rounds 1"
    ));
    assert!(text.contains("pass"), "{text}");
    let text = done(&format!(
        "select {bars} --validate-from 2012-01-04 --test-from 2014-01-02 --folds 1 --out {at}/out"
    ));
    assert!(text.starts_with("002032.SZ: "), "{text}");
    fs::write(
        &path,
        format!(
            "{named}{}",
            named
                .replace("002032.SZ", "600000.SH")
                .split_once('\n')
                .unwrap()
                .1
        ),
    )
    .unwrap();
    let refused = lab(&format!("audit {bars} --test-from 2013-01-04"));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(
        text.contains("must have the bars of a single instrument, got 002032.SZ, 600000.SH"),
        "{text}"
    );
}

#[test]
fn a_baseline_of_other_bars_is_written_to_the_given_directory() {
    let dir = tempfile::tempdir().unwrap();
    let bars = project().join("data/ashare/600000.SH.csv");
    let baseline = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_heqis-lab"));
        command.current_dir(dir.path()).args(["baseline", "--data"]);
        command.arg(&bars).args(words).output().unwrap()
    };
    let refused = baseline(&[]);
    assert!(!refused.status.success());
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--out"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(baseline(&["--out", "mine"]).status.success());
    assert!(
        dir.path()
            .join("mine/baseline-direction/manifest.json")
            .is_file()
    );
}
