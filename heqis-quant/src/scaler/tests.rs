#![allow(clippy::unwrap_used)]
use super::*;
use crate::Date;
use proptest::prelude::*;

fn options(kind: ScalerKind, out_of_range: OutOfRange) -> FitOptions {
    let day = |text| Date::parse(text).unwrap();
    FitOptions {
        kind,
        out_of_range,
        window_size: 8,
        span: Span::new(day("20040817"), day("20121231")).unwrap(),
    }
}

fn fitted(kind: ScalerKind, out_of_range: OutOfRange) -> Scaler {
    let rows = [[1.0, 10.0], [3.0, 30.0], [2.0, 20.0]];
    Scaler::fit(
        options(kind, out_of_range),
        &["a", "b"],
        rows.iter().map(|r| &r[..]),
        [-0.1, 0.1],
    )
    .unwrap()
}

#[test]
fn the_span_maps_to_zero_and_one_and_a_target_comes_back() {
    let scaler = fitted(ScalerKind::MinMax, OutOfRange::Pass);
    let mut out = [0.0; 2];
    assert_eq!(scaler.transform_into(&[1.0, 30.0], &mut out).unwrap(), 0);
    assert_eq!(out, [0.0, 1.0]);
    assert_eq!(scaler.transform_target(0.1), 1.0);
    assert_eq!(scaler.inverse_target(0.5), 0.0);
}

#[test]
fn a_z_score_has_mean_zero_and_deviation_one() {
    let scaler = fitted(ScalerKind::ZScore, OutOfRange::Pass);
    let mut out = [0.0; 2];
    scaler.transform_into(&[3.0, 10.0], &mut out).unwrap();
    // Deviation of 1, 2, 3 with divisor n is sqrt(2/3).
    assert!((out[0] - 1.224_744_9).abs() < 1e-6 && (out[1] + 1.224_744_9).abs() < 1e-6);
}

#[test]
fn values_outside_are_counted_and_clipped_only_with_that_option() {
    for (handling, expected) in [
        (OutOfRange::Clip, [0.0, 1.0]),
        (OutOfRange::Pass, [-0.5, 1.5]),
    ] {
        let mut out = [0.0; 2];
        let count = fitted(ScalerKind::MinMax, handling)
            .transform_into(&[0.0, 40.0], &mut out)
            .unwrap();
        assert_eq!((count, out), (2, expected));
    }
}

#[test]
fn rows_that_cannot_be_scaled_are_refused() {
    let fit = |rows: &[[f64; 1]], targets: &[f64]| {
        let rows = rows.iter().map(|r| &r[..]);
        Scaler::fit(
            options(ScalerKind::ZScore, OutOfRange::Clip),
            &["a"],
            rows,
            targets.iter().copied(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(fit(&[[0.1], [0.1], [0.1]], &[0.0, 1.0]).contains("a: must vary in the span"));
    assert!(fit(&[[1.0], [2.0]], &[0.0, 0.0]).contains("target: must vary"));
    assert!(fit(&[], &[0.0, 1.0]).contains("at least one value"));
    assert!(fit(&[[1.0], [f64::NAN]], &[0.0, 1.0]).contains("a: must be a finite number"));
    let scaler = fitted(ScalerKind::MinMax, OutOfRange::Clip);
    assert!(scaler.transform_into(&[1.0], &mut [0.0; 2]).is_err());
    assert!(scaler.transform_into(&[1.0, 2.0], &mut [0.0; 1]).is_err());
    assert!(
        scaler
            .transform_into(&[1.0, f64::INFINITY], &mut [0.0; 2])
            .is_err()
    );
}

#[test]
fn a_document_with_one_fault_is_refused_by_name() {
    let good = serde_json::to_value(fitted(ScalerKind::MinMax, OutOfRange::Clip)).unwrap();
    for (field, value, reason) in [
        (
            "x_min",
            serde_json::json!([1.0]),
            "x_min: must have n_features = 2 entries, got 1",
        ),
        (
            "x_scale",
            serde_json::json!([1.0, 0.0]),
            "b scale: must be positive, got 0",
        ),
        (
            "x_scale",
            serde_json::json!([-1.0, 1.0]),
            "a scale: must be positive, got -1",
        ),
        ("y_scale", serde_json::json!(0), "y scale: must be positive"),
        (
            "n_features",
            serde_json::json!(0),
            "n_features: must be at least 1",
        ),
        (
            "window_size",
            serde_json::json!(0),
            "window_size: must be at least 1",
        ),
        (
            "feature_names",
            serde_json::json!(["a", "a"]),
            "feature_names: must not be empty or repeat",
        ),
        (
            "span",
            serde_json::json!({"from": "2020-01-02", "to": "2020-01-01"}),
            "must not lie before 2020-01-02",
        ),
        (
            "kind",
            serde_json::json!("robust"),
            "unknown variant `robust`",
        ),
        ("extra", serde_json::json!(1), "unknown field `extra`"),
        ("y_min", serde_json::json!(null), "invalid type: null"),
    ] {
        let mut document = good.clone();
        document[field] = value;
        let message = Scaler::from_json(&document.to_string())
            .unwrap_err()
            .to_string();
        assert!(message.contains(reason), "{message}");
    }
    let overflowing = good.to_string().replace("-0.1", "1e999");
    assert!(Scaler::from_json(&overflowing).is_err());
}

proptest! {
    #[test]
    fn a_written_scaler_is_read_back_to_the_bit(
        rows in proptest::collection::vec(proptest::collection::vec(-1e6f64..1e6, 3), 2..9), targets in proptest::collection::vec(-0.2f64..0.2, 2..9)
    ) {
        let rows = rows.iter().map(Vec::as_slice);
        if let Ok(scaler) = Scaler::fit(options(ScalerKind::MinMax, OutOfRange::Clip), &["a", "b", "c"], rows, targets) {
            prop_assert_eq!(Scaler::from_json(&scaler.to_json()).unwrap(), scaler);
        }
    }

    #[test]
    fn the_fitted_rows_lie_inside_and_the_target_survives_the_round_trip(
        rows in proptest::collection::vec(proptest::collection::vec(-1e3f64..1e3, 2), 2..9), y in -0.2f64..0.2
    ) {
        let slices = rows.iter().map(Vec::as_slice);
        if let Ok(scaler) = Scaler::fit(options(ScalerKind::MinMax, OutOfRange::Clip), &["a", "b"], slices, [-0.2, 0.2]) {
            for row in &rows {
                prop_assert_eq!(scaler.transform_into(row, &mut [0.0; 2]).unwrap(), 0);
            }
            prop_assert!((scaler.inverse_target(scaler.transform_target(y)) - y).abs() < 1e-15);
        }
    }
}
