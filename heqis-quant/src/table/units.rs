//! Lots or shares, yuan or thousands. The amount over the volume is the mean price of a bar, which lies between low and
//! high only in the right units; two pairs of units are a factor of 10 or more apart.

use serde::{Deserialize, Serialize};

use crate::{Bar, Board};

/// What a table counts its volume in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// The units of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) volume: VolumeUnit,
    /// How many CNY one unit of the amount is.
    pub(super) amount_cny: f64,
}

/// What tables count in.
pub(super) const SCALES: [Scale; 4] = [
    scale(VolumeUnit::Shares, 1.0),
    scale(VolumeUnit::Lots, 1.0),
    scale(VolumeUnit::Lots, 1000.0),
    scale(VolumeUnit::Shares, 1000.0),
];

pub(super) const fn scale(volume: VolumeUnit, amount_cny: f64) -> Scale {
    Scale { volume, amount_cny }
}

/// Fewer units than this are too coarse: rounding alone could move the mean price out of the bar.
const LEAST_UNITS: f64 = 10.0;
/// Vendors round amounts, and a block trade after hours may lie a little outside the range of the day.
const SLACK: f64 = 0.01;
/// At most one row in so many may fit no pair of units.
const UNEXPLAINED: usize = 10;
/// Adjusted prices lie apart from the true ones by a factor that grows over decades. Up to this factor the nearest pair of
/// units is still beyond doubt, since the next one is a hundred times away.
const MAX_ADJUSTMENT: f64 = 8.0;
/// A mean price lies anywhere within its bar, so the logarithm of its ratio to the middle of the bar moves so far even where
/// nothing changed.
const SAME_RATIO: f64 = 0.12;

/// Fewer rows, of which some fit and some do not, may just be wrong.
const LEAST_ROWS: usize = 20;

/// One row as the arithmetic sees it, volume and amount as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turnover {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) volume: f64,
    pub(super) amount: f64,
}

/// What one row says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Vote {
    /// The place of the pair in the list that was asked.
    Scale(usize),
    /// The mean price lies outside the bar in all units: adjusted prices, or an amount in another currency.
    Neither,
    /// No trade, too small a trade, or a bar so wide that several pairs would fit.
    Silent,
}

impl Turnover {
    pub(super) fn vote(self, scales: &[Scale]) -> Vote {
        if !self.speaks() {
            return Vote::Silent;
        }
        let mut fitting = (0..scales.len()).filter(|at| self.fits(scales[*at]));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Vote::Scale(only),
            (None, _) => Vote::Neither,
            _ => Vote::Silent,
        }
    }

    fn speaks(self) -> bool {
        let sound = self.low > 0.0 && self.high >= self.low && self.amount > 0.0;
        sound && self.volume >= LEAST_UNITS
    }

    fn fits(self, scale: Scale) -> bool {
        // The true volume lies within one unit of the rounded one.
        let amount = self.amount * scale.amount_cny;
        let least = amount / ((self.volume + 1.0) * scale.volume.shares());
        let most = amount / ((self.volume - 1.0) * scale.volume.shares());
        least <= self.high * (1.0 + SLACK) && most >= self.low * (1.0 - SLACK)
    }

    /// Returns the mean price of one unit of volume, in units of the amount.
    pub(super) fn mean_price(self) -> f64 {
        self.amount / self.volume
    }

    /// Returns the mean price in given units over the middle of the bar, or `None` when the row says nothing.
    fn ratio(self, scale: Scale) -> Option<f64> {
        let price = self.mean_price() * scale.amount_cny / scale.volume.shares();
        self.speaks().then(|| price / (self.low * self.high).sqrt())
    }
}

/// Returns whether the amount of a bar shows that its volume counts lots, where a single bar can show it.
#[must_use]
pub fn counts_lots(bar: &Bar) -> bool {
    let Some(amount) = bar.amount_cny else {
        return false;
    };
    let row = Turnover {
        low: bar.low,
        high: bar.high,
        volume: bar.volume_shares,
        amount,
    };
    bar.symbol.board() != Board::Other && row.vote(&SCALES[..2]) == Vote::Scale(1)
}

/// The votes of the rows of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ballot {
    pub(super) votes: [usize; SCALES.len()],
    pub(super) neither: usize,
    /// How often a row that fits follows one that does not, or the other way round.
    turns: usize,
    last_fits: Option<bool>,
    /// How often the ratio of mean price and bar stayed about the same from one row to the next, and how often it jumped.
    smooth: usize,
    rough: usize,
    last_ratio: Option<f64>,
    /// The least and the greatest [`Turnover::ratio`] by pair of units.
    ratios: Option<[(f64, f64); SCALES.len()]>,
}

impl Ballot {
    pub(super) fn count(&mut self, row: Turnover, scales: &[Scale]) -> Vote {
        let vote = row.vote(scales);
        match vote {
            Vote::Scale(at) => self.votes[at] += 1,
            Vote::Neither => self.neither += 1,
            Vote::Silent => {}
        }
        if vote != Vote::Silent {
            let fits = vote != Vote::Neither;
            self.turns += usize::from(
                self.last_fits
                    .replace(fits)
                    .is_some_and(|last| last != fits),
            );
        }
        if let Some(ratio) = scales.first().and_then(|scale| row.ratio(*scale)) {
            match self.last_ratio.replace(ratio) {
                Some(last) if (ratio / last).ln().abs() <= SAME_RATIO => self.smooth += 1,
                Some(_) => self.rough += 1,
                None => {}
            }
        }
        let ratios = self
            .ratios
            .get_or_insert([(f64::INFINITY, 0.0); SCALES.len()]);
        for (range, scale) in ratios.iter_mut().zip(scales) {
            if let Some(ratio) = row.ratio(*scale) {
                *range = (range.0.min(ratio), range.1.max(ratio));
            }
        }
        vote
    }

    /// Returns the place of the pair on which the rows agree: no row for another one, and few for none.
    pub(super) fn agreed(&self) -> Option<usize> {
        let at = self.only()?;
        (self.neither * UNEXPLAINED <= self.rows()).then_some(at)
    }

    /// Returns the only pair that has votes, where most rows fit it.
    pub(super) fn mostly(&self) -> Option<usize> {
        let at = self.only()?;
        (self.votes[at] >= self.neither).then_some(at)
    }

    /// Returns the place of the pair of units of a table of adjusted prices: the only one that any row fits or, where none
    /// does, the only one in which all mean prices lie within a factor of 8 of their bars. Adjusted rows stand together,
    /// from one ex-right to the next, and their prices are off by one factor until then; wrong amounts are strewn, or
    /// off by many.
    pub(super) fn adjusted(&self, scales: &[Scale]) -> Option<usize> {
        let ratios = self.ratios?;
        if 10 * self.rough > self.smooth {
            return None;
        }
        let near = |at: usize| {
            let (least, most) = ratios[at];
            least * MAX_ADJUSTMENT >= 1.0 && most <= MAX_ADJUSTMENT
        };
        match self.votes.iter().any(|votes| *votes > 0) {
            true => self
                .only()
                .filter(|_| 2 * self.turns <= self.neither && self.rows() >= LEAST_ROWS),
            false if self.neither > 0 => {
                let mut found = (0..scales.len()).filter(|at| near(*at));
                let first = found.next();
                first.filter(|_| found.next().is_none())
            }
            false => None,
        }
    }

    /// Returns the only pair that has votes.
    fn only(&self) -> Option<usize> {
        let mut voted = (0..SCALES.len()).filter(|at| self.votes[*at] > 0);
        let first = voted.next();
        first.filter(|_| voted.next().is_none())
    }

    /// Returns the number of rows that said something.
    pub(super) fn rows(&self) -> usize {
        self.votes.iter().sum::<usize>() + self.neither
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn row(low: f64, high: f64, volume: f64, amount: f64) -> Turnover {
        Turnover {
            low,
            high,
            volume,
            amount,
        }
    }

    #[test]
    fn a_row_shows_its_units_or_stays_silent() {
        // 002032.SZ on 2004-08-17, in shares as its vendor wrote it, in lots, in thousands, and at a tenth of the price.
        let (volume, amount) = (7_877_900.0, 90_923_240.0);
        for (row, expected) in [
            (row(11.03, 12.21, volume, amount), Vote::Scale(0)),
            (row(11.03, 12.21, volume / 100.0, amount), Vote::Scale(1)),
            (
                row(11.03, 12.21, volume / 100.0, amount / 1000.0),
                Vote::Scale(2),
            ),
            (row(11.03, 12.21, volume, amount / 1000.0), Vote::Scale(3)),
            (row(5.03, 5.21, volume, amount), Vote::Neither),
            (row(11.03, 12.21, 0.0, 0.0), Vote::Silent),
            (row(11.03, 12.21, 9.0, 100.0), Vote::Silent),
            (row(11.03, 12.21, volume, 0.0), Vote::Silent),
            (row(0.1, 100.0, 1_000.0, 10_000.0), Vote::Silent),
            (row(f64::NAN, 12.21, volume, amount), Vote::Silent),
        ] {
            assert_eq!(row.vote(&SCALES), expected, "{row:?}");
        }
    }

    #[test]
    fn a_table_has_one_pair_of_units_or_none() {
        let ballot = |shares, lots, neither| Ballot {
            votes: [shares, lots, 0, 0],
            neither,
            ..Ballot::default()
        };
        for (ballot, unit) in [
            (ballot(1, 0, 0), Some(0)),
            (ballot(0, 90, 10), Some(1)),
            (ballot(0, 89, 11), None),
            (ballot(90, 1, 0), None),
            (ballot(0, 0, 5), None),
            (ballot(0, 0, 0), None),
        ] {
            assert_eq!(ballot.agreed(), unit, "{ballot:?}");
        }
    }

    #[test]
    fn adjusted_prices_still_show_lots_or_shares() {
        // Forward-adjusted over years: from a quarter of the true price up to the price itself, 10 CNY.
        for (volume, expected) in [(1_000_000.0, 0), (10_000.0, 1)] {
            for reaches_today in [true, false] {
                let mut ballot = Ballot::default();
                let most = if reaches_today { 100 } else { 60 };
                for step in 25..=most {
                    let price = 10.0 * f64::from(step) / 100.0;
                    ballot.count(
                        row(price * 0.99, price * 1.01, volume, 10_000_000.0),
                        &SCALES[..2],
                    );
                }
                assert_eq!(ballot.agreed(), None);
                assert_eq!(ballot.adjusted(&SCALES[..2]), Some(expected));
            }
        }
        assert_eq!(Ballot::default().adjusted(&SCALES), None);
    }

    proptest! {
        #[test]
        fn a_bar_made_of_real_trades_always_shows_its_unit(
            low_cents in 100u32..100_000, spread in 0.0f64..0.4, at in 0.0f64..1.0, lots in 11u32..1_000_000
        ) {
            let low = f64::from(low_cents) / 100.0;
            let high = low * (1.0 + spread);
            let amount = (low + (high - low) * at) * f64::from(lots) * 100.0;
            prop_assert_eq!(row(low, high, f64::from(lots) * 100.0, amount).vote(&SCALES), Vote::Scale(0));
            prop_assert_eq!(row(low, high, f64::from(lots), amount).vote(&SCALES), Vote::Scale(1));
        }
    }
}
