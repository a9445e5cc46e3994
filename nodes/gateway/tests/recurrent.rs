//! A feature model that carries a state from bar to bar: one state for each symbol, rebuilt by the replay.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/recurrent.rs"]
mod recurrent;
mod support;

use heqis_actors::Stage;
use heqis_actors::testing::StageTest;
use heqis_gateway::NpuFeature;
use heqis_infer::Bundle;
use heqis_messages::FeatureRow;
use heqis_quant::{BarRef, FeatureSet, FeatureState, Scaler};
use recurrent::Reference;
use serde_json::json;
use support::{build, committed_bars, config, context, count, root};

/// Rows of a committed file after the indicators' warm-up.
fn rows(file: &str, count: usize) -> Vec<FeatureRow> {
    let set = FeatureSet::standard();
    let mut state = FeatureState::new(&set).unwrap();
    let rows = committed_bars(file).into_iter().filter_map(|bar| {
        let values = state.update(&bar).unwrap()?;
        let bar = BarRef {
            symbol: bar.symbol,
            date: bar.date,
            time_ns: bar.time_ns,
            close: bar.close,
        };
        Some(FeatureRow {
            bar,
            set_id: set.id(),
            values,
            snapshot: None,
        })
    });
    rows.take(count).collect()
}

/// The factors of each row from the first full window on, by the definition.
fn expected(bundle: &Bundle, rows: &[FeatureRow]) -> Vec<Vec<f64>> {
    let text = std::str::from_utf8(bundle.scaler_params()).unwrap();
    let scaler = Scaler::from_json(text).unwrap();
    let factors = bundle.outputs().next().unwrap().shape[1];
    let mut reference = Reference::new(scaler.n_features(), factors);
    let step = |row: &FeatureRow| {
        let mut scaled = vec![0.0; scaler.n_features()];
        scaler.transform_into(&row.values, &mut scaled).unwrap();
        reference.step(&scaled)
    };
    rows[scaler.window_size() - 1..].iter().map(step).collect()
}

#[test]
fn each_symbol_has_a_state_of_its_own_that_continues_from_bar_to_bar() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = recurrent::write(&root().join("models"), &directory.path().join("recurrent"));
    let params = json!({ "bundle": bundle.dir(), "backends": ["cpu"] });
    let checked = NpuFeature::check(&config(params.clone()), &root());
    assert_eq!(checked, [""; 0]);
    let [one, other] = ["002032.SZ.csv", "600000.SH.csv"].map(|file| rows(file, 120));
    let cx = context(root());
    let mut stage: StageTest<NpuFeature> = build(&cx, params);
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    for (position, (row, second)) in one.iter().zip(&other).enumerate() {
        of_one.extend(stage.take(row.clone()).unwrap());
        // Bars of the other arrive at another rate, and rows that cannot be scaled do not change the state.
        if position % 3 != 0 {
            let broken = FeatureRow {
                values: vec![f64::NAN; second.values.len()],
                ..second.clone()
            };
            assert!(stage.take(broken).unwrap().is_empty());
        }
        of_other.extend(stage.take(second.clone()).unwrap());
    }
    for (got, rows) in [(of_one, &one), (of_other, &other)] {
        let expected = expected(&bundle, rows);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            for (got, expected) in got.tensor.data().iter().zip(expected) {
                assert!(
                    (f64::from(*got) - expected).abs() <= 1e-5,
                    "{got} {expected}"
                );
            }
        }
    }
    assert_eq!(count(&cx, "refused"), 80);
}

#[test]
fn the_replay_of_all_bars_rebuilds_the_same_state_and_a_part_of_them_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = recurrent::write(&root().join("models"), &directory.path().join("recurrent"));
    let rows = rows("002032.SZ.csv", 60);
    let last = |rows: &[FeatureRow]| {
        let params = json!({ "bundle": bundle.dir(), "backends": ["cpu"] });
        let mut stage: StageTest<NpuFeature> = build(&context(root()), params);
        let frames = rows.iter().flat_map(|row| stage.take(row.clone()).unwrap());
        frames.last().unwrap().tensor.data().to_vec()
    };
    assert_eq!(last(&rows), last(&rows));
    assert_ne!(last(&rows), last(&rows[60 - 16..]));
}
