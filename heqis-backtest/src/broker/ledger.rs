//! The ledger of a run: orders with their reasons, fills, entitlements, and the account day by day.

use std::fmt;

use heqis_quant::Date;
use heqis_quant::rules::{FeeBill, Limits, Trade};
use serde::Serialize;

use super::position::Trip;

/// The size of an order, in quantity units of its market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A fixed number of shares.
    Shares(u64),
    /// The whole position at the time of the fill; for sales only.
    All,
}

/// An order as submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// The index of the stock in the market.
    pub stock: usize,
    /// Buy or sell.
    pub trade: Trade,
    /// The size.
    pub size: Size,
}

/// The reason why an order was not filled, or not in full, on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The stock did not trade that day.
    Suspended,
    /// The open is at the upper limit, so there are no sellers.
    LimitUp,
    /// The open is at the lower limit, so there are no buyers.
    LimitDown,
    /// The stock has limits that day, but the reference price is unknown.
    UnknownLimit,
    /// The shares were bought too recently, or are not bought yet.
    TPlusOne,
    /// The order exceeds the part of the day's volume that the account may trade.
    VolumeCap,
    /// The size is not valid under the lot rules of the board.
    LotSize,
    /// The cash does not cover shares and fees.
    Cash,
    /// The fees of the sale exceed its proceeds and the cash.
    FeesAboveProceeds,
    /// The bar lies outside the trading session.
    OutsideSession,
    /// There is nothing to sell.
    NoPosition,
    /// The stock is no longer listed.
    Delisted,
    /// A newer order for the stock replaced it.
    Superseded,
    /// The history ended.
    EndOfHistory,
    /// The account holds its maximum number of stocks.
    MaxPositions,
    /// The stock already has its maximum weight.
    MaxWeight,
    /// The buys of the day reach the turnover cap of the account.
    TurnoverCap,
}

impl Reason {
    /// Returns the name, the same as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::LimitUp => "limit_up",
            Self::LimitDown => "limit_down",
            Self::UnknownLimit => "unknown_limit",
            Self::TPlusOne => "t_plus_one",
            Self::VolumeCap => "volume_cap",
            Self::LotSize => "lot_size",
            Self::Cash => "cash",
            Self::FeesAboveProceeds => "fees_above_proceeds",
            Self::OutsideSession => "outside_session",
            Self::NoPosition => "no_position",
            Self::Delisted => "delisted",
            Self::Superseded => "superseded",
            Self::EndOfHistory => "end_of_history",
            Self::MaxPositions => "max_positions",
            Self::MaxWeight => "max_weight",
            Self::TurnoverCap => "turnover_cap",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason and the days on which it applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The first day.
    pub date: Date,
    /// The last day.
    pub to: Date,
    /// The number of trading days, first and last included.
    pub days: u32,
    /// The reason.
    pub reason: Reason,
}

impl fmt::Display for Note {
    /// Writes `2022-01-04 limit_down`, or `2022-01-04 limit_down ×2 to 2022-01-05` for several days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.reason)?;
        match self.days {
            1 => Ok(()),
            days => write!(f, " ×{days} to {}", self.to),
        }
    }
}

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Pending until the next open.
    Pending,
    /// Filled in full.
    Filled,
    /// Ended with a partial fill; the last note has the reason.
    Partial,
    /// Ended without a fill; the last note has the reason.
    Refused,
}

impl Status {
    /// Returns the name, the same as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Filled => "filled",
            Self::Partial => "partial",
            Self::Refused => "refused",
        }
    }
}

/// An order and its execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The order as submitted.
    pub request: OrderRequest,
    /// The day after whose close it was submitted.
    pub placed: Date,
    /// The step after which it was submitted.
    pub placed_step: u32,
    /// The number of shares ordered; for [`Size::All`], the position.
    pub wanted_shares: u64,
    /// The shares filled so far.
    pub filled_shares: u64,
    /// Its status.
    pub status: Status,
    /// The reasons why it was not filled; a reason that applies on consecutive days is one note.
    pub notes: Vec<Note>,
    /// The number of days with an open since it was submitted.
    pub(super) opens: u32,
    /// The last of them.
    pub(super) opened: Option<u32>,
}

/// One fill. Each fill is billed as an order of its own, since an unfilled rest is submitted again at the next open.
/// Prices and shares are in units of the stock's [market](heqis_quant::rules::MarketRules): cents and shares for A-share
/// stocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The index of the order in the ledger.
    pub order: usize,
    /// The stock.
    pub stock: usize,
    /// The day.
    pub date: Date,
    /// The step at which the bar of the fill ends.
    pub step: u32,
    /// Buy or sell.
    pub trade: Trade,
    /// The number of shares.
    pub shares: u64,
    /// The open of the bar.
    pub open: i64,
    /// The price, slippage included.
    pub price: i64,
    /// Price times shares in cents.
    pub amount_cents: i64,
    /// The fees.
    pub bill: FeeBill,
    /// The limits of the day.
    pub limits: Limits,
}

/// The proceeds of an ex-right for a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entitled {
    /// The stock.
    pub stock: usize,
    /// The day.
    pub date: Date,
    /// The shares held before.
    pub held_shares: u64,
    /// The cash dividend in cents, before tax.
    pub cash_cents: i64,
    /// The tax withheld from it.
    pub tax_cents: i64,
    /// The new shares.
    pub new_shares: u64,
    /// Whether there were rights to buy shares. Rights are not exercised and lapse, so their value is lost.
    pub rights_lapsed: bool,
}

/// Shares that were held when their stock was delisted. Their value is 0 from that day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenOff {
    /// The stock.
    pub stock: usize,
    /// The day of delisting.
    pub date: Date,
    /// The number of shares.
    pub shares: u64,
    /// The last close, adjusted for ex-rights since.
    pub mark: i64,
    /// Shares times mark in cents: the loss.
    pub value_cents: i64,
}

/// The account after one close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayAccount {
    /// The day.
    pub date: Date,
    /// Cash in cents.
    pub cash_cents: i64,
    /// The value of the shares at their last closes.
    pub holdings_cents: i64,
    /// The amount bought, without fees.
    pub bought_cents: i64,
    /// The amount sold, without fees.
    pub sold_cents: i64,
    /// All fees.
    pub fees_cents: i64,
    /// Dividends after tax.
    pub dividends_cents: i64,
    /// The number of stocks held.
    pub positions: u32,
}

impl DayAccount {
    /// Returns the sum of cash and holdings.
    #[must_use]
    pub fn equity_cents(&self) -> i64 {
        // The broker checked this sum before it wrote the day.
        self.cash_cents + self.holdings_cents
    }
}

/// One stock held after one close. Shares and price are in units of its market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionRow {
    /// The day.
    pub date: Date,
    /// The step.
    pub step: u32,
    /// The stock.
    pub stock: usize,
    /// The number of shares.
    pub shares: u64,
    /// The last close, adjusted for ex-rights since.
    pub mark: i64,
    /// Shares times mark in cents.
    pub value_cents: i64,
}

/// The complete record of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The account, one row a step of the market: a trading day, or a time at which bars end.
    pub days: Vec<DayAccount>,
    /// All orders in the order of submission.
    pub orders: Vec<Order>,
    /// All fills, in the order of time.
    pub fills: Vec<Fill>,
    /// All positions, by step and stock.
    pub positions: Vec<PositionRow>,
    /// The proceeds of ex-rights.
    pub entitled: Vec<Entitled>,
    /// The losses to delistings.
    pub written_off: Vec<WrittenOff>,
    /// Round trips, from the first share bought to the last one sold, in the order of their ends.
    pub trips: Vec<Trip>,
}

impl Ledger {
    /// Returns the account at the close of each day, with the sums of that day: for daily bars the rows themselves.
    #[must_use]
    pub fn daily(&self) -> Vec<DayAccount> {
        let mut daily: Vec<DayAccount> = Vec::new();
        for row in &self.days {
            match daily.last_mut().filter(|last| last.date == row.date) {
                // Sums of checked amounts of one account.
                Some(last) => {
                    *last = DayAccount {
                        bought_cents: last.bought_cents + row.bought_cents,
                        sold_cents: last.sold_cents + row.sold_cents,
                        fees_cents: last.fees_cents + row.fees_cents,
                        dividends_cents: last.dividends_cents + row.dividends_cents,
                        ..*row
                    }
                }
                None => daily.push(*row),
            }
        }
        daily
    }
}
