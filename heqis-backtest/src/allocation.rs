//! Wanted sides → orders of one account, and the run over a whole history.

use heqis_quant::Markets;
use heqis_quant::decision::Side;
use heqis_quant::rules::Trade;
use serde::{Deserialize, Serialize};

use super::broker::{Broker, BrokerConfig, Ledger, Reason, Size, Ticket};
use super::market::Market;
use crate::error::BacktestError;

/// What is wanted of one stock after one close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Want {
    /// The position of the close on the [time axis](Market::steps) of the market: of daily bars, that of the day.
    pub step: u32,
    /// The position of the stock in the market.
    pub stock: usize,
    /// The side; `Hold` asks for nothing.
    pub side: Side,
    /// Which of several buys comes first, and its share under [`Weighting::Score`]: the larger, the more. A predicted
    /// return, as a rule.
    pub score: f64,
}

/// How the account is divided among stocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Every stock gets the account over `max_positions`.
    Equal,
    /// The buys of a day share what that many stocks would get, in proportion to their positive scores.
    Score,
}

/// The bounds of one account. Rates are in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allocation {
    /// How many stocks may be held at once.
    pub max_positions: u32,
    /// The largest part of the account that a buy may bring a stock to.
    pub max_weight_e4: u32,
    /// How the account is divided.
    pub weighting: Weighting,
    /// The largest part of the account that the buys of one close may cost. Sales are never held back.
    pub turnover_cap_e4: u32,
    /// The largest part of the average volume before the order that a buy may ask for; none when 0.
    pub volume_share_e4: u32,
    /// Over how many bars that average is taken.
    pub volume_bars: u32,
}

impl Default for Allocation {
    /// One stock with the whole account.
    fn default() -> Self {
        Self {
            max_positions: 1,
            max_weight_e4: 10_000,
            weighting: Weighting::Equal,
            turnover_cap_e4: 10_000,
            volume_share_e4: 0,
            volume_bars: 20,
        }
    }
}

impl Allocation {
    /// Returns an error when a number is out of bounds; called by [`simulate`].
    ///
    /// # Errors
    /// [`BacktestError::Rule`] with the field.
    pub fn validate(&self) -> Result<(), BacktestError> {
        for (field, value, least, most) in [
            ("max_positions", self.max_positions, 1, 100_000),
            ("max_weight_e4", self.max_weight_e4, 1, 10_000),
            ("turnover_cap_e4", self.turnover_cap_e4, 1, 10_000),
            ("volume_share_e4", self.volume_share_e4, 0, 10_000),
            ("volume_bars", self.volume_bars, 1, 1_000),
        ] {
            if !(least..=most).contains(&value) {
                let rule = format!("must be in {least}..={most}");
                return Err(BacktestError::rule_got(
                    format!("allocation: {field}"),
                    rule,
                    value,
                ));
            }
        }
        Ok(())
    }
}

/// Runs an account through a whole history of wants, which are in the order of days.
///
/// After each close the wants of that day become orders for the next open: a sale of everything that is held, or a buy
/// of what brings the stock to its weight at that close. A new side takes back what waits of the other one.
///
/// # Errors
/// [`BacktestError::Rule`] when wants are out of order, name a stock or close that the market does not have, are two of one
/// stock at one close, or have a score that is not a number, and what [`Broker`] and [`Allocation::validate`] return.
pub fn simulate(
    market: &Market,
    book: &Markets,
    wants: &[Want],
    config: BrokerConfig,
    allocation: &Allocation,
) -> Result<Ledger, BacktestError> {
    allocation.validate()?;
    check(market, wants)?;
    let mut broker = Broker::new(market, book, config)?;
    broker.limit_positions(allocation.max_positions);
    let mut left = wants;
    loop {
        let step = broker.next_step();
        if broker.advance()?.is_none() {
            return Ok(broker.finish());
        }
        let upto = left.iter().take_while(|want| want.step == step).count();
        let (today, later) = left.split_at(upto);
        left = later;
        if !today.is_empty() {
            place(&mut broker, market, book, step, today, allocation)?;
        }
    }
}

fn check(market: &Market, wants: &[Want]) -> Result<(), BacktestError> {
    let mut last = 0;
    // Two buys of one stock on one day would each be bounded by the weight, and not their sum.
    let mut latest = vec![None; market.stocks().len()];
    for want in wants {
        let refuse = |rule: &str, got: &dyn ToString| {
            let place = format!("want on step {} of stock {}", want.step, want.stock);
            Err(BacktestError::rule_got(place, rule, got.to_string()))
        };
        if want.step < last {
            return refuse("must not lie before the one before it", &last);
        }
        last = want.step;
        if want.step as usize >= market.steps().len() || want.stock >= market.stocks().len() {
            return refuse("must name a step and a stock of the market", &want.step);
        }
        if latest[want.stock].replace(want.step) == Some(want.step) {
            return refuse("must be the only one of its stock at its step", &"two");
        }
        if !want.score.is_finite() {
            return refuse("must have a finite score", &want.score);
        }
    }
    Ok(())
}

/// Turns the wants of one close into orders.
fn place(
    broker: &mut Broker<'_>,
    market: &Market,
    book: &Markets,
    step: u32,
    wants: &[Want],
    allocation: &Allocation,
) -> Result<(), BacktestError> {
    let sell = |stock| Ticket {
        stock,
        trade: Trade::Sell,
        size: Size::All,
    };
    for want in wants.iter().filter(|want| want.side == Side::Sell) {
        broker.cancel(want.stock, Trade::Buy, Reason::Superseded);
        if broker.position(want.stock).shares() == 0 {
            broker.refuse(sell(want.stock), Reason::NoPosition);
        } else if !waits(broker, want.stock, Trade::Sell) {
            broker.submit(sell(want.stock));
        }
    }
    let mut buys: Vec<&Want> = wants.iter().filter(|want| want.side == Side::Buy).collect();
    if buys.is_empty() {
        return Ok(());
    }
    buys.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.stock.cmp(&b.stock)));
    for want in &buys {
        broker.cancel(want.stock, Trade::Sell, Reason::Superseded);
        broker.cancel(want.stock, Trade::Buy, Reason::Superseded);
    }
    let mut room = Room::of(broker, market, step, allocation)?;
    let weights: f64 = buys
        .iter()
        .take(room.slots)
        .map(|want| want.score.max(0.0))
        .sum();
    let shared = part(
        room.equity,
        allocation.max_positions,
        room.slots.min(buys.len()),
    );
    for want in buys {
        let held = broker.position(want.stock).shares() > 0;
        let target = match allocation.weighting {
            Weighting::Equal => part(room.equity, allocation.max_positions, 1),
            Weighting::Score if weights > 0.0 => {
                (shared as f64 * (want.score.max(0.0) / weights)) as i64
            }
            Weighting::Score => 0,
        };
        let target = target.min(rate(room.equity, allocation.max_weight_e4));
        let (shares, reason) = size(broker, market, book, want, target, &room, allocation)?;
        let ticket = Ticket {
            stock: want.stock,
            trade: Trade::Buy,
            size: Size::Shares(shares),
        };
        if !held && room.slots == 0 {
            broker.refuse(ticket, Reason::MaxPositions);
        } else if shares == 0 {
            broker.refuse(ticket, reason.unwrap_or(Reason::LotSize));
        } else {
            room.slots -= usize::from(!held);
            let cost = market.stocks()[want.stock].amount_cents(price(market, want), shares)?;
            room.cash -= cost;
            room.turnover -= cost;
            let id = broker.submit(ticket);
            if let Some(reason) = reason {
                broker.remark(id, reason);
            }
        }
    }
    Ok(())
}

/// What the buys of a day may still take.
struct Room {
    equity: i64,
    cash: i64,
    turnover: i64,
    slots: usize,
}

impl Room {
    /// Cash is counted together with what waiting sales would bring, less what waiting buys would cost, at the last
    /// closes; the fill sees the true prices.
    fn of(
        broker: &Broker<'_>,
        market: &Market,
        step: u32,
        allocation: &Allocation,
    ) -> Result<Self, BacktestError> {
        let equity = broker.equity_cents();
        let mut cash = broker.cash_cents();
        let mut slots = allocation.max_positions as usize;
        let mut leaving = Vec::new();
        for order in broker.waiting() {
            let stock = order.ticket.stock;
            let left = order.wanted_shares - order.filled_shares;
            let listing = &market.stocks()[stock];
            match order.ticket.trade {
                Trade::Sell => {
                    cash += listing.amount_cents(broker.position(stock).mark(), left)?;
                    leaving.push(stock);
                }
                Trade::Buy => {
                    cash -= listing.amount_cents(last_close(market, stock, step), left)?;
                    slots -= usize::from(slots > 0 && broker.position(stock).shares() == 0);
                }
            }
        }
        let staying = broker.held().iter().filter(|held| !leaving.contains(held));
        Ok(Self {
            equity,
            cash: cash.max(0),
            turnover: rate(equity, allocation.turnover_cap_e4),
            slots: slots.saturating_sub(staying.count()),
        })
    }
}

/// The shares to buy, with the reason when that is less than the target would have.
fn size(
    broker: &Broker<'_>,
    market: &Market,
    book: &Markets,
    want: &Want,
    target: i64,
    room: &Room,
    allocation: &Allocation,
) -> Result<(u64, Option<Reason>), BacktestError> {
    let rules = market.rules(book, want.stock, want.step)?;
    let price = price(market, want);
    if price == 0 {
        return Ok((0, Some(Reason::Suspended)));
    }
    let position = broker.position(want.stock);
    let listing = &market.stocks()[want.stock];
    let value = listing.amount_cents(price, position.shares())?;
    let fit = |cents: i64| {
        let quantity = listing.market().quantity_for(cents, price);
        rules.order.buyable(quantity)
    };
    let mut shares = fit(target - value);
    if shares == 0 {
        let reason = match position.shares() {
            0 => Reason::LotSize,
            _ => Reason::MaxWeight,
        };
        return Ok((0, Some(reason)));
    }
    let mut reason = None;
    let volume = match allocation.volume_share_e4 {
        0 => u64::MAX,
        share => {
            let volume = average_volume(market, want, allocation.volume_bars);
            // At most the volume, since the share is at most one.
            (volume * u128::from(share) / 10_000) as u64
        }
    };
    for (most, why) in [
        (fit(room.cash), Reason::Cash),
        (fit(room.turnover), Reason::TurnoverCap),
        (rules.order.buyable(volume), Reason::VolumeCap),
    ] {
        if most < shares {
            (shares, reason) = (most, Some(why));
        }
    }
    Ok((shares, reason))
}

fn waits(broker: &Broker<'_>, stock: usize, trade: Trade) -> bool {
    broker
        .waiting()
        .any(|order| order.ticket.stock == stock && order.ticket.trade == trade)
}

/// The bars of a stock up to a step.
fn known(market: &Market, stock: usize, step: u32) -> &[super::market::DayBar] {
    let bars = market.stocks()[stock].bars();
    &bars[..bars.partition_point(|bar| bar.step <= step)]
}

/// The last close of a stock up to a step, or 0 before its first bar.
fn last_close(market: &Market, stock: usize, step: u32) -> i64 {
    known(market, stock, step).last().map_or(0, |bar| bar.close)
}

fn price(market: &Market, want: &Want) -> i64 {
    last_close(market, want.stock, want.step)
}

fn average_volume(market: &Market, want: &Want, bars: u32) -> u128 {
    let known = known(market, want.stock, want.step);
    let last = &known[known.len().saturating_sub(bars as usize)..];
    let sum: u128 = last.iter().map(|bar| u128::from(bar.volume)).sum();
    sum.checked_div(last.len() as u128).unwrap_or(0)
}

/// A part of an amount in ten-thousandths.
fn rate(cents: i64, e4: u32) -> i64 {
    // Never above the amount, since a rate is at most one.
    (i128::from(cents) * i128::from(e4) / 10_000) as i64
}

/// `count` of `of` equal parts of an amount.
fn part(cents: i64, of: u32, count: usize) -> i64 {
    // Never above the amount, since there are at most `of` parts.
    (i128::from(cents) * count as i128 / i128::from(of)) as i64
}
