//! What the broker knows of the market: days and bars, prices in units, and the facts that rules depend on.

use std::collections::BTreeSet;
use std::sync::Arc;

use heqis_quant::adjust::{EventKind, reference_units};
use heqis_quant::clean::is_free_day;
use heqis_quant::rules::{DayRules, Limits, MarketRules};
use heqis_quant::{Bar, Calendar, Date, ExRight, Markets, Marks, Symbol};

use crate::error::BacktestError;
use crate::facts::Facts;

/// Above the shares of any company; a coin of which more is traded in a bar counts as one of which so much is.
const MAX_VOLUME: f64 = 1e12;
const MICRO: f64 = 1e6;

/// One bar of one stock in which it traded: a day, or less. Prices are in units of its market (cents for A-share stocks) as
/// traded, rounded to the nearest where a vendor has more decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBar {
    /// The position of the day in the calendar of the market.
    pub day: u32,
    /// The position of the bar's end among the [steps](Market::steps) of the market; that of the day for daily bars.
    pub step: u32,
    /// First price.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Last price.
    pub close: i64,
    /// The price that the limits of the day refer to: the vendor's, else the last close of an earlier day after all
    /// ex-rights since; `None` for a first day, and for one on another price level that no event explains, without the
    /// vendor's. All bars of a day have that of its first one.
    pub reference: Option<i64>,
    /// What was traded, in quantity units of the market: shares for A-share stocks.
    pub volume: u64,
}

/// What an ex-right event does to a holder, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entitlement {
    /// The first trading day on or after the ex-date, as a position in the calendar.
    pub day: u32,
    /// Millionths of a CNY per share.
    pub cash_micro: i64,
    /// Millionths of a share per share.
    pub shares_micro: i64,
    /// The event.
    pub event: ExRight,
}

/// One stock and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Stock {
    symbol: Symbol,
    rules: Arc<MarketRules>,
    facts: Facts,
    bars: Vec<DayBar>,
    /// Day and end of every bar, traded or not; none where all end at the close of their days, as daily bars do.
    ends: Vec<Step>,
    /// Whether some day has several bars.
    is_intraday: bool,
    /// Whether prices are adjusted, so that their limits are known within rounding only.
    is_adjusted: bool,
    entitlements: Vec<Entitlement>,
    /// Positions in the calendar of the traded days without limits that are known by themselves.
    free: BTreeSet<u32>,
    /// Positions in the calendar.
    listed: Option<u32>,
    delisted: Option<u32>,
}

impl Stock {
    /// Reads the bars of one stock by the rules of the shipped markets; see [`Stock::in_markets`].
    ///
    /// # Errors
    /// What [`Stock::in_markets`] returns.
    pub fn new(
        symbol: Symbol,
        bars: &[Bar],
        facts: Facts,
        calendar: &Calendar,
    ) -> Result<Self, BacktestError> {
        Self::in_markets(symbol, bars, facts, calendar, &Markets::shipped()?)
    }

    /// Reads the bars of one stock, daily ones or shorter. A bar without volume is one in which it did not trade, a
    /// suspended day, and leaves no trace but its time.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when no market knows the symbol, bars are not of one stock in the order of time, lie outside
    /// the calendar, have a price that is not between one unit and 100,000,000 of the currency, prices outside
    /// `low..=high` or a volume that is negative or above 10¹²; [`BacktestError::Quant`] when a reference price cannot be
    /// computed.
    pub fn in_markets(
        symbol: Symbol,
        bars: &[Bar],
        facts: Facts,
        calendar: &Calendar,
        markets: &Markets,
    ) -> Result<Self, BacktestError> {
        let Some(listing) = markets.of(symbol) else {
            let rule = "must be a symbol that a market file knows";
            return Err(BacktestError::rule_got("stock", rule, symbol.to_string()));
        };
        let rules = listing.market.clone();
        let (per_price, per_share) = (rules.units_per_price(), rules.units_per_share());
        let days = calendar.days();
        let at = |date: Date| days.partition_point(|day| *day < date) as u32;
        let mut facts = facts;
        let is_adjusted = bars.iter().any(|bar| bar.marks.contains(Marks::ADJUSTED));
        // Adjusted prices have their dividends and bonus shares in them.
        facts
            .events
            .retain(|event| event.symbol == symbol && !is_adjusted);
        facts.events.sort_by_key(|event| event.ex_date);
        let entitlements = facts
            .events
            .iter()
            .map(|event| entitlement(event, at(event.ex_date)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut read: Vec<DayBar> = Vec::with_capacity(bars.len());
        let is_intraday = bars.windows(2).any(|pair| pair[0].date == pair[1].date);
        let has_times = is_intraday
            || bars
                .iter()
                .any(|bar| bar.time_ns != bar.date.close_time_ns());
        let mut ends = Vec::new();
        let mut last: Option<&Bar> = None;
        let (mut traded, mut free) = (None, BTreeSet::new());
        // Of the day: its position, and what its first bar refers to.
        let mut first_of_day: Option<(u32, Option<i64>)> = None;
        for bar in bars {
            let refuse = |rule: &str, got: &dyn ToString| {
                let place = match is_intraday {
                    true => format!("bar of {symbol} at {}", rules.local_time(bar.time_ns)),
                    false => format!("bar of {symbol} on {}", bar.date),
                };
                Err(BacktestError::rule_got(place, rule, got.to_string()))
            };
            if bar.symbol != symbol {
                return refuse("must be of the stock", &bar.symbol);
            }
            if last.is_some_and(|last| bar.date < last.date || bar.time_ns <= last.time_ns) {
                return refuse("must lie behind the bar before", &bar.date);
            }
            last = Some(bar);
            let day = at(bar.date);
            if days.get(day as usize) != Some(&bar.date) {
                return refuse("must lie on a trading day of the calendar", &bar.date);
            }
            if !(0.0..=MAX_VOLUME).contains(&bar.volume_shares) {
                return refuse("must have a volume in 0..=1e12", &bar.volume_shares);
            }
            if has_times {
                let time_ns = bar.time_ns;
                ends.push(Step { day, time_ns });
            }
            // At most 10²⁰ would leave a u64; a larger number saturates and is a cap only.
            let volume = (bar.volume_shares * per_share as f64) as u64;
            if volume == 0 {
                continue;
            }
            if is_free_day(&facts.free_days, traded.replace(bar.date), bar.date) {
                free.insert(day);
            }
            let mut units = [0; 5];
            let prices = [bar.open, bar.high, bar.low, bar.close];
            for (units, price) in units
                .iter_mut()
                .zip(prices.into_iter().chain(bar.pre_close))
            {
                let rounded = (price * per_price as f64).round();
                if !(1.0..=rules.max_price() as f64).contains(&rounded) {
                    let rule = format!("must have prices in {}..=1e8", 1.0 / per_price as f64);
                    return refuse(&rule, &price);
                }
                *units = rounded as i64;
            }
            let [open, high, low, close, given] = units;
            if low > open.min(close) || high < open.max(close) {
                return refuse("must have open and close between low and high", &bar.low);
            }
            let same_day = first_of_day.filter(|(of, _)| *of == day);
            let reference = match (bar.pre_close, read.last()) {
                // The vendor's reference of adjusted prices is one of another rounding, and tells no ex-right.
                (Some(_), Some(before)) if is_adjusted && same_day.is_none() => Some(before.close),
                // What a vendor repeats on later bars of a day may be the close before each.
                _ if same_day.is_some() => same_day.and_then(|(_, reference)| reference),
                (Some(_), _) => Some(given),
                (None, None) => None,
                (None, Some(before)) => {
                    let due = |due: &&Entitlement| before.day < due.day && due.day <= day;
                    let due = entitlements.iter().filter(due);
                    match due.clone().next() {
                        // The price level moved, and nothing says by how much.
                        None if bar.marks.breaks_level() => None,
                        _ => {
                            let events = due.map(|due| &due.event);
                            Some(reference_units(before.close, rules.price_decimals, events)?)
                        }
                    }
                }
            };
            first_of_day = Some((day, reference));
            read.push(DayBar {
                day,
                // Of bars with times, their number until `Market::new` knows all times.
                step: if has_times {
                    ends.len() as u32 - 1
                } else {
                    day
                },
                open,
                high,
                low,
                close,
                reference,
                volume,
            });
        }
        Ok(Self {
            symbol,
            rules,
            bars: read,
            ends,
            is_intraday,
            is_adjusted,
            entitlements,
            free,
            // A listing before the calendar is long ago, as far as the calendar tells.
            listed: facts
                .listed
                .filter(|listed| days.first().is_some_and(|first| first <= listed))
                .map(at),
            delisted: facts.delisted.map(at),
            facts,
        })
    }

    /// Returns the symbol.
    #[must_use]
    pub fn symbol(&self) -> Symbol {
        self.symbol
    }

    /// Returns the rules of its market.
    #[must_use]
    pub fn market(&self) -> &MarketRules {
        &self.rules
    }

    /// Returns what a quantity is worth at a price, both in units of the market, in cents.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when that leaves an `i64`.
    pub fn amount_cents(&self, price: i64, quantity: u64) -> Result<i64, BacktestError> {
        self.rules
            .amount_cents(price, quantity)
            .ok_or_else(|| BacktestError::too_large("price times shares", quantity))
    }

    /// Returns the bars in which it traded, in order.
    #[must_use]
    pub fn bars(&self) -> &[DayBar] {
        &self.bars
    }

    /// Returns what ex-right events do to a holder, in the order of days.
    #[must_use]
    pub fn entitlements(&self) -> &[Entitlement] {
        &self.entitlements
    }

    /// Returns what is known of the stock; the events are its own.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns whether the stock is gone on a day of the calendar.
    #[must_use]
    pub(crate) fn is_delisted(&self, day: u32) -> bool {
        self.delisted.is_some_and(|delisted| delisted <= day)
    }

    /// Returns the price limits of a traded day, or `None` when they cannot be known, since the stock has limits that
    /// day and its bar has no reference price. The first days after an IPO, the day of a share reform, and the first day of a
    /// delisting period or of a listing that resumes have no limits.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when the reference price is out of bounds.
    pub fn limits(
        &self,
        bar: &DayBar,
        rules: &DayRules<'_>,
    ) -> Result<Option<Limits>, BacktestError> {
        let free_days = rules.limit.map_or(0, |rule| rule.ipo_free_days);
        let is_free = self
            .listed
            .is_some_and(|listed| bar.day >= listed && bar.day - listed < free_days);
        let reformed = self
            .entitlements
            .iter()
            .any(|due| due.day == bar.day && !due.moves_reference());
        if is_free || self.free.contains(&bar.day) || reformed || rules.limit.is_none() {
            return Ok(Some(Limits::NoLimit));
        }
        let Some(reference) = bar.reference else {
            return Ok(None);
        };
        Ok(Some(match rules.limits(reference)? {
            // An open that is at a limit within the rounding of adjusted prices is one at it.
            Limits::Band { up, down } if self.is_adjusted => Limits::Band {
                up: up - up / 500 - 1,
                down: down + down / 500 + 1,
            },
            limits => limits,
        }))
    }
}

fn entitlement(event: &ExRight, day: u32) -> Result<Entitlement, BacktestError> {
    let micro = |name: &str, number: f64| {
        if (0.0..=1e6).contains(&number) {
            return Ok((number * MICRO).round() as i64);
        }
        let place = format!("{name} of {} on {}", event.symbol, event.ex_date);
        Err(BacktestError::rule_got(
            place,
            "must be in 0..=1e6",
            number.to_string(),
        ))
    };
    Ok(Entitlement {
        day,
        cash_micro: micro("cash_cny", event.cash_cny)?,
        shares_micro: micro("gift", event.gift)? + micro("increase", event.increase)?,
        event: *event,
    })
}

impl Entitlement {
    /// Returns whether the reference price moves.
    #[must_use]
    pub(crate) fn moves_reference(&self) -> bool {
        self.event.kind == EventKind::ExRight
    }
}

/// One moment of the market's time axis: the end of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The position of the day in the calendar.
    pub day: u32,
    /// The end of the bars, in UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
}

/// All stocks of a run over one calendar.
///
/// Its time axis has one [`Step`] for each day, or, where stocks have several bars a day, one for each time at which a bar
/// ends; a day without any bar is one step then as well.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    calendar: Calendar,
    stocks: Vec<Stock>,
    steps: Vec<Step>,
    is_intraday: bool,
}

/// All moments in order, by day first, since one day ends at other times in other places.
fn steps(calendar: &Calendar, stocks: &[Stock], is_intraday: bool) -> Vec<Step> {
    let close = |(date, day): (&Date, u32)| Step {
        day,
        time_ns: date.close_time_ns(),
    };
    let mut steps: Vec<Step> = calendar.days().iter().zip(0..).map(close).collect();
    if is_intraday {
        let mut ends: Vec<Step> = stocks.iter().flat_map(|s| &s.ends).copied().collect();
        ends.sort_unstable();
        ends.dedup();
        steps.retain(|close| {
            ends.binary_search_by_key(&close.day, |end| end.day)
                .is_err()
        });
        steps.append(&mut ends);
        steps.sort_unstable();
    }
    steps
}

impl Market {
    /// Joins stocks that were read with the same calendar.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when a symbol comes twice, a bar lies outside the calendar, or daily bars are mixed with
    /// shorter ones.
    pub fn new(calendar: Calendar, mut stocks: Vec<Stock>) -> Result<Self, BacktestError> {
        let mut symbols: Vec<Symbol> = stocks.iter().map(Stock::symbol).collect();
        symbols.sort_unstable();
        if let Some(pair) = symbols.windows(2).find(|pair| pair[0] == pair[1]) {
            let rule = "must have each stock once";
            return Err(BacktestError::rule_got("market", rule, pair[0].to_string()));
        }
        let days = calendar.days().len();
        let outside = |stock: &&Stock| {
            stock
                .bars
                .last()
                .is_some_and(|bar| bar.day as usize >= days)
        };
        if let Some(stock) = stocks.iter().find(outside) {
            let rule = "must have stocks of the same calendar";
            return Err(BacktestError::rule_got(
                "market",
                rule,
                stock.symbol.to_string(),
            ));
        }
        let is_intraday = stocks.iter().any(|stock| stock.is_intraday);
        let daily = |stock: &&Stock| stock.ends.is_empty() && !stock.bars.is_empty();
        if let (true, Some(daily)) = (is_intraday, stocks.iter().find(daily)) {
            let rule = "must not mix daily bars with shorter ones";
            return Err(BacktestError::rule_got(
                "market",
                rule,
                daily.symbol.to_string(),
            ));
        }
        let steps = steps(&calendar, &stocks, is_intraday);
        for stock in &mut stocks {
            let ends = std::mem::take(&mut stock.ends);
            let mut step = 0;
            for bar in stock.bars.iter_mut().filter(|_| !ends.is_empty()) {
                if is_intraday {
                    step += steps[step..].partition_point(|step| *step < ends[bar.step as usize]);
                    bar.step = step as u32;
                } else {
                    bar.step = bar.day;
                }
            }
        }
        Ok(Self {
            calendar,
            stocks,
            steps,
            is_intraday,
        })
    }

    /// Reads stocks over the days on which any of them has a bar. A day on which none traded is no trading day then, so
    /// a calendar is better where there is one.
    ///
    /// # Errors
    /// What [`Stock::new`] and [`Market::new`] return.
    pub fn of_bars(series: &[(Symbol, &[Bar], Facts)]) -> Result<Self, BacktestError> {
        let mut days: Vec<Date> = series
            .iter()
            .flat_map(|(_, bars, _)| bars.iter().map(|bar| bar.date))
            .collect();
        days.sort_unstable();
        days.dedup();
        let calendar = Calendar::new(days)?;
        let stocks = series
            .iter()
            .map(|(symbol, bars, facts)| Stock::new(*symbol, bars, facts.clone(), &calendar))
            .collect::<Result<_, _>>()?;
        Self::new(calendar, stocks)
    }

    /// Returns the trading days.
    #[must_use]
    pub fn days(&self) -> &[Date] {
        self.calendar.days()
    }

    /// Returns the time axis.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns whether some day has several steps.
    #[must_use]
    pub fn is_intraday(&self) -> bool {
        self.is_intraday
    }

    /// Returns the position on the time axis at which a bar ends, or `None` when no bar of the market ends there.
    #[must_use]
    pub fn step_of(&self, bar: &Bar) -> Option<u32> {
        self.step_at(bar.date, bar.time_ns)
    }

    /// Returns the position of a day and a time on the time axis, or `None` when no bar of the market ends there.
    #[must_use]
    pub(crate) fn step_at(&self, date: Date, time_ns: i64) -> Option<u32> {
        let day = self.days().binary_search(&date).ok()? as u32;
        let step = match self.is_intraday {
            true => self.steps.binary_search(&Step { day, time_ns }).ok()?,
            false => day as usize,
        };
        Some(step as u32)
    }

    /// Returns whether a step is the first of its day.
    #[must_use]
    pub(crate) fn opens_day(&self, step: u32) -> bool {
        let at = step as usize;
        at == 0 || self.steps[at - 1].day != self.steps[at].day
    }

    /// Returns whether a step is the last of its day.
    #[must_use]
    pub(crate) fn closes_day(&self, step: u32) -> bool {
        let at = step as usize;
        self.steps
            .get(at + 1)
            .is_none_or(|next| next.day != self.steps[at].day)
    }

    /// Returns the time of a step as text: on the clock of the exchange where all stocks share one, else in UTC.
    #[must_use]
    pub fn time_text(&self, step: u32) -> String {
        let time_ns = self.steps[step as usize].time_ns;
        let mut rules = self.stocks.iter().map(|stock| &stock.rules);
        match rules.next() {
            Some(first) if rules.all(|other| other.timezone == first.timezone) => {
                first.local_time(time_ns)
            }
            _ => heqis_quant::rules::utc_time(time_ns),
        }
    }

    /// Returns the stocks; a broker names them by their position here.
    #[must_use]
    pub fn stocks(&self) -> &[Stock] {
        &self.stocks
    }

    /// Returns the rules of a stock on the day of a step.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when no rule is known for the stock or the day.
    ///
    /// # Panics
    /// Panics when the market has no such stock or step.
    pub fn rules<'b>(
        &self,
        markets: &'b Markets,
        stock: usize,
        step: u32,
    ) -> Result<DayRules<'b>, BacktestError> {
        let date = self.days()[self.steps[step as usize].day as usize];
        let stock = &self.stocks[stock];
        Ok(markets.on(stock.symbol, date, stock.facts.is_special(date))?)
    }
}
