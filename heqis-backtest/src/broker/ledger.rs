//! What a run leaves behind: orders with their reasons, fills, entitlements, and the account day by day.

use std::fmt;

use heqis_quant::Date;
use heqis_quant::rules::{FeeBill, Limits, Trade};
use serde::Serialize;

use super::position::Trip;

/// How many shares an order is for, in quantity units of its market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many.
    Shares(u64),
    /// Everything that is held when it is filled; for sales only.
    All,
}

/// An order as it is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The position of the stock in the market.
    pub stock: usize,
    /// Buy or sell.
    pub trade: Trade,
    /// How many shares.
    pub size: Size,
}

/// Why an order was not filled, or not whole, on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The stock did not trade that day.
    Suspended,
    /// The open is at the upper limit, so nobody sells.
    LimitUp,
    /// The open is at the lower limit, so nobody buys.
    LimitDown,
    /// The stock has limits that day, but no reference price is known.
    UnknownLimit,
    /// The shares were bought too recently, or are not bought yet.
    TPlusOne,
    /// The order is larger than the part of the day's volume that the account may trade.
    VolumeCap,
    /// The board has no lot of that size.
    LotSize,
    /// The cash does not cover shares and fees.
    Cash,
    /// The fees of the sale are more than it brings and the account can pay.
    FeesAboveProceeds,
    /// The bar lies outside the hours of trading.
    OutsideSession,
    /// There is nothing to sell.
    NoPosition,
    /// The stock is no longer listed.
    Delisted,
    /// A newer order of the other side took its place.
    Superseded,
    /// The history ended.
    EndOfHistory,
    /// The account holds as many stocks as it may.
    MaxPositions,
    /// The stock already has its largest weight.
    MaxWeight,
    /// The buys of the day reach the turnover that the account allows itself.
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

/// A reason and the days on which it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The first day.
    pub date: Date,
    /// The last day.
    pub to: Date,
    /// How many trading days, both included.
    pub days: u32,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Note {
    /// Writes `2022-01-04 limit_down`, or `2022-01-04 limit_down ×2 to 2022-01-05` when it held longer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.reason)?;
        match self.days {
            1 => Ok(()),
            days => write!(f, " ×{days} to {}", self.to),
        }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for the next open.
    Pending,
    /// Filled whole.
    Filled,
    /// Ended with a part of it filled; the last note tells why.
    Partial,
    /// Ended without a fill; the last note tells why.
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

/// An order and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// As handed in.
    pub ticket: Ticket,
    /// The day after whose close it was made.
    pub placed: Date,
    /// The step after which it was made.
    pub placed_step: u32,
    /// The shares that it is for; of an order for everything, what is held.
    pub wanted_shares: u64,
    /// The shares filled so far.
    pub filled_shares: u64,
    /// Where it stands.
    pub status: Status,
    /// Why it was not filled, by day; a reason that lasts is one note with all of its days.
    pub notes: Vec<Note>,
    /// How many days with an open it has seen.
    pub(super) opens: u32,
    /// The last of them.
    pub(super) opened: Option<u32>,
}

/// One fill. Each fill is billed as an order of its own, since an unfilled rest is handed in again at the next open.
/// Prices and shares are in units of the stock's [market](heqis_quant::rules::MarketRules): cents and shares for A-share
/// stocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The position of the order in the ledger.
    pub order: usize,
    /// The stock.
    pub stock: usize,
    /// The day.
    pub date: Date,
    /// The step at which the bar of the fill ends.
    pub step: u32,
    /// Buy or sell.
    pub trade: Trade,
    /// How many shares.
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

/// What an ex-right brought to a holder.
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
    /// What was withheld of it.
    pub tax_cents: i64,
    /// The shares given.
    pub new_shares: u64,
    /// Whether there were rights to buy shares: they are not used and lapse, so their value is lost.
    pub rights_lapsed: bool,
}

/// Shares that were held when their stock was delisted. They count as nothing from that day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenOff {
    /// The stock.
    pub stock: usize,
    /// The day of delisting.
    pub date: Date,
    /// How many shares.
    pub shares: u64,
    /// The last close, moved by ex-rights since.
    pub mark: i64,
    /// Shares times mark in cents: what is lost.
    pub value_cents: i64,
}

/// The account after one close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayAccount {
    /// The day.
    pub date: Date,
    /// Cash in cents.
    pub cash_cents: i64,
    /// Shares at their last closes.
    pub holdings_cents: i64,
    /// What was bought, without fees.
    pub bought_cents: i64,
    /// What was sold, without fees.
    pub sold_cents: i64,
    /// All fees.
    pub fees_cents: i64,
    /// Dividends after tax.
    pub dividends_cents: i64,
    /// How many stocks are held.
    pub positions: u32,
}

impl DayAccount {
    /// Returns cash and holdings together.
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
    /// How many shares.
    pub shares: u64,
    /// The last close, moved by ex-rights since.
    pub mark: i64,
    /// Shares times mark in cents.
    pub value_cents: i64,
}

/// Everything that a run leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The account, one row a step of the market: a trading day, or a time at which bars end.
    pub days: Vec<DayAccount>,
    /// All orders as handed in.
    pub orders: Vec<Order>,
    /// All fills in the order of time.
    pub fills: Vec<Fill>,
    /// All stocks held, by day and stock.
    pub positions: Vec<PositionRow>,
    /// What ex-rights brought.
    pub entitled: Vec<Entitled>,
    /// What was lost to delistings.
    pub written_off: Vec<WrittenOff>,
    /// Round trips, from the first share bought to the last one sold, in the order of their ends.
    pub trips: Vec<Trip>,
}

impl Ledger {
    /// Returns the account at the close of each day, with what was traded on it: for daily bars the rows themselves.
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
