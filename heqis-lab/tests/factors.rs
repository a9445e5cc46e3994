//! Data sets whose features are expressions.
#![allow(clippy::unwrap_used)]

#[path = "../../heqis-data/tests/market/mod.rs"]
mod market;

use std::path::Path;
use std::process::Command;

use heqis_data::store::dataset::Columns;
use heqis_data::store::{DataSet, Manifest};
use heqis_factors::feature_set;
use heqis_quant::{FeatureState, Scaler};
use market::{rows, write_table};

const DEFINITIONS: &str = "
# a helper, and three factors
_r       = close / ref(close, 1) - 1
momentum = close / ref(close, 20) - 1
calm     = momentum / (std(_r, 20) + 1e-9)
trend    = macd(close, 12, 26, 9).dif / close
";

fn lab(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_heqis-lab"))
        .args(arguments)
        .args(match arguments[0] {
            "prepare" => &["--train-fraction", "0.8"][..],
            _ => &[],
        })
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn tables(root: &Path) -> String {
    let dir = root.join("tables");
    std::fs::create_dir(&dir).unwrap();
    for index in 0..3 {
        write_table(&dir, index, &rows(index, 700));
    }
    dir.display().to_string()
}

#[test]
fn features_are_the_definitions_of_a_file_with_the_bits_of_a_board() {
    let root = tempfile::tempdir().unwrap();
    let (tables, out) = (tables(root.path()), root.path().join("out"));
    let file = root.path().join("own.txt");
    std::fs::write(&file, DEFINITIONS).unwrap();
    let (file, out) = (file.display().to_string(), out.display().to_string());
    let (good, text) = lab(&["prepare", &tables, "--out", &out, "--feature-file", &file]);
    assert!(good, "{text}");

    // The manifest and the scaler hold the expressions.
    let manifest = Manifest::read(Path::new(&out)).unwrap();
    let names = &manifest.settings.features;
    assert_eq!(
        names[1],
        "calm = (close / ref(close, 20) - 1) / (std(close / ref(close, 1) - 1, 20) + 1e-9)"
    );
    let set = feature_set(names).unwrap();
    assert_eq!(manifest.settings.feature_set_id, set.id());
    let scaler = Path::new(&out)
        .join(&manifest.version)
        .join("scaler_params.json");
    let scaler = Scaler::from_json(&std::fs::read_to_string(scaler).unwrap()).unwrap();
    assert_eq!(scaler.feature_names(), names);

    let data = DataSet::open(out.as_ref()).unwrap();
    let mut reader = data.series(Columns::All).unwrap();
    let mut with_features = 0;
    while let Some(rows) = reader.next().unwrap() {
        let mut state = FeatureState::new(&set).unwrap();
        for (row, bar) in rows.bars().iter().enumerate() {
            let bits = |row: &[f64]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let expected = state.update(bar).unwrap();
            assert_eq!(rows.features(row).map(bits), expected.as_deref().map(bits));
            with_features += usize::from(expected.is_some());
        }
    }
    assert_eq!(with_features as u64, manifest.rows.with_features);
    assert!(with_features > 500);

    // The same run again computes nothing; a check computes everything again.
    let (good, text) = lab(&["prepare", &tables, "--out", &out, "--feature-file", &file]);
    assert!(good && text.contains("0 computed"), "{text}");
    let (good, text) = lab(&["data", "check", &out]);
    assert!(good, "{text}");
}

#[test]
fn a_shipped_set_is_named_like_features_and_a_fault_has_its_place() {
    let root = tempfile::tempdir().unwrap();
    let (tables, out) = (
        tables(root.path()),
        root.path().join("out").display().to_string(),
    );
    let (good, text) = lab(&["prepare", &tables, "--out", &out, "--features", "twelve"]);
    assert!(good, "{text}");
    let names = Manifest::read(Path::new(&out)).unwrap().settings.features;
    assert_eq!(names[0], "return_1 = returns(close, 1)");
    let (good, text) = lab(&["prepare", &tables, "--out", &out, "--features", "alpha101"]);
    assert!(
        !good && text.contains("must not compare the instruments of a day"),
        "{text}"
    );
    let file = root.path().join("future.txt");
    std::fs::write(&file, "ok = close / open\nx = ref(close, -5)\n").unwrap();
    let file = file.display().to_string();
    let (good, text) = lab(&["prepare", &tables, "--out", &out, "--feature-file", &file]);
    let caret = "line 2, column 5: refused: ref(close, -5) reads the future\n    x = ref(close, -5)\n        ^^^^";
    assert!(!good && text.contains(caret), "{text}");
}
