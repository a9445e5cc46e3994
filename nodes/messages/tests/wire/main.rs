//! The messages as bytes: bincode writes the same ones, decoding restores every field, and a message that breaks a rule is
//! refused.
#![allow(clippy::unwrap_used, missing_docs)]

use bincode::Encode;
use heqis_actors::{MAX_META_BYTES, Payload, PayloadError, Tensor};
use heqis_messages::{
    BarMessage, CrossSection, DecisionMessage, FeatureRow, Features, PredictionMessage,
};
use heqis_quant::decision::{Band, DecisionReason, Position, RiskState};
use heqis_quant::{Bar, BarRef, Date, Decision, MarketSnapshot, Marks, Prediction, Side, Symbol};
use proptest::prelude::*;

const SIDES: [Side; 3] = [Side::Buy, Side::Hold, Side::Sell];

/// The two parts of a payload.
fn parts<P: Payload>(payload: &P) -> (Vec<u8>, Tensor) {
    let mut meta = Vec::new();
    payload.encode(&mut meta).unwrap();
    let tensor = payload.tensor().cloned().unwrap_or_default();
    (meta, tensor)
}

fn decode<P: Payload>(meta: &[u8]) -> Result<P, PayloadError> {
    P::decode(meta, Tensor::default())
}

fn refusal<P: Payload>(meta: &[u8], tensor: Tensor) -> String {
    match P::decode(meta, tensor) {
        Ok(_) => panic!("{meta:02x?} was accepted"),
        Err(error) => error.to_string(),
    }
}

/// The bytes of bincode's legacy configuration, the layout of bincode 1.
fn bincode(value: &impl Encode) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::legacy()).unwrap()
}

mod oracle;
mod ranks;

use oracle::{
    BarLayout, DecisionLayout, FeaturesLayout, PredictionLayout, RefLayout, RiskLayout, RowLayout,
    SnapshotLayout,
};
use ranks::{ranked, ranked_bytes};

/// A message's bytes and those of its extension.
fn followed(mut bytes: Vec<u8>, extension: Option<Vec<u8>>) -> Vec<u8> {
    bytes.extend(extension.unwrap_or_default());
    bytes
}

fn snapshot_bytes(snapshot: &MarketSnapshot) -> Vec<u8> {
    bincode(&snapshot_layout(snapshot))
}

fn snapshot_layout(snapshot: &MarketSnapshot) -> SnapshotLayout {
    SnapshotLayout {
        open: snapshot.open,
        reference_close: snapshot.reference_close,
        limits: snapshot.limits.map(|band| (band.down_cents, band.up_cents)),
        level_ratio: snapshot.level_ratio,
        after_limit_lock: snapshot.after_limit_lock,
        volume_ratio: snapshot.volume_ratio,
        filter_indicators_id: snapshot.filter_indicators_id,
        indicators: (
            snapshot.ma_short,
            snapshot.ma_long,
            snapshot.rsi,
            snapshot.adx,
        ),
    }
}

fn risk_bytes(risk: &RiskState, is_ranked: bool) -> Option<Vec<u8>> {
    let layout = RiskLayout {
        entry_price: risk.entry_price,
        cool_down_days: risk.cool_down_days,
        ban_days: risk.ban_days,
    };
    // Before a place in a cross-section it is sent empty too.
    (!risk.is_empty() || is_ranked).then(|| bincode(&layout))
}

fn bar_layout(bar: &Bar) -> BarLayout {
    BarLayout {
        symbol: bar.symbol.as_key(),
        time_ns: bar.time_ns,
        days: bar.date.days(),
        prices: (bar.open, bar.high, bar.low, bar.close),
        pre_close: bar.pre_close,
        volume_shares: bar.volume_shares,
        amount_cny: bar.amount_cny,
        marks: bar.marks.bits(),
    }
}

fn ref_layout(bar: &BarRef) -> RefLayout {
    RefLayout {
        symbol: bar.symbol.as_key(),
        days: bar.date.days(),
        time_ns: bar.time_ns,
        close: bar.close,
    }
}

fn prediction_layout(message: &PredictionMessage) -> PredictionLayout {
    let [down, flat, up] = message.prediction.probabilities;
    PredictionLayout {
        bar: ref_layout(&message.bar),
        predicted_return: message.prediction.predicted_return,
        probabilities: (down, flat, up),
    }
}

fn decision_layout(message: &DecisionMessage) -> DecisionLayout {
    let decision = &message.decision;
    let [down, flat, up] = decision.probabilities;
    DecisionLayout {
        bar: ref_layout(&BarRef {
            symbol: decision.symbol,
            date: decision.date,
            time_ns: decision.time_ns,
            close: decision.close,
        }),
        side: SIDES
            .iter()
            .position(|side| *side == decision.side)
            .unwrap() as u8,
        confidence: decision.confidence,
        reason: DecisionReason::ALL
            .iter()
            .position(|reason| *reason == decision.reason)
            .unwrap() as u8,
        is_long: decision.position == Position::Long,
        predicted_return: decision.predicted_return,
        probabilities: (down, flat, up),
        number: message.number,
    }
}

fn symbols() -> impl Strategy<Value = Symbol> {
    ("[0-9]{6}", prop::sample::select(vec!["SH", "SZ", "BJ"]))
        .prop_filter_map("no symbol", |(code, exchange)| {
            Symbol::parse(&format!("{code}.{exchange}")).ok()
        })
}

fn dates() -> impl Strategy<Value = Date> {
    (7_000..30_000i32).prop_filter_map("no date", Date::from_days)
}

fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO
}

fn bar_refs() -> impl Strategy<Value = BarRef> {
    (symbols(), dates(), any::<i64>(), finite()).prop_map(|(symbol, date, time_ns, close)| BarRef {
        symbol,
        date,
        time_ns,
        close,
    })
}

prop_compose! {
    /// Any bar: the cleaner judges bars, not the decoder.
    fn bars()(
        symbol in symbols(),
        date in dates(),
        time_ns in any::<i64>(),
        [open, high, low, close, volume_shares] in any::<[f64; 5]>(),
        pre_close in any::<Option<f64>>(),
        amount_cny in any::<Option<f64>>(),
        marks in (0u16..512).prop_map(|bits| Marks::from_bits(bits).unwrap()),
    ) -> Bar {
        Bar { symbol, time_ns, date, open, high, low, close, pre_close, volume_shares, amount_cny, marks }
    }
}

fn risk_states() -> impl Strategy<Value = RiskState> {
    let some = (prop::option::of(finite()), 0u32..3, any::<u32>()).prop_map(
        |(entry_price, cool_down_days, ban_days)| RiskState {
            entry_price,
            cool_down_days,
            ban_days,
        },
    );
    prop_oneof![Just(RiskState::default()), some]
}

/// A snapshot of the bar of a message.
fn snapshot_of(bar: BarRef) -> impl Strategy<Value = Option<MarketSnapshot>> {
    let numbers = prop::array::uniform6(prop::option::of(finite()));
    let rest = (finite(), 1e-3f64..1e3, any::<bool>(), any::<u32>());
    let limits = prop::option::of((0i64..10_000, 0i64..10_000));
    let snapshot = (numbers, rest, limits).prop_map(
        move |([reference_close, volume_ratio, ma_short, ma_long, rsi, adx], rest, limits)| {
            let (open, level_ratio, after_limit_lock, filter_indicators_id) = rest;
            MarketSnapshot {
                date: bar.date,
                open,
                close: bar.close,
                reference_close,
                limits: limits.map(|(down_cents, more)| Band {
                    down_cents,
                    up_cents: down_cents + more,
                }),
                level_ratio,
                after_limit_lock,
                volume_ratio,
                filter_indicators_id,
                ma_short,
                ma_long,
                rsi,
                adx,
            }
        },
    );
    prop::option::of(snapshot)
}

fn seen() -> impl Strategy<Value = (BarRef, Option<MarketSnapshot>)> {
    bar_refs().prop_flat_map(|bar| (Just(bar), snapshot_of(bar)))
}

fn predictions() -> impl Strategy<Value = Prediction> {
    (finite(), [0.0..=1.0, 0.0..=1.0, 0.0..=1.0]).prop_map(|(predicted_return, probabilities)| {
        Prediction {
            predicted_return,
            probabilities,
        }
    })
}

prop_compose! {
    fn decisions()(
        bar in bar_refs(),
        prediction in predictions(),
        side in prop::sample::select(SIDES.to_vec()),
        reason in prop::sample::select(DecisionReason::ALL.to_vec()),
        confidence in finite(),
        is_long in any::<bool>(),
        risk in risk_states(),
        (ranked, missing) in prop_oneof![
            Just((None, Vec::new())),
            (ranked().prop_map(Some), prop::collection::vec(symbols(), 0..3)),
        ],
        number in any::<u64>(),
    ) -> DecisionMessage {
        let position = if is_long { Position::Long } else { Position::Flat };
        let Prediction { predicted_return, probabilities } = prediction;
        let BarRef { symbol, date, time_ns, close } = bar;
        let decision = Decision {
            symbol, date, time_ns, close, side, confidence, reason, position, risk, predicted_return, probabilities, ranked,
        };
        DecisionMessage { decision, number, missing }
    }
}

prop_compose! {
    fn features()((bar, snapshot) in seen(), set_id in any::<u32>(), rows in 1usize..5, width in 1usize..32)
        (data in prop::collection::vec(-1e6f32..1e6, rows * width), bar in Just(bar), snapshot in Just(snapshot),
         set_id in Just(set_id), rows in Just(rows), width in Just(width))
        -> Features
    {
        let shape = if rows == 1 { vec![1, width as u32] } else { vec![1, rows as u32, width as u32] };
        Features { bar, set_id, snapshot, tensor: Tensor::new(&shape, data).unwrap() }
    }
}

prop_compose! {
    fn rows()((bar, snapshot) in seen(), set_id in any::<u32>(), values in prop::collection::vec(finite(), 0..64)) -> FeatureRow {
        FeatureRow { bar, set_id, values, snapshot }
    }
}

proptest! {
    #[test]
    fn a_bar_crosses_unchanged_to_the_bit_in_the_bytes_of_bincode(bar in bars()) {
        let (meta, tensor) = parts(&BarMessage(bar));
        prop_assert!(tensor.is_empty());
        prop_assert_eq!(&meta, &bincode(&bar_layout(&bar)));
        let BarMessage(read) = decode(&meta).unwrap();
        // NaN is not equal to itself, so bits are compared.
        prop_assert_eq!(bincode(&bar_layout(&read)), meta);
        prop_assert_eq!(BarMessage(read).key(), bar.symbol.as_key());
    }

    #[test]
    fn a_feature_row_crosses_unchanged_in_the_bytes_of_bincode(row in rows()) {
        let (meta, tensor) = parts(&row);
        prop_assert!(tensor.is_empty());
        let layout = RowLayout { bar: ref_layout(&row.bar), set_id: row.set_id, values: row.values.clone() };
        prop_assert_eq!(&meta, &followed(bincode(&layout), row.snapshot.as_ref().map(snapshot_bytes)));
        prop_assert_eq!(decode::<FeatureRow>(&meta).unwrap(), row);
    }

    #[test]
    fn features_cross_unchanged_with_their_tensor_after_the_meta_part(features in features()) {
        let (meta, tensor) = parts(&features);
        prop_assert_eq!(&tensor, &features.tensor);
        let layout = FeaturesLayout { bar: ref_layout(&features.bar), set_id: features.set_id };
        prop_assert_eq!(&meta, &followed(bincode(&layout), features.snapshot.as_ref().map(snapshot_bytes)));
        prop_assert_eq!(Features::decode(&meta, tensor).unwrap(), features);
    }

    #[test]
    fn a_prediction_crosses_unchanged_in_the_bytes_of_bincode((bar, snapshot) in seen(), prediction in predictions()) {
        let message = PredictionMessage { bar, prediction, snapshot };
        let (meta, tensor) = parts(&message);
        prop_assert!(tensor.is_empty());
        let expected = followed(bincode(&prediction_layout(&message)), snapshot.as_ref().map(snapshot_bytes));
        prop_assert_eq!(&meta, &expected);
        prop_assert_eq!(decode::<PredictionMessage>(&meta).unwrap(), message);
    }

    #[test]
    fn a_decision_crosses_unchanged_in_the_bytes_of_bincode(decision in decisions()) {
        let (meta, tensor) = parts(&decision);
        prop_assert!(tensor.is_empty());
        let is_ranked = decision.decision.ranked.is_some();
        let expected = followed(bincode(&decision_layout(&decision)), risk_bytes(&decision.decision.risk, is_ranked));
        let expected = followed(expected, ranked_bytes(&decision));
        prop_assert_eq!(&meta, &expected);
        prop_assert_eq!(decode::<DecisionMessage>(&meta).unwrap(), decision);
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        canonical(&bytes)?;
    }

    /// Valid bytes with one changed byte get further into the decoders than noise does.
    #[test]
    fn a_message_with_damaged_bytes_is_refused_or_canonical(
        decision in decisions(),
        bar in bars(),
        row in rows(),
        at in any::<prop::sample::Index>(),
        hit in 1u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        for mut meta in [parts(&decision).0, parts(&BarMessage(bar)).0, parts(&row).0] {
            let at = at.index(meta.len());
            meta[at] ^= hit;
            canonical(&meta)?;
            meta[at] ^= hit;
            // Every shorter message is incomplete.
            canonical(&meta[..cut.index(meta.len())])?;
            meta.push(0);
            prop_assert!(decode::<DecisionMessage>(&meta).is_err());
            prop_assert!(decode::<BarMessage>(&meta).is_err());
            prop_assert!(decode::<FeatureRow>(&meta).is_err());
        }
    }
}

/// A message that is decoded encodes to the same bytes: each message has one encoding.
fn canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    fn one<P: Payload>(bytes: &[u8], tensor: Tensor) -> Result<(), TestCaseError> {
        if let Ok(payload) = P::decode(bytes, tensor) {
            prop_assert_eq!(&parts(&payload).0, bytes, "{}", P::NAME);
        }
        Ok(())
    }
    one::<BarMessage>(bytes, Tensor::default())?;
    one::<FeatureRow>(bytes, Tensor::default())?;
    one::<Features>(bytes, Tensor::new(&[1, 2], vec![0.5, 1.0]).unwrap())?;
    one::<PredictionMessage>(bytes, Tensor::default())?;
    one::<CrossSection>(bytes, Tensor::default())?;
    one::<DecisionMessage>(bytes, Tensor::default())
}

fn sound_ref() -> RefLayout {
    let date = Date::new(2015, 6, 12).unwrap();
    RefLayout {
        symbol: Symbol::parse("600000.SH").unwrap().as_key(),
        days: date.days(),
        time_ns: date.close_time_ns(),
        close: 17.01,
    }
}

fn sound_decision() -> DecisionLayout {
    DecisionLayout {
        bar: sound_ref(),
        side: 0,
        confidence: 0.6,
        reason: 0,
        is_long: true,
        predicted_return: 0.01,
        probabilities: (0.1, 0.3, 0.6),
        number: 7,
    }
}

#[test]
fn the_decision_that_the_other_refusals_start_from_is_accepted() {
    let DecisionMessage { decision, .. } = decode(&bincode(&sound_decision())).unwrap();
    assert_eq!(decision.symbol.as_str(), "600000.SH");
    assert_eq!(
        (decision.side, decision.position),
        (Side::Buy, Position::Long)
    );
}

#[test]
fn a_decision_that_breaks_a_rule_is_refused_by_name_and_value() {
    type Break = fn(&mut DecisionLayout);
    let cases: [(Break, &str); 7] = [
        (|d| d.bar.symbol = 0, "symbol"),
        (|d| d.bar.symbol = u128::MAX, "symbol"),
        (
            |d| d.bar.days = i32::MIN,
            "payload 'decision': day -2147483648 is not a date",
        ),
        (
            |d| d.bar.close = f64::NAN,
            "payload 'decision': close is NaN, it must be finite",
        ),
        (
            |d| d.side = 3,
            "payload 'decision': side has the unknown tag 3",
        ),
        (
            |d| d.reason = DecisionReason::ALL.len() as u8,
            "payload 'decision': reason has the unknown tag 39",
        ),
        (
            |d| d.confidence = f64::INFINITY,
            "payload 'decision': confidence is inf, it must be finite",
        ),
    ];
    for (break_it, message) in cases {
        let mut layout = sound_decision();
        break_it(&mut layout);
        let refused = refusal::<DecisionMessage>(&bincode(&layout), Tensor::default());
        assert!(refused.contains(message), "{refused}");
    }
}

#[test]
fn a_position_that_is_neither_flat_nor_long_is_refused() {
    let sound = bincode(&sound_decision());
    // The flag is before the last five numbers.
    let flag = sound.len() - 5 * 8 - 1;
    assert_eq!(sound[flag], 1);
    let mut meta = sound;
    meta[flag] = 2;
    assert!(decode::<DecisionMessage>(&meta).is_err());
}

#[test]
fn a_bar_with_an_unknown_mark_is_refused() {
    let bar = Bar {
        symbol: Symbol::parse("600000.SH").unwrap(),
        time_ns: 0,
        date: Date::new(2015, 6, 12).unwrap(),
        open: 1.0,
        high: 1.0,
        low: 1.0,
        close: 1.0,
        pre_close: None,
        volume_shares: 0.0,
        amount_cny: None,
        marks: Marks::NONE,
    };
    let layout = BarLayout {
        marks: 0x200,
        ..bar_layout(&bar)
    };
    let refused = refusal::<BarMessage>(&bincode(&layout), Tensor::default());
    assert_eq!(refused, "payload 'bar': marks 0x200 hold an unknown bit");
}

#[test]
fn a_prediction_crosses_unchanged_even_if_it_is_invalid() {
    for (predicted_return, first) in [
        (0.0, f64::NAN),
        (f64::NEG_INFINITY, 0.2),
        (f64::NAN, -0.5),
        (0.0, 1.5),
    ] {
        let layout = PredictionLayout {
            bar: sound_ref(),
            predicted_return,
            probabilities: (first, 0.3, 0.5),
        };
        let message: PredictionMessage = decode(&bincode(&layout)).unwrap();
        let decision = DecisionLayout {
            predicted_return,
            probabilities: (first, 0.3, 0.5),
            ..sound_decision()
        };
        let DecisionMessage { decision, .. } = decode(&bincode(&decision)).unwrap();
        for got in [message.prediction, decision.prediction()] {
            assert!(!got.is_valid());
            assert_eq!(got.predicted_return.to_bits(), predicted_return.to_bits());
            assert_eq!(got.probabilities[0].to_bits(), first.to_bits());
        }
    }
}

#[test]
fn features_need_finite_rows_and_have_one_encoding() {
    let meta = bincode(&FeaturesLayout {
        bar: sound_ref(),
        set_id: 7,
    });
    let tensor = |shape: &[u32], data: &[f32]| Tensor::new(shape, data.to_vec()).unwrap();
    for (shape, rows_and_width) in [(&[1, 2][..], (1, 2)), (&[1, 2, 1], (2, 1))] {
        let features = Features::decode(&meta, tensor(shape, &[0.0, 1.0])).unwrap();
        assert_eq!(features.rows_and_width(), Some(rows_and_width));
    }
    let cases = [
        (
            Tensor::default(),
            "payload 'features': tensor shape [] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            tensor(&[2], &[0.0, 1.0]),
            "payload 'features': tensor shape [2] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            tensor(&[2, 1], &[0.0, 1.0]),
            "payload 'features': tensor shape [2, 1] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            // One row of two values has another shape.
            tensor(&[1, 1, 2], &[0.0, 1.0]),
            "payload 'features': tensor shape [1, 1, 2] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            tensor(&[2, 1, 1], &[0.0, 1.0]),
            "payload 'features': tensor shape [2, 1, 1] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            tensor(&[1, 1, 1, 2], &[0.0, 1.0]),
            "payload 'features': tensor shape [1, 1, 1, 2] is neither [1, n] nor [1, rows, n] with two rows or more",
        ),
        (
            tensor(&[1, 2], &[0.0, f32::NAN]),
            "payload 'features': the tensor holds NaN, it must be finite",
        ),
    ];
    for (tensor, message) in cases {
        assert_eq!(refusal::<Features>(&meta, tensor), message);
    }
}

#[test]
fn a_feature_row_that_claims_more_values_than_it_has_is_refused_before_any_allocation() {
    let sound = bincode(&RowLayout {
        bar: sound_ref(),
        set_id: 7,
        values: vec![1.0],
    });
    assert!(decode::<FeatureRow>(&sound).is_ok());
    let length_at = sound.len() - 8 - 8;
    for claimed in [2, MAX_META_BYTES as u64, u64::MAX] {
        let mut meta = sound.clone();
        meta[length_at..length_at + 8].copy_from_slice(&claimed.to_le_bytes());
        let refused = refusal::<FeatureRow>(&meta, Tensor::default());
        assert!(
            refused.starts_with("payload 'feature-row': meta part of"),
            "{refused}"
        );
    }
    let nan = bincode(&RowLayout {
        bar: sound_ref(),
        set_id: 7,
        values: vec![1.0, f64::NAN],
    });
    let refused = refusal::<FeatureRow>(&nan, Tensor::default());
    assert_eq!(
        refused,
        "payload 'feature-row': a feature is NaN, it must be finite"
    );
}

#[test]
fn the_names_on_ports_and_on_the_wire_are_fixed() {
    let names = [
        BarMessage::NAME,
        FeatureRow::NAME,
        Features::NAME,
        PredictionMessage::NAME,
        DecisionMessage::NAME,
    ];
    assert_eq!(
        names,
        ["bar", "feature-row", "features", "prediction", "decision"]
    );
}
