//! Price bars and their marks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::date::Date;
use crate::symbol::Symbol;

/// One bar of one instrument, with prices as the vendor gave them: nothing is adjusted or filled.
///
/// ```
/// use heqis_quant::{Bar, Date, Marks, QuantError, Symbol};
///
/// let date = Date::parse("2024-07-18")?;
/// let bar = Bar {
///     symbol: Symbol::parse("600000.SH")?,
///     time_ns: date.close_time_ns(),
///     date,
///     open: 8.30,
///     high: 8.42,
///     low: 8.28,
///     close: 8.38,
///     pre_close: Some(8.33),
///     volume_shares: 21_000_000.0,
///     amount_cny: None,
///     marks: Marks::NONE,
/// };
/// // A dividend of 0.32 CNY: the move is measured from the ex-right reference price, not from the last close of 8.65.
/// assert_eq!(bar.reference_close(Date::parse("2024-07-17")?, 8.65), 8.33);
/// # Ok::<(), QuantError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar {
    /// The instrument.
    pub symbol: Symbol,
    /// The end of the bar in UTC nanoseconds since the Unix epoch; for a daily bar the close at 15:00 UTC+08:00.
    pub time_ns: i64,
    /// The trading day.
    pub date: Date,
    /// First price in CNY (or the currency of a foreign name, or index points).
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// The ex-right reference price, if the vendor gives it. Limits refer to it and not to the last close.
    pub pre_close: Option<f64>,
    /// Traded shares (not lots).
    pub volume_shares: f64,
    /// Traded value in CNY, if the vendor gives it.
    pub amount_cny: Option<f64>,
    /// The marks of the table and of the cleaner.
    #[serde(default)]
    pub marks: Marks,
}

/// The bar that features, a prediction or a decision belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarRef {
    /// Instrument.
    pub symbol: Symbol,
    /// Trading day.
    pub date: Date,
    /// Exchange close time of the bar, UTC nanoseconds since the Unix epoch.
    pub time_ns: i64,
    /// Closing price as the vendor gave it, CNY.
    pub close: f64,
}

impl From<&Bar> for BarRef {
    fn from(bar: &Bar) -> Self {
        Self {
            symbol: bar.symbol,
            date: bar.date,
            time_ns: bar.time_ns,
            close: bar.close,
        }
    }
}

impl Bar {
    /// Returns the close of the `previous` bar of the same series, expressed on the price level of this bar.
    ///
    /// Between two days that is the vendor's ex-right reference price, if any. Without one, a bar that
    /// [breaks the level](Marks::breaks_level) is compared with its own open: the overnight move cannot be separated from
    /// the corporate action, so it counts as zero, and the move within the day is kept. Otherwise it is the previous close.
    ///
    /// The vendor's reference price refers to the trading day before. After a [hole](Marks::HOLE) it does not refer to the
    /// previous bar, so the move is measured from the previous close. [Adjusted](Marks::ADJUSTED) prices have no ex-rights.
    #[must_use]
    pub fn reference_close(&self, previous_date: Date, previous_close: f64) -> f64 {
        let level = Marks::HOLE.0 | Marks::ADJUSTED.0;
        match self.pre_close {
            _ if self.date == previous_date => previous_close,
            _ if self.marks.0 & level != 0 => previous_close,
            Some(reference) => reference,
            None if self.marks.breaks_level() => self.open,
            None => previous_close,
        }
    }
}

/// A set of marks on a valid bar that is not ordinary.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Marks(u16);

impl Marks {
    /// No mark.
    pub const NONE: Self = Self(0);
    /// The first bar of its series: no limit was checked, since there is no earlier close.
    pub const FIRST_BAR: Self = Self(1);
    /// Trading days or minutes are missing before this bar, or bars right before it were rejected.
    pub const GAP: Self = Self(1 << 1);
    /// The first bar after rows in which the vendor reported no trade.
    pub const RESUMED: Self = Self(1 << 2);
    /// The bar is below the limits of the last close but within the limits of another reference price, so a dividend, bonus
    /// or share reform is suspected.
    pub const EX_RIGHT_SUSPECTED: Self = Self(1 << 3);
    /// The bar continues a price level whose first bar was rejected: two consecutive bars agree on a new level.
    pub const LEVEL_RESET: Self = Self(1 << 4);

    /// The vendor's reference price is that of a missing or rejected bar, so it does not separate an ex-right from the lost
    /// move: the close of the last bar before the hole is the reference.
    pub const HOLE: Self = Self(1 << 5);
    /// Prices are adjusted by the vendor: moves are correct up to rounding, levels are not those that traded.
    pub const ADJUSTED: Self = Self(1 << 6);
    /// The stock was under special treatment (ST) on the day, according to the table.
    pub const SPECIAL: Self = Self(1 << 7);
    /// The bar leaves the price limits of its day by no more than the rounding of its price: a tick, or the rounding of
    /// adjusted prices.
    pub const BEYOND_LIMIT: Self = Self(1 << 8);

    /// The marks of a table, which the cleaner keeps.
    pub(crate) const FROM_TABLE: Self = Self(Self::ADJUSTED.0 | Self::SPECIAL.0);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::FIRST_BAR, "first_bar"),
        (Self::GAP, "gap"),
        (Self::RESUMED, "resumed"),
        (Self::EX_RIGHT_SUSPECTED, "ex_right_suspected"),
        (Self::LEVEL_RESET, "level_reset"),
        (Self::HOLE, "hole"),
        (Self::ADJUSTED, "adjusted"),
        (Self::SPECIAL, "special_treatment"),
        (Self::BEYOND_LIMIT, "beyond_limit"),
    ];

    /// Returns the set as bits, for the wire.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Returns the set of these bits, or `None` if a bit is unknown.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits >> Self::NAMES.len() == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// Returns whether every mark of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the marks that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds the marks of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns the names of the marks in this set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter_map(move |(mark, name)| self.contains(mark).then_some(name))
    }

    /// Returns whether the prices before this bar are on another level, without a reference price of the vendor.
    #[must_use]
    pub const fn breaks_level(self) -> bool {
        self.contains(Self::EX_RIGHT_SUSPECTED) || self.contains(Self::LEVEL_RESET)
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.names().enumerate() {
            if i > 0 {
                f.write_str("|")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marks({self})")
    }
}

impl From<Marks> for u16 {
    fn from(marks: Marks) -> Self {
        marks.0
    }
}

impl TryFrom<u16> for Marks {
    type Error = String;

    fn try_from(bits: u16) -> Result<Self, String> {
        Self::from_bits(bits).ok_or_else(|| format!("marks: unknown bits, got {bits:#b}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_reference_close_is_the_vendors_then_by_marks_then_the_last_close() {
        let (before, today) = (
            Date::parse("20240102").unwrap(),
            Date::parse("20240103").unwrap(),
        );
        let bar = Bar {
            symbol: Symbol::parse("600000.SH").unwrap(),
            time_ns: today.close_time_ns(),
            date: today,
            open: 5.1,
            high: 5.2,
            low: 5.0,
            close: 5.2,
            pre_close: None,
            volume_shares: 1.0,
            amount_cny: None,
            marks: Marks::NONE,
        };
        assert_eq!(bar.reference_close(before, 10.0), 10.0);
        let marked = Bar {
            marks: Marks::EX_RIGHT_SUSPECTED,
            ..bar
        };
        assert_eq!(marked.reference_close(before, 10.0), 5.1);
        let given = Bar {
            pre_close: Some(5.0),
            ..marked
        };
        assert_eq!(given.reference_close(before, 10.0), 5.0);
        // Within a day the last bar is the reference, even if every row has the vendor's.
        assert_eq!(given.reference_close(today, 5.15), 5.15);
    }

    #[test]
    fn marks_have_names_and_unknown_bits_are_refused() {
        let mut marks = Marks::NONE;
        assert!(marks.is_empty());
        marks.insert(Marks::GAP);
        marks.insert(Marks::EX_RIGHT_SUSPECTED);
        assert_eq!(marks.to_string(), "gap|ex_right_suspected");
        assert!(marks.breaks_level() && !marks.contains(Marks::FIRST_BAR));
        assert_eq!(Marks::from_bits(marks.bits()), Some(marks));
        assert_eq!(Marks::from_bits(1 << 9), None);
    }
}
