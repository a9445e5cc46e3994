//! What a run is made of: stocks with what was said of them, joined into the market of one span.

use std::collections::{BTreeMap, BTreeSet};

use heqis_data::report::ImportReport;
use heqis_quant::decision::{Side, SignalMode};
use heqis_quant::rules::{Days, Listing};
use heqis_quant::{Calendar, Date, Span, Symbol};

use crate::allocation::Want;
use crate::caveats::{self, Unexplained};
use crate::error::BacktestError;
use crate::inputs::{Benchmark, Facts, LeftOut};
use crate::market::{Market, Stock};
use crate::metrics::CrossSection;
use crate::strategy::{Said, Told};

/// The place of a bar that something is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position of the stock in the market.
    pub stock: u32,
    /// The position among what is said of the stock.
    pub at: u32,
}

/// What a run is made of: stocks with their predictions, over one span.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The market of the span.
    pub market: Market,
    /// What was said and decided of each stock, in the order of the market.
    pub said: Vec<Vec<Said>>,
    /// All of it, in the order of days, times and stocks.
    pub order: Vec<Place>,
    /// One return of the benchmark for each day of the market.
    pub benchmark: Option<Vec<f64>>,
    /// Bars on another price level than the ones before, with no event to bridge it: holdings cross them as a loss.
    pub unbridged: usize,
    /// What was not to be traded.
    pub left_out: Vec<LeftOut>,
    /// What became of the rows of its instruments.
    pub import: ImportReport,
    /// Ex-rights of each stock that no event tells of, in the order of the market.
    pub unexplained: Vec<Unexplained>,
    /// What is known before the run to be wrong or unclear, in words.
    pub warnings: Vec<String>,
}

impl Scene {
    /// Cuts series to a span and joins them. The bars of each stock are freed once the market has read them.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when no bar lies in the span, bars lie outside the calendar or are of two currencies, and what
    /// [`Stock::in_markets`], [`Market::new`] and [`Benchmark::returns`] return.
    pub fn new(
        mut series: Vec<Told>,
        facts: &Facts,
        span: Span,
        benchmark: Option<&Benchmark>,
    ) -> Result<Self, BacktestError> {
        let symbols: Vec<Symbol> = series.iter().map(|told| told.symbol).collect();
        let (stock_facts, of_bars): (Vec<_>, Vec<_>) = series
            .iter()
            .map(|told| caveats::of_bars(told.symbol, &told.bars, span, facts))
            .unzip();
        for told in &mut series {
            told.bars.retain(|bar| span.contains(bar.date));
        }
        let days = || {
            series
                .iter()
                .flat_map(|told| &told.bars)
                .map(|bar| bar.date)
        };
        let (Some(first), Some(last)) = (days().min(), days().max()) else {
            let rule = "must hold at least one bar";
            let span = format!("{} to {}", span.from, span.to);
            return Err(BacktestError::rule_got("span", rule, span));
        };
        let listings = || {
            symbols
                .iter()
                .filter_map(|symbol| facts.markets.of(*symbol))
        };
        if let Some(first) = listings().next()
            && let Some(other) = listings().find(|l| l.market.currency != first.market.currency)
        {
            let told = |listing: &Listing<'_>| {
                format!("{} in {}", listing.symbol, listing.market.currency)
            };
            let got = format!("{} and {}", told(&first), told(&other));
            return Err(BacktestError::rule_got(
                "portfolio",
                "must be of one currency",
                got,
            ));
        }
        // A table of trading days is that of an exchange with holidays.
        let has_holidays = listings().all(|listing| listing.market.days == Days::Weekdays);
        // From the first to the last bar, since a calendar of decades would dilute the figures, or to a delisting behind it:
        // what is held then is lost, which an account that ends before it would hide.
        let gone = stock_facts.iter().filter_map(|facts| facts.delisted);
        let gone: Vec<Date> = gone
            .filter(|day| first < *day && span.contains(*day))
            .collect();
        let end = gone.iter().copied().fold(last, Date::max);
        let mut days: Vec<Date> = match facts.calendar.as_ref().filter(|_| has_holidays) {
            Some(given) => given.within(Span::new(first, end)?).to_vec(),
            None => days().collect::<BTreeSet<_>>().into_iter().collect(),
        };
        days.extend(gone.iter().filter(|day| last < **day));
        days.sort_unstable();
        days.dedup();
        let calendar = Calendar::new(days)?;
        let mut unbridged = 0;
        let mut stocks = Vec::with_capacity(series.len());
        let mut said = Vec::with_capacity(series.len());
        let mut unexplained = Vec::with_capacity(series.len());
        let mut warnings = caveats::of_findings(&facts.findings, &symbols, Span::new(first, end)?);
        warnings.extend(of_bars.into_iter().flatten());
        warnings.extend(caveats::of_adjusted(
            series.iter().map(|told| &told.bars[..]),
        ));
        for (told, mut known) in series.into_iter().zip(stock_facts) {
            let (symbol, bars) = (told.symbol, &told.bars);
            said.push(told.said);
            warnings.extend(caveats::unfit_events(bars, &known.events));
            warnings.extend(caveats::special_days_of_bars(
                bars,
                &mut known,
                facts.names_given,
            ));
            unexplained.push(Unexplained::of(symbol, bars, &known, facts));
            unbridged += bars
                .windows(2)
                .filter(|pair| {
                    let due = |date: Date| pair[0].date < date && date <= pair[1].date;
                    pair[1].marks.breaks_level()
                        && !known.events.iter().any(|event| due(event.ex_date))
                })
                .count();
            stocks.push(Stock::in_markets(
                symbol,
                bars,
                known,
                &calendar,
                &facts.markets,
            )?);
        }
        let market = Market::new(calendar, stocks)?;
        let benchmark = benchmark
            .map(|benchmark| benchmark.returns(market.days()))
            .transpose()?;
        Ok(Self {
            market,
            order: order(&said),
            said,
            benchmark,
            unbridged,
            left_out: Vec::new(),
            import: ImportReport::default(),
            unexplained,
            warnings,
        })
    }

    /// Returns what is said at a place.
    #[must_use]
    pub fn at(&self, place: Place) -> &Said {
        &self.said[place.stock as usize][place.at as usize]
    }

    /// Returns what is wanted in a signal mode, in the order of time; a hold wants nothing.
    #[must_use]
    pub fn wants(&self, mode: SignalMode) -> Vec<Want> {
        let want = |place: &Place| {
            let said = self.at(*place);
            let (side, _) = said.decided(mode);
            if side == Side::Hold {
                return None;
            }
            Some(Want {
                step: self.market.step_at(said.date, said.time_ns)?,
                stock: place.stock as usize,
                side,
                score: said.prediction.predicted_return,
            })
        };
        self.order.iter().filter_map(want).collect()
    }

    /// Returns, timestamp by timestamp, each predicted return with the return to the next bar of the same stock in the span.
    #[must_use]
    pub fn scores(&self) -> Vec<CrossSection> {
        let mut times: BTreeMap<i64, CrossSection> = BTreeMap::new();
        for said in &self.said {
            for said in said.split_last().map_or(&[][..], |(_, followed)| followed) {
                let time = times.entry(said.time_ns).or_default();
                time.push((said.prediction.predicted_return, said.followed));
            }
        }
        times.into_values().collect()
    }
}

/// The places of all that is said, in the order of days, times and stocks.
fn order(said: &[Vec<Said>]) -> Vec<Place> {
    let mut order = Vec::with_capacity(said.iter().map(Vec::len).sum());
    for (stock, said) in (0..).zip(said) {
        order.extend((0..).zip(said).map(|(at, _)| Place { stock, at }));
    }
    if said.len() > 1 {
        order.sort_by_key(|place| {
            let said = &said[place.stock as usize][place.at as usize];
            (said.date, said.time_ns, place.stock)
        });
    }
    order
}
