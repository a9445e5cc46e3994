//! One price bar and what the cleaner noted about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Date, Symbol};

/// One bar of one instrument, with prices as the vendor gave them: nothing adjusted, nothing filled.
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
    /// The ex-right reference price, where the vendor gives it. This, not the last close, is what limits refer to.
    pub pre_close: Option<f64>,
    /// Traded shares (not lots).
    pub volume_shares: f64,
    /// Traded value in CNY, where the vendor gives it.
    pub amount_cny: Option<f64>,
    /// What the cleaner noted; empty as read from a table.
    #[serde(default)]
    pub marks: Marks,
}

impl Bar {
    /// Returns the close of the `previous` bar of the same series, expressed on the price level of this bar.
    ///
    /// Between two days that is the vendor's ex-right reference when there is one. Without it, a bar that
    /// [breaks the level](Marks::breaks_level) is compared with its own open: the overnight part of the move cannot be
    /// told from the corporate action, so it counts as nothing, and the move within the day is kept. In every other
    /// case it is simply the previous close.
    ///
    /// The vendor's reference belongs to the trading day before. Behind a [hole](Marks::HOLE) it says nothing of the bar
    /// before the hole, so the move over the hole is that from its close. [Adjusted](Marks::ADJUSTED) prices have no
    /// ex-rights.
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

/// A small set of notes on a bar that is good but not ordinary.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Marks(u16);

impl Marks {
    /// No note.
    pub const NONE: Self = Self(0);
    /// The first bar of its series: there is no earlier close, so no limit was checked against one.
    pub const FIRST_BAR: Self = Self(1);
    /// Trading days, or minutes of trading, are missing before this bar, or bars right before it were rejected.
    pub const GAP: Self = Self(1 << 1);
    /// The first bar after rows in which the vendor reported no trade.
    pub const RESUMED: Self = Self(1 << 2);
    /// The bar lies below the limits of the last close but fits the limits of one other reference price,
    /// so a dividend, bonus or share reform is suspected.
    pub const EX_RIGHT_SUSPECTED: Self = Self(1 << 3);
    /// The bar continues a price level whose first bar was rejected: two bars in a row agree on a new level.
    pub const LEVEL_RESET: Self = Self(1 << 4);

    /// The vendor's reference price belongs to a bar that is missing or was rejected, so that it does not tell an ex-right
    /// from the lost move: the last bar before the hole is the reference of this one.
    pub const HOLE: Self = Self(1 << 5);
    /// Prices are adjusted by the vendor: moves are right within rounding, levels are not those that traded.
    pub const ADJUSTED: Self = Self(1 << 6);
    /// The table says that the stock was under special treatment (ST) on that day.
    pub const SPECIAL: Self = Self(1 << 7);
    /// The bar leaves the price limits of its day by no more than the rounding of its price: a tick, or what adjusted prices
    /// allow.
    pub const BEYOND_LIMIT: Self = Self(1 << 8);

    /// What a table says of a bar, and the cleaner keeps.
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

    /// Returns the set of these bits, or `None` when a bit has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits >> Self::NAMES.len() == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// Returns whether every note of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns whether there is no note.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the notes that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds the notes of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Returns the names of the notes in this set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter_map(move |(mark, name)| self.contains(mark).then_some(name))
    }

    /// Returns whether the prices before this bar are on another level, with nothing from the vendor to bridge it.
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
    fn the_reference_close_follows_the_vendor_then_the_marks_then_the_last_close() {
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
        // Within a day the last bar is the reference, whatever the vendor repeats on every row.
        assert_eq!(given.reference_close(today, 5.15), 5.15);
    }

    #[test]
    fn marks_name_themselves_and_refuse_unknown_bits() {
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
