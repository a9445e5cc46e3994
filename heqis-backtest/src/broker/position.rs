//! The shares of one stock, by the day on which they were bought.

use heqis_quant::Date;

/// Shares that were bought on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The position of the day in the calendar.
    pub bought: u32,
    /// How many are left.
    pub shares: u64,
}

/// What the shares of one stock brought in since the first of them was bought.
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
    /// What they cost, fees included.
    pub spent_cents: i64,
    /// What sales and dividends brought, fees taken off.
    pub earned_cents: i64,
    /// Whether shares were left at the end of the history; they count at their last close then, without fees.
    pub open: bool,
}

impl Trip {
    /// Returns the gain in cents.
    #[must_use]
    pub fn gain_cents(&self) -> i64 {
        // Both are sums of checked amounts of one account.
        self.earned_cents - self.spent_cents
    }

    /// Returns the gain over what was spent.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.gain_cents() as f64 / self.spent_cents as f64
    }
}

/// What is held of one stock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// Oldest first.
    lots: Vec<Lot>,
    shares: u64,
    /// The last close in price units, moved by ex-rights since.
    pub(super) mark: i64,
    pub(super) trip: Option<Trip>,
}

impl Position {
    /// Returns all shares, in quantity units of the market.
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

    /// Returns how many shares may be sold on a day, when shares bought on one may be sold `after_days` trading days
    /// later.
    #[must_use]
    pub fn sellable(&self, day: u32, after_days: u32) -> u64 {
        let ripe = |lot: &&Lot| lot.bought.saturating_add(after_days) <= day;
        self.lots.iter().filter(ripe).map(|lot| lot.shares).sum()
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

    /// Takes the oldest shares off; never more than there are.
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

    /// Adds new shares for old ones, in millionths of a share per share. The whole holding is rounded down once; each
    /// lot keeps its day and gets what its shares, counted from the oldest, add to the whole.
    ///
    /// Returns the new shares.
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
    fn the_oldest_shares_go_first_and_bonus_shares_ripen_with_their_lot() {
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
