//! The limits of a result: missing dividends, events and listings that cannot be used, and holdings that were delisted.

use std::collections::{BTreeMap, BTreeSet};

use heqis_data::prepare::findings::{EVENT, Finding};
use heqis_quant::adjust::reference_units;
use heqis_quant::instrument::st_periods_of_flags;
use heqis_quant::rules::Days;
use heqis_quant::{Bar, Date, ExRight, Marks, Span, StPeriod, Symbol};
use serde::Serialize;

use crate::broker::{Ledger, PositionRow};
use crate::inputs::ReferenceData;
use crate::instrument::InstrumentInfo;
use crate::market::MarketHistory;

/// The assumed dividend yield of a year without events and reference prices. It is not measured, and gives only the order of
/// magnitude of what is missing, which is that of the yield of Chinese indices.
const ASSUMED_YIELD: f64 = 0.02;
/// The number of calendar days without a bar after which the listing itself may have been suspended, not only trading: a
/// suspended listing lasts until the next half-yearly report.
const LONG_DAYS: i32 = 120;
/// The maximum factor between the expected and the real open: no price moves further in a day with limits.
const FAR: f64 = 1.5;
/// The number of messages of one kind that are shown.
const SHOWN: usize = 5;

/// The days of one stock whose reference price is below the last close without an event that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnexplainedFalls {
    /// The stock.
    pub symbol: Symbol,
    /// Whether events were given at all.
    pub events_given: bool,
    /// Whether ex-rights are not detectable: no events, no reference prices of the vendor, and unadjusted prices of a market
    /// whose shares pay dividends.
    pub is_undetectable: bool,
    /// Each day, with the fall from the last close to the reference price in price units.
    pub falls: Vec<(Date, i64)>,
}

impl UnexplainedFalls {
    /// Examines the bars of one stock. A fall after a gap does not count, since it may be that of the missing days; nor does one
    /// of adjusted prices, which include dividends.
    #[must_use]
    pub fn of(
        symbol: Symbol,
        bars: &[Bar],
        info: &InstrumentInfo,
        reference: &ReferenceData,
    ) -> Self {
        let rules = reference.markets.of(symbol).map(|listing| listing.market);
        let per_price = rules.map_or(100, |rules| rules.units_per_price()) as f64;
        let units = |price: f64| (price * per_price).round() as i64;
        let given = bars.iter().filter(|bar| bar.pre_close.is_some()).count();
        let adjusted = bars.iter().any(|bar| bar.marks.contains(Marks::ADJUSTED));
        let fall = |pair: &[Bar]| {
            let fall = units(pair[0].close) - units(pair[1].pre_close?);
            let adjacent = !pair[1].marks.contains(Marks::GAP) && pair[0].date != pair[1].date;
            (fall > 0 && adjacent && !adjusted).then_some(fall)
        };
        let is_explained = |pair: &[Bar]| {
            let due = |date: Date| pair[0].date < date && date <= pair[1].date;
            info.events.iter().any(|event| due(event.ex_date))
        };
        let falls = bars.windows(2).filter_map(|pair| {
            let fall = fall(pair)?;
            (!is_explained(pair)).then_some((pair[1].date, fall))
        });
        let pays = rules.is_some_and(|rules| rules.days == Days::Weekdays);
        Self {
            symbol,
            events_given: reference.events_given,
            is_undetectable: pays
                && !reference.events_given
                && !adjusted
                && 2 * given <= bars.len(),
            falls: falls.collect(),
        }
    }
}

/// The dividends of one stock that an account did not receive, as far as they can be estimated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MissingDividends {
    /// The stock.
    pub symbol: Symbol,
    /// The currency of its prices and amounts.
    pub currency: String,
    /// Whether events were given.
    pub events_given: bool,
    /// The number of days whose reference price is below the last close without an event; `None` if the bars have no reference
    /// prices, so that it is unknown.
    pub ex_right_days: Option<usize>,
    /// The number of these days before which shares were held.
    pub ex_right_days_held: usize,
    /// The loss of the shares held on these days that no event compensated, in cents.
    pub lost_cents: i64,
    /// The number of days with shares held after the close.
    pub days_held: usize,
    /// Without events and reference prices: the payment of an assumed yield of 2 % a year, in cents.
    pub assumed_cents: Option<i64>,
}

fn currency(market: &MarketHistory, symbol: Symbol) -> String {
    let stock = market
        .stocks()
        .iter()
        .find(|stock| stock.symbol() == symbol);
    stock
        .map(|stock| stock.market().currency.clone())
        .unwrap_or_default()
}

/// Returns a warning about the limits of a backtest on adjusted prices, if there are any.
#[must_use]
pub(crate) fn of_adjusted<'a>(series: impl ExactSizeIterator<Item = &'a [Bar]>) -> Option<String> {
    let all = series.len();
    let adjusted = |bars: &&[Bar]| bars.iter().any(|bar| bar.marks.contains(Marks::ADJUSTED));
    let count = series.filter(adjusted).count();
    (count > 0).then(|| {
        format!(
            "prices of {count} of {all} instruments are adjusted: where that was done by factors, their returns are right and hold all dividends, \
             so events are not credited again; prices, lots, fees by share or minimum, and volumes against orders are not those that traded, and \
             price limits are known within rounding only"
        )
    })
}

/// Returns warnings about events whose reference price is far from the next open, as for amounts by ten shares or in another
/// unit. Adjusted bars are skipped, since no event is applied to them.
pub(crate) fn unfit_events(bars: &[Bar], events: &[ExRight]) -> Vec<String> {
    let cents = |price: f64| (price * 100.0).round() as i64;
    let unfit = |pair: &[Bar]| {
        let due = |event: &&ExRight| {
            let within = pair[0].date < event.ex_date && event.ex_date <= pair[1].date;
            within && event.symbol == pair[1].symbol && !pair[1].marks.contains(Marks::ADJUSTED)
        };
        let first = events.iter().find(due)?;
        let reference = reference_units(cents(pair[0].close), 2, events.iter().filter(due)).ok()?;
        let (opened, expected) = (pair[1].open, reference as f64 / 100.0);
        let is_far = opened > expected * FAR || opened * FAR < expected;
        is_far.then(|| {
            format!(
                "the event of {} on {} asks for a price of {expected} and the next bar opened at {opened}: are its amounts by share?",
                first.symbol, first.ex_date
            )
        })
    };
    bars.windows(2).filter_map(unfit).take(SHOWN).collect()
}

/// Takes over the days of special treatment by the flags of the bars. They take precedence over the periods in `info`; if these
/// come from a table of names, disagreements return a warning.
pub(crate) fn special_days_of_bars(
    bars: &[Bar],
    info: &mut InstrumentInfo,
    names_given: bool,
) -> Option<String> {
    let flags: Vec<(Date, bool)> = bars
        .iter()
        .map(|bar| (bar.date, bar.marks.contains(Marks::SPECIAL)))
        .collect();
    if !flags.iter().any(|(_, flagged)| *flagged) {
        return None;
    }
    let periods: Vec<StPeriod> = info
        .special
        .iter()
        .map(|(from, to)| StPeriod {
            from: *from,
            to: *to,
        })
        .collect();
    let (periods, disagreements) = st_periods_of_flags(&flags, names_given.then_some(&periods[..]));
    info.special = periods
        .iter()
        .map(|period| (period.from, period.to))
        .collect();
    let first = disagreements.first()?;
    Some(format!(
        "names and the flags of the bars of {} disagree on special treatment in {} spans, the first from {} to {}: the flags are \
         taken",
        bars.first()?.symbol,
        disagreements.len(),
        first.from,
        first.to
    ))
}

/// Shares that were held when their stock was delisted; their value is 0 from that day on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DelistedHolding {
    /// The stock.
    pub symbol: Symbol,
    /// The day of delisting.
    pub date: Date,
    /// The shares.
    pub shares: u64,
    /// Their last value, in cents.
    pub last_value_cents: i64,
}

/// The holdings of one stock over a run.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    days: usize,
    /// The sum of the values after all closes.
    value_cents: f64,
    /// The number of falls of the reference price with shares held, and their loss.
    falls: usize,
    lost_cents: i64,
}

/// The caveats of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Caveats {
    /// Stocks whose dividends are, or may be, missing, in the order of the market.
    pub missing_dividends: Vec<MissingDividends>,
    /// Holdings that were lost to a delisting.
    pub delisted_holdings: Vec<DelistedHolding>,
    /// Warnings about delisted holdings, unusable table entries and ambiguities.
    pub warnings: Vec<String>,
}

impl Caveats {
    /// Collects the caveats of a run. `unexplained` is in the order of the market; `warnings` are those known before the run.
    #[must_use]
    pub fn of(
        market: &MarketHistory,
        unexplained: &[UnexplainedFalls],
        warnings: &[String],
        ledger: &Ledger,
        days_per_year: f64,
    ) -> Self {
        let days = market.days();
        // The overnight loss of a share, by stock and the day before.
        let mut falls: BTreeMap<(usize, Date), i64> = BTreeMap::new();
        for (stock, found) in unexplained.iter().enumerate() {
            for (date, fall) in &found.falls {
                if let Some(before) = days.partition_point(|day| day < date).checked_sub(1) {
                    falls.insert((stock, days[before]), *fall);
                }
            }
        }
        let mut held = vec![Held::default(); unexplained.len()];
        let mut close = |stock: usize, row: &PositionRow| {
            let held = &mut held[stock];
            held.days += 1;
            held.value_cents += row.value_cents as f64;
            if let Some(fall) = falls.get(&(stock, row.date)) {
                held.falls += 1;
                // Cannot overflow: the same shares were valued at a higher price at that close.
                let lost = market.stocks()[stock].amount_cents(*fall, row.shares);
                held.lost_cents += lost.unwrap_or_default();
            }
        };
        // Only the last of several closes of a day counts.
        let mut last: Vec<Option<&PositionRow>> = vec![None; unexplained.len()];
        for row in &ledger.positions {
            let before = last[row.stock].replace(row);
            if let Some(before) = before.filter(|before| before.date != row.date) {
                close(row.stock, before);
            }
        }
        for (stock, row) in last.into_iter().enumerate() {
            row.into_iter().for_each(|row| close(stock, row));
        }
        let missing = unexplained.iter().zip(&held);
        let missing = missing.filter(|(found, _)| found.is_undetectable || !found.falls.is_empty());
        let missing = missing.map(|(found, held)| MissingDividends {
            symbol: found.symbol,
            currency: currency(market, found.symbol),
            events_given: found.events_given,
            ex_right_days: (!found.is_undetectable).then_some(found.falls.len()),
            ex_right_days_held: held.falls,
            lost_cents: held.lost_cents,
            days_held: held.days,
            assumed_cents: found
                .is_undetectable
                .then_some((held.value_cents / days_per_year * ASSUMED_YIELD).round() as i64),
        });
        let missing_dividends: Vec<MissingDividends> = missing.collect();
        let lost = ledger.written_off.iter().map(|row| DelistedHolding {
            symbol: market.stocks()[row.stock].symbol(),
            date: row.date,
            shares: row.shares,
            last_value_cents: row.value_cents,
        });
        let delisted_holdings: Vec<DelistedHolding> = lost.collect();
        let delisted = delisted_holdings.iter().map(|holding| {
            format!(
                "{} was delisted on {}: {} shares, last counted as {} {}, could not be sold and count as nothing from that \
                 day on",
                holding.symbol,
                holding.date,
                holding.shares,
                money(holding.last_value_cents),
                currency(market, holding.symbol)
            )
        });
        let warnings = delisted.chain(warnings.iter().cloned()).collect();
        Self {
            missing_dividends,
            delisted_holdings,
            warnings,
        }
    }

    /// Returns all messages: one line on dividends, then the warnings.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let dividends = missing(&self.missing_dividends);
        dividends
            .into_iter()
            .chain(self.warnings.iter().cloned())
            .collect()
    }
}

/// Returns one line on the missing dividends of stocks, of one run or of several. A stock of several runs counts once by its
/// ex-right days, and in each run by its holdings.
pub fn missing<'a>(stocks: impl IntoIterator<Item = &'a MissingDividends>) -> Option<String> {
    let stocks: Vec<&MissingDividends> = stocks.into_iter().collect();
    let currency = &stocks.first()?.currency;
    let given = match stocks.first()?.events_given {
        true => "the events given leave ex-rights out",
        false => "no ex-right events given",
    };
    let mut parts = Vec::new();
    let (detected, undetectable): (Vec<&MissingDividends>, Vec<&MissingDividends>) = stocks
        .into_iter()
        .partition(|stock| stock.ex_right_days.is_some());
    if !detected.is_empty() {
        let days: BTreeMap<Symbol, usize> = detected
            .iter()
            .map(|stock| (stock.symbol, stock.ex_right_days.unwrap_or_default()))
            .collect();
        parts.push(format!(
            "{} of {} with a reference price below the last close, which are ex-rights; {} times shares were held, and \
             lost {} {currency} by it without a dividend or new shares in return",
            count(days.values().sum(), "day"),
            count(days.len(), "stock"),
            detected.iter().map(|stock| stock.ex_right_days_held).sum::<usize>(),
            money(detected.iter().map(|stock| stock.lost_cents).sum())
        ));
    }
    if !undetectable.is_empty() {
        let assumed: i64 = undetectable
            .iter()
            .filter_map(|stock| stock.assumed_cents)
            .sum();
        let symbols: BTreeSet<Symbol> = undetectable.iter().map(|stock| stock.symbol).collect();
        parts.push(format!(
            "the bars of {} have no reference prices, so every cash dividend inside the price limits is missing; for {} with \
             shares, at an assumed {} % a year, that would be about {:.0} {currency}",
            count(symbols.len(), "stock"),
            count(undetectable.iter().map(|stock| stock.days_held).sum(), "day"),
            ASSUMED_YIELD * 100.0,
            assumed as f64 / 100.0
        ));
    }
    Some(format!("{given}: {}", parts.join("; ")))
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn money(cents: i64) -> String {
    format!("{:.2}", cents as f64 / 100.0)
}

/// Returns warnings about table entries of the traded stocks that cannot be used. Events come first: only those of the span,
/// and those whose date cannot be parsed.
#[must_use]
pub(crate) fn of_findings(findings: &[Finding], symbols: &[Symbol], span: Span) -> Vec<String> {
    let traded = |finding: &&Finding| {
        finding.symbol.is_empty()
            || symbols
                .iter()
                .any(|symbol| symbol.as_str() == finding.symbol)
    };
    let lost = |finding: &&Finding| {
        let outside = |date: Date| !span.contains(date);
        finding.evidence == EVENT && !Date::parse(&finding.date).is_ok_and(outside)
    };
    let events: Vec<&Finding> = findings.iter().filter(traded).filter(lost).collect();
    let others = findings.iter().filter(|finding| finding.evidence != EVENT);
    let others: Vec<&Finding> = others.filter(traded).collect();
    let mut warnings = Vec::new();
    if !events.is_empty() {
        warnings.push(format!(
            "{} cannot be used, so their dividends and shares are missing from the account: {}",
            count(events.len(), "ex-right event"),
            some(&events)
        ));
    }
    if !others.is_empty() {
        let entries = match others.len() {
            1 => "1 entry on traded stocks".to_owned(),
            many => format!("{many} entries on traded stocks"),
        };
        warnings.push(format!(
            "{entries} cannot be used or {} unclear: {}",
            if others.len() == 1 { "is" } else { "are" },
            some(&others)
        ));
    }
    warnings
}

/// Returns the text of the first findings, and the number of the rest.
fn some(findings: &[&Finding]) -> String {
    let shown = findings
        .iter()
        .take(SHOWN)
        .map(|finding| finding.to_string());
    let mut shown: Vec<String> = shown.collect();
    if let Some(more) = findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

/// Returns the reference data of one stock, and warnings about what its bars contradict or leave unclear. A delisting that a
/// later bar contradicts is removed.
#[must_use]
pub fn of_bars(
    symbol: Symbol,
    bars: &[Bar],
    span: Span,
    reference: &ReferenceData,
) -> (InstrumentInfo, Vec<String>) {
    let mut info = reference.stocks.get(&symbol).cloned().unwrap_or_default();
    let mut warnings = Vec::new();
    if let (Some(delisted), Some(last)) = (info.delisted, bars.last())
        && delisted <= last.date
    {
        info.delisted = None;
        warnings.push(format!(
            "{symbol} has a bar on {}, and was delisted on {delisted} by the list of stocks: the delisting is left out",
            last.date
        ));
    }
    for pair in bars.windows(2).filter(|pair| span.contains(pair[1].date)) {
        let (before, date) = (pair[0].date, pair[1].date);
        let may_resume = !reference.names_given || info.is_special(before);
        let free = heqis_quant::clean::is_free_day(&info.free_days, Some(before), date);
        if date.days() - before.days() >= LONG_DAYS && may_resume && !free {
            warnings.push(format!(
                "{symbol} has no bar between {before} and {date}: whether its listing was suspended, so that {date} has no \
                 price limit, is not known; the usual limits are taken"
            ));
        }
    }
    (info, warnings)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_by_ten_shares_return_a_warning() {
        let symbol = Symbol::parse("600101.SH").unwrap();
        let bar = |date: &str| Bar {
            symbol,
            time_ns: Date::parse(date).unwrap().close_time_ns(),
            date: Date::parse(date).unwrap(),
            open: 10.0,
            high: 10.0,
            low: 10.0,
            close: 10.0,
            pre_close: None,
            volume_shares: 100.0,
            amount_cny: None,
            marks: Marks::NONE,
        };
        let bars = [bar("2023-02-02"), bar("2023-02-03"), bar("2023-02-06")];
        let warnings = |cash: &str| {
            let text = format!(
                "ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n600101.SH,2023-02-03,{cash},0,0,0,0\n"
            );
            let events = ExRight::read_table(text.as_bytes(), "events.csv")
                .unwrap()
                .events;
            assert_eq!(events.len(), 1);
            unfit_events(&bars, &events)
        };
        assert_eq!(warnings("0.5"), Vec::<String>::new());
        let warned = warnings("5");
        assert!(
            warned.len() == 1 && warned[0].contains("2023-02-03 asks for a price of 5 "),
            "{warned:?}"
        );
    }
}
