//! Data sets whose features are expressions.
#![allow(clippy::unwrap_used)]

mod market;

use heqis_data::prepare::{self, Options};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::TrainTo;
use heqis_data::store::{DataSet, Manifest};
use heqis_factors::{feature_set, of_text};
use heqis_quant::{FeatureState, Scaler};
use market::{options, rows, write_table};

const DEFINITIONS: &str = "
_r       = close / ref(close, 1) - 1
momentum = close / ref(close, 20) - 1
calm     = momentum / (std(_r, 20) + 1e-9)
trend    = macd(close, 12, 26, 9).dif / close
";

#[test]
fn manifest_scaler_and_rows_are_those_of_the_definitions() {
    let root = tempfile::tempdir().unwrap();
    let (dir, out) = (root.path().join("tables"), root.path().join("out"));
    std::fs::create_dir(&dir).unwrap();
    for index in 0..3 {
        write_table(&dir, index, &rows(index, 700));
    }
    let options = Options {
        features: of_text(DEFINITIONS).unwrap(),
        train_to: TrainTo::Fraction(0.8),
        ..options(&[&dir], &out)
    };
    prepare::prepare(&options).unwrap();

    let manifest = Manifest::read(&out).unwrap();
    let names = &manifest.settings.features;
    assert_eq!(
        names[1],
        "calm = (close / ref(close, 20) - 1) / (std(close / ref(close, 1) - 1, 20) + 1e-9)"
    );
    let set = feature_set(names).unwrap();
    assert_eq!(manifest.settings.feature_set_id, set.id());
    let scaler = out.join(&manifest.version).join("scaler_params.json");
    let scaler = Scaler::from_json(&std::fs::read_to_string(scaler).unwrap()).unwrap();
    assert_eq!(scaler.feature_names(), names);

    let data = DataSet::open(&out).unwrap();
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
    // The same run again computes nothing.
    assert_eq!(prepare::prepare(&options).unwrap().computed, 0);
}
