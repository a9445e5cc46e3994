//! A vendor's factors of one stock, small enough to keep those of a whole market.

use crate::date::Date;

/// Factors by day. A factor changes only on ex-right days, so a day is stored as its date alone, and a factor once for all
/// days that repeat it: four bytes a day instead of sixteen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FactorSeries {
    /// The days in order.
    days: Vec<Date>,
    /// The index of the first day of each factor, and the factor.
    steps: Vec<(u32, f64)>,
    /// Days that were added out of order.
    late: Vec<(Date, f64)>,
}

impl FactorSeries {
    /// Adds a day, in any order; days in order take the least memory.
    pub(super) fn push(&mut self, day: Date, factor: f64) {
        match self.days.last() {
            Some(last) if *last >= day => self.late.push((day, factor)),
            _ => self.append(day, factor),
        }
    }

    fn append(&mut self, day: Date, factor: f64) {
        let repeats = |step: &(u32, f64)| step.1.to_bits() == factor.to_bits();
        if !self.steps.last().is_some_and(repeats) {
            // There are fewer days in the supported years than a u32 has numbers.
            self.steps.push((self.days.len() as u32, factor));
        }
        self.days.push(day);
    }

    /// Sorts in the days that were added out of order.
    ///
    /// # Errors
    /// Returns a day that has two factors.
    pub(super) fn settle(&mut self) -> Result<(), Date> {
        if !self.late.is_empty() {
            let mut all: Vec<(Date, f64)> = self.iter().collect();
            all.append(&mut self.late);
            all.sort_by_key(|(day, _)| *day);
            all.dedup_by(|b, a| a.0 == b.0 && a.1.to_bits() == b.1.to_bits());
            if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(pair[1].0);
            }
            (self.days, self.steps) = Default::default();
            for (day, factor) in all {
                self.append(day, factor);
            }
        }
        self.days.shrink_to_fit();
        self.steps.shrink_to_fit();
        Ok(())
    }

    /// Returns whether there is no factor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && self.late.is_empty()
    }

    /// Returns the factor of a day, if the vendor has one.
    #[must_use]
    pub fn get(&self, day: Date) -> Option<f64> {
        let place = self.days.binary_search(&day).ok()? as u32;
        let step = self.steps.partition_point(|(first, _)| *first <= place);
        Some(self.steps.get(step.checked_sub(1)?)?.1)
    }

    /// Returns all factors by day.
    pub fn iter(&self) -> impl Iterator<Item = (Date, f64)> {
        let ends = self.steps.iter().skip(1).map(|(first, _)| *first as usize);
        let ends = ends.chain([self.days.len()]);
        self.steps
            .iter()
            .zip(ends)
            .flat_map(|((first, factor), end)| {
                let days = &self.days[*first as usize..end];
                days.iter().map(move |day| (*day, *factor))
            })
    }
}

impl FromIterator<(Date, f64)> for FactorSeries {
    fn from_iter<I: IntoIterator<Item = (Date, f64)>>(factors: I) -> Self {
        let mut series = Self::default();
        for (day, factor) in factors {
            series.push(day, factor);
        }
        series
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a plain map, in any order.
        #[test]
        fn a_series_equals_the_map_of_its_entries(
            given in prop::collection::vec((0i32..40, 0u8..4), 0..60)
        ) {
            let date = |day: i32| Date::from_days(15_000 + day).unwrap();
            let mut map: BTreeMap<Date, f64> = BTreeMap::new();
            let mut twice = false;
            for (day, factor) in &given {
                let factor = f64::from(*factor);
                twice |= map.insert(date(*day), factor).is_some_and(|other| other != factor);
            }
            let mut series: FactorSeries =
                given.iter().map(|(day, factor)| (date(*day), f64::from(*factor))).collect();
            prop_assert_eq!(series.settle().is_err(), twice);
            if !twice {
                prop_assert_eq!(series.is_empty(), map.is_empty());
                prop_assert!(series.iter().eq(map.iter().map(|(day, factor)| (*day, *factor))));
                for day in 0..41 {
                    prop_assert_eq!(series.get(date(day)), map.get(&date(day)).copied());
                }
            }
        }
    }
}
