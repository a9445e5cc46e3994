//! Lots or shares. The amount over the volume is the mean price of a bar, which lies between low and high only in the
//! right unit; the two units are a factor of 100 apart.

use serde::Serialize;

/// What a table counts its volume in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeUnit {
    /// Single shares.
    Shares,
    /// Lots of 100 shares.
    Lots,
}

impl VolumeUnit {
    /// Returns how many shares one unit has.
    #[must_use]
    pub fn shares(self) -> f64 {
        match self {
            Self::Shares => 1.0,
            Self::Lots => 100.0,
        }
    }

    /// Returns the name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shares => "shares",
            Self::Lots => "lots of 100 shares",
        }
    }
}

/// Fewer units than this are too coarse: rounding alone could move the mean price out of the bar.
const LEAST_UNITS: f64 = 10.0;
/// Vendors round amounts, and a block trade after hours may lie a little outside the range of the day.
const SLACK: f64 = 0.01;
/// At most one row in so many may fit neither unit.
const STRANGERS: usize = 10;

/// One row as the arithmetic sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turnover {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) volume: f64,
    pub(super) amount_cny: f64,
}

/// What one row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    Unit(VolumeUnit),
    /// The mean price lies outside the bar in both units: adjusted prices, or an amount in another currency.
    Neither,
    /// No trade, too small a trade, or a bar so wide that both would fit.
    Silent,
}

impl Turnover {
    pub(super) fn vote(self) -> Vote {
        let sound = self.low > 0.0 && self.high >= self.low && self.amount_cny > 0.0;
        if !sound || self.volume < LEAST_UNITS {
            return Vote::Silent;
        }
        match (self.fits(VolumeUnit::Shares), self.fits(VolumeUnit::Lots)) {
            (true, false) => Vote::Unit(VolumeUnit::Shares),
            (false, true) => Vote::Unit(VolumeUnit::Lots),
            (false, false) => Vote::Neither,
            (true, true) => Vote::Silent,
        }
    }

    fn fits(self, unit: VolumeUnit) -> bool {
        // The true volume lies within one unit of the rounded one.
        let least = self.amount_cny / ((self.volume + 1.0) * unit.shares());
        let most = self.amount_cny / ((self.volume - 1.0) * unit.shares());
        least <= self.high * (1.0 + SLACK) && most >= self.low * (1.0 - SLACK)
    }

    /// Returns the mean price of one unit of volume.
    pub(super) fn mean_price(self) -> f64 {
        self.amount_cny / self.volume
    }
}

/// The votes of the first rows of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ballot {
    pub(super) shares: usize,
    pub(super) lots: usize,
    pub(super) neither: usize,
}

impl Ballot {
    pub(super) fn count(&mut self, vote: Vote) {
        match vote {
            Vote::Unit(VolumeUnit::Shares) => self.shares += 1,
            Vote::Unit(VolumeUnit::Lots) => self.lots += 1,
            Vote::Neither => self.neither += 1,
            Vote::Silent => {}
        }
    }

    /// Returns the unit on which the rows agree: no row for the other one, and few for neither.
    pub(super) fn unit(self) -> Option<VolumeUnit> {
        let few = |votes: usize| self.neither * STRANGERS <= votes + self.neither;
        match (self.shares, self.lots) {
            (1.., 0) if few(self.shares) => Some(VolumeUnit::Shares),
            (0, 1..) if few(self.lots) => Some(VolumeUnit::Lots),
            _ => None,
        }
    }

    /// Returns the number of rows that said something.
    pub(super) fn rows(self) -> usize {
        self.shares + self.lots + self.neither
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(low: f64, high: f64, volume: f64, amount_cny: f64) -> Turnover {
        Turnover {
            low,
            high,
            volume,
            amount_cny,
        }
    }

    #[test]
    fn a_row_shows_its_unit_or_stays_silent() {
        use VolumeUnit::{Lots, Shares};
        // 002032.SZ on 2004-08-17, in shares as its vendor wrote it, in lots, and with prices adjusted to a tenth.
        let (volume, amount) = (7_877_900.0, 90_923_240.0);
        for (row, expected) in [
            (row(11.03, 12.21, volume, amount), Vote::Unit(Shares)),
            (row(11.03, 12.21, volume / 100.0, amount), Vote::Unit(Lots)),
            (row(1.103, 1.221, volume, amount), Vote::Neither),
            (row(11.03, 12.21, 0.0, 0.0), Vote::Silent),
            (row(11.03, 12.21, 9.0, 100.0), Vote::Silent),
            (row(11.03, 12.21, volume, 0.0), Vote::Silent),
            (row(0.1, 100.0, 1_000.0, 10_000.0), Vote::Silent),
            (row(f64::NAN, 12.21, volume, amount), Vote::Silent),
        ] {
            assert_eq!(row.vote(), expected, "{row:?}");
        }
    }

    #[test]
    fn a_table_has_one_unit_or_none() {
        let ballot = |shares, lots, neither| Ballot {
            shares,
            lots,
            neither,
        };
        for (ballot, unit) in [
            (ballot(1, 0, 0), Some(VolumeUnit::Shares)),
            (ballot(0, 90, 10), Some(VolumeUnit::Lots)),
            (ballot(0, 89, 11), None),
            (ballot(90, 1, 0), None),
            (ballot(0, 0, 5), None),
            (ballot(0, 0, 0), None),
        ] {
            assert_eq!(ballot.unit(), unit, "{ballot:?}");
        }
    }

    proptest! {
        #[test]
        fn a_bar_made_of_real_trades_always_shows_its_unit(
            low_cents in 100u32..100_000, spread in 0.0f64..0.4, at in 0.0f64..1.0, lots in 11u32..1_000_000
        ) {
            let low = f64::from(low_cents) / 100.0;
            let high = low * (1.0 + spread);
            let amount = (low + (high - low) * at) * f64::from(lots) * 100.0;
            prop_assert_eq!(row(low, high, f64::from(lots) * 100.0, amount).vote(), Vote::Unit(VolumeUnit::Shares));
            prop_assert_eq!(row(low, high, f64::from(lots), amount).vote(), Vote::Unit(VolumeUnit::Lots));
        }
    }
}
