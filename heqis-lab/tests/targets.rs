//! Targets on the command line, and their validation in a data set.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use clap::Parser;
use heqis_data::prepare::{self, Options};
use heqis_data::store::DataSet;
use heqis_lab::data::check;
use heqis_lab::prepare::TargetArgs;
use heqis_quant::target::{Target, TargetKind, TargetPrice};
use heqis_quant::{CleanConfig, Cleaner};
use market::{options, rows, write_table};

fn target(price: TargetPrice, horizon_days: u32, kind: TargetKind) -> Target {
    Target {
        price,
        horizon_days,
        kind,
        benchmark: None,
    }
}

#[test]
fn check_recomputes_the_labels_of_every_kind() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("tables");
    std::fs::create_dir(&dir).unwrap();
    for index in 0..6 {
        let mut rows = rows(index, 80);
        rows.remove(20 + index);
        write_table(&dir, index, &rows);
    }
    let cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    for kind in TargetKind::ALL {
        let out = root.path().join(kind.name());
        let target = target(TargetPrice::Open, 2, kind);
        prepare::prepare(&Options {
            target,
            ..options(&[&dir], &out)
        })
        .unwrap();
        let findings = check::check(&DataSet::open(&out).unwrap(), &cleaner).unwrap();
        assert!(findings.violations.is_empty(), "{:?}", findings.violations);
    }
    // A manifest that states another target than that of its rows is found out.
    let path = root.path().join("rank/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"kind\": \"rank\"", "\"kind\": \"z\"")).unwrap();
    let findings =
        check::check(&DataSet::open(&root.path().join("rank")).unwrap(), &cleaner).unwrap();
    assert!(
        findings
            .violations
            .iter()
            .any(|finding| finding.what == "label")
    );
}

#[test]
fn the_words_are_the_same_on_the_command_line_and_in_files() {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: TargetArgs,
    }
    for price in [TargetPrice::Open, TargetPrice::Close] {
        for kind in [
            TargetKind::Return,
            TargetKind::Excess,
            TargetKind::Rank,
            TargetKind::Z,
        ] {
            let line = [
                "prepare",
                "--target-days",
                "3",
                "--target-price",
                price.name(),
                "--target-kind",
                kind.name(),
            ];
            let found = Line::parse_from(line).target.target();
            assert_eq!(found, target(price, 3, kind));
            let json = serde_json::to_value(found).unwrap();
            let expected =
                serde_json::json!({"price": price.name(), "horizon_days": 3, "kind": kind.name()});
            assert_eq!(json, expected);
        }
    }
    assert!(Line::parse_from(["prepare"]).target.target().is_default());
}
