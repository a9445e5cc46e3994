//! The market data of the broker: days and bars, prices in integer units, and the reference data that rules depend on.

use std::collections::BTreeSet;
use std::sync::Arc;

use heqis_quant::adjust::{EventKind, reference_units};
use heqis_quant::clean::is_free_day;
use heqis_quant::rules::{DayRules, Limits, MarketRules};
use heqis_quant::{Bar, Calendar, Date, ExRight, Markets, Marks, Symbol};

use crate::error::BacktestError;
use crate::instrument::InstrumentInfo;

/// The maximum volume of a bar, more than the shares of any company.
const MAX_VOLUME: f64 = 1e12;
const MICRO: f64 = 1e6;

/// One traded bar of one stock: a day, or less. Prices are as traded, in units of its market (cents for A-share stocks),
/// rounded to the nearest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBar {
    /// The index of the day in the calendar of the market.
    pub day: u32,
    /// The index of the bar's end among the [steps](MarketHistory::steps) of the market; that of the day for daily bars.
    pub step: u32,
    /// First price.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Last price.
    pub close: i64,
    /// The reference price of the day's limits: the vendor's, else the last close of an earlier day adjusted for all ex-rights
    /// since. Without the vendor's it is `None` on the first day, and on a day at another price level that no event explains.
    /// All bars of a day have that of its first one.
    pub reference: Option<i64>,
    /// The volume in quantity units of the market: shares for A-share stocks.
    pub volume: u64,
}

/// The effect of an ex-right event on a holder, exact to a millionth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entitlement {
    /// The first trading day on or after the ex-date, as an index in the calendar.
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
    info: InstrumentInfo,
    bars: Vec<DayBar>,
    /// Day and end of every bar, traded or not; empty if all bars end at the close of their days, as daily bars do.
    ends: Vec<Step>,
    /// Whether some day has several bars.
    is_intraday: bool,
    /// Whether prices are adjusted, so that their limits are known within rounding only.
    is_adjusted: bool,
    entitlements: Vec<Entitlement>,
    /// The traded days without limits by [`InstrumentInfo::free_days`], as indices in the calendar.
    free: BTreeSet<u32>,
    /// Indices in the calendar.
    listed: Option<u32>,
    delisted: Option<u32>,
}

impl Stock {
    /// Reads the bars of one stock by the rules of the shipped markets; see [`Stock::in_markets`].
    ///
    /// # Errors
    /// The errors of [`Stock::in_markets`].
    pub fn new(
        symbol: Symbol,
        bars: &[Bar],
        info: InstrumentInfo,
        calendar: &Calendar,
    ) -> Result<Self, BacktestError> {
        Self::in_markets(symbol, bars, info, calendar, &Markets::shipped()?)
    }

    /// Reads the bars of one stock, daily ones or shorter. Of a bar without volume, such as that of a suspended day, only the
    /// time is kept.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when no market file has the symbol, bars are not of one stock in the order of time, lie outside
    /// the calendar, have a price that is not between one unit and 100,000,000 of the currency, prices outside
    /// `low..=high` or a volume that is negative or above 10¹²; [`BacktestError::Quant`] when a reference price cannot be
    /// computed.
    pub fn in_markets(
        symbol: Symbol,
        bars: &[Bar],
        mut info: InstrumentInfo,
        calendar: &Calendar,
        markets: &Markets,
    ) -> Result<Self, BacktestError> {
        let Some(listing) = markets.of(symbol) else {
            let rule = "must be a symbol of a market file";
            return Err(BacktestError::rule_got("stock", rule, symbol.to_string()));
        };
        let rules = listing.market.clone();
        let (per_price, per_share) = (rules.units_per_price(), rules.units_per_share());
        let days = calendar.days();
        let at = |date: Date| days.partition_point(|day| *day < date) as u32;
        let is_adjusted = bars.iter().any(|bar| bar.marks.contains(Marks::ADJUSTED));
        // Adjusted prices include dividends and bonus shares.
        info.events
            .retain(|event| event.symbol == symbol && !is_adjusted);
        info.events.sort_by_key(|event| event.ex_date);
        let entitlements = info
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
        // The index of the day, and the reference price of its first bar.
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
                return refuse("must be later than the bar before", &bar.date);
            }
            last = Some(bar);
            let day = at(bar.date);
            if days.get(day as usize) != Some(&bar.date) {
                return refuse("must be on a trading day of the calendar", &bar.date);
            }
            if !(0.0..=MAX_VOLUME).contains(&bar.volume_shares) {
                return refuse("must have a volume in 0..=1e12", &bar.volume_shares);
            }
            if has_times {
                let time_ns = bar.time_ns;
                ends.push(Step { day, time_ns });
            }
            // May exceed a u64 for coins of many decimals: the cast saturates, and the volume is only used as a cap.
            let volume = (bar.volume_shares * per_share as f64) as u64;
            if volume == 0 {
                continue;
            }
            if is_free_day(&info.free_days, traded.replace(bar.date), bar.date) {
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
                // The vendor's reference of adjusted prices is rounded differently and does not indicate an ex-right.
                (Some(_), Some(before)) if is_adjusted && same_day.is_none() => Some(before.close),
                // On later bars of a day, the value of some vendors is the close of the bar before.
                _ if same_day.is_some() => same_day.and_then(|(_, reference)| reference),
                (Some(_), _) => Some(given),
                (None, None) => None,
                (None, Some(before)) => {
                    let due = |due: &&Entitlement| before.day < due.day && due.day <= day;
                    let due = entitlements.iter().filter(due);
                    match due.clone().next() {
                        // The price level moved by an unknown amount.
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
                // For bars with times the index in `ends`, until `MarketHistory::new` maps it to a step.
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
            // A listing before the calendar counts as long ago.
            listed: info
                .listed
                .filter(|listed| days.first().is_some_and(|first| first <= listed))
                .map(at),
            delisted: info.delisted.map(at),
            info,
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

    /// Returns the value in cents of a quantity at a price, both in units of the market.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when it overflows an `i64`.
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

    /// Returns the effects of ex-right events on a holder, in the order of days.
    #[must_use]
    pub fn entitlements(&self) -> &[Entitlement] {
        &self.entitlements
    }

    /// Returns the reference data, with the events of this stock only.
    #[must_use]
    pub fn info(&self) -> &InstrumentInfo {
        &self.info
    }

    /// Returns whether the stock is delisted on a day of the calendar.
    #[must_use]
    pub(crate) fn is_delisted(&self, day: u32) -> bool {
        self.delisted.is_some_and(|delisted| delisted <= day)
    }

    /// Returns the price limits of a traded day, or `None` if they are unknown: the stock has limits that day, and its bar has
    /// no reference price. The first days after an IPO, the day of a share reform, and the first day of a delisting period or
    /// of a resumed listing have no limits.
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
            // Within the rounding of adjusted prices, an open near a limit counts as at the limit.
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

/// One point of the time axis: the end of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The index of the day in the calendar.
    pub day: u32,
    /// The end of the bars, in UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
}

/// All stocks of a run over one calendar.
///
/// The time axis has one [`Step`] for each day, or, if stocks have several bars a day, one for each time at which a bar ends,
/// and one for each day without any bar.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketHistory {
    calendar: Calendar,
    stocks: Vec<Stock>,
    steps: Vec<Step>,
    is_intraday: bool,
}

/// Returns all steps, ordered by day first, since the end of a day differs between time zones.
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

impl MarketHistory {
    /// Joins stocks that were read with the same calendar.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when a symbol is repeated, a bar lies outside the calendar, or daily bars are mixed with shorter
    /// ones.
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

    /// Reads stocks over the days on which any of them has a bar. A day without any bar is then not a trading day; use a
    /// calendar where one is available.
    ///
    /// # Errors
    /// The errors of [`Stock::new`] and [`MarketHistory::new`].
    pub fn of_bars(series: &[(Symbol, &[Bar], InstrumentInfo)]) -> Result<Self, BacktestError> {
        let mut days: Vec<Date> = series
            .iter()
            .flat_map(|(_, bars, _)| bars.iter().map(|bar| bar.date))
            .collect();
        days.sort_unstable();
        days.dedup();
        let calendar = Calendar::new(days)?;
        let stocks = series
            .iter()
            .map(|(symbol, bars, info)| Stock::new(*symbol, bars, info.clone(), &calendar))
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

    /// Returns the step at which a bar ends, or `None` if no bar of the market ends there.
    #[must_use]
    pub fn step_of(&self, bar: &Bar) -> Option<u32> {
        self.step_at(bar.date, bar.time_ns)
    }

    /// Returns the step of a day and a time, or `None` if no bar of the market ends there.
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

    /// Returns the time of a step as text: on the clock of the exchange if all stocks share one, else in UTC.
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

    /// Returns the stocks; a broker refers to them by their index here.
    #[must_use]
    pub fn stocks(&self) -> &[Stock] {
        &self.stocks
    }

    /// Returns the rules of a stock on the day of a step.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when the stock or the day has no rules.
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
        Ok(markets.on(stock.symbol, date, stock.info.is_special(date))?)
    }
}
