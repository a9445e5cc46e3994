//! What is compared: forecasts, bar by bar, each with the last day that its maker was fitted on.

use std::collections::BTreeMap;

use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{BundleModel, Predictor, Source};
use heqis_quant::{Bar, CleanConfig, Date, SignalMode, Symbol};

use super::folds::Folds;
use crate::error::LabError;

pub use heqis_data::predictions::Forecast;
use heqis_data::predictions::Predictions;

/// One model, or one rule, with its forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its forecasts by symbol and end of the bar after whose close they were made, in UTC nanoseconds since the Unix epoch.
    pub forecasts: BTreeMap<Symbol, BTreeMap<i64, Forecast>>,
}

impl Candidate {
    /// Takes what a table says of the bars of one symbol.
    #[must_use]
    pub fn of_table(name: &str, table: &Predictions, bars: &[Bar]) -> Self {
        let said = bars.iter().filter_map(|bar| Some((bar, table.of(bar)?)));
        Self::new(name, said)
    }

    fn new<'b>(name: &str, said: impl Iterator<Item = (&'b Bar, Forecast)>) -> Self {
        let mut forecasts: BTreeMap<Symbol, BTreeMap<i64, Forecast>> = BTreeMap::new();
        for (bar, forecast) in said {
            let of_symbol = forecasts.entry(bar.symbol).or_default();
            of_symbol.insert(bar.time_ns, forecast);
        }
        Self {
            name: name.to_owned(),
            forecasts,
        }
    }

    /// Returns the signal modes that it is tried in. Rules whose return and classes always agree have one: the same trial
    /// three times over would count as three; and what gives no probabilities has no classes.
    #[must_use]
    pub fn modes(&self) -> &'static [SignalMode] {
        let mut forecasts = self.forecasts.values().flat_map(BTreeMap::values);
        match &self.name[..] {
            "cash" | "hold" | "last" => &[SignalMode::Return],
            _ if forecasts.any(|one| one.probabilities.is_none()) => &[SignalMode::Return],
            _ => &[SignalMode::Return, SignalMode::Class, SignalMode::Both],
        }
    }

    /// Lets bundles speak of every bar of one symbol. `fitted_to` is the last day that their weights were fitted on or
    /// their settings chosen by, which only their maker knows; the scaler's span must not reach behind it.
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

    /// Returns the mean of several candidates, for the bars of which all of them say something.
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
                let odds: Option<Vec<[f64; 3]>> = all().map(|one| one.probabilities).collect();
                let forecast = Forecast {
                    predicted_return: mean(&mut all().map(|one| one.predicted_return)),
                    probabilities: odds.map(|odds| {
                        [0, 1, 2].map(|class| mean(&mut odds.iter().map(|odds| odds[class])))
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

    /// Checks that a symbol has a forecast for every bar of the validation and test spans, made by something that was
    /// fitted on no day behind the training span that belongs to it.
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
        for (train, judged) in spans.chain([(&folds.last_train, &folds.test)]) {
            let limit = bars[train.end - 1].date;
            for bar in &bars[judged.clone()] {
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
