//! Order intents → orders of one account, and the simulation of a whole history.

use heqis_quant::Markets;
use heqis_quant::decision::Side;
use heqis_quant::rules::Trade;
use serde::{Deserialize, Serialize};

use super::broker::{Broker, BrokerConfig, Ledger, OrderRequest, Reason, Size};
use super::market::MarketHistory;
use crate::error::BacktestError;

/// The intended side of one stock after one close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderIntent {
    /// The index of the close on the [time axis](MarketHistory::steps) of the market: of daily bars, that of the day.
    pub step: u32,
    /// The index of the stock in the market.
    pub stock: usize,
    /// The side; `Hold` makes no order.
    pub side: Side,
    /// The priority among several buys, and the weight under [`Weighting::Score`]: higher is better. Usually the predicted
    /// return.
    pub score: f64,
}

/// The division of the account among stocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Every stock gets the account divided by `max_positions`.
    Equal,
    /// The buys of a close share the sum of their equal parts in proportion to their positive scores.
    Score,
}

/// The limits of one account. Rates are in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Allocation {
    /// The maximum number of stocks held at once.
    pub max_positions: u32,
    /// The maximum weight of a stock after a buy.
    pub max_weight_e4: u32,
    /// The division of the account among stocks.
    pub weighting: Weighting,
    /// The maximum part of the account that the buys of one close may cost. Sales are not limited.
    pub turnover_cap_e4: u32,
    /// The maximum size of a buy as a part of the average volume before the order; unlimited when 0.
    pub volume_share_e4: u32,
    /// The number of bars of that average.
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

/// Runs an account through a whole history of intents, which are in the order of steps.
///
/// After each close its intents become orders for the next open: a sale of the whole position, or a buy that brings the stock
/// to its weight at that close. A new side cancels the pending orders of the other one.
///
/// # Errors
/// [`BacktestError::Rule`] when intents are out of order, name a stock or close that the market does not have, repeat a stock
/// at one close, or have a score that is not finite, and the errors of [`Broker`] and [`Allocation::validate`].
pub fn simulate(
    market: &MarketHistory,
    markets: &Markets,
    intents: &[OrderIntent],
    config: BrokerConfig,
    allocation: &Allocation,
) -> Result<Ledger, BacktestError> {
    allocation.validate()?;
    check(market, intents)?;
    let mut broker = Broker::new(market, markets, config)?;
    broker.limit_positions(allocation.max_positions);
    let mut left = intents;
    loop {
        let step = broker.next_step();
        if broker.advance()?.is_none() {
            return Ok(broker.finish());
        }
        let upto = left.iter().take_while(|intent| intent.step == step).count();
        let (today, later) = left.split_at(upto);
        left = later;
        if !today.is_empty() {
            place(&mut broker, market, markets, step, today, allocation)?;
        }
    }
}

fn check(market: &MarketHistory, intents: &[OrderIntent]) -> Result<(), BacktestError> {
    let mut last = 0;
    // The weight limits each buy by itself, so two buys of one stock at one close could exceed it together.
    let mut latest = vec![None; market.stocks().len()];
    for intent in intents {
        let refuse = |rule: &str, got: &dyn ToString| {
            let place = format!("intent on step {} of stock {}", intent.step, intent.stock);
            Err(BacktestError::rule_got(place, rule, got.to_string()))
        };
        if intent.step < last {
            return refuse("must not be before the intent before it", &last);
        }
        last = intent.step;
        if intent.step as usize >= market.steps().len() || intent.stock >= market.stocks().len() {
            return refuse("must have a step and a stock of the market", &intent.step);
        }
        if latest[intent.stock].replace(intent.step) == Some(intent.step) {
            return refuse("must be the only one of its stock at its step", &"two");
        }
        if !intent.score.is_finite() {
            return refuse("must have a finite score", &intent.score);
        }
    }
    Ok(())
}

/// Turns the intents of one close into orders.
fn place(
    broker: &mut Broker<'_>,
    market: &MarketHistory,
    markets: &Markets,
    step: u32,
    intents: &[OrderIntent],
    allocation: &Allocation,
) -> Result<(), BacktestError> {
    let sell = |stock| OrderRequest {
        stock,
        trade: Trade::Sell,
        size: Size::All,
    };
    for intent in intents.iter().filter(|intent| intent.side == Side::Sell) {
        broker.cancel(intent.stock, Trade::Buy, Reason::Superseded);
        if broker.position(intent.stock).shares() == 0 {
            broker.refuse(sell(intent.stock), Reason::NoPosition);
        } else if !is_pending(broker, intent.stock, Trade::Sell) {
            broker.submit(sell(intent.stock));
        }
    }
    let mut buys: Vec<&OrderIntent> = intents
        .iter()
        .filter(|intent| intent.side == Side::Buy)
        .collect();
    if buys.is_empty() {
        return Ok(());
    }
    buys.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.stock.cmp(&b.stock)));
    for intent in &buys {
        broker.cancel(intent.stock, Trade::Sell, Reason::Superseded);
        broker.cancel(intent.stock, Trade::Buy, Reason::Superseded);
    }
    let mut power = BuyingPower::of(broker, market, step, allocation)?;
    let weights: f64 = buys
        .iter()
        .take(power.slots)
        .map(|intent| intent.score.max(0.0))
        .sum();
    let shared = part(
        power.equity,
        allocation.max_positions,
        power.slots.min(buys.len()),
    );
    for intent in buys {
        let held = broker.position(intent.stock).shares() > 0;
        let target = match allocation.weighting {
            Weighting::Equal => part(power.equity, allocation.max_positions, 1),
            Weighting::Score if weights > 0.0 => {
                (shared as f64 * (intent.score.max(0.0) / weights)) as i64
            }
            Weighting::Score => 0,
        };
        let target = target.min(rate(power.equity, allocation.max_weight_e4));
        let (shares, reason) = size(broker, market, markets, intent, target, &power, allocation)?;
        let request = OrderRequest {
            stock: intent.stock,
            trade: Trade::Buy,
            size: Size::Shares(shares),
        };
        if !held && power.slots == 0 {
            broker.refuse(request, Reason::MaxPositions);
        } else if shares == 0 {
            broker.refuse(request, reason.unwrap_or(Reason::LotSize));
        } else {
            power.slots -= usize::from(!held);
            let cost = market.stocks()[intent.stock].amount_cents(price(market, intent), shares)?;
            power.cash -= cost;
            power.turnover -= cost;
            let id = broker.submit(request);
            if let Some(reason) = reason {
                broker.note(id, reason);
            }
        }
    }
    Ok(())
}

/// The remaining resources for the buys of a close, in cents, and the free position slots.
struct BuyingPower {
    equity: i64,
    cash: i64,
    turnover: i64,
    slots: usize,
}

impl BuyingPower {
    /// Computes the buying power after a close. The cash includes the proceeds of pending sales and excludes the cost of pending
    /// buys, both at the last closes; the fills use the real prices.
    fn of(
        broker: &Broker<'_>,
        market: &MarketHistory,
        step: u32,
        allocation: &Allocation,
    ) -> Result<Self, BacktestError> {
        let equity = broker.equity_cents();
        let mut cash = broker.cash_cents();
        let mut slots = allocation.max_positions as usize;
        let mut leaving = Vec::new();
        for order in broker.pending() {
            let stock = order.request.stock;
            let left = order.wanted_shares - order.filled_shares;
            let listing = &market.stocks()[stock];
            match order.request.trade {
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

/// Returns the shares to buy, with the reason when they are fewer than the target.
fn size(
    broker: &Broker<'_>,
    market: &MarketHistory,
    markets: &Markets,
    intent: &OrderIntent,
    target: i64,
    power: &BuyingPower,
    allocation: &Allocation,
) -> Result<(u64, Option<Reason>), BacktestError> {
    let rules = market.rules(markets, intent.stock, intent.step)?;
    let price = price(market, intent);
    if price == 0 {
        return Ok((0, Some(Reason::Suspended)));
    }
    let position = broker.position(intent.stock);
    let listing = &market.stocks()[intent.stock];
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
            let volume = average_volume(market, intent.stock, intent.step, allocation.volume_bars);
            // At most the volume, since the share is at most one.
            (volume * u128::from(share) / 10_000) as u64
        }
    };
    for (most, why) in [
        (fit(power.cash), Reason::Cash),
        (fit(power.turnover), Reason::TurnoverCap),
        (rules.order.buyable(volume), Reason::VolumeCap),
    ] {
        if most < shares {
            (shares, reason) = (most, Some(why));
        }
    }
    Ok((shares, reason))
}

fn is_pending(broker: &Broker<'_>, stock: usize, trade: Trade) -> bool {
    broker
        .pending()
        .any(|order| order.request.stock == stock && order.request.trade == trade)
}

/// Returns the bars of a stock up to a step.
fn bars_to(market: &MarketHistory, stock: usize, step: u32) -> &[super::market::DayBar] {
    let bars = market.stocks()[stock].bars();
    &bars[..bars.partition_point(|bar| bar.step <= step)]
}

/// Returns the last close of a stock up to a step, or 0 before its first bar.
pub(crate) fn last_close(market: &MarketHistory, stock: usize, step: u32) -> i64 {
    bars_to(market, stock, step)
        .last()
        .map_or(0, |bar| bar.close)
}

fn price(market: &MarketHistory, intent: &OrderIntent) -> i64 {
    last_close(market, intent.stock, intent.step)
}

/// Returns the mean volume of the last `bars` bars of a stock up to a step.
pub(crate) fn average_volume(market: &MarketHistory, stock: usize, step: u32, bars: u32) -> u128 {
    let bars_to = bars_to(market, stock, step);
    let last = &bars_to[bars_to.len().saturating_sub(bars as usize)..];
    let sum: u128 = last.iter().map(|bar| u128::from(bar.volume)).sum();
    sum.checked_div(last.len() as u128).unwrap_or(0)
}

/// Returns a part of an amount, with the rate in ten-thousandths.
fn rate(cents: i64, e4: u32) -> i64 {
    // Never above the amount, since a rate is at most one.
    (i128::from(cents) * i128::from(e4) / 10_000) as i64
}

/// Returns `count` of `of` equal parts of an amount.
fn part(cents: i64, of: u32, count: usize) -> i64 {
    // Never above the amount, since there are at most `of` parts.
    (i128::from(cents) * count as i128 / i128::from(of)) as i64
}
