//! One account and its orders, day by day.
//!
//! - [`config`]: cash, slippage, participation, the life of orders.
//! - [`position`]: shares by the day on which they were bought.
//! - [`ledger`]: what is left behind.
//! - `exright`: what a day gives to those who hold; `delisting`: what it takes from them; `open`: what an open does to an
//!   order.
//!
//! A trading day has this order, and [`Broker::advance`] goes through it once:
//!
//! 1. Before the open, shares of a stock that is delisted on the day are written off, and ex-rights of the day: dividends are credited and shares are added to what was held at the last
//!    close. Rights to buy shares lapse.
//! 2. At the open, all pending sells in the order in which they were handed in, then all buys. A sale's cash is there
//!    for the buys of the same day, as the exchanges have it; its shares are not there again, as T+1 has it.
//! 3. At the close, holdings are valued: at the close of the day, or at the last one for a stock that did not trade.
//!
//! Orders are handed in between two days, so that none knows the day on which it is filled.
//!
//! Of bars shorter than a day, each step of the market goes through 2 and 3 by itself: an order is filled at the open of
//! the next bar of its stock, participation is of the volume of that bar, and holdings are valued at its close. Ex-rights
//! come before the first step of a day, T+n counts trading days, and a buy order lives to the end of its last day.

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
    DayAccount, Entitled, Fill, Ledger, Note, Order, PositionRow, Reason, Size, Status, Ticket,
    WrittenOff,
};
pub use position::{Lot, Position, Trip};

use super::market::{DayBar, Market};
use crate::error::BacktestError;

/// An account in a market.
#[derive(Clone, Debug)]
pub struct Broker<'a> {
    market: &'a Market,
    book: &'a Markets,
    config: BrokerConfig,
    cash: i64,
    /// The next step to go through.
    next: u32,
    stocks: Vec<Account>,
    /// The stocks with shares, in order.
    held: Vec<usize>,
    /// Orders that wait, in the order in which they were handed in.
    pending: Vec<usize>,
    max_positions: usize,
    today: Flows,
    ledger: Ledger,
}

/// One stock of an account.
#[derive(Clone, Debug, Default)]
struct Account {
    position: Position,
    /// The first bar that does not lie before the last step that was asked for.
    bar: usize,
    /// The first entitlement that was not looked at.
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
    /// What [`BrokerConfig::validate`] returns.
    pub fn new(
        market: &'a Market,
        book: &'a Markets,
        config: BrokerConfig,
    ) -> Result<Self, BacktestError> {
        config.validate()?;
        Ok(Self {
            market,
            book,
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

    /// Goes through the next step of the market, a trading day or the bars that end at one time, and returns its day, or
    /// `None` when there is no more.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when no rule is known for an order's stock on that day, and [`BacktestError::Rule`] when the
    /// account outgrows 64 bits of cents.
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
                    if self.ledger.orders[*order].ticket.trade == side {
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

    /// Hands in an order for the next open. One that cannot be meant is refused at once, with its reason in the ledger.
    ///
    /// Returns the position of the order in the ledger.
    ///
    /// # Panics
    /// Panics when the market has no such stock.
    pub fn submit(&mut self, ticket: Ticket) -> usize {
        let id = self.record(ticket);
        let is_meant = match ticket.size {
            Size::Shares(shares) => shares > 0,
            Size::All => ticket.trade == Trade::Sell,
        };
        let steps = self.market.steps();
        let next = steps.get(self.next as usize);
        let day = next.map_or(self.market.days().len() as u32, |next| next.day);
        if self.market.stocks()[ticket.stock].is_delisted(day) {
            self.end(id, Reason::Delisted);
        } else if !is_meant {
            self.end(id, Reason::LotSize);
        } else {
            if ticket.trade == Trade::Buy {
                self.stocks[ticket.stock].waiting_buys += 1;
            }
            self.pending.push(id);
        }
        id
    }

    /// Writes down an order that its maker holds back, with the reason.
    pub fn refuse(&mut self, ticket: Ticket, reason: Reason) -> usize {
        let id = self.record(ticket);
        self.end(id, reason);
        id
    }

    /// Sets how many stocks may be held at once. A buy of one more waits for its turn, so that a sale that did not come
    /// about does not leave too many.
    pub(crate) fn limit_positions(&mut self, most: u32) {
        self.max_positions = most as usize;
    }

    /// Notes why an order was made smaller than wished.
    ///
    /// # Panics
    /// Panics when there is no such order.
    pub(crate) fn remark(&mut self, id: usize, reason: Reason) {
        self.note(id, reason);
    }

    /// Takes back all waiting orders of one side for a stock.
    pub fn cancel(&mut self, stock: usize, trade: Trade, reason: Reason) {
        let of_it = |broker: &Self, id: usize| {
            let ticket = broker.ledger.orders[id].ticket;
            ticket.stock == stock && ticket.trade == trade
        };
        for id in self.pending.clone() {
            if of_it(self, id) {
                self.stop(id, reason);
            }
        }
        let orders = &self.ledger.orders;
        self.pending
            .retain(|id| orders[*id].status == Status::Pending);
    }

    /// Returns the day of the last step gone through, or the first day before any was.
    #[must_use]
    pub fn date(&self) -> Date {
        self.market.days()[self.day() as usize]
    }

    /// The day of the last step gone through.
    fn day(&self) -> u32 {
        self.market.steps()[(self.next as usize).saturating_sub(1)].day
    }

    /// Returns the position on the time axis of the next step.
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

    /// Returns what is held of a stock.
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

    /// Returns the orders that wait for the next open, in the order in which they were handed in.
    pub fn waiting(&self) -> impl Iterator<Item = &Order> {
        self.pending.iter().map(|id| &self.ledger.orders[*id])
    }

    /// Returns the ledger so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Closes the books: orders that still wait end, and open round trips count at the last close.
    #[must_use]
    pub fn finish(mut self) -> Ledger {
        for id in std::mem::take(&mut self.pending) {
            self.stop(id, Reason::EndOfHistory);
        }
        let date = self.date();
        for stock in &self.held {
            let position = &mut self.stocks[*stock].position;
            if let Some(mut trip) = position.trip.take() {
                trip.closed = date;
                trip.open = true;
                // The value was checked when the day was marked.
                let listing = &self.market.stocks()[*stock];
                let value = listing.amount_cents(position.mark, position.shares());
                trip.earned_cents += value.unwrap_or_default();
                self.ledger.trips.push(trip);
            }
        }
        self.ledger
    }

    fn record(&mut self, ticket: Ticket) -> usize {
        let wanted_shares = match ticket.size {
            Size::Shares(shares) => shares,
            Size::All => self.position(ticket.stock).shares(),
        };
        self.ledger.orders.push(Order {
            ticket,
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

    fn note(&mut self, id: usize, reason: Reason) {
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

    /// Ends an order that is not counted as waiting.
    fn end(&mut self, id: usize, reason: Reason) {
        self.note(id, reason);
        self.settle(id);
    }

    /// Ends an order that waited.
    fn stop(&mut self, id: usize, reason: Reason) {
        self.end(id, reason);
        self.leave(id);
    }

    fn settle(&mut self, id: usize) {
        let order = &mut self.ledger.orders[id];
        order.status = match order.filled_shares {
            0 => Status::Refused,
            filled if filled < order.wanted_shares => Status::Partial,
            _ => Status::Filled,
        };
    }

    fn leave(&mut self, id: usize) {
        let ticket = self.ledger.orders[id].ticket;
        if ticket.trade == Trade::Buy {
            self.stocks[ticket.stock].waiting_buys -= 1;
        }
    }

    /// The bar of a stock that ends at a step; steps are asked for in order.
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

/// Money plus money.
fn add(a: i64, b: i64) -> Result<i64, BacktestError> {
    a.checked_add(b)
        .ok_or_else(|| BacktestError::too_large("sum", b))
}
