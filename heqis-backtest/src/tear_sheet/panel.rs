//! Scores and bars → the cross-section of each day: scores with the returns that followed.

use std::collections::BTreeMap;

use heqis_quant::{Bar, Date, Symbol};
use serde::{Deserialize, Serialize};

use crate::error::BacktestError;

/// The price at which a position is opened and closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryPrice {
    /// The open of the day after the score: what an order after the close can get.
    #[default]
    Open,
    /// The close of the day of the score, which is known together with the score and cannot be traded at any more.
    Close,
}

impl EntryPrice {
    /// Days from the score to the entry.
    fn delay(self) -> usize {
        match self {
            Self::Open => 1,
            Self::Close => 0,
        }
    }
}

/// The cross-section of one day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayScores {
    /// The index of each stock in [`Panel::symbols`], ascending.
    pub stocks: Vec<usize>,
    /// The score of each.
    pub scores: Vec<f64>,
    /// For each horizon, the return of each.
    pub returns: Vec<Vec<f64>>,
}

/// Scores that are not in the panel, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unused {
    /// The stock has no bar on the day of the score.
    pub no_bar: usize,
    /// It has none on the day of the entry: nothing can be bought.
    pub no_entry: usize,
    /// The bars end before the longest horizon.
    pub no_exit: usize,
    /// Scores of days with too few stocks for a cross-section.
    pub few_stocks: usize,
    /// Of the scores that are used: the stock has no bar on the day of an exit, and its last close counts.
    pub exits_without_bar: usize,
}

/// Scores of many stocks with the returns that followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// The stocks, ascending.
    pub symbols: Vec<Symbol>,
    /// Holding periods, trading days.
    pub horizons: Vec<usize>,
    /// The days with a cross-section.
    pub days: BTreeMap<Date, DayScores>,
    /// What is not in it.
    pub unused: Unused,
}

/// The bars of one stock on the calendar, in one price level.
struct Prices {
    /// Price of each day, NaN without a bar.
    price: Vec<f64>,
    /// The last close up to each day, NaN before the first bar.
    last_close: Vec<f64>,
}

impl Prices {
    fn new(bars: &[Bar], calendar: &[Date], of: EntryPrice) -> Self {
        let mut prices = Self {
            price: vec![f64::NAN; calendar.len()],
            last_close: vec![f64::NAN; calendar.len()],
        };
        // Returns follow the reference prices, as features and labels do.
        let mut level = 1.0;
        let mut before: Option<&Bar> = None;
        for bar in bars {
            if let Some(before) = before {
                level *= before.close / bar.reference_close(before.date, before.close);
            }
            before = Some(bar);
            if let Ok(day) = calendar.binary_search(&bar.date) {
                let price = match of {
                    EntryPrice::Open => bar.open,
                    EntryPrice::Close => bar.close,
                };
                prices.price[day] = price * level;
                prices.last_close[day] = bar.close * level;
            }
        }
        for day in 1..calendar.len() {
            if prices.last_close[day].is_nan() {
                prices.last_close[day] = prices.last_close[day - 1];
            }
        }
        prices
    }
}

impl Panel {
    /// Joins daily scores with the returns that followed. The days of all bars together are the calendar. A return is that of
    /// a position which is opened at `price` after the score and closed at the same kind of price `horizon` trading days later;
    /// where the stock does not trade on that day, at its last close before. Days with fewer than `least` stocks are left out.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when there is no horizon, one is 0, they are not ascending, bars are of minutes, or nothing is
    /// left.
    pub fn new(
        scores: &BTreeMap<Symbol, Vec<(Date, f64)>>,
        bars: &BTreeMap<Symbol, Vec<Bar>>,
        price: EntryPrice,
        horizons: &[usize],
        least: usize,
    ) -> Result<Self, BacktestError> {
        let ascending = horizons.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || horizons.first().is_none_or(|first| *first == 0) {
            let rule = "must be trading days, at least 1, ascending";
            return Err(BacktestError::rule_got(
                "horizons",
                rule,
                format!("{horizons:?}"),
            ));
        }
        for series in bars.values() {
            if let Some(pair) = series.windows(2).find(|pair| pair[0].date >= pair[1].date) {
                let rule = "must be daily, one for each day, in order";
                let got = format!(
                    "{} on {} and {}",
                    pair[0].symbol, pair[0].date, pair[1].date
                );
                return Err(BacktestError::rule_got("bars", rule, got));
            }
        }
        let mut calendar: Vec<Date> = bars.values().flatten().map(|bar| bar.date).collect();
        calendar.sort_unstable();
        calendar.dedup();
        let mut panel = Self {
            symbols: scores.keys().copied().collect(),
            horizons: horizons.to_vec(),
            ..Self::default()
        };
        for (stock, (symbol, rows)) in scores.iter().enumerate() {
            let series = bars.get(symbol).map_or(&[][..], Vec::as_slice);
            let prices = Prices::new(series, &calendar, price);
            for (date, score) in rows {
                panel.add(stock, *date, *score, &prices, &calendar, price.delay());
            }
        }
        let unused = &mut panel.unused;
        panel.days.retain(|_, day| {
            let kept = day.scores.len() >= least.max(2);
            unused.few_stocks += if kept { 0 } else { day.scores.len() };
            kept
        });
        if panel.days.is_empty() {
            let rule = format!(
                "must hold a day with {} stocks and the bars after it",
                least.max(2)
            );
            return Err(BacktestError::rule_got(
                "scores",
                rule,
                format!("{:?}", panel.unused),
            ));
        }
        Ok(panel)
    }

    fn add(
        &mut self,
        stock: usize,
        date: Date,
        score: f64,
        prices: &Prices,
        calendar: &[Date],
        delay: usize,
    ) {
        let has_bar = |day: usize| prices.price.get(day).is_some_and(|price| !price.is_nan());
        let Some(day) = calendar
            .binary_search(&date)
            .ok()
            .filter(|day| has_bar(*day))
        else {
            self.unused.no_bar += 1;
            return;
        };
        let entry = day + delay;
        let longest = self.horizons.last().copied().unwrap_or(0);
        if entry + longest >= calendar.len() {
            self.unused.no_exit += 1;
            return;
        }
        if !has_bar(entry) {
            self.unused.no_entry += 1;
            return;
        }
        let day = self.days.entry(date).or_insert_with(|| DayScores {
            returns: vec![Vec::new(); self.horizons.len()],
            ..DayScores::default()
        });
        day.stocks.push(stock);
        day.scores.push(score);
        let mut without_bar = false;
        for (returns, horizon) in day.returns.iter_mut().zip(&self.horizons) {
            let exit = entry + horizon;
            let price = match has_bar(exit) {
                true => prices.price[exit],
                false => {
                    without_bar = true;
                    prices.last_close[exit]
                }
            };
            returns.push(price / prices.price[entry] - 1.0);
        }
        self.unused.exits_without_bar += usize::from(without_bar);
    }
}
