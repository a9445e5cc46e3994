//! What a result does not say by itself: dividends that no event tells of, events and listings that cannot be used, and
//! shares whose stock was delisted.

use std::collections::{BTreeMap, BTreeSet};

use heqis_data::prepare::findings::{EVENT, Finding};
use heqis_quant::adjust::reference_units;
use heqis_quant::instrument::st_periods_of_flags;
use heqis_quant::rules::Days;
use heqis_quant::{Bar, Date, ExRight, Marks, Span, StPeriod, Symbol};
use serde::Serialize;

use super::broker::{Ledger, PositionRow};
use super::facts;
use super::inputs::Facts;
use super::market::Market;

/// What a share is assumed to pay in a year where neither events nor reference prices tell: an assumption for the size of
/// what is missing, of the order of what Chinese indices paid, and no measurement.
const ASSUMED_YIELD: f64 = 0.02;
/// Calendar days without a bar from which on a listing may have been suspended, and not trade alone: suspensions of a
/// listing last for half-yearly reports.
const LONG_DAYS: i32 = 120;
/// No price moves so far in a day with limits.
const FAR: f64 = 1.5;
/// Messages of one kind that are written out.
const SHOWN: usize = 5;

/// The days of one stock on which its reference price fell below the last close and no event tells why.
#[derive(Clone, Debug, PartialEq)]
pub struct Unexplained {
    /// The stock.
    pub symbol: Symbol,
    /// Whether events were given at all.
    pub events_given: bool,
    /// Whether nothing would show an ex-right: no events, no reference prices of the vendor, and prices as traded of a market
    /// whose shares pay dividends.
    pub is_blind: bool,
    /// Each day, with the fall from the last close to the reference in price units.
    pub falls: Vec<(Date, i64)>,
}

impl Unexplained {
    /// Looks through the bars of one stock. Behind a gap nothing is counted: the fall may be that of the missing days. Adjusted
    /// prices have their dividends in them.
    #[must_use]
    pub fn of(symbol: Symbol, bars: &[Bar], facts: &facts::Facts, known: &Facts) -> Self {
        let rules = known.markets.of(symbol).map(|listing| listing.market);
        let per_price = rules.map_or(100, |rules| rules.units_per_price()) as f64;
        let units = |price: f64| (price * per_price).round() as i64;
        let given = bars.iter().filter(|bar| bar.pre_close.is_some()).count();
        let adjusted = bars.iter().any(|bar| bar.marks.contains(Marks::ADJUSTED));
        let fall = |pair: &[Bar]| {
            let fall = units(pair[0].close) - units(pair[1].pre_close?);
            let whole = !pair[1].marks.contains(Marks::GAP) && pair[0].date != pair[1].date;
            (fall > 0 && whole && !adjusted).then_some(fall)
        };
        let told = |pair: &[Bar]| {
            let due = |date: Date| pair[0].date < date && date <= pair[1].date;
            facts.events.iter().any(|event| due(event.ex_date))
        };
        let falls = bars.windows(2).filter_map(|pair| {
            let fall = fall(pair)?;
            (!told(pair)).then_some((pair[1].date, fall))
        });
        let pays = rules.is_some_and(|rules| rules.days == Days::Weekdays);
        Self {
            symbol,
            events_given: known.events_given,
            is_blind: pays && !known.events_given && !adjusted && 2 * given <= bars.len(),
            falls: falls.collect(),
        }
    }
}

/// What an account did not get of one stock, as far as that can be known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MissingDividends {
    /// The stock.
    pub symbol: Symbol,
    /// What its prices and amounts are in.
    pub currency: String,
    /// Whether events were given.
    pub events_given: bool,
    /// Days whose reference price lies below the last close without an event; `None` when the bars have no reference
    /// prices, so that nobody knows.
    pub ex_right_days: Option<usize>,
    /// Those of them before which shares were held.
    pub ex_right_days_held: usize,
    /// What these days took off the shares held and no event gave back, in cents.
    pub lost_cents: i64,
    /// Days after whose close shares were held.
    pub days_held: usize,
    /// Where neither events nor reference prices tell: what an assumed yield of 2 % a year would have paid, in cents.
    pub assumed_cents: Option<i64>,
}

fn currency(market: &Market, symbol: Symbol) -> String {
    let stock = market
        .stocks()
        .iter()
        .find(|stock| stock.symbol() == symbol);
    stock
        .map(|stock| stock.market().currency.clone())
        .unwrap_or_default()
}

/// Says what a backtest on adjusted prices can and cannot tell.
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

/// Tells of events whose reference price lies far from where the next bar opened, which is how events by ten shares or in
/// another unit look. To adjusted bars no event is applied.
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

/// Takes the days of special treatment that the bars of a stock are flagged with. They win over the periods that are known
/// from elsewhere; where these were names, each disagreement is told.
pub(crate) fn special_days_of_bars(
    bars: &[Bar],
    known: &mut facts::Facts,
    names_given: bool,
) -> Option<String> {
    let flags: Vec<(Date, bool)> = bars
        .iter()
        .map(|bar| (bar.date, bar.marks.contains(Marks::SPECIAL)))
        .collect();
    if !flags.iter().any(|(_, flagged)| *flagged) {
        return None;
    }
    let periods: Vec<StPeriod> = known
        .special
        .iter()
        .map(|(from, to)| StPeriod {
            from: *from,
            to: *to,
        })
        .collect();
    let (periods, disagreements) = st_periods_of_flags(&flags, names_given.then_some(&periods[..]));
    known.special = periods
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

/// Shares that were held when their stock was delisted; they count as nothing from that day on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DelistedHolding {
    /// The stock.
    pub symbol: Symbol,
    /// The day of delisting.
    pub date: Date,
    /// The shares.
    pub shares: u64,
    /// What they were last counted as, in cents.
    pub last_value_cents: i64,
}

/// What was held of one stock.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    days: usize,
    /// The values after all closes together.
    value_cents: f64,
    /// Falls of the reference that met shares, and what they took.
    falls: usize,
    lost_cents: i64,
}

/// Everything of this kind about one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Caveats {
    /// Stocks whose dividends are missing or may be, in the order of the market.
    pub missing_dividends: Vec<MissingDividends>,
    /// Holdings that were lost to a delisting.
    pub delisted_holdings: Vec<DelistedHolding>,
    /// Delisted holdings, tables that cannot be used and what is unclear, in words.
    pub warnings: Vec<String>,
}

impl Caveats {
    /// Looks at a run that is over. `unexplained` are in the order of the market; `warnings` are those known before it.
    #[must_use]
    pub fn of(
        market: &Market,
        unexplained: &[Unexplained],
        warnings: &[String],
        ledger: &Ledger,
        days_per_year: f64,
    ) -> Self {
        let days = market.days();
        // By stock and the day before: what a share lost overnight.
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
                // The same shares at a higher price were counted when the day was marked.
                let lost = market.stocks()[stock].amount_cents(*fall, row.shares);
                held.lost_cents += lost.unwrap_or_default();
            }
        };
        // Of several closes of a day the last one counts.
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
        let told = unexplained.iter().zip(&held);
        let told = told.filter(|(found, _)| found.is_blind || !found.falls.is_empty());
        let missing = told.map(|(found, held)| MissingDividends {
            symbol: found.symbol,
            currency: currency(market, found.symbol),
            events_given: found.events_given,
            ex_right_days: (!found.is_blind).then_some(found.falls.len()),
            ex_right_days_held: held.falls,
            lost_cents: held.lost_cents,
            days_held: held.days,
            assumed_cents: found
                .is_blind
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
        let told = delisted_holdings.iter().map(|holding| {
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
        let warnings = told.chain(warnings.iter().cloned()).collect();
        Self {
            missing_dividends,
            delisted_holdings,
            warnings,
        }
    }

    /// Returns everything in words, the dividends in one line before the rest.
    #[must_use]
    pub fn told(&self) -> Vec<String> {
        let dividends = missing(&self.missing_dividends);
        dividends
            .into_iter()
            .chain(self.warnings.iter().cloned())
            .collect()
    }
}

/// Returns in one line what is missing of some stocks, of one run or of several; a stock of several runs counts in each of
/// them by what it was held, and once by its days.
pub fn missing<'a>(stocks: impl IntoIterator<Item = &'a MissingDividends>) -> Option<String> {
    let stocks: Vec<&MissingDividends> = stocks.into_iter().collect();
    let currency = &stocks.first()?.currency;
    let given = match stocks.first()?.events_given {
        true => "the events given leave ex-rights out",
        false => "no ex-right events given",
    };
    let mut parts = Vec::new();
    let (seen, blind): (Vec<&MissingDividends>, Vec<&MissingDividends>) = stocks
        .into_iter()
        .partition(|stock| stock.ex_right_days.is_some());
    if !seen.is_empty() {
        let days: BTreeMap<Symbol, usize> = seen
            .iter()
            .map(|stock| (stock.symbol, stock.ex_right_days.unwrap_or_default()))
            .collect();
        parts.push(format!(
            "{} of {} with a reference price below the last close, which are ex-rights; {} times shares were held, and \
             lost {} {currency} by it without a dividend or new shares in return",
            count(days.values().sum(), "day"),
            count(days.len(), "stock"),
            seen.iter().map(|stock| stock.ex_right_days_held).sum::<usize>(),
            money(seen.iter().map(|stock| stock.lost_cents).sum())
        ));
    }
    if !blind.is_empty() {
        let assumed: i64 = blind.iter().filter_map(|stock| stock.assumed_cents).sum();
        let symbols: BTreeSet<Symbol> = blind.iter().map(|stock| stock.symbol).collect();
        parts.push(format!(
            "the bars of {} have no reference prices, so every cash dividend inside the price limits is missing; for {} with \
             shares, at an assumed {} % a year, that would be about {:.0} {currency}",
            count(symbols.len(), "stock"),
            count(blind.iter().map(|stock| stock.days_held).sum(), "day"),
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

/// Returns what tables say of some stocks that cannot be used, in words. An event that is missing comes first: only those of
/// the span are told, and those whose day cannot be read.
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
    let mut told = Vec::new();
    if !events.is_empty() {
        told.push(format!(
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
        told.push(format!(
            "{entries} cannot be used or {} unclear: {}",
            if others.len() == 1 { "is" } else { "are" },
            some(&others)
        ));
    }
    told
}

/// The first of some findings.
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

/// Returns what the bars of one stock contradict or leave open, in words; a day of delisting that a later bar contradicts
/// is forgotten.
#[must_use]
pub fn of_bars(
    symbol: Symbol,
    bars: &[Bar],
    span: Span,
    known: &Facts,
) -> (facts::Facts, Vec<String>) {
    let mut facts = known.stocks.get(&symbol).cloned().unwrap_or_default();
    let mut told = Vec::new();
    if let (Some(delisted), Some(last)) = (facts.delisted, bars.last())
        && delisted <= last.date
    {
        facts.delisted = None;
        told.push(format!(
            "{symbol} has a bar on {}, and was delisted on {delisted} by the list of stocks: the delisting is left out",
            last.date
        ));
    }
    for pair in bars.windows(2).filter(|pair| span.contains(pair[1].date)) {
        let (before, date) = (pair[0].date, pair[1].date);
        let may_resume = !known.names_given || facts.is_special(before);
        let free = heqis_quant::clean::is_free_day(&facts.free_days, Some(before), date);
        if date.days() - before.days() >= LONG_DAYS && may_resume && !free {
            told.push(format!(
                "{symbol} has no bar between {before} and {date}: whether its listing was suspended, so that {date} has no \
                 price limit, is not known; the usual limits are taken"
            ));
        }
    }
    (facts, told)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_by_ten_shares_are_told() {
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
        let told = |cash: &str| {
            let text = format!(
                "ts_code,ex_date,cash_div,gift,incr,rights,rights_price\n600101.SH,2023-02-03,{cash},0,0,0,0\n"
            );
            let events = ExRight::read_table(text.as_bytes(), "events.csv")
                .unwrap()
                .events;
            assert_eq!(events.len(), 1);
            unfit_events(&bars, &events)
        };
        assert_eq!(told("0.5"), Vec::<String>::new());
        let warned = told("5");
        assert!(
            warned.len() == 1 && warned[0].contains("2023-02-03 asks for a price of 5 "),
            "{warned:?}"
        );
    }
}
