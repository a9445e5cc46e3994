//! The input of a run: decided stocks, joined into the market of one span.

use std::collections::{BTreeMap, BTreeSet};

use heqis_data::report::ImportReport;
use heqis_quant::decision::{Side, SignalMode};
use heqis_quant::rules::{Days, Listing};
use heqis_quant::{Calendar, Date, Span, Symbol};

use crate::allocation::OrderIntent;
use crate::caveats::{self, UnexplainedFalls};
use crate::error::BacktestError;
use crate::inputs::{Benchmark, LeftOut, ReferenceData};
use crate::market::{MarketHistory, Stock};
use crate::metrics::CrossSection;
use crate::strategy::{DecidedBar, DecidedSeries};

/// The index of one predicted bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarIndex {
    /// The index of the stock in the market.
    pub stock: u32,
    /// The index among the decided bars of the stock.
    pub bar: u32,
}

/// The input of a run: stocks with their decisions, over one span.
#[derive(Clone, Debug)]
pub struct BacktestInput {
    /// The market of the span.
    pub market: MarketHistory,
    /// The decided bars of each stock, in the order of the market.
    pub decided: Vec<Vec<DecidedBar>>,
    /// The indices of all decided bars, in the order of days, times and stocks.
    pub order: Vec<BarIndex>,
    /// One return of the benchmark for each day of the market.
    pub benchmark: Option<Vec<f64>>,
    /// The number of bars at another price level than the bar before, without an event that explains it: holdings cross
    /// them as a loss.
    pub unbridged: usize,
    /// The instruments that are not traded.
    pub left_out: Vec<LeftOut>,
    /// The import report of its instruments.
    pub import: ImportReport,
    /// The ex-rights of each stock without an event, in the order of the market.
    pub unexplained: Vec<UnexplainedFalls>,
    /// Errors and ambiguities of the data that are known before the run.
    pub warnings: Vec<String>,
}

impl BacktestInput {
    /// Cuts series to a span and joins them. The bars of each stock are freed once the market has read them.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when no bar lies in the span, bars lie outside the calendar or are of two currencies, and the
    /// errors of [`Stock::in_markets`], [`MarketHistory::new`] and [`Benchmark::returns`].
    pub fn new(
        mut series: Vec<DecidedSeries>,
        reference: &ReferenceData,
        span: Span,
        benchmark: Option<&Benchmark>,
    ) -> Result<Self, BacktestError> {
        let symbols: Vec<Symbol> = series.iter().map(|one| one.symbol).collect();
        let (infos, of_bars): (Vec<_>, Vec<_>) = series
            .iter()
            .map(|one| caveats::of_bars(one.symbol, &one.bars, span, reference))
            .unzip();
        for one in &mut series {
            one.bars.retain(|bar| span.contains(bar.date));
        }
        let days = || series.iter().flat_map(|one| &one.bars).map(|bar| bar.date);
        let (Some(first), Some(last)) = (days().min(), days().max()) else {
            let rule = "must hold at least one bar";
            let span = format!("{} to {}", span.from, span.to);
            return Err(BacktestError::rule_got("span", rule, span));
        };
        let listings = || {
            symbols
                .iter()
                .filter_map(|symbol| reference.markets.of(*symbol))
        };
        if let Some(first) = listings().next()
            && let Some(other) = listings().find(|l| l.market.currency != first.market.currency)
        {
            let text = |listing: &Listing<'_>| {
                format!("{} in {}", listing.symbol, listing.market.currency)
            };
            let got = format!("{} and {}", text(&first), text(&other));
            return Err(BacktestError::rule_got(
                "portfolio",
                "must be of one currency",
                got,
            ));
        }
        // A table of trading days belongs to an exchange with holidays.
        let has_holidays = listings().all(|listing| listing.market.days == Days::Weekdays);
        // The calendar runs from the first to the last bar, since decades without bars would dilute the figures. A later
        // delisting extends it: the loss of what is held then must be part of the result.
        let delisted = infos.iter().filter_map(|info| info.delisted);
        let delisted: Vec<Date> = delisted
            .filter(|day| first < *day && span.contains(*day))
            .collect();
        let end = delisted.iter().copied().fold(last, Date::max);
        let mut days: Vec<Date> = match reference.calendar.as_ref().filter(|_| has_holidays) {
            Some(given) => given.within(Span::new(first, end)?).to_vec(),
            None => days().collect::<BTreeSet<_>>().into_iter().collect(),
        };
        days.extend(delisted.iter().filter(|day| last < **day));
        days.sort_unstable();
        days.dedup();
        let calendar = Calendar::new(days)?;
        let mut unbridged = 0;
        let mut stocks = Vec::with_capacity(series.len());
        let mut decided = Vec::with_capacity(series.len());
        let mut unexplained = Vec::with_capacity(series.len());
        let mut warnings =
            caveats::of_findings(&reference.findings, &symbols, Span::new(first, end)?);
        warnings.extend(of_bars.into_iter().flatten());
        warnings.extend(caveats::of_adjusted(series.iter().map(|one| &one.bars[..])));
        for (one, mut info) in series.into_iter().zip(infos) {
            let (symbol, bars) = (one.symbol, &one.bars);
            decided.push(one.decided);
            warnings.extend(caveats::unfit_events(bars, &info.events));
            warnings.extend(caveats::special_days_of_bars(
                bars,
                &mut info,
                reference.names_given,
            ));
            unexplained.push(UnexplainedFalls::of(symbol, bars, &info, reference));
            unbridged += bars
                .windows(2)
                .filter(|pair| {
                    let due = |date: Date| pair[0].date < date && date <= pair[1].date;
                    pair[1].marks.breaks_level()
                        && !info.events.iter().any(|event| due(event.ex_date))
                })
                .count();
            stocks.push(Stock::in_markets(
                symbol,
                bars,
                info,
                &calendar,
                &reference.markets,
            )?);
        }
        let market = MarketHistory::new(calendar, stocks)?;
        let benchmark = benchmark
            .map(|benchmark| benchmark.returns(market.days()))
            .transpose()?;
        Ok(Self {
            market,
            order: order(&decided),
            decided,
            benchmark,
            unbridged,
            left_out: Vec::new(),
            import: ImportReport::default(),
            unexplained,
            warnings,
        })
    }

    /// Returns a decided bar.
    #[must_use]
    pub fn bar(&self, index: BarIndex) -> &DecidedBar {
        &self.decided[index.stock as usize][index.bar as usize]
    }

    /// Returns the order intents of a signal mode, in the order of time; a hold makes none.
    #[must_use]
    pub fn intents(&self, mode: SignalMode) -> Vec<OrderIntent> {
        let intent = |index: &BarIndex| {
            let bar = self.bar(*index);
            let (side, _) = bar.decision(mode);
            if side == Side::Hold {
                return None;
            }
            Some(OrderIntent {
                step: self.market.step_at(bar.date, bar.time_ns)?,
                stock: index.stock as usize,
                side,
                score: bar.prediction.predicted_return,
            })
        };
        self.order.iter().filter_map(intent).collect()
    }

    /// Returns, by timestamp, each predicted return with the return to the next bar of the same stock in the span.
    #[must_use]
    pub fn scores(&self) -> Vec<CrossSection> {
        let mut times: BTreeMap<i64, CrossSection> = BTreeMap::new();
        for bars in &self.decided {
            // The last bar has no next return.
            for bar in bars.split_last().map_or(&[][..], |(_, before)| before) {
                let time = times.entry(bar.time_ns).or_default();
                time.push((bar.prediction.predicted_return, bar.next_return));
            }
        }
        times.into_values().collect()
    }
}

/// The indices of all decided bars, in the order of days, times and stocks.
fn order(decided: &[Vec<DecidedBar>]) -> Vec<BarIndex> {
    let mut order = Vec::with_capacity(decided.iter().map(Vec::len).sum());
    for (stock, bars) in (0..).zip(decided) {
        order.extend((0..).zip(bars).map(|(bar, _)| BarIndex { stock, bar }));
    }
    if decided.len() > 1 {
        order.sort_by_key(|index| {
            let bar = &decided[index.stock as usize][index.bar as usize];
            (bar.date, bar.time_ns, index.stock)
        });
    }
    order
}
