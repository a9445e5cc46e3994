//! The newest bars of a running pipeline.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use heqis_quant::{Bar, Symbol};

use super::{BarSeries, BarStore, Listing};
use crate::error::DashboardError;
use crate::inbox::NonBlockingInbox;

/// Bars of a running pipeline. The pipeline writes and the page reads; the pipeline does not wait for the page.
#[derive(Debug)]
pub struct LiveBars {
    feature_names: Vec<String>,
    kept: NonBlockingInbox<Kept, Update>,
}

/// One observation of the pipeline.
#[derive(Debug)]
enum Update {
    Bar(Bar),
    /// The features of the bar of an instrument that closed at a time, UTC nanoseconds.
    Features(Symbol, i64, Arc<[f64]>),
}

#[derive(Debug)]
struct Kept {
    capacity: usize,
    bars: usize,
    series: BTreeMap<Symbol, BarSeries>,
}

impl LiveBars {
    /// Returns an empty store for `capacity` bars of all instruments together, at least two. When it is full, the longest
    /// series drops its older half.
    #[must_use]
    pub fn new(capacity: usize, feature_names: Vec<String>) -> Self {
        let kept = Kept {
            capacity: capacity.max(2),
            bars: 0,
            series: BTreeMap::new(),
        };
        Self {
            feature_names,
            kept: NonBlockingInbox::new(kept, Kept::apply),
        }
    }

    /// Adds a bar. A bar that is no later than the last one of its instrument is left out.
    pub fn push(&self, bar: &Bar) {
        self.kept.push(Update::Bar(*bar));
    }

    /// Adds the features of a bar that is kept.
    pub fn set_features(&self, symbol: Symbol, time_ns: i64, values: &[f64]) {
        self.kept
            .push(Update::Features(symbol, time_ns, values.into()));
    }
}

impl Kept {
    fn apply(&mut self, update: Update) {
        match update {
            Update::Bar(bar) => self.push(bar),
            Update::Features(symbol, time_ns, values) => {
                if let Some(series) = self.series.get_mut(&symbol) {
                    series.set_features(time_ns, values);
                }
            }
        }
    }

    fn push(&mut self, bar: Bar) {
        let Self {
            capacity,
            bars,
            series,
        } = self;
        let own = match series.entry(bar.symbol) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(place) => match BarSeries::new() {
                Ok(empty) => place.insert(empty),
                // Unreachable: the lengths of the indicators are valid constants.
                Err(_) => return,
            },
        };
        *bars += usize::from(own.push(bar, None));
        if *bars > *capacity
            && let Some(longest) = series.values_mut().max_by_key(|series| series.bars().len())
        {
            let older = longest.bars().len().div_ceil(2);
            longest.drop_oldest(older);
            *bars -= older;
            series.retain(|_, series| !series.bars().is_empty());
        }
    }
}

impl BarStore for LiveBars {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let kept = self.kept.read();
        let listings = kept.series.iter();
        Ok(listings
            .map(|(symbol, series)| Listing::of(*symbol, series))
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<BarSeries>>, DashboardError> {
        Ok(self.kept.read().series.get(&symbol).cloned().map(Arc::new))
    }

    fn feature_names(&self) -> Vec<String> {
        self.feature_names.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_quant::{Date, Marks};
    use proptest::prelude::*;

    use super::*;

    const SYMBOLS: [&str; 3] = ["000001.SZ", "002032.SZ", "600000.SH"];

    fn bar(symbol: &str, day: i32, price: f64) -> Bar {
        let date = Date::from_days(19_000 + day).unwrap();
        Bar {
            symbol: Symbol::parse(symbol).unwrap(),
            time_ns: date.close_time_ns(),
            date,
            open: price,
            high: price * 1.02,
            low: price * 0.99,
            close: price * 1.01,
            pre_close: (day % 7 == 0).then_some(price * 0.9),
            volume_shares: 1_000.0 * price,
            amount_cny: None,
            marks: Marks::NONE,
        }
    }

    proptest! {
        #[test]
        fn dropping_old_bars_does_not_change_the_indicators_of_the_others(
            capacity in 2usize..60,
            bars in prop::collection::vec((0usize..3, 5.0f64..50.0), 0..200),
        ) {
            let live = LiveBars::new(capacity, Vec::new());
            let mut whole: BTreeMap<Symbol, BarSeries> = BTreeMap::new();
            for (day, (symbol, price)) in (0..).zip(bars) {
                let bar = bar(SYMBOLS[symbol], day, price);
                live.push(&bar);
                live.push(&bar);
                whole.entry(bar.symbol).or_insert_with(|| BarSeries::new().unwrap()).push(bar, None);
                let kept: u64 = live.listings().unwrap().iter().map(|listing| listing.bars).sum();
                prop_assert!(kept <= capacity as u64);
            }
            for listing in live.listings().unwrap() {
                let (kept, whole) = (live.series(listing.symbol).unwrap().unwrap(), &whole[&listing.symbol]);
                let from = whole.bars().len() - kept.bars().len();
                prop_assert_eq!(kept.bars(), &whole.bars()[from..]);
                let bits = |rows: &[crate::chart_indicators::IndicatorValues]| -> Vec<Option<u64>> {
                    rows.iter().flatten().map(|value| value.map(f64::to_bits)).collect()
                };
                prop_assert_eq!(bits(kept.indicators()), bits(&whole.indicators()[from..]));
            }
        }
    }

    #[test]
    fn features_are_assigned_to_their_bar() {
        let live = LiveBars::new(10, vec!["return_1".into()]);
        let (first, second) = (bar(SYMBOLS[0], 1, 10.0), bar(SYMBOLS[0], 2, 11.0));
        live.push(&first);
        live.push(&second);
        live.set_features(first.symbol, second.time_ns, &[0.1]);
        live.set_features(first.symbol, second.time_ns + 1, &[0.2]);
        let series = live.series(first.symbol).unwrap().unwrap();
        assert_eq!(
            (series.features(0), series.features(1)),
            (None, Some(&[0.1][..]))
        );
    }
}
