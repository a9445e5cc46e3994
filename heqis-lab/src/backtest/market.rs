//! What the broker knows of the market: days, prices in cents, and the facts that rules depend on.

use heqis_quant::adjust::{EventKind, reference_cents};
use heqis_quant::rules::{DayRules, Limits};
use heqis_quant::{Bar, Calendar, Date, ExRight, Markets, Marks, Symbol};

use crate::error::LabError;

/// 100 million CNY a share, as in the limit table.
const MAX_PRICE_CENTS: f64 = 1e10;
/// Above the shares of any company.
const MAX_VOLUME: f64 = 1e12;
const MICRO: f64 = 1e6;

/// What is known of a stock beside its bars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The first trading day. Without it no day counts as one of the free days after an IPO.
    pub listed: Option<Date>,
    /// The first day on which the stock is no longer listed.
    pub delisted: Option<Date>,
    /// First and last day of each period of special treatment; no last day means no end yet.
    pub special: Vec<(Date, Option<Date>)>,
    /// Ex-right events, of this stock or of any.
    pub events: Vec<ExRight>,
}

impl Facts {
    /// Returns whether the stock was under special treatment on a day.
    #[must_use]
    pub fn is_special(&self, date: Date) -> bool {
        let within =
            |(from, to): &(Date, Option<Date>)| *from <= date && to.is_none_or(|to| date <= to);
        self.special.iter().any(within)
    }
}

/// Returns the ex-right events that the cleaner suspects in the bars of one stock and that are not `known`: as many new
/// shares are assumed as make the overnight move nothing, which is what features and labels assume as well. Without this a
/// holder would lose what he was given.
#[must_use]
pub fn assumed(bars: &[Bar], known: &[ExRight]) -> Vec<ExRight> {
    let is_known = |pair: &[Bar]| {
        known.iter().any(|event| {
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

/// One traded day of one stock. Prices are in cents as traded, rounded to the nearest where a vendor has more decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayBar {
    /// The position of the day in the calendar of the market.
    pub day: u32,
    /// First price.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Last price.
    pub close: i64,
    /// The price that limits refer to: the vendor's, else the last close after all ex-rights since; `None` for a first
    /// bar, and for one on another price level that no event explains, without the vendor's.
    pub reference: Option<i64>,
    /// Traded shares.
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
    facts: Facts,
    bars: Vec<DayBar>,
    entitlements: Vec<Entitlement>,
    /// Positions in the calendar.
    listed: Option<u32>,
    delisted: Option<u32>,
}

impl Stock {
    /// Reads the bars of one stock. A bar without volume is a suspended day and leaves no trace.
    ///
    /// # Errors
    /// [`LabError::Backtest`] when bars are not of one stock in the order of days, lie outside the calendar, have a
    /// price that is not between 0.01 and 100,000,000.00 CNY, prices outside `low..=high` or a volume that is negative or
    /// above 10¹²; [`LabError::Quant`] when a reference price cannot be computed.
    pub fn new(
        symbol: Symbol,
        bars: &[Bar],
        facts: Facts,
        calendar: &Calendar,
    ) -> Result<Self, LabError> {
        let days = calendar.days();
        let at = |date: Date| days.partition_point(|day| *day < date) as u32;
        let mut facts = facts;
        facts.events.retain(|event| event.symbol == symbol);
        facts.events.sort_by_key(|event| event.ex_date);
        let entitlements = facts
            .events
            .iter()
            .map(|event| entitlement(event, at(event.ex_date)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut read: Vec<DayBar> = Vec::with_capacity(bars.len());
        let mut last: Option<Date> = None;
        for bar in bars {
            let refuse = |rule: &str, got: &dyn ToString| {
                let place = format!("bar of {symbol} on {}", bar.date);
                Err(LabError::backtest(place, rule, got.to_string()))
            };
            if bar.symbol != symbol {
                return refuse("must be of the stock", &bar.symbol);
            }
            if last.is_some_and(|last| bar.date <= last) {
                return refuse("must lie behind the bar before", &bar.date);
            }
            last = Some(bar.date);
            let day = at(bar.date);
            if days.get(day as usize) != Some(&bar.date) {
                return refuse("must lie on a trading day of the calendar", &bar.date);
            }
            if !(0.0..=MAX_VOLUME).contains(&bar.volume_shares) {
                return refuse("must have a volume in 0..=1e12", &bar.volume_shares);
            }
            let volume = bar.volume_shares as u64;
            if volume == 0 {
                continue;
            }
            let mut cents = [0; 5];
            let prices = [bar.open, bar.high, bar.low, bar.close];
            for (cents, price) in cents
                .iter_mut()
                .zip(prices.into_iter().chain(bar.pre_close))
            {
                let rounded = (price * 100.0).round();
                if !(1.0..=MAX_PRICE_CENTS).contains(&rounded) {
                    return refuse("must have prices in 0.01..=1e8 CNY", &price);
                }
                *cents = rounded as i64;
            }
            let [open, high, low, close, given] = cents;
            if low > open.min(close) || high < open.max(close) {
                return refuse("must have open and close between low and high", &bar.low);
            }
            let reference = match (bar.pre_close, read.last()) {
                (Some(_), _) => Some(given),
                (None, None) => None,
                (None, Some(before)) => {
                    let due = |due: &&Entitlement| before.day < due.day && due.day <= day;
                    let due = entitlements.iter().filter(due);
                    match due.clone().next() {
                        // The price level moved, and nothing says by how much.
                        None if bar.marks.breaks_level() => None,
                        _ => Some(reference_cents(before.close, due.map(|due| &due.event))?),
                    }
                }
            };
            read.push(DayBar {
                day,
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
            bars: read,
            entitlements,
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

    /// Returns the traded days in order.
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
    pub fn is_delisted(&self, day: u32) -> bool {
        self.delisted.is_some_and(|delisted| delisted <= day)
    }

    /// Returns the price limits of a traded day, or `None` when they cannot be known, since the stock has limits that
    /// day and its bar has no reference price. The first days after an IPO and the day of a share reform have no limits.
    ///
    /// # Errors
    /// [`LabError::Quant`] when the reference price is out of bounds.
    pub fn limits(&self, bar: &DayBar, rules: &DayRules<'_>) -> Result<Option<Limits>, LabError> {
        let free_days = rules.limit.map_or(0, |rule| rule.ipo_free_days);
        let is_free = self
            .listed
            .is_some_and(|listed| bar.day >= listed && bar.day - listed < free_days);
        let reformed = self
            .entitlements
            .iter()
            .any(|due| due.day == bar.day && !due.moves_reference());
        if is_free || reformed || rules.limit.is_none() {
            return Ok(Some(Limits::NoLimit));
        }
        match bar.reference {
            Some(reference) => Ok(Some(rules.limits(reference)?)),
            None => Ok(None),
        }
    }
}

fn entitlement(event: &ExRight, day: u32) -> Result<Entitlement, LabError> {
    let micro = |name: &str, number: f64| {
        if (0.0..=1e6).contains(&number) {
            return Ok((number * MICRO).round() as i64);
        }
        let place = format!("{name} of {} on {}", event.symbol, event.ex_date);
        Err(LabError::backtest(
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
    pub fn moves_reference(&self) -> bool {
        self.event.kind == EventKind::ExRight
    }
}

/// All stocks of a run over one calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    calendar: Calendar,
    stocks: Vec<Stock>,
}

impl Market {
    /// Joins stocks that were read with the same calendar.
    ///
    /// # Errors
    /// [`LabError::Backtest`] when a symbol comes twice or a bar lies outside the calendar.
    pub fn new(calendar: Calendar, stocks: Vec<Stock>) -> Result<Self, LabError> {
        let mut symbols: Vec<Symbol> = stocks.iter().map(Stock::symbol).collect();
        symbols.sort_unstable();
        if let Some(pair) = symbols.windows(2).find(|pair| pair[0] == pair[1]) {
            let rule = "must have each stock once";
            return Err(LabError::backtest("market", rule, pair[0].to_string()));
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
            return Err(LabError::backtest("market", rule, stock.symbol.to_string()));
        }
        Ok(Self { calendar, stocks })
    }

    /// Reads stocks over the days on which any of them has a bar. A day on which none traded is no trading day then, so
    /// a calendar is better where there is one.
    ///
    /// # Errors
    /// What [`Stock::new`] and [`Market::new`] return.
    pub fn of_bars(series: &[(Symbol, &[Bar], Facts)]) -> Result<Self, LabError> {
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

    /// Returns the stocks; a broker names them by their position here.
    #[must_use]
    pub fn stocks(&self) -> &[Stock] {
        &self.stocks
    }

    /// Returns the rules of a stock on a day of the calendar.
    ///
    /// # Errors
    /// [`LabError::Quant`] when no rule is known for the stock or the day.
    ///
    /// # Panics
    /// Panics when the market has no such stock or day.
    pub fn rules<'b>(
        &self,
        rules: &'b Markets,
        stock: usize,
        day: u32,
    ) -> Result<DayRules<'b>, LabError> {
        let date = self.days()[day as usize];
        let stock = &self.stocks[stock];
        Ok(rules.on(stock.symbol, date, stock.facts.is_special(date))?)
    }
}
