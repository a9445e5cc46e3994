//! The tear sheet of scores: whether they rank stocks by the returns that follow, for how long, and what is left after costs.
//! No account and no broker: that is the backtest's.
//!
//! - [`panel`]: scores and bars → the cross-section of each day. **Data enters here.**
//! - [`statistics`]: correlations, quantiles, turnover; their series over days. Numbers equal those of alphalens for the
//!   same prices.
//! - [`files`]: JSON, the table of days, and a page. **Data leaves here.**

use std::collections::BTreeMap;

use heqis_quant::stats::{pearson, spearman};
use heqis_quant::{Date, Symbol};
use serde::Serialize;

use self::panel::{DayScores, EntryPrice, Panel, Unused};
use self::statistics::{
    Summary, long_short, quantile_means, quantiles_of, rank_autocorrelation, turnover,
};
use crate::error::BacktestError;

pub mod files;
mod html;
pub mod panel;
pub mod statistics;

/// The fewest stocks of a sector on a day for its correlation.
const LEAST_OF_GROUP: usize = 3;

/// Settings of a tear sheet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The price of entry and exit.
    pub price: EntryPrice,
    /// Holding periods, trading days, ascending.
    pub horizons: Vec<usize>,
    /// Number of quantiles, at least 2.
    pub quantiles: usize,
    /// Cost of buying a stock and selling it again, as a share of its value: fees, taxes and slippage.
    pub round_trip_cost: f64,
}

impl Default for Settings {
    /// Opens, 1 to 20 days, quintiles, and 0.2 %: the fees of an A-share on both sides and about half a tick of slippage each.
    fn default() -> Self {
        Self {
            price: EntryPrice::Open,
            horizons: vec![1, 2, 5, 10, 20],
            quantiles: 5,
            round_trip_cost: 0.002,
        }
    }
}

impl Settings {
    /// # Errors
    /// [`BacktestError::Rule`] when the number of quantiles or the cost is out of range.
    fn validate(&self) -> Result<(), BacktestError> {
        if !(2..=100).contains(&self.quantiles) {
            let rule = "must be from 2 to 100";
            return Err(BacktestError::rule_got("quantiles", rule, self.quantiles));
        }
        if !(0.0..1.0).contains(&self.round_trip_cost) {
            let (place, rule) = ("round_trip_cost", "must be a share from 0 to below 1");
            return Err(BacktestError::rule_got(place, rule, self.round_trip_cost));
        }
        Ok(())
    }
}

/// One quantile of scores at one horizon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantileSheet {
    /// From 1, the lowest scores.
    pub quantile: usize,
    /// Mean over days of the mean return of its stocks.
    pub mean_return: Option<f64>,
    /// The same less the day's mean return of all stocks.
    pub mean_excess: Option<f64>,
    /// Mean share of its stocks that were not in it one holding period before.
    pub turnover: Option<f64>,
}

/// What follows within one holding period.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HorizonSheet {
    /// The holding period, trading days.
    pub horizon: usize,
    /// Spearman's correlation of each day.
    pub rank_ic: Summary,
    /// Pearson's correlation of each day.
    pub ic: Summary,
    /// Returns of each quantile.
    pub quantiles: Vec<QuantileSheet>,
    /// Top less bottom quantile, before costs.
    pub spread: Summary,
    /// The portfolio that holds each stock by its score less the mean, short positions included, before costs.
    pub long_short: Summary,
    /// Mean excess of the top quantile, bought at equal weights without short positions, less its turnover times the cost of a
    /// round trip.
    pub top_after_costs: Option<f64>,
    /// Correlation of ranks with those one holding period before; mean over days.
    pub rank_autocorrelation: Option<f64>,
}

/// RankIC of a part of all scores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartSheet {
    /// The year or the sector.
    pub name: String,
    /// RankIC at each horizon.
    pub rank_ic: Vec<Summary>,
}

/// The values of one day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayValues {
    /// The day.
    pub date: Date,
    /// Number of stocks.
    pub stocks: usize,
    /// RankIC at each horizon; none where scores or returns are constant.
    pub rank_ic: Vec<Option<f64>>,
    /// Top less bottom quantile at each horizon.
    pub spread: Vec<Option<f64>>,
}

/// The tear sheet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TearSheet {
    /// Its settings.
    pub settings: Settings,
    /// First day of a score that is used.
    pub from: Date,
    /// Last one.
    pub to: Date,
    /// Number of scores.
    pub scores: usize,
    /// Number of stocks with scores.
    pub stocks: usize,
    /// Scores that are not used.
    pub unused: Unused,
    /// By horizon.
    pub horizons: Vec<HorizonSheet>,
    /// By year.
    pub years: Vec<PartSheet>,
    /// By sector, where sectors are known.
    pub sectors: Vec<PartSheet>,
    /// Day by day.
    #[serde(skip)]
    pub days: Vec<DayValues>,
}

impl TearSheet {
    /// Computes the sheet of scores; `sectors` may name the sector of some stocks.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when a setting is out of range or the panel has other horizons.
    pub fn of(
        panel: &Panel,
        settings: Settings,
        sectors: &BTreeMap<Symbol, String>,
    ) -> Result<Self, BacktestError> {
        settings.validate()?;
        let (Some((from, _)), Some((to, _)), true) = (
            panel.days.first_key_value(),
            panel.days.last_key_value(),
            panel.horizons == settings.horizons,
        ) else {
            let rule = format!("must have days and the horizons {:?}", settings.horizons);
            let got = format!("{:?}", panel.horizons);
            return Err(BacktestError::rule_got("panel", rule, got));
        };
        let count = settings.quantiles;
        let quantiles = panel.days.values();
        let quantiles: Vec<Vec<usize>> = quantiles
            .map(|day| quantiles_of(&day.scores, count))
            .collect();
        let days: Vec<DayValues> = (panel.days.iter().zip(&quantiles))
            .map(|((date, day), quantiles)| DayValues {
                date: *date,
                stocks: day.scores.len(),
                rank_ic: (day.returns.iter())
                    .map(|returns| spearman(&day.scores, returns))
                    .collect(),
                spread: (day.returns.iter())
                    .map(|returns| spread(&quantile_means(quantiles, returns, count)))
                    .collect(),
            })
            .collect();
        let sheet = |at| HorizonSheet::of(panel, &quantiles, &days, &settings, at);
        let horizons = (0..settings.horizons.len()).map(sheet).collect();
        Ok(Self {
            from: *from,
            to: *to,
            scores: panel.days.values().map(|day| day.scores.len()).sum(),
            stocks: panel.symbols.len(),
            unused: panel.unused,
            years: years(&days, &settings.horizons),
            sectors: by_sector(panel, sectors),
            horizons,
            days,
            settings,
        })
    }
}

impl HorizonSheet {
    /// `values` are those of the same days.
    fn of(
        panel: &Panel,
        quantiles: &[Vec<usize>],
        values: &[DayValues],
        settings: &Settings,
        at: usize,
    ) -> Self {
        let horizon = panel.horizons[at];
        let count = settings.quantiles;
        let days: Vec<&DayScores> = panel.days.values().collect();
        let series = |value: &dyn Fn(&DayScores) -> Option<f64>| -> Vec<f64> {
            days.iter().filter_map(|day| value(day)).collect()
        };
        let summary = |values: &[f64]| Summary::of(values, horizon);
        let means = days.iter().zip(quantiles);
        let means: Vec<Vec<Option<f64>>> = means
            .map(|(day, quantiles)| quantile_means(quantiles, &day.returns[at], count))
            .collect();
        let markets: Vec<f64> = days.iter().map(|day| average(&day.returns[at])).collect();
        let known = |value: fn(&DayValues) -> &[Option<f64>]| -> Vec<f64> {
            values.iter().filter_map(|day| value(day)[at]).collect()
        };
        let sheets: Vec<QuantileSheet> = (0..count)
            .map(|quantile| {
                let of_days = means.iter().zip(&markets);
                let returns: Vec<(f64, f64)> = of_days
                    .filter_map(|(means, market)| Some((means[quantile]?, *market)))
                    .collect();
                let mean = |value: fn(&(f64, f64)) -> f64| {
                    heqis_quant::stats::mean(returns.iter().map(value))
                };
                let pairs = (horizon..days.len()).filter_map(|now| {
                    let before = now - horizon;
                    let (now, before) = (
                        (days[now], &quantiles[now][..]),
                        (days[before], &quantiles[before][..]),
                    );
                    turnover(now, before, quantile)
                });
                QuantileSheet {
                    quantile: quantile + 1,
                    mean_return: mean(|(earned, _)| *earned),
                    mean_excess: mean(|(earned, market)| earned - market),
                    turnover: heqis_quant::stats::mean(pairs),
                }
            })
            .collect();
        let top = sheets.last();
        let top_after_costs =
            top.and_then(|top| Some(top.mean_excess? - top.turnover? * settings.round_trip_cost));
        let correlations = (horizon..days.len())
            .filter_map(|now| rank_autocorrelation(days[now], days[now - horizon]));
        Self {
            horizon,
            rank_ic: summary(&known(|day| &day.rank_ic)),
            ic: summary(&series(&|day| pearson(&day.scores, &day.returns[at]))),
            spread: summary(&known(|day| &day.spread)),
            long_short: summary(&series(&|day| long_short(&day.scores, &day.returns[at]))),
            top_after_costs,
            rank_autocorrelation: heqis_quant::stats::mean(correlations),
            quantiles: sheets,
        }
    }
}

fn average(values: &[f64]) -> f64 {
    heqis_quant::stats::mean(values.iter().copied()).unwrap_or(0.0)
}

/// Top less bottom.
fn spread(means: &[Option<f64>]) -> Option<f64> {
    Some((*means.last()?)? - (*means.first()?)?)
}

fn years(days: &[DayValues], horizons: &[usize]) -> Vec<PartSheet> {
    days.chunk_by(|a, b| a.date.year() == b.date.year())
        .map(|year| PartSheet {
            name: year[0].date.year().to_string(),
            rank_ic: (horizons.iter().enumerate())
                .map(|(at, horizon)| {
                    let values: Vec<f64> = year.iter().filter_map(|day| day.rank_ic[at]).collect();
                    Summary::of(&values, *horizon)
                })
                .collect(),
        })
        .collect()
}

fn by_sector(panel: &Panel, sectors: &BTreeMap<Symbol, String>) -> Vec<PartSheet> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (stock, symbol) in panel.symbols.iter().enumerate() {
        if let Some(sector) = sectors.get(symbol) {
            members.entry(sector).or_default().push(stock);
        }
    }
    let part = |(name, members): (&str, Vec<usize>)| PartSheet {
        name: name.to_owned(),
        rank_ic: (panel.horizons.iter().enumerate())
            .map(|(at, horizon)| {
                let value = |day: &DayScores| {
                    let of_sector =
                        |place: &usize| members.binary_search(&day.stocks[*place]).is_ok();
                    let places: Vec<usize> = (0..day.stocks.len()).filter(of_sector).collect();
                    let pick = |values: &[f64]| -> Vec<f64> {
                        places.iter().map(|place| values[*place]).collect()
                    };
                    let enough = places.len() >= LEAST_OF_GROUP;
                    enough.then(|| spearman(&pick(&day.scores), &pick(&day.returns[at])))?
                };
                let values: Vec<f64> = panel.days.values().filter_map(value).collect();
                Summary::of(&values, *horizon)
            })
            .collect(),
    };
    members.into_iter().map(part).collect()
}
