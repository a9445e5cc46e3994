//! The days on which an exchange traded.

use crate::{Date, QuantError};

/// A sorted list of trading days, usually the days of an index series, against which missing days are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    days: Vec<Date>,
}

impl Calendar {
    /// Makes a calendar from days in any order; a day given twice counts once.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when there is no day at all.
    pub fn new(days: impl IntoIterator<Item = Date>) -> Result<Self, QuantError> {
        let mut days: Vec<Date> = days.into_iter().collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            return Err(QuantError::value(
                "calendar",
                "days",
                "must hold at least one day",
                0,
            ));
        }
        Ok(Self { days })
    }

    /// Returns the number of trading days strictly between two dates, or `None` when the calendar does not cover both.
    #[must_use]
    pub fn between(&self, from: Date, to: Date) -> Option<usize> {
        let covered = *self.days.first()? <= from && to <= *self.days.last()?;
        let after = self.days.partition_point(|day| *day <= from);
        let before = self.days.partition_point(|day| *day < to);
        covered.then(|| before.saturating_sub(after))
    }

    /// Returns whether the exchange traded on a day.
    #[must_use]
    pub fn contains(&self, date: Date) -> bool {
        self.days.binary_search(&date).is_ok()
    }

    /// Returns the days in order.
    #[must_use]
    pub fn days(&self) -> &[Date] {
        &self.days
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_between_are_counted_only_where_the_calendar_knows() {
        let day = |text| Date::parse(text).unwrap();
        let calendar =
            Calendar::new(["20240108", "20240105", "20240109", "20240110", "20240110"].map(day))
                .unwrap();
        assert_eq!(calendar.days().len(), 4);
        assert_eq!(calendar.between(day("20240105"), day("20240110")), Some(2));
        assert_eq!(calendar.between(day("20240105"), day("20240108")), Some(0));
        assert_eq!(calendar.between(day("20240110"), day("20240105")), Some(0));
        assert_eq!(calendar.between(day("20240104"), day("20240108")), None);
        assert_eq!(calendar.between(day("20240109"), day("20240111")), None);
        assert!(Calendar::new([]).is_err());
    }
}
