//! Each defect of a bundle is refused with one message, and a correct bundle with none.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use heqis_bundle::{AnyLayout, DirectionLayout, FactorsLayout, check, check_pair, load, write};
use heqis_infer::Bundle;

fn refusal(task: &str, dir: &Path) -> String {
    match task {
        "factors" => load::<FactorsLayout>(dir).unwrap_err().to_string(),
        _ => load::<DirectionLayout>(dir).unwrap_err().to_string(),
    }
}

#[test]
fn a_correct_bundle_of_each_role_has_the_layout_of_its_model() {
    let root = tempfile::tempdir().unwrap();
    support::factors(&root.path().join("factors"));
    support::direction(&root.path().join("direction"));
    let factors = load::<FactorsLayout>(root.path().join("factors")).unwrap();
    let direction = load::<DirectionLayout>(root.path().join("direction")).unwrap();
    assert_eq!((factors.layout.window, factors.layout.factors), (4, 2));
    let DirectionLayout {
        rows,
        width,
        factors: read,
        predicted_return,
        probabilities,
        ..
    } = direction.layout;
    assert_eq!((rows, width, read), (3, 4, 2));
    assert_eq!((predicted_return, probabilities), (0, 1));
    assert_eq!(
        factors.layout.sent_names(),
        direction.bundle.manifest().feature_names
    );
    check_pair(Some(&factors), &direction).unwrap();
    assert!(matches!(check(&factors.bundle), Ok(AnyLayout::Factors(_))));
    assert!(matches!(
        check(&direction.bundle),
        Ok(AnyLayout::Direction(_))
    ));
}

#[test]
fn every_defect_is_refused_with_its_rule_and_the_value_met() {
    let root = tempfile::tempdir().unwrap();
    for case in support::cases() {
        let (dir, expected) = case.write(root.path());
        let got = refusal(case.task, &dir);
        assert!(
            got.starts_with(&expected),
            "{}: expected {expected:?}, got {got:?}",
            case.name
        );
        assert!(got.len() < 2000, "{}: {} bytes", case.name, got.len());
        // A user that accepts any role says the same.
        let Ok(bundle) = Bundle::load(&dir) else {
            continue;
        };
        let got = check(&bundle).unwrap_err().to_string();
        assert!(got.starts_with(&expected), "{}: {got}", case.name);
    }
}

#[test]
fn an_exporter_cannot_write_a_bundle_that_breaks_a_rule_of_its_role() {
    let root = tempfile::tempdir().unwrap();
    let (sound, broken) = (root.path().join("sound"), root.path().join("broken"));
    let mut parts = support::factors_parts();
    write(&sound, &parts).unwrap();
    parts.window_bars = 17;
    let refused = write(&broken, &parts).unwrap_err().to_string();
    let loaded = load::<FactorsLayout>(&broken).unwrap_err().to_string();
    assert_eq!(refused, loaded);
    assert!(
        refused.ends_with("window_bars must be 4, the model's window, got 17"),
        "{refused}"
    );
}

#[test]
fn a_pair_must_agree_on_the_scaler_the_factors_and_the_feature_model() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let factors = |name: &str| load::<FactorsLayout>(models.join(name)).unwrap();
    let direction = |name: &str| load::<DirectionLayout>(models.join(name)).unwrap();
    let linear = (factors("baseline-factors"), direction("baseline-direction"));
    let trained = (factors("cae-factors"), direction("multi-gan-direction"));
    check_pair(Some(&linear.0), &linear.1).unwrap();
    check_pair(Some(&trained.0), &trained.1).unwrap();
    let refused = check_pair(Some(&linear.0), &trained.1)
        .unwrap_err()
        .to_string();
    assert!(
        refused
            .contains("multi-gan-direction: scaler_params.json must be that of the feature model"),
        "{refused}"
    );
    // The small pair names no feature model; its factors are 2.
    let root = tempfile::tempdir().unwrap();
    support::direction(&root.path().join("direction"));
    let small = load::<DirectionLayout>(root.path().join("direction")).unwrap();
    let mut other = linear.0.clone();
    other.bundle = support::factors(&root.path().join("factors"));
    let refused = check_pair(Some(&other), &small).unwrap_err().to_string();
    assert!(
        refused.contains("the model must read 8 factors, those of "),
        "{refused}"
    );
    let refused = check_pair(None, &small).unwrap_err().to_string();
    assert!(
        refused.ends_with("the model must read no factors without a feature model, got 2"),
        "{refused}"
    );
}
