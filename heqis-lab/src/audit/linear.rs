//! The linear baseline as a subject: scaler, ridge regression, the boards' decision step, the broker.

use std::collections::HashMap;

use heqis_backtest::instrument::assumed;
use heqis_backtest::{
    Allocation, BrokerConfig, InstrumentInfo, MarketHistory, OrderIntent, Stock, simulate,
};
use heqis_quant::label::next_bar_labels;
use heqis_quant::rules::{Limits, Trade};
use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
use heqis_quant::{
    Bar, Calendar, Date, DecisionRule, DecisionState, ExRight, FeatureSet, FeatureState, Filters,
    MarketSnapshot, Markets, Prediction, Scaler, SignalMode, Span, Strategy, TradingState,
};
use heqis_train::TrainError;
use heqis_train::linear::ridge::Ridge;

use super::subject::{Decision, Filled, Fitted, Subject, Trades, Units};
use crate::error::LabError;

/// Largest absolute return that counts as flat; it affects only the labels' classes, which are not used here.
const FLAT_BAND: f64 = 0.005;
/// Trading days by which a label looks ahead.
const HORIZON_DAYS: usize = 1;

/// The linear baseline with its settings.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Candidate penalties; the choice is by the error on the last quarter of the training span.
    pub penalties: Vec<f64>,
    /// The decision rule and filters.
    pub rule: DecisionRule,
    /// The broker's settings.
    pub broker: BrokerConfig,
    /// Ex-right events of any stocks.
    pub events: Vec<ExRight>,
    /// The rules of all markets [default: the shipped ones].
    pub markets: Option<Markets>,
}

impl Default for Linear {
    fn default() -> Self {
        Self {
            penalties: vec![0.01, 1.0, 100.0],
            rule: DecisionRule {
                enter: 0.001,
                exit: 0.0,
                min_confidence: 0.0,
                min_exit_confidence: 0.0,
            },
            broker: BrokerConfig::default(),
            events: Vec::new(),
            markets: None,
        }
    }
}

/// The fitted baseline.
#[derive(Debug)]
pub struct FittedLinear {
    set: FeatureSet,
    scaler: Scaler,
    ridge: Ridge,
    strategy: Strategy,
    broker: BrokerConfig,
    events: Vec<ExRight>,
    markets: Option<Markets>,
}

impl Subject for Linear {
    fn fit(&self, bars: &[Bar], test_from: Date) -> Result<Box<dyn Fitted>, LabError> {
        let before = bars.partition_point(|bar| bar.date < test_from);
        let bars = &bars[..before];
        let set = FeatureSet::standard();
        let mut state = FeatureState::new(&set)?;
        let mut rows = Vec::new();
        for (bar, label) in bars.iter().zip(next_bar_labels(bars, FLAT_BAND)?) {
            if let (Some(values), Some(label)) = (state.update(bar)?, label) {
                rows.push((bar.date, values, label.next_return));
            }
        }
        let fewest = 4 * set.len();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Err(too_few(test_from, rows.len(), fewest));
        };
        if rows.len() < fewest {
            return Err(too_few(test_from, rows.len(), fewest));
        }
        let scaler = Scaler::fit(
            FitOptions {
                kind: ScalerKind::MinMax,
                out_of_range: OutOfRange::Clip,
                window_size: 1,
                span: Span::new(first.0, last.0)?,
            },
            set.names(),
            rows.iter().map(|row| row.1.as_slice()),
            rows.iter().map(|row| row.2),
        )?;
        let inputs = rows
            .iter()
            .map(|row| scaled(&scaler, &row.1))
            .collect::<Result<Vec<_>, _>>()?;
        let targets: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let judged = rows.len() * 3 / 4;
        let fitted_to = judged - HORIZON_DAYS;
        let mut best: Option<(f64, f64)> = None;
        for penalty in &self.penalties {
            let ridge = fit(&inputs[..fitted_to], &targets[..fitted_to], *penalty)?;
            let error: f64 = inputs[judged..]
                .iter()
                .zip(&targets[judged..])
                .map(|(input, target)| (ridge.predict(input) - target).powi(2))
                .sum();
            if best.is_none_or(|(least, _)| error < least) {
                best = Some((error, *penalty));
            }
        }
        let Some((_, penalty)) = best else {
            return Err(LabError::rule("penalties", "must be at least one"));
        };
        Ok(Box::new(FittedLinear {
            ridge: fit(&inputs, &targets, penalty)?,
            set,
            scaler,
            strategy: Strategy {
                mode: SignalMode::Return,
                rule: self.rule,
                filters: Filters::default(),
            },
            broker: self.broker,
            events: self.events.clone(),
            markets: self.markets.clone(),
        }))
    }
}

fn too_few(test_from: Date, rows: usize, fewest: usize) -> LabError {
    let rule = format!("must hold at least {fewest} rows with features and label, has {rows}");
    LabError::rule(format!("training span before {test_from}"), rule)
}

fn fit(inputs: &[Vec<f64>], targets: &[f64], penalty: f64) -> Result<Ridge, LabError> {
    Ridge::fit(inputs, targets, penalty)
        .ok_or_else(|| TrainError::singular("ridge regression").into())
}

fn scaled(scaler: &Scaler, values: &[f64]) -> Result<Vec<f64>, LabError> {
    let mut row = vec![0.0_f32; values.len()];
    scaler.transform_into(values, &mut row)?;
    Ok(row.into_iter().map(f64::from).collect())
}

impl Fitted for FittedLinear {
    fn fingerprint(&self) -> String {
        format!(
            "{} {:?} {:?}",
            self.scaler.to_json(),
            self.ridge,
            self.strategy
        )
    }

    fn scaler_span(&self) -> Option<Span> {
        Some(self.scaler.span())
    }

    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError> {
        let mut state = FeatureState::new(&self.set)?;
        let mut decision_state = DecisionState::default();
        let mut decisions = Vec::new();
        for bar in bars {
            let Some(values) = state.update(bar)? else {
                continue;
            };
            let predicted_return = self.ridge.predict(&scaled(&self.scaler, &values)?);
            let prediction = Prediction {
                predicted_return,
                // The mode does not read classes.
                probabilities: [0.0, 1.0, 0.0],
            };
            let decision = self.strategy.decide(
                &mut decision_state,
                &bar.into(),
                &MarketSnapshot::of_close(bar.date, bar.close),
                &prediction,
                TradingState::Active,
            );
            decisions.push(Decision {
                date: bar.date,
                time_ns: bar.time_ns,
                predicted_return,
                side: decision.side,
            });
        }
        Ok(decisions)
    }

    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError> {
        trade(
            bars,
            decisions,
            self.broker,
            &self.events,
            self.markets.as_ref(),
        )
    }
}

/// Trades decisions on one symbol under the market's rules. Assumes new shares where the cleaner suspects an ex-right.
///
/// # Errors
///
/// [`LabError::Rule`] and [`LabError::Quant`] when bars break a rule of the broker.
pub fn trade(
    bars: &[Bar],
    decisions: &[Decision],
    broker: BrokerConfig,
    events: &[ExRight],
    markets: Option<&Markets>,
) -> Result<Trades, LabError> {
    let Some(first) = bars.first() else {
        return Ok(Trades::default());
    };
    let mut days: Vec<Date> = bars.iter().map(|bar| bar.date).collect();
    days.dedup();
    let calendar = Calendar::new(days)?;
    let info = InstrumentInfo {
        events: [events, &assumed(bars, events)].concat(),
        ..InstrumentInfo::default()
    };
    let markets = match markets {
        Some(markets) => markets.clone(),
        None => Markets::shipped()?,
    };
    let stock = Stock::in_markets(first.symbol, bars, info, &calendar, &markets)?;
    let market = MarketHistory::new(calendar, vec![stock])?;
    let by_time: HashMap<i64, &Bar> = bars.iter().map(|bar| (bar.time_ns, bar)).collect();
    let intents: Vec<OrderIntent> = decisions
        .iter()
        .filter_map(|decision| {
            Some(OrderIntent {
                step: market.step_of(by_time.get(&decision.time_ns)?)?,
                stock: 0,
                side: decision.side,
                score: decision.predicted_return,
            })
        })
        .collect();
    let allocation = Allocation::default();
    let ledger = simulate(&market, &markets, &intents, broker, &allocation)?;
    let time_ns = |step: u32| market.steps()[step as usize].time_ns;
    let fills = ledger.fills.iter().map(|fill| Filled {
        decided: ledger.orders[fill.order].placed,
        date: fill.date,
        decided_ns: time_ns(ledger.orders[fill.order].placed_step),
        time_ns: time_ns(fill.step),
        is_buy: fill.trade == Trade::Buy,
        shares: fill.shares,
        market: fill.open,
        price: fill.price,
        limits: match fill.limits {
            Limits::Band { up, down } => Some((down, up)),
            Limits::NoLimit => None,
        },
    });
    let rules = market.stocks()[0].market();
    let units = Units {
        per_price: rules.units_per_price(),
        per_share: rules.units_per_share(),
        tick: markets
            .of(first.symbol)
            .map_or(1, |listing| listing.tick(first.date)),
    };
    let days = &ledger.days;
    let ended = days
        .last()
        .map_or(broker.cash_cents, |day| day.equity_cents());
    Ok(Trades {
        promise: Some(broker.slippage),
        units,
        fills: fills.collect(),
        traded_cents: days
            .iter()
            .map(|day| day.bought_cents + day.sold_cents)
            .sum(),
        fees_cents: days.iter().map(|day| day.fees_cents).sum(),
        profit_cents: ended - broker.cash_cents,
    })
}
