//! One trial on one span: forecasts → the boards' decision step → the broker → returns.

use std::collections::BTreeMap;
use std::ops::Range;

use heqis_backtest::backtest_input::BacktestInput;
use heqis_backtest::inputs::ReferenceData;
use heqis_backtest::instrument::{self, InstrumentInfo};
use heqis_backtest::metrics::Metrics;
use heqis_backtest::run;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{PredictedBar, PredictedSeries};
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, CleanConfig, ExRight, MarketSnapshot, SignalMode, Span, Strategy};

use super::candidate::Forecast;
use crate::error::LabError;

/// The result of a run on one span.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Daily returns after fees and slippage.
    pub returns: Vec<f64>,
    /// The metrics.
    pub metrics: Metrics,
}

/// Runs all trials in the same way, as `backtest` does.
#[derive(Debug)]
pub struct Evaluator {
    /// Rule, filters, account and metrics; the trial sets the mode.
    pub settings: Settings,
    /// Ex-right events, of any stock; see [`Evaluator::assumed`] for those not listed here.
    pub events: Vec<ExRight>,
}

impl Evaluator {
    /// Trades one symbol over the `span` of its bars, starting with cash; a position at the last close is valued at it.
    /// Filters read the bars before the span, which are not traded; bars after the span are not read.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] and [`LabError::Quant`] when bars or settings break a rule.
    pub fn run(
        &self,
        bars: &[Bar],
        span: Range<usize>,
        forecasts: &BTreeMap<i64, Forecast>,
        mode: SignalMode,
    ) -> Result<Run, LabError> {
        self.settings.validate()?;
        let known = &bars[..span.end];
        let [first, .., last] = &bars[span.clone()] else {
            return Err(LabError::rule("span", "must hold two bars"));
        };
        let info = InstrumentInfo {
            events: [self.events.clone(), self.assumed(&bars[span.clone()])].concat(),
            ..InstrumentInfo::default()
        };
        let reference = ReferenceData {
            markets: self.settings.rules()?,
            clean: CleanConfig::default(),
            stocks: BTreeMap::from([(first.symbol, info)]),
            calendar: None,
            events_given: false,
            names_given: false,
            findings: Vec::new(),
        };
        // A span may begin or end within a day of several bars.
        let strategy = self.settings.strategy(mode);
        let mut predicted = predicted_bars(&strategy, known, forecasts, &reference.markets)?;
        predicted.retain(|predicted| first.time_ns <= predicted.bar.time_ns);
        let mut traded = bars[span.clone()].to_vec();
        // The limits of the first day follow from the previous close, which is not among the broker's bars.
        traded[0].pre_close = first.pre_close.or_else(|| {
            let before = bars[..span.start]
                .iter()
                .rfind(|bar| bar.date < first.date)?;
            let moves = |event: &ExRight| {
                event.symbol == first.symbol
                    && before.date < event.ex_date
                    && event.ex_date <= first.date
            };
            let is_known = !first.marks.breaks_level()
                && !reference.stocks[&first.symbol].events.iter().any(moves);
            is_known.then_some(before.close)
        });
        let series = PredictedSeries {
            predicted,
            bars: traded,
        };
        let span = Span::new(first.date, last.date)?;
        let series = series.decide(first.symbol, span, &self.settings);
        let input = BacktestInput::new(vec![series], &reference, span, None)?;
        let result = run::run(&input, &self.settings, mode)?;
        Ok(Run {
            returns: result.returns,
            metrics: result.metrics,
        })
    }

    /// Returns the ex-right events that the cleaner suspects and `events` lacks; see [`instrument::assumed`].
    #[must_use]
    pub fn assumed(&self, bars: &[Bar]) -> Vec<ExRight> {
        instrument::assumed(bars, &self.events)
    }
}

/// Returns the bars that have a forecast, with the market snapshot at their closes.
fn predicted_bars(
    strategy: &Strategy,
    bars: &[Bar],
    forecasts: &BTreeMap<i64, Forecast>,
    markets: &Markets,
) -> Result<Vec<PredictedBar>, LabError> {
    let mut market = heqis_quant::MarketState::new(&strategy.filter_indicators())?;
    let mut predicted = Vec::new();
    for bar in bars {
        let snapshot = match strategy.needs_market() {
            true => market.update(markets, false, bar)?,
            false => MarketSnapshot::of_close(bar.date, bar.close),
        };
        predicted.extend(forecasts.get(&bar.time_ns).map(|forecast| PredictedBar {
            bar: *bar,
            snapshot,
            prediction: forecast.prediction(),
            has_probabilities: forecast.probabilities.is_some(),
        }));
    }
    Ok(predicted)
}
