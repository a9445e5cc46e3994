//! The shares of one stock, by the day on which they were bought.

use heqis_quant::Date;

/// Shares that were bought on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The position of the day in the calendar.
    pub bought: u32,
    /// The shares left.
    pub shares: u64,
}

/// A round trip: the cash flows of one stock from its first buy to its last sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// The stock.
    pub stock: usize,
    /// The day of the first buy.
    pub opened: Date,
    /// The day of the last sale, or of the end of the history.
    pub closed: Date,
    /// Shares bought.
    pub bought_shares: u64,
    /// Their cost, fees included.
    pub spent_cents: i64,
    /// The proceeds of sales and dividends, less fees.
    pub earned_cents: i64,
    /// Whether shares were left at the end of the history; they are valued at their last close, without fees.
    pub open: bool,
}

impl Trip {
    /// Returns the gain in cents.
    #[must_use]
    pub fn gain_cents(&self) -> i64 {
        // Both are sums of checked amounts of one account.
        self.earned_cents - self.spent_cents
    }

    /// Returns the gain divided by the cost.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain_cents() as f64 / self.spent_cents as f64
    }
}

/// The shares held of one stock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// Oldest first.
    lots: Vec<Lot>,
    shares: u64,
    /// The last close in price units, adjusted for ex-rights since.
    pub(super) mark: i64,
    pub(super) trip: Option<Trip>,
}

impl Position {
    /// Returns the number of shares, in quantity units of the market.
    #[must_use]
    pub fn shares(&self) -> u64 {
        self.shares
    }

    /// Returns the price, in units of the market, at which the shares are valued.
    #[must_use]
    pub fn mark(&self) -> i64 {
        self.mark
    }

    /// Returns the lots, oldest first.
    #[must_use]
    pub fn lots(&self) -> &[Lot] {
        &self.lots
    }

    /// Returns the number of shares that may be sold on a day, if shares may be sold `after_days` trading days after their buy.
    #[must_use]
    pub fn sellable(&self, day: u32, after_days: u32) -> u64 {
        let is_sellable = |lot: &&Lot| lot.bought.saturating_add(after_days) <= day;
        self.lots
            .iter()
            .filter(is_sellable)
            .map(|lot| lot.shares)
            .sum()
    }

    pub(super) fn add(&mut self, day: u32, shares: u64) {
        match self.lots.last_mut() {
            Some(lot) if lot.bought == day => lot.shares += shares,
            _ => self.lots.push(Lot {
                bought: day,
                shares,
            }),
        }
        self.shares += shares;
    }

    /// Removes the oldest shares; at most all of them.
    pub(super) fn remove(&mut self, shares: u64) {
        let mut left = shares.min(self.shares);
        self.shares -= left;
        while let Some(lot) = self.lots.first_mut() {
            if lot.shares > left {
                lot.shares -= left;
                break;
            }
            left -= lot.shares;
            self.lots.remove(0);
            if left == 0 {
                break;
            }
        }
    }

    /// Adds new shares, in millionths of a share per share, and returns their number. The whole position is rounded down once;
    /// each lot keeps its day and gets its part of the running total, counted from the oldest lot.
    pub(super) fn grow(&mut self, micro: i64) -> u64 {
        let grown = |shares: u64| {
            let new = i128::from(shares) * i128::from(micro) / 1_000_000;
            shares + u64::try_from(new).unwrap_or(0)
        };
        let before = self.shares;
        let (mut old_sum, mut new_sum) = (0, 0);
        for lot in &mut self.lots {
            old_sum += lot.shares;
            let upto = grown(old_sum);
            lot.shares = upto - new_sum;
            new_sum = upto;
        }
        self.shares = new_sum;
        new_sum - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_shares_are_sold_first_and_bonus_shares_are_sellable_with_their_lot() {
        let mut position = Position::default();
        position.add(3, 101);
        position.add(4, 101);
        assert_eq!((position.sellable(3, 1), position.sellable(4, 1)), (0, 101));
        // Half a share per share: 50.5 is rounded down for the first lot, and the whole is 101.
        assert_eq!(position.grow(500_000), 101);
        assert_eq!(position.sellable(4, 1), 151);
        position.remove(152);
        let lot = Lot {
            bought: 4,
            shares: 151,
        };
        assert_eq!((position.lots(), position.shares()), (&[lot][..], 151));
    }
}
