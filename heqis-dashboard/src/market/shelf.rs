//! Bars as they come out of a running pipeline, as many as there is room for.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use heqis_quant::{Bar, Symbol};

use super::{Listing, Market, Series};
use crate::DashboardError;
use crate::tray::Tray;

/// Bars of a running pipeline. The pipeline writes, the page reads, and the pipeline does not wait for it.
#[derive(Debug)]
pub struct Shelf {
    feature_names: Vec<String>,
    kept: Tray<Kept, Seen>,
}

/// What is seen of a pipeline.
#[derive(Debug)]
enum Seen {
    Bar(Bar),
    /// The features of the bar of an instrument that closed at a time, UTC nanoseconds.
    Features(Symbol, i64, Arc<[f64]>),
}

#[derive(Debug)]
struct Kept {
    room: usize,
    bars: usize,
    series: BTreeMap<Symbol, Series>,
}

impl Shelf {
    /// An empty shelf that keeps `room` bars of all instruments together, at least two. When it is full, the longest
    /// series forgets its older half.
    #[must_use]
    pub fn new(room: usize, feature_names: Vec<String>) -> Self {
        let kept = Kept {
            room: room.max(2),
            bars: 0,
            series: BTreeMap::new(),
        };
        Self {
            feature_names,
            kept: Tray::new(kept, Kept::take),
        }
    }

    /// Adds a bar. One that is no later than the last of its instrument changes nothing.
    pub fn push(&self, bar: &Bar) {
        self.kept.add(Seen::Bar(*bar));
    }

    /// Adds the features of a bar that is here.
    pub fn set_features(&self, symbol: Symbol, time_ns: i64, values: &[f64]) {
        self.kept
            .add(Seen::Features(symbol, time_ns, values.into()));
    }
}

impl Kept {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Bar(bar) => self.push(bar),
            Seen::Features(symbol, time_ns, values) => {
                if let Some(series) = self.series.get_mut(&symbol) {
                    series.set_features(time_ns, values);
                }
            }
        }
    }

    fn push(&mut self, bar: Bar) {
        let Self { room, bars, series } = self;
        let own = match series.entry(bar.symbol) {
            Entry::Occupied(own) => own.into_mut(),
            Entry::Vacant(place) => match Series::new() {
                Ok(empty) => place.insert(empty),
                // The lengths of the lines are constants; if they were refused, there would be nothing to draw.
                Err(_) => return,
            },
        };
        *bars += usize::from(own.push(bar, None));
        if *bars > *room
            && let Some(longest) = series.values_mut().max_by_key(|series| series.bars().len())
        {
            let older = longest.bars().len().div_ceil(2);
            longest.forget(older);
            *bars -= older;
            series.retain(|_, series| !series.bars().is_empty());
        }
    }
}

impl Market for Shelf {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let kept = self.kept.read();
        let listings = kept.series.iter();
        Ok(listings
            .map(|(symbol, series)| Listing::of(*symbol, series))
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<Series>>, DashboardError> {
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
        fn what_is_kept_is_drawn_as_if_nothing_had_been_forgotten(
            room in 2usize..60,
            bars in prop::collection::vec((0usize..3, 5.0f64..50.0), 0..200),
        ) {
            let shelf = Shelf::new(room, Vec::new());
            let mut whole: BTreeMap<Symbol, Series> = BTreeMap::new();
            for (day, (symbol, price)) in (0..).zip(bars) {
                let bar = bar(SYMBOLS[symbol], day, price);
                shelf.push(&bar);
                shelf.push(&bar);
                whole.entry(bar.symbol).or_insert_with(|| Series::new().unwrap()).push(bar, None);
                let kept: u64 = shelf.listings().unwrap().iter().map(|listing| listing.bars).sum();
                prop_assert!(kept <= room as u64);
            }
            for listing in shelf.listings().unwrap() {
                let (kept, whole) = (shelf.series(listing.symbol).unwrap().unwrap(), &whole[&listing.symbol]);
                let from = whole.bars().len() - kept.bars().len();
                prop_assert_eq!(kept.bars(), &whole.bars()[from..]);
                let bits = |lines: &[crate::lines::Values]| -> Vec<Option<u64>> {
                    lines.iter().flatten().map(|value| value.map(f64::to_bits)).collect()
                };
                prop_assert_eq!(bits(kept.lines()), bits(&whole.lines()[from..]));
            }
        }
    }

    #[test]
    fn features_find_their_bar() {
        let shelf = Shelf::new(10, vec!["return_1".into()]);
        let (first, second) = (bar(SYMBOLS[0], 1, 10.0), bar(SYMBOLS[0], 2, 11.0));
        shelf.push(&first);
        shelf.push(&second);
        shelf.set_features(first.symbol, second.time_ns, &[0.1]);
        shelf.set_features(first.symbol, second.time_ns + 1, &[0.2]);
        let series = shelf.series(first.symbol).unwrap().unwrap();
        assert_eq!(
            (series.features(0), series.features(1)),
            (None, Some(&[0.1][..]))
        );
    }
}
