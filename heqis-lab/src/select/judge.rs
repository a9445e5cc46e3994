//! One trial on one span: forecasts through the boards' decision step, decisions through the broker, money out.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_quant::adjust::EventKind;
use heqis_quant::rules::LimitTable;
use heqis_quant::{
    Bar, Calendar, Date, ExRight, KillState, Marks, Memory, RuleBook, SignalMode, Strategy, View,
};

use super::candidate::Forecast;
use crate::backtest::metrics::{Basis, Metrics, daily_returns};
use crate::backtest::{Allocation, BrokerConfig, Facts, Market, Stock, Want, simulate};
use crate::error::LabError;

/// What a run on one span was worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// One return a day, fees and slippage taken off.
    pub returns: Vec<f64>,
    /// The figures.
    pub metrics: Metrics,
}

/// How trials are run: all in the same way.
#[derive(Debug)]
pub struct Judge {
    /// Limits, lots and fees by date.
    pub book: RuleBook,
    /// Thresholds and filters; the mode is the trial's.
    pub strategy: Strategy,
    /// The account.
    pub broker: BrokerConfig,
    /// What annual figures refer to.
    pub basis: Basis,
    /// Ex-right events, of any stock; see [`Judge::assumed`] for those that are not known.
    pub events: Vec<ExRight>,
}

impl Judge {
    /// Trades one symbol over the days `span` of its bars, starting with cash and ending with what is held at its last
    /// close. Days before the span are seen by filters, and not traded; days behind it are not seen.
    ///
    /// # Errors
    ///
    /// [`LabError::Backtest`] and [`LabError::Quant`] when bars or strategy break a rule.
    pub fn run(
        &self,
        bars: &[Bar],
        span: Range<usize>,
        forecasts: &BTreeMap<Date, Forecast>,
        mode: SignalMode,
    ) -> Result<Run, LabError> {
        let strategy = Strategy {
            mode,
            ..self.strategy
        };
        strategy.validate()?;
        let traded = &bars[span.clone()];
        let Some(first) = traded.first() else {
            return Err(LabError::select("span", "must hold a bar"));
        };
        let calendar = Calendar::new(traded.iter().map(|bar| bar.date))?;
        let facts = Facts {
            events: [self.events.clone(), self.assumed(traded)].concat(),
            ..Facts::default()
        };
        let stock = Stock::new(first.symbol, traded, facts, &calendar)?;
        let market = Market::new(calendar, vec![stock])?;
        let wants = wants(&strategy, bars, span, forecasts)?;
        let allocation = Allocation::default();
        let ledger = simulate(&market, &self.book, &wants, self.broker, &allocation)?;
        let cash_cents = self.broker.cash_cents;
        Ok(Run {
            returns: daily_returns(&ledger, cash_cents)?,
            metrics: Metrics::of(&ledger, cash_cents, None, &[], self.basis)?,
        })
    }
}

impl Judge {
    /// Returns the ex-right events that are suspected by the cleaner and not known: as many new shares are assumed as make
    /// the overnight move nothing, which is what features and labels assume as well. Without this a holder would lose what
    /// he was given.
    #[must_use]
    pub fn assumed(&self, bars: &[Bar]) -> Vec<ExRight> {
        let is_known = |pair: &[Bar]| {
            self.events.iter().any(|event| {
                event.symbol == pair[1].symbol
                    && pair[0].date < event.ex_date
                    && event.ex_date <= pair[1].date
            })
        };
        bars.windows(2)
            .filter(|pair| pair[1].marks.contains(Marks::EX_RIGHT_SUSPECTED) && !is_known(pair))
            .map(|pair| {
                let reference = pair[1].reference_close(pair[0].date, pair[0].close);
                ExRight {
                    symbol: pair[1].symbol,
                    ex_date: pair[1].date,
                    cash_cny: 0.0,
                    gift: 0.0,
                    increase: (pair[0].close / reference - 1.0).max(0.0),
                    rights: 0.0,
                    rights_price_cny: 0.0,
                    kind: EventKind::ExRight,
                }
            })
            .filter(|event| event.increase > 0.0)
            .collect()
    }
}

/// Decides on every bar of the span of which something is forecast.
fn wants(
    strategy: &Strategy,
    bars: &[Bar],
    span: Range<usize>,
    forecasts: &BTreeMap<Date, Forecast>,
) -> Result<Vec<Want>, LabError> {
    let limits = LimitTable::ashare()?;
    let mut market = heqis_quant::Market::new(&strategy.gauges())?;
    let mut memory = Memory::default();
    let mut wants = Vec::new();
    for (place, bar) in bars[..span.end].iter().enumerate() {
        let view = match strategy.needs_market() {
            true => market.update(&limits, false, bar)?,
            false => View::of_close(bar.date, bar.close),
        };
        let (Some(day), Some(forecast)) = (place.checked_sub(span.start), forecasts.get(&bar.date))
        else {
            continue;
        };
        let prediction = forecast.prediction;
        let verdict = strategy.decide(&mut memory, &view, &prediction, KillState::Active);
        wants.push(Want {
            day: day as u32,
            stock: 0,
            side: verdict.side,
            score: prediction.predicted_return,
        });
    }
    Ok(wants)
}
