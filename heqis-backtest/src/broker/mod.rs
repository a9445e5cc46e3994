//! The broker: one account and its orders, day by day.
//!
//! - [`config`]: cash, slippage, participation, expiry of orders.
//! - [`position`]: shares by the day of their buy.
//! - [`ledger`]: the record of a run.
//! - `exright`: dividends and new shares; `delisting`: write-offs; `open`: order execution.
//!
//! [`Broker::advance`] processes one trading day in this order:
//!
//! 1. Before the open, shares of stocks that are delisted on the day are written off. Then the ex-rights of the day apply to
//!    the holdings of the last close: dividends are credited, new shares are added, and rights to buy shares lapse.
//! 2. At the open, all pending sells are executed in the order of submission, then all buys. The cash of a sale is available
//!    to the buys of the same open, as on the exchanges. Shares are sellable after the T+n of their market.
//! 3. At the close, holdings are valued: at the close of the day, or at the last one for a stock that did not trade.
//!
//! Orders are submitted between two days, so no order depends on the day of its fill.
//!
//! With bars shorter than a day, 2 and 3 run at each step of the market: an order is filled at the open of the next bar of its
//! stock, participation refers to the volume of that bar, and holdings are valued at its close. Ex-rights apply before the
//! first step of a day, T+n counts trading days, and a buy order lives to the end of its last day.

pub mod config;
mod delisting;
mod exright;
pub mod ledger;
mod open;
pub mod position;

use heqis_quant::rules::Trade;
use heqis_quant::{Date, Markets};

pub use config::{BrokerConfig, Slippage};
pub use ledger::{
    DayAccount, Entitled, Fill, Ledger, Note, Order, OrderRequest, PositionRow, Reason, Size,
    Status, WrittenOff,
};
pub use position::{Lot, Position, Trip};

use super::market::{DayBar, MarketHistory};
use crate::error::BacktestError;

/// An account that trades in a market.
#[derive(Clone, Debug)]
pub struct Broker<'a> {
    market: &'a MarketHistory,
    markets: &'a Markets,
    config: BrokerConfig,
    cash: i64,
    /// The next step to process.
    next: u32,
    stocks: Vec<Account>,
    /// The stocks with shares, in order.
    held: Vec<usize>,
    /// Pending orders, in the order of submission.
    pending: Vec<usize>,
    max_positions: usize,
    today: Flows,
    ledger: Ledger,
}

/// One stock of an account.
#[derive(Clone, Debug, Default)]
struct Account {
    position: Position,
    /// The cursor of [`Broker::bar`]: the first bar at or after the last step.
    bar: usize,
    /// The cursor of `entitle`: the first unprocessed entitlement.
    entitlement: usize,
    waiting_buys: u32,
    /// The step of the last fill and the shares traded at it.
    traded: (u32, u64),
}

impl Account {
    fn traded_at(&self, step: u32) -> u64 {
        match self.traded {
            (last, shares) if last == step => shares,
            _ => 0,
        }
    }
}

/// The sums of one step.
#[derive(Clone, Copy, Debug, Default)]
struct Flows {
    bought: i64,
    sold: i64,
    fees: i64,
    dividends: i64,
}

impl<'a> Broker<'a> {
    /// Opens an account before the first day of a market.
    ///
    /// # Errors
    /// The errors of [`BrokerConfig::validate`].
    pub fn new(
        market: &'a MarketHistory,
        markets: &'a Markets,
        config: BrokerConfig,
    ) -> Result<Self, BacktestError> {
        config.validate()?;
        Ok(Self {
            market,
            markets,
            config,
            cash: config.cash_cents,
            next: 0,
            stocks: vec![Account::default(); market.stocks().len()],
            held: Vec::new(),
            pending: Vec::new(),
            max_positions: usize::MAX,
            today: Flows::default(),
            ledger: Ledger::default(),
        })
    }

    /// Processes the next step of the market, a trading day or the bars that end at one time, and returns its day, or `None` at
    /// the end of the history.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when the stock of an order has no rules on that day, and [`BacktestError::Rule`] when an amount
    /// overflows 64 bits of cents.
    pub fn advance(&mut self) -> Result<Option<Date>, BacktestError> {
        let step = self.next;
        let Some(day) = self.market.steps().get(step as usize).map(|step| step.day) else {
            return Ok(None);
        };
        let date = self.market.days()[day as usize];
        self.next += 1;
        self.today = Flows::default();
        if self.market.opens_day(step) {
            self.write_off(day, date)?;
            for at in 0..self.held.len() {
                self.entitle(self.held[at], day, date)?;
            }
        }
        if !self.pending.is_empty() {
            let waiting = std::mem::take(&mut self.pending);
            for side in [Trade::Sell, Trade::Buy] {
                for order in &waiting {
                    if self.ledger.orders[*order].request.trade == side {
                        self.try_order(*order, step, date)?;
                    }
                }
            }
            self.pending = waiting;
            let orders = &self.ledger.orders;
            self.pending
                .retain(|order| orders[*order].status == Status::Pending);
        }
        self.mark(step, date)?;
        Ok(Some(date))
    }

    /// Submits an order for the next open, and returns its index in the ledger. An invalid order is refused at once, with its
    /// reason in the ledger.
    ///
    /// # Panics
    /// Panics when the market has no such stock.
    pub fn submit(&mut self, request: OrderRequest) -> usize {
        let id = self.record(request);
        let is_valid = match request.size {
            Size::Shares(shares) => shares > 0,
            Size::All => request.trade == Trade::Sell,
        };
        let steps = self.market.steps();
        let next = steps.get(self.next as usize);
        let day = next.map_or(self.market.days().len() as u32, |next| next.day);
        if self.market.stocks()[request.stock].is_delisted(day) {
            self.end(id, Reason::Delisted);
        } else if !is_valid {
            self.end(id, Reason::LotSize);
        } else {
            if request.trade == Trade::Buy {
                self.stocks[request.stock].waiting_buys += 1;
            }
            self.pending.push(id);
        }
        id
    }

    /// Records an order that is refused before submission, with the reason, and returns its index in the ledger.
    pub fn refuse(&mut self, request: OrderRequest, reason: Reason) -> usize {
        let id = self.record(request);
        self.end(id, reason);
        id
    }

    /// Sets the maximum number of stocks held at once. A buy beyond it stays pending, so that a sale that was not filled does not
    /// lead to too many positions.
    pub(crate) fn limit_positions(&mut self, most: u32) {
        self.max_positions = most as usize;
    }

    /// Cancels all pending orders of one side for a stock.
    pub fn cancel(&mut self, stock: usize, trade: Trade, reason: Reason) {
        let concerns = |broker: &Self, id: usize| {
            let request = broker.ledger.orders[id].request;
            request.stock == stock && request.trade == trade
        };
        for id in self.pending.clone() {
            if concerns(self, id) {
                self.end_pending(id, reason);
            }
        }
        let orders = &self.ledger.orders;
        self.pending
            .retain(|id| orders[*id].status == Status::Pending);
    }

    /// Returns the day of the last processed step, or the first day before the first step.
    #[must_use]
    pub fn date(&self) -> Date {
        self.market.days()[self.day() as usize]
    }

    /// Returns the index of the day of the last processed step.
    fn day(&self) -> u32 {
        self.market.steps()[(self.next as usize).saturating_sub(1)].day
    }

    /// Returns the index of the next step on the time axis.
    #[must_use]
    pub fn next_step(&self) -> u32 {
        self.next
    }

    /// Returns the cash in cents.
    #[must_use]
    pub fn cash_cents(&self) -> i64 {
        self.cash
    }

    /// Returns cash and holdings at the last close in cents.
    #[must_use]
    pub fn equity_cents(&self) -> i64 {
        let last = self.ledger.days.last();
        last.map_or(self.config.cash_cents, DayAccount::equity_cents)
    }

    /// Returns the position in a stock.
    ///
    /// # Panics
    /// Panics when the market has no such stock.
    #[must_use]
    pub fn position(&self, stock: usize) -> &Position {
        &self.stocks[stock].position
    }

    /// Returns the stocks with shares, in order.
    #[must_use]
    pub fn held(&self) -> &[usize] {
        &self.held
    }

    /// Returns the orders that are pending until the next open, in the order of submission.
    pub fn pending(&self) -> impl Iterator<Item = &Order> {
        self.pending.iter().map(|id| &self.ledger.orders[*id])
    }

    /// Returns the ledger so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Closes the books: pending orders end, and open round trips are valued at the last close.
    #[must_use]
    pub fn finish(mut self) -> Ledger {
        for id in std::mem::take(&mut self.pending) {
            self.end_pending(id, Reason::EndOfHistory);
        }
        let date = self.date();
        for stock in &self.held {
            let position = &mut self.stocks[*stock].position;
            if let Some(mut trip) = position.trip.take() {
                trip.closed = date;
                trip.open = true;
                // Cannot overflow: the same value was checked when the day was marked.
                let listing = &self.market.stocks()[*stock];
                let value = listing.amount_cents(position.mark, position.shares());
                trip.earned_cents += value.unwrap_or_default();
                self.ledger.trips.push(trip);
            }
        }
        self.ledger
    }

    fn record(&mut self, request: OrderRequest) -> usize {
        let wanted_shares = match request.size {
            Size::Shares(shares) => shares,
            Size::All => self.position(request.stock).shares(),
        };
        self.ledger.orders.push(Order {
            request,
            placed: self.date(),
            placed_step: self.next.saturating_sub(1),
            wanted_shares,
            filled_shares: 0,
            status: Status::Pending,
            notes: Vec::new(),
            opens: 0,
            opened: None,
        });
        self.ledger.orders.len() - 1
    }

    /// Adds a reason to the notes of an order.
    ///
    /// # Panics
    /// Panics when there is no such order.
    pub(crate) fn note(&mut self, id: usize, reason: Reason) {
        let date = self.date();
        let notes = &mut self.ledger.orders[id].notes;
        match notes.last_mut().filter(|last| last.reason == reason) {
            Some(last) => {
                last.days += u32::from(last.to < date);
                last.to = date;
            }
            None => notes.push(Note {
                date,
                to: date,
                days: 1,
                reason,
            }),
        }
    }

    /// Ends an order that was not pending.
    fn end(&mut self, id: usize, reason: Reason) {
        self.note(id, reason);
        self.set_final_status(id);
    }

    /// Ends a pending order.
    fn end_pending(&mut self, id: usize, reason: Reason) {
        self.end(id, reason);
        self.remove_waiting(id);
    }

    fn set_final_status(&mut self, id: usize) {
        let order = &mut self.ledger.orders[id];
        order.status = match order.filled_shares {
            0 => Status::Refused,
            filled if filled < order.wanted_shares => Status::Partial,
            _ => Status::Filled,
        };
    }

    fn remove_waiting(&mut self, id: usize) {
        let request = self.ledger.orders[id].request;
        if request.trade == Trade::Buy {
            self.stocks[request.stock].waiting_buys -= 1;
        }
    }

    /// Returns the bar of a stock that ends at a step. Calls must be in the order of steps.
    fn bar(&mut self, stock: usize, step: u32) -> Option<DayBar> {
        let bars = self.market.stocks()[stock].bars();
        let account = &mut self.stocks[stock];
        while bars.get(account.bar).is_some_and(|bar| bar.step < step) {
            account.bar += 1;
        }
        bars.get(account.bar)
            .filter(|bar| bar.step == step)
            .copied()
    }

    fn mark(&mut self, step: u32, date: Date) -> Result<(), BacktestError> {
        let mut holdings = 0;
        for at in 0..self.held.len() {
            let stock = self.held[at];
            let bar = self.bar(stock, step);
            let position = &mut self.stocks[stock].position;
            if let Some(bar) = bar {
                position.mark = bar.close;
            }
            let listing = &self.market.stocks()[stock];
            let value_cents = listing.amount_cents(position.mark, position.shares())?;
            holdings = add(holdings, value_cents)?;
            self.ledger.positions.push(PositionRow {
                date,
                step,
                stock,
                shares: position.shares(),
                mark: position.mark,
                value_cents,
            });
        }
        add(self.cash, holdings)?;
        self.ledger.days.push(DayAccount {
            date,
            cash_cents: self.cash,
            holdings_cents: holdings,
            bought_cents: self.today.bought,
            sold_cents: self.today.sold,
            fees_cents: self.today.fees,
            dividends_cents: self.today.dividends,
            positions: self.held.len() as u32,
        });
        Ok(())
    }
}

/// Adds two amounts in cents.
fn add(a: i64, b: i64) -> Result<i64, BacktestError> {
    a.checked_add(b)
        .ok_or_else(|| BacktestError::too_large("sum", b))
}
