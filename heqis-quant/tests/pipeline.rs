//! From committed bars to decisions, in one call and piece by piece.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use heqis_quant::decision::{ExecutionReport, LimitLockBreak, TrendParams};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
use heqis_quant::rules::Markets;
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{
    Bar, BarRef, CleanConfig, Cleaner, Decision, DecisionRule, DecisionState, FeatureSet,
    FeatureState, Filters, MarketSnapshot, MarketState, Prediction, QuantError, Scaler, Side,
    SignalMode, Span, Strategy, Symbol, TradingState,
};

const WINDOW: usize = 4;
const ROWS: usize = 3;
const NAMES: [&str; 3] = ["return_1", "return_5", "range_ratio"];

fn bars(name: &str) -> Vec<Bar> {
    common::bars(&format!("ashare/{name}"))
}

fn scaler() -> Scaler {
    let day = |text| heqis_quant::Date::parse(text).unwrap();
    let (low, high) = ([-0.1, -0.3, 0.0], [0.1, 0.3, 0.2]);
    Scaler::fit(
        FitOptions {
            kind: ScalerKind::MinMax,
            out_of_range: OutOfRange::Clip,
            window_size: WINDOW,
            span: Span::new(day("2004-01-01"), day("2010-12-31")).unwrap(),
        },
        &NAMES,
        [&low[..], &high[..]],
        [-0.1, 0.1],
    )
    .unwrap()
}

fn strategy() -> Strategy {
    Strategy {
        mode: SignalMode::Both,
        rule: DecisionRule {
            enter: 0.01,
            exit: -0.01,
            min_confidence: 0.4,
            min_exit_confidence: 0.0,
        },
        filters: Filters {
            limit_up_hold: true,
            limit_down_no_buy: true,
            limit_locked_no_buy: true,
            limit_lock_break: Some(LimitLockBreak {
                volume_ratio: 2.0,
                ban_days: 5,
            }),
            trend: Some(TrendParams {
                short_bars: 5,
                long_bars: 20,
            }),
            stop_loss: Some(0.08),
            loss_cool_down_days: Some(3),
            max_daily_gain: Some(0.07),
            ..Filters::default()
        },
    }
}

/// Two factors of each window: its first value and the mean of its last column. The prediction weighs rows by age.
#[derive(Debug, Default)]
struct Toy {
    factors: Vec<f32>,
}

fn toy_factors(window: &[f32]) -> [f32; 2] {
    let last = window.iter().skip(NAMES.len() - 1).step_by(NAMES.len());
    [window[0], last.sum::<f32>() / WINDOW as f32]
}

fn toy_prediction(rows: &[f32]) -> Prediction {
    let width = 2 + NAMES.len();
    let score: f32 = rows
        .chunks(width)
        .zip(1u8..)
        .map(|(row, age)| f32::from(age) * (row[0] - 0.5 + 2.0 * (row[2] - 0.5) - 0.1 * row[1]))
        .sum();
    let up = f64::from((0.5 + 2.0 * score).clamp(0.0, 1.0));
    Prediction {
        predicted_return: f64::from(score) / 10.0,
        probabilities: [1.0 - up, 0.0, up],
    }
}

impl Model for Toy {
    type Error = QuantError;

    fn factor_count(&self) -> usize {
        2
    }

    fn input_rows(&self) -> usize {
        ROWS
    }

    fn factors(&mut self, _: Symbol, window: &[f32]) -> Result<&[f32], QuantError> {
        self.factors = toy_factors(window).to_vec();
        Ok(&self.factors)
    }

    fn predict(&mut self, features: &[f32]) -> Result<Prediction, QuantError> {
        assert_eq!(features.len(), ROWS * (2 + NAMES.len()));
        Ok(toy_prediction(features))
    }
}

fn pipeline() -> DecisionPipeline<Toy> {
    DecisionPipeline::new(PipelineConfig::new(scaler(), strategy()), Toy::default()).unwrap()
}

/// A bar that was decided on, with the inputs of its filters.
type Decided = (Bar, MarketSnapshot, Decision);

fn decided(bars: &[Bar]) -> Vec<Decided> {
    let mut pipeline = pipeline();
    bars.iter()
        .filter_map(|bar| match pipeline.step(*bar).unwrap() {
            BarOutcome::Decided {
                bar,
                snapshot,
                decision,
            } => Some((bar, snapshot, decision)),
            BarOutcome::Unusable(error) => panic!("{error}"),
            BarOutcome::Rejected(_) | BarOutcome::WarmUp(_) => None,
        })
        .collect()
}

/// The same decisions, computed column by column over the whole series instead of bar by bar.
fn piece_by_piece(bars: &[Bar]) -> Vec<Decided> {
    let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
    let clean: Vec<Bar> = bars
        .iter()
        .filter_map(|bar| cleaner.check(*bar).ok())
        .collect();
    let markets = Markets::shipped().unwrap();
    let mut market = MarketState::new(&strategy().filter_indicators()).unwrap();
    let snapshots: Vec<_> = clean
        .iter()
        .map(|bar| market.update(&markets, false, bar).unwrap())
        .collect();
    let mut state = FeatureState::new(&FeatureSet::parse(&NAMES).unwrap()).unwrap();
    let (mut scaled, mut first) = (Vec::new(), None);
    for (at, bar) in clean.iter().enumerate() {
        if let Some(row) = state.update(bar).unwrap() {
            first.get_or_insert(at);
            let mut out = [0.0; NAMES.len()];
            scaler().transform_into(&row, &mut out).unwrap();
            scaled.push(out);
        }
    }
    let joined: Vec<Vec<f32>> = scaled
        .windows(WINDOW)
        .map(|window| [&toy_factors(&window.concat())[..], &window[WINDOW - 1]].concat())
        .collect();
    let first = first.unwrap() + WINDOW - 1 + ROWS - 1;
    let mut decision_state = DecisionState::default();
    joined
        .windows(ROWS)
        .zip(first..)
        .map(|(rows, at)| {
            let prediction = toy_prediction(&rows.concat());
            let decision = strategy().decide(
                &mut decision_state,
                &BarRef::from(&clean[at]),
                &snapshots[at],
                &prediction,
                TradingState::Active,
            );
            (clean[at], snapshots[at], decision)
        })
        .collect()
}

#[test]
fn one_call_decides_what_the_pieces_decide() {
    for name in ["002032.SZ.csv", "600000.SH.csv", "000300.SH.csv"] {
        let bars = bars(name);
        let (whole, pieces) = (decided(&bars), piece_by_piece(&bars));
        assert_eq!(whole.len(), pieces.len());
        for (whole, pieces) in whole.iter().zip(&pieces) {
            assert_eq!(whole, pieces);
        }
        let reasons: std::collections::BTreeSet<&str> = whole
            .iter()
            .map(|(_, _, decision)| decision.reason.name())
            .collect();
        for reason in ["entered", "exited", "stop_loss", "no_trend", "cool_down"] {
            assert!(
                reasons.contains(reason),
                "{name} does not test {reason}: {reasons:?}"
            );
        }
    }
}

#[test]
fn decisions_do_not_depend_on_later_bars() {
    let bars = bars("002032.SZ.csv");
    let whole = decided(&bars);
    for cut in [40, 333, 1_000, 2_000] {
        let past = decided(&bars[..cut]);
        assert_eq!(past, whole[..past.len()]);
        let mut other = bars.clone();
        for bar in &mut other[cut..] {
            // Another possible future: the same prices, ten times the volume.
            bar.volume_shares *= 10.0;
        }
        assert_eq!(decided(&other)[..past.len()], past);
    }
}

#[test]
fn symbols_are_independent() {
    let (a, b) = (bars("002032.SZ.csv"), bars("600000.SH.csv"));
    let (mut expected_a, mut expected_b) = (decided(&a).into_iter(), decided(&b).into_iter());
    let mut pipeline = pipeline();
    let longest = a.len().max(b.len());
    for at in 0..longest {
        for (bars, expected) in [(&a, &mut expected_a), (&b, &mut expected_b)] {
            if let Some(bar) = bars.get(at)
                && let BarOutcome::Decided {
                    bar,
                    snapshot,
                    decision,
                } = pipeline.step(*bar).unwrap()
            {
                assert_eq!(Some((bar, snapshot, decision)), expected.next());
            }
        }
    }
    assert_eq!((expected_a.next(), expected_b.next()), (None, None));
}

#[test]
fn the_trading_state_and_the_broker_reach_the_decisions() {
    let bars = bars("002032.SZ.csv");
    let mut halted = pipeline();
    halted.set_trading_state(TradingState::Halted);
    for bar in &bars {
        if let BarOutcome::Decided { decision, .. } = halted.step(*bar).unwrap() {
            assert_eq!(decision.side, Side::Hold);
        }
    }
    // An order that ends without a trade is repeated on the next bar whose signal allows it.
    let mut unlucky = pipeline();
    let mut buys = 0;
    for bar in &bars {
        if let BarOutcome::Decided { decision, .. } = unlucky.step(*bar).unwrap() {
            assert_ne!(decision.side, Side::Sell);
            if decision.side == Side::Buy {
                buys += 1;
                unlucky.report(bar.symbol, ExecutionReport::NotBought);
            }
        }
    }
    assert!(
        buys > decided(&bars)
            .iter()
            .filter(|(_, _, decision)| decision.side == Side::Buy)
            .count()
    );
}

#[test]
fn an_unknown_feature_and_a_bad_parameter_are_refused() {
    let refused = |config: PipelineConfig| {
        DecisionPipeline::new(config, Toy::default())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let strange = scaler().to_json().replace("return_5", "moon_phase");
    let config = PipelineConfig::new(Scaler::from_json(&strange).unwrap(), strategy());
    assert!(refused(config).contains("moon_phase"));
    let mut config = PipelineConfig::new(scaler(), strategy());
    config.strategy.filters.stop_loss = Some(2.0);
    assert!(refused(config).contains("stop_loss"));
}
