//! Candidates: forecasts, bar by bar, each with the last day that its model was fitted on.

use std::collections::BTreeMap;

use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{BundleModel, Predictor, Source};
use heqis_bundle::{DirectionLayout, check_thresholds, load};
use heqis_quant::{Bar, CleanConfig, Date, SignalMode, Symbol};

use super::folds::Folds;
use crate::error::LabError;

pub use heqis_data::predictions::Forecast;
use heqis_data::predictions::Predictions;

/// A model or a rule with its forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its forecasts by symbol and end of the bar after whose close they were made, in UTC nanoseconds since the Unix epoch.
    pub forecasts: BTreeMap<Symbol, BTreeMap<i64, Forecast>>,
}

impl Candidate {
    /// Takes a table's forecasts for the bars of one symbol.
    #[must_use]
    pub fn of_table(name: &str, table: &Predictions, bars: &[Bar]) -> Self {
        let forecasts = bars.iter().filter_map(|bar| Some((bar, table.of(bar)?)));
        Self::new(name, forecasts)
    }

    fn new<'b>(name: &str, given: impl Iterator<Item = (&'b Bar, Forecast)>) -> Self {
        let mut forecasts: BTreeMap<Symbol, BTreeMap<i64, Forecast>> = BTreeMap::new();
        for (bar, forecast) in given {
            let of_symbol = forecasts.entry(bar.symbol).or_default();
            of_symbol.insert(bar.time_ns, forecast);
        }
        Self {
            name: name.to_owned(),
            forecasts,
        }
    }

    /// Returns the signal modes of its trials. Rules whose return and classes always agree have one mode, since the same trial
    /// must not count three times; so do candidates without probabilities, which have no classes.
    #[must_use]
    pub fn modes(&self) -> &'static [SignalMode] {
        let mut forecasts = self.forecasts.values().flat_map(BTreeMap::values);
        match &self.name[..] {
            "cash" | "hold" | "last" => &[SignalMode::Return],
            _ if forecasts.any(|one| one.probabilities.is_none()) => &[SignalMode::Return],
            _ => &[SignalMode::Return, SignalMode::Class, SignalMode::Both],
        }
    }

    /// Predicts every bar of one symbol by bundles. `fitted_to` is the last day used to fit their weights or to choose their
    /// settings, as stated by the user; the scaler's span must not end later.
    ///
    /// # Errors
    ///
    /// [`LabError::Infer`] and [`LabError::Rule`] when the bundles cannot be used, [`LabError::Rule`] when the scaler
    /// was fitted on a later day.
    pub(crate) fn of_bundles(
        name: &str,
        source: &Source,
        fitted_to: Date,
        bars: &[Bar],
    ) -> Result<Self, LabError> {
        if let Source::Bundles { factors, direction } = source {
            check_thresholds(&load::<DirectionLayout>(direction)?)?;
            let (_, scaler) = BundleModel::load(factors.as_deref(), direction)?;
            if scaler.span().to > fitted_to {
                let rule = format!(
                    "fitted up to {fitted_to}, but its scaler up to {}",
                    scaler.span().to
                );
                return Err(LabError::rule(format!("candidate {name}"), rule));
            }
        }
        // Predictions do not depend on thresholds.
        let (strategy, clean) = (
            Settings::default().strategy(SignalMode::Return),
            CleanConfig::default(),
        );
        let series = Predictor::load(source, strategy, &clean)?.predict(bars, &strategy, &clean)?;
        let forecasts = series.predicted.iter().map(|predicted| {
            let forecast = Forecast {
                predicted_return: predicted.prediction.predicted_return,
                probabilities: Some(predicted.prediction.probabilities),
                fitted_to: Some(fitted_to),
            };
            (&predicted.bar, forecast)
        });
        Ok(Self::new(name, forecasts))
    }

    /// Returns the mean of several candidates, for the bars that all of them forecast.
    #[must_use]
    pub fn ensemble(name: &str, parts: &[Self]) -> Self {
        let mut forecasts = BTreeMap::new();
        let (first, rest) = match parts.split_first() {
            Some((first, rest)) => (Some(first), rest),
            None => (None, parts),
        };
        let count = parts.len() as f64;
        for (symbol, closes) in first.into_iter().flat_map(|first| &first.forecasts) {
            let mut means = BTreeMap::new();
            for (time_ns, forecast) in closes {
                let others: Option<Vec<&Forecast>> = rest
                    .iter()
                    .map(|part| part.forecasts.get(symbol)?.get(time_ns))
                    .collect();
                let Some(others) = others else { continue };
                let all = || std::iter::once(forecast).chain(others.iter().copied());
                let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
                let probabilities: Option<Vec<[f64; 3]>> =
                    all().map(|one| one.probabilities).collect();
                let forecast = Forecast {
                    predicted_return: mean(&mut all().map(|one| one.predicted_return)),
                    probabilities: probabilities.map(|rows| {
                        [0, 1, 2].map(|class| mean(&mut rows.iter().map(|row| row[class])))
                    }),
                    fitted_to: all().filter_map(|one| one.fitted_to).max(),
                };
                means.insert(*time_ns, forecast);
            }
            forecasts.insert(*symbol, means);
        }
        Self {
            name: name.to_owned(),
            forecasts,
        }
    }

    /// Checks that a symbol has a forecast for every bar of the validation and test spans, by a model
    /// fitted on no day after the corresponding training span.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] with candidate, symbol and the day of the first bar that breaks a rule.
    pub fn check(&self, symbol: Symbol, bars: &[Bar], folds: &Folds) -> Result<(), LabError> {
        let place = || format!("candidate {}, {symbol}", self.name);
        let Some(forecasts) = self.forecasts.get(&symbol) else {
            return Err(LabError::rule(place(), "has no forecasts".to_owned()));
        };
        let spans = folds
            .folds
            .iter()
            .map(|fold| (&fold.train, &fold.validation));
        for (train, evaluated) in spans.chain([(&folds.last_train, &folds.test)]) {
            let limit = bars[train.end - 1].date;
            for bar in &bars[evaluated.clone()] {
                let day = bar.date;
                let Some(forecast) = forecasts.get(&bar.time_ns) else {
                    return Err(LabError::rule(
                        place(),
                        format!("has no forecast for {day}"),
                    ));
                };
                if let Some(fitted_to) = forecast.fitted_to.filter(|fitted_to| *fitted_to > limit) {
                    let rule = format!(
                        "the forecast for {day} must be fitted on days up to {limit}, got {fitted_to}"
                    );
                    return Err(LabError::rule(place(), rule));
                }
            }
        }
        Ok(())
    }
}
