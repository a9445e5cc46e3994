//! The bytes of every message, packed by hand: field after field, little-endian, without padding. A change here breaks
//! nodes of different versions.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Debug;

use heqis_actors::{Payload, Tensor};
use heqis_messages::{BarMessage, DecisionMessage, FeatureRow, Features, PredictionMessage};
use heqis_quant::decision::{Band, DecisionReason, Position, RiskState};
use heqis_quant::{Bar, BarRef, Date, Decision, MarketSnapshot, Marks, Prediction, Side, Symbol};
use proptest::prelude::*;

/// symbol, time_ns, days, open, high, low, close, (pre_close: present), volume_shares, (amount_cny: absent), marks.
const BAR: &[&str] = &[
    "0000000000000048532e303030303036",
    "0060168d70ebe613",
    "d6400000",
    "3333333333333140",
    "6666666666663140",
    "6666666666e63040",
    "c3f5285c8f023140",
    "010000000000003140",
    "000000008020fe40",
    "00",
    "0200",
];

/// symbol, days, time_ns, close, set_id, number of values, values.
const ROW: &[&str] = &[
    "0000000000000048532e303030303036",
    "d6400000",
    "0060168d70ebe613",
    "c3f5285c8f023140",
    "07000000",
    "0200000000000000",
    "000000000000e03f000000000000f4bf",
];

/// symbol, days, time_ns, close, set_id.
const FEATURES: &[&str] = &[
    "0000000000000048532e303030303036",
    "d6400000",
    "0060168d70ebe613",
    "c3f5285c8f023140",
    "07000000",
];

/// symbol, days, time_ns, close, predicted_return, (down, flat, up).
const PREDICTION: &[&str] = &[
    "0000000000000048532e303030303036",
    "d6400000",
    "0060168d70ebe613",
    "c3f5285c8f023140",
    "9a9999999999893f",
    "9a9999999999b93f333333333333d33f333333333333e33f",
];

/// symbol, days, time_ns, close, side, confidence, reason, is_long, predicted_return, (down, flat, up).
const DECISION: &[&str] = &[
    "0000000000000048532e303030303036",
    "d6400000",
    "0060168d70ebe613",
    "c3f5285c8f023140",
    "00",
    "333333333333e33f",
    "00",
    "01",
    "9a9999999999893f",
    "9a9999999999b93f333333333333d33f333333333333e33f",
    "3905000000000000",
];

/// The extension of a feature row, features and a prediction: open, (reference_close: present), (limits: present), level_ratio,
/// after_limit_lock, (volume_ratio: absent), filter_indicators_id, (ma_short: present), (ma_long: absent), (rsi: present), (adx: absent).
const SNAPSHOT: &[&str] = &[
    "3333333333333140",
    "010000000000003140",
    "01fa050000000000004e07000000000000",
    "000000000000f03f",
    "01",
    "00",
    "07000000",
    "010000000000003140",
    "00",
    "010000000000004940",
    "00",
];

/// The extension of a decision: (entry_price: present), cool_down_days, ban_days.
const RISK_STATE: &[&str] = &["010000000000803040", "03000000", "00000000"];

fn bytes(fields: &[&str]) -> Vec<u8> {
    let hex = fields.concat();
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn reference() -> BarRef {
    let date = Date::new(2015, 6, 12).unwrap();
    BarRef {
        symbol: Symbol::parse("600000.SH").unwrap(),
        date,
        time_ns: date.close_time_ns(),
        close: 17.01,
    }
}

fn bar() -> BarMessage {
    let BarRef {
        symbol,
        date,
        time_ns,
        close,
    } = reference();
    BarMessage(Bar {
        symbol,
        time_ns,
        date,
        open: 17.2,
        high: 17.4,
        low: 16.9,
        close,
        pre_close: Some(17.0),
        volume_shares: 123_400.0,
        amount_cny: None,
        marks: Marks::GAP,
    })
}

fn row() -> FeatureRow {
    FeatureRow {
        bar: reference(),
        set_id: 7,
        values: vec![0.5, -1.25],
        snapshot: None,
    }
}

fn features() -> Features {
    Features {
        bar: reference(),
        set_id: 7,
        tensor: Tensor::new(&[1, 2], vec![0.5, -1.25]).unwrap(),
        snapshot: None,
    }
}

fn prediction() -> PredictionMessage {
    PredictionMessage {
        bar: reference(),
        prediction: Prediction {
            predicted_return: 0.0125,
            probabilities: [0.1, 0.3, 0.6],
        },
        snapshot: None,
    }
}

fn snapshot() -> MarketSnapshot {
    MarketSnapshot {
        date: reference().date,
        open: 17.2,
        close: 17.01,
        reference_close: Some(17.0),
        limits: Some(Band {
            down_cents: 1_530,
            up_cents: 1_870,
        }),
        level_ratio: 1.0,
        after_limit_lock: true,
        volume_ratio: None,
        filter_indicators_id: 7,
        ma_short: Some(17.0),
        ma_long: None,
        rsi: Some(50.0),
        adx: None,
    }
}

fn with_risk() -> DecisionMessage {
    let mut message = decision();
    message.decision.risk = RiskState {
        entry_price: Some(16.5),
        cool_down_days: 3,
        ban_days: 0,
    };
    message
}

fn decision() -> DecisionMessage {
    let bar = reference();
    let prediction = prediction().prediction;
    DecisionMessage {
        decision: Decision {
            symbol: bar.symbol,
            date: bar.date,
            time_ns: bar.time_ns,
            close: bar.close,
            side: Side::Buy,
            confidence: 0.6,
            reason: DecisionReason::Entered,
            position: Position::Long,
            risk: RiskState::default(),
            predicted_return: prediction.predicted_return,
            probabilities: prediction.probabilities,
            ranked: None,
        },
        number: 1_337,
        missing: Vec::new(),
    }
}

fn are_the_bytes_of<P: Payload + PartialEq + Debug>(fields: &[&str], payload: &P) {
    let expected = bytes(fields);
    let mut meta = Vec::new();
    payload.encode(&mut meta).unwrap();
    let tensor = payload.tensor().cloned().unwrap_or_default();
    assert_eq!(meta, expected, "{}", P::NAME);
    assert_eq!(&P::decode(&expected, tensor).unwrap(), payload);
}

#[test]
fn every_message_has_the_bytes_that_were_packed_by_hand() {
    are_the_bytes_of(BAR, &bar());
    are_the_bytes_of(ROW, &row());
    are_the_bytes_of(FEATURES, &features());
    are_the_bytes_of(PREDICTION, &prediction());
    are_the_bytes_of(DECISION, &decision());
}

#[test]
fn the_snapshot_follows_the_bytes_of_versions_without_it() {
    let snapshot = Some(snapshot());
    are_the_bytes_of(&[ROW, SNAPSHOT].concat(), &FeatureRow { snapshot, ..row() });
    are_the_bytes_of(
        &[FEATURES, SNAPSHOT].concat(),
        &Features {
            snapshot,
            ..features()
        },
    );
    are_the_bytes_of(
        &[PREDICTION, SNAPSHOT].concat(),
        &PredictionMessage {
            snapshot,
            ..prediction()
        },
    );
    are_the_bytes_of(&[DECISION, RISK_STATE].concat(), &with_risk());
}

#[test]
fn a_snapshot_costs_92_bytes_at_most_and_nothing_where_it_is_absent() {
    let full = MarketSnapshot {
        volume_ratio: Some(1.0),
        ma_long: Some(1.0),
        adx: Some(1.0),
        ..snapshot()
    };
    let length = |snapshot| {
        let mut meta = Vec::new();
        Features {
            snapshot,
            ..features()
        }
        .encode(&mut meta)
        .unwrap();
        meta.len()
    };
    assert_eq!(length(None), 40);
    // All eleven fields present.
    assert_eq!(length(Some(full)) - length(None), 92);
}

/// A decoder that accepts a part of a message, or trailing bytes, would misread the rest of the frame.
fn no_other_length_of<P: Payload>(fields: &[&str], tensor: &Tensor) {
    let mut bytes = bytes(fields);
    for length in 0..bytes.len() {
        match P::decode(&bytes[..length], tensor.clone()) {
            Ok(_) => panic!("{length} bytes of a {} were accepted", P::NAME),
            Err(error) => assert!(error.to_string().contains(P::NAME), "{error}"),
        }
    }
    bytes.push(0);
    assert!(P::decode(&bytes, tensor.clone()).is_err(), "{}", P::NAME);
}

#[test]
fn a_message_cut_short_anywhere_or_followed_by_anything_is_refused_by_name() {
    no_other_length_of::<BarMessage>(BAR, &Tensor::default());
    no_other_length_of::<FeatureRow>(ROW, &Tensor::default());
    no_other_length_of::<Features>(FEATURES, &features().tensor);
    no_other_length_of::<PredictionMessage>(PREDICTION, &Tensor::default());
    no_other_length_of::<DecisionMessage>(DECISION, &Tensor::default());
}

/// As above, but the message without the extension is valid.
fn no_other_length_with_an_extension<P: Payload>(
    plain: &[&str],
    extension: &[&str],
    tensor: &Tensor,
) {
    let mut whole = bytes(&[plain, extension].concat());
    let begin = bytes(plain).len();
    for length in begin + 1..whole.len() {
        assert!(
            P::decode(&whole[..length], tensor.clone()).is_err(),
            "{length} of {}",
            P::NAME
        );
    }
    whole.push(0);
    assert!(P::decode(&whole, tensor.clone()).is_err(), "{}", P::NAME);
}

#[test]
fn an_extension_cut_short_anywhere_or_followed_by_anything_is_refused() {
    no_other_length_with_an_extension::<FeatureRow>(ROW, SNAPSHOT, &Tensor::default());
    no_other_length_with_an_extension::<Features>(FEATURES, SNAPSHOT, &features().tensor);
    no_other_length_with_an_extension::<PredictionMessage>(
        PREDICTION,
        SNAPSHOT,
        &Tensor::default(),
    );
    no_other_length_with_an_extension::<DecisionMessage>(DECISION, RISK_STATE, &Tensor::default());
}

#[test]
fn an_extension_that_breaks_a_rule_is_refused_by_name() {
    let broken = |at: usize, field: &'static str| {
        let mut extension = SNAPSHOT.to_vec();
        extension[at] = field;
        let meta = bytes(&[PREDICTION, &extension].concat());
        PredictionMessage::decode(&meta, Tensor::default())
            .unwrap_err()
            .to_string()
    };
    for (at, field, reason) in [
        (0, "000000000000f87f", "open is NaN"),
        (1, "01000000000000f07f", "reference_close is inf"),
        (
            2,
            "014e07000000000000fa05000000000000",
            "limits 1870..=1530 are not a band",
        ),
        (
            3,
            "0000000000000000",
            "level_ratio is 0, it must be positive",
        ),
        (7, "01000000000000f0ff", "ma_short is -inf"),
    ] {
        let message = broken(at, field);
        assert!(message.contains(reason), "{message}");
    }
    // A decision with an empty risk state has one encoding.
    let meta = bytes(&[DECISION, &["00", "00000000", "00000000"]].concat());
    let message = DecisionMessage::decode(&meta, Tensor::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("an empty risk state is not sent"),
        "{message}"
    );
}

#[test]
fn a_tag_accepts_exactly_the_known_values() {
    let tagged = |fields: &[&str], at: usize, accepted: usize, decodes: &dyn Fn(&[u8]) -> bool| {
        let sound = bytes(fields);
        for tag in 0..=u8::MAX {
            let mut meta = sound.clone();
            meta[at] = tag;
            assert_eq!(decodes(&meta), usize::from(tag) < accepted, "tag {tag}");
        }
    };
    let length = |fields: &[&str]| fields.concat().len() / 2;
    let decision = |meta: &[u8]| DecisionMessage::decode(meta, Tensor::default()).is_ok();
    let side = length(&DECISION[..4]);
    tagged(DECISION, side, 3, &decision);
    tagged(DECISION, side + 1 + 8, DecisionReason::ALL.len(), &decision);
    tagged(DECISION, side + 1 + 8 + 1, 2, &decision);
    // Nine marks are known, and any of them may be combined.
    let bar = |meta: &[u8]| BarMessage::decode(meta, Tensor::default()).is_ok();
    tagged(BAR, length(BAR) - 1, 2, &bar);
}

proptest! {
    /// Numbers of every kind in every field: a message that is accepted keeps the rules that the stages rely on.
    #[test]
    fn a_message_with_other_numbers_is_refused_or_keeps_every_rule(
        fields in (0usize..10, 0usize..10),
        number in prop::num::f64::ANY,
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let damaged = |layout: &[&str]| {
            let mut meta = bytes(layout);
            for field in [fields.0, fields.1].map(|field| field % layout.len()) {
                let start = layout[..field].concat().len() / 2;
                let end = (start + 8).min(meta.len());
                meta[start..end].copy_from_slice(&number.to_le_bytes()[..end - start]);
            }
            for (at, byte) in &noise {
                let at = at.index(meta.len());
                meta[at] ^= byte;
            }
            meta
        };
        if let Ok(row) = FeatureRow::decode(&damaged(ROW), Tensor::default()) {
            prop_assert!(row.bar.close.is_finite() && row.values.iter().all(|v| v.is_finite()));
        }
        if let Ok(features) = Features::decode(&damaged(FEATURES), features().tensor) {
            prop_assert!(features.bar.close.is_finite());
        }
        if let Ok(message) = PredictionMessage::decode(&damaged(PREDICTION), Tensor::default()) {
            prop_assert!(message.bar.close.is_finite());
        }
        if let Ok(decision) = DecisionMessage::decode(&damaged(DECISION), Tensor::default()) {
            prop_assert!(decision.decision.close.is_finite());
            prop_assert!(decision.decision.confidence.is_finite());
        }
        // The cleaner judges bars, so a bar may have any number.
        if let Ok(BarMessage(bar)) = BarMessage::decode(&damaged(BAR), Tensor::default()) {
            prop_assert_eq!(Symbol::from_key(bar.symbol.as_key()).unwrap(), bar.symbol);
            prop_assert_eq!(Date::from_days(bar.date.days()), Some(bar.date));
        }
    }
}
