//! Units of volume and amount: lots or shares, yuan or thousands. The amount over the volume is the mean price of a bar,
//! which is between low and high only in the correct units; two pairs of units are a factor of 10 or more apart.

use heqis_quant::{Bar, Board};
use serde::{Deserialize, Serialize};

/// The unit of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumeUnit {
    /// Single shares.
    Shares,
    /// Lots of 100 shares.
    Lots,
}

impl VolumeUnit {
    /// Returns the shares of one unit.
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
    /// The unit of the amount in CNY.
    pub(super) amount_cny: f64,
}

/// The units of tables.
pub(super) const SCALES: [Scale; 4] = [
    scale(VolumeUnit::Shares, 1.0),
    scale(VolumeUnit::Lots, 1.0),
    scale(VolumeUnit::Lots, 1000.0),
    scale(VolumeUnit::Shares, 1000.0),
];

pub(super) const fn scale(volume: VolumeUnit, amount_cny: f64) -> Scale {
    Scale { volume, amount_cny }
}

/// The smallest conclusive volume in units: with less, rounding alone could move the mean price out of the bar.
const LEAST_UNITS: f64 = 10.0;
/// Tolerance for rounded amounts and for block trades after hours outside the range of the day.
const SLACK: f64 = 0.01;
/// At most one in this number of rows may fit no pair of units.
const UNEXPLAINED: usize = 10;
/// The largest factor between adjusted and true prices, which grows over decades. Up to it the nearest pair of units is
/// certain, since the next one is a hundred times away.
const MAX_ADJUSTMENT: f64 = 8.0;
/// The largest change of the logarithm of the ratio of mean price and middle of the bar without a change of units: a mean
/// price may be anywhere within its bar.
const SAME_RATIO: f64 = 0.12;

/// With fewer rows, those that do not fit may be wrong rather than adjusted.
const LEAST_ROWS: usize = 20;

/// The numbers of one row, volume and amount as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turnover {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) volume: f64,
    pub(super) amount: f64,
}

/// The units that one row shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum UnitMatch {
    /// The index of the only pair that fits.
    Scale(usize),
    /// The mean price is outside the bar in all units: adjusted prices, or an amount in another currency.
    None,
    /// No trade, a trade that is too small, or a bar so wide that several pairs fit.
    Inconclusive,
}

impl Turnover {
    pub(super) fn unit_match(self, scales: &[Scale]) -> UnitMatch {
        if !self.is_conclusive() {
            return UnitMatch::Inconclusive;
        }
        let mut fitting = (0..scales.len()).filter(|at| self.fits(scales[*at]));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => UnitMatch::Scale(only),
            (None, _) => UnitMatch::None,
            _ => UnitMatch::Inconclusive,
        }
    }

    fn is_conclusive(self) -> bool {
        let sound = self.low > 0.0 && self.high >= self.low && self.amount > 0.0;
        sound && self.volume >= LEAST_UNITS
    }

    fn fits(self, scale: Scale) -> bool {
        // The true volume is within one unit of the rounded one.
        let amount = self.amount * scale.amount_cny;
        let least = amount / ((self.volume + 1.0) * scale.volume.shares());
        let most = amount / ((self.volume - 1.0) * scale.volume.shares());
        least <= self.high * (1.0 + SLACK) && most >= self.low * (1.0 - SLACK)
    }

    /// Returns the mean price of one unit of volume, in units of the amount.
    pub(super) fn mean_price(self) -> f64 {
        self.amount / self.volume
    }

    /// Returns the mean price in given units over the middle of the bar, or `None` if the row is inconclusive.
    fn ratio(self, scale: Scale) -> Option<f64> {
        let price = self.mean_price() * scale.amount_cny / scale.volume.shares();
        self.is_conclusive()
            .then(|| price / (self.low * self.high).sqrt())
    }
}

/// Returns whether the amount of a single bar shows that its volume is in lots.
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
    bar.symbol.board() != Board::Other && row.unit_match(&SCALES[..2]) == UnitMatch::Scale(1)
}

/// The units that the rows of a table show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct UnitEvidence {
    pub(super) matches: [usize; SCALES.len()],
    pub(super) unmatched: usize,
    /// How often a fitting row follows a row that does not fit, or the reverse.
    turns: usize,
    last_fits: Option<bool>,
    /// How often the ratio of mean price and bar stayed about the same from one row to the next, and how often it did not.
    smooth: usize,
    rough: usize,
    last_ratio: Option<f64>,
    /// The smallest and largest [`Turnover::ratio`] by pair of units.
    ratios: Option<[(f64, f64); SCALES.len()]>,
}

impl UnitEvidence {
    pub(super) fn count(&mut self, row: Turnover, scales: &[Scale]) -> UnitMatch {
        let found = row.unit_match(scales);
        match found {
            UnitMatch::Scale(at) => self.matches[at] += 1,
            UnitMatch::None => self.unmatched += 1,
            UnitMatch::Inconclusive => {}
        }
        if found != UnitMatch::Inconclusive {
            let fits = found != UnitMatch::None;
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
        found
    }

    /// Returns the index of the pair on which the rows agree: no row fits another one, and few fit none.
    pub(super) fn agreed(&self) -> Option<usize> {
        let at = self.only()?;
        (self.unmatched * UNEXPLAINED <= self.rows()).then_some(at)
    }

    /// Returns the only pair that fits any row, if it fits most rows.
    pub(super) fn mostly(&self) -> Option<usize> {
        let at = self.only()?;
        (self.matches[at] >= self.unmatched).then_some(at)
    }

    /// Returns the index of the pair of units of a table of adjusted prices: the only one that fits any row or, if none does,
    /// the only one in which all mean prices are within a factor of 8 of their bars. Adjusted rows are consecutive, from one
    /// ex-right to the next, and off by one factor; wrong amounts are scattered, or off by many factors.
    pub(super) fn adjusted(&self, scales: &[Scale]) -> Option<usize> {
        let ratios = self.ratios?;
        if 10 * self.rough > self.smooth {
            return None;
        }
        let near = |at: usize| {
            let (least, most) = ratios[at];
            least * MAX_ADJUSTMENT >= 1.0 && most <= MAX_ADJUSTMENT
        };
        match self.matches.iter().any(|matches| *matches > 0) {
            true => self
                .only()
                .filter(|_| 2 * self.turns <= self.unmatched && self.rows() >= LEAST_ROWS),
            false if self.unmatched > 0 => {
                let mut found = (0..scales.len()).filter(|at| near(*at));
                let first = found.next();
                first.filter(|_| found.next().is_none())
            }
            false => None,
        }
    }

    /// Returns the only pair that fits any row.
    fn only(&self) -> Option<usize> {
        let mut matched = (0..SCALES.len()).filter(|at| self.matches[*at] > 0);
        let first = matched.next();
        first.filter(|_| matched.next().is_none())
    }

    /// Returns the number of conclusive rows.
    pub(super) fn rows(&self) -> usize {
        self.matches.iter().sum::<usize>() + self.unmatched
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
    fn a_row_shows_its_units_or_is_inconclusive() {
        // 002032.SZ on 2004-08-17, in shares as its vendor wrote it, in lots, in thousands, and at a tenth of the price.
        let (volume, amount) = (7_877_900.0, 90_923_240.0);
        for (row, expected) in [
            (row(11.03, 12.21, volume, amount), UnitMatch::Scale(0)),
            (
                row(11.03, 12.21, volume / 100.0, amount),
                UnitMatch::Scale(1),
            ),
            (
                row(11.03, 12.21, volume / 100.0, amount / 1000.0),
                UnitMatch::Scale(2),
            ),
            (
                row(11.03, 12.21, volume, amount / 1000.0),
                UnitMatch::Scale(3),
            ),
            (row(5.03, 5.21, volume, amount), UnitMatch::None),
            (row(11.03, 12.21, 0.0, 0.0), UnitMatch::Inconclusive),
            (row(11.03, 12.21, 9.0, 100.0), UnitMatch::Inconclusive),
            (row(11.03, 12.21, volume, 0.0), UnitMatch::Inconclusive),
            (row(0.1, 100.0, 1_000.0, 10_000.0), UnitMatch::Inconclusive),
            (
                row(f64::NAN, 12.21, volume, amount),
                UnitMatch::Inconclusive,
            ),
        ] {
            assert_eq!(row.unit_match(&SCALES), expected, "{row:?}");
        }
    }

    #[test]
    fn a_table_has_one_pair_of_units_or_none() {
        let evidence = |shares, lots, unmatched| UnitEvidence {
            matches: [shares, lots, 0, 0],
            unmatched,
            ..UnitEvidence::default()
        };
        for (evidence, unit) in [
            (evidence(1, 0, 0), Some(0)),
            (evidence(0, 90, 10), Some(1)),
            (evidence(0, 89, 11), None),
            (evidence(90, 1, 0), None),
            (evidence(0, 0, 5), None),
            (evidence(0, 0, 0), None),
        ] {
            assert_eq!(evidence.agreed(), unit, "{evidence:?}");
        }
    }

    #[test]
    fn adjusted_prices_still_show_lots_or_shares() {
        // Forward-adjusted over years: from a quarter of the true price up to the price itself, 10 CNY.
        for (volume, expected) in [(1_000_000.0, 0), (10_000.0, 1)] {
            for reaches_today in [true, false] {
                let mut evidence = UnitEvidence::default();
                let most = if reaches_today { 100 } else { 60 };
                for step in 25..=most {
                    let price = 10.0 * f64::from(step) / 100.0;
                    evidence.count(
                        row(price * 0.99, price * 1.01, volume, 10_000_000.0),
                        &SCALES[..2],
                    );
                }
                assert_eq!(evidence.agreed(), None);
                assert_eq!(evidence.adjusted(&SCALES[..2]), Some(expected));
            }
        }
        assert_eq!(UnitEvidence::default().adjusted(&SCALES), None);
    }

    proptest! {
        #[test]
        fn a_bar_of_real_trades_always_shows_its_unit(
            low_cents in 100u32..100_000, spread in 0.0f64..0.4, at in 0.0f64..1.0, lots in 11u32..1_000_000
        ) {
            let low = f64::from(low_cents) / 100.0;
            let high = low * (1.0 + spread);
            let amount = (low + (high - low) * at) * f64::from(lots) * 100.0;
            prop_assert_eq!(row(low, high, f64::from(lots) * 100.0, amount).unit_match(&SCALES), UnitMatch::Scale(0));
            prop_assert_eq!(row(low, high, f64::from(lots), amount).unit_match(&SCALES), UnitMatch::Scale(1));
        }
    }
}
