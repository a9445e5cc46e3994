//! What is compared: forecasts, day by day, each with the last day that its maker was fitted on.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_quant::{Bar, CleanConfig, Date, Prediction, SignalMode, Symbol};
use serde::{Deserialize, Serialize};

use super::folds::Folds;
use crate::backtest::run::Settings;
use crate::backtest::strategy::{BundleModel, Predictor, Source};
use crate::error::LabError;

/// What was said of one bar's next close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// What was said.
    pub prediction: Prediction,
    /// The last day of anything that scaler, weights and settings were fitted on or chosen by; `None` for a rule that
    /// was fitted on nothing.
    pub fitted_to: Option<Date>,
}

/// One model, or one rule, with its forecasts.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its forecasts by symbol and day of the bar after whose close they were made.
    pub forecasts: BTreeMap<Symbol, BTreeMap<Date, Forecast>>,
}

/// One row of a table of forecasts.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    symbol: Symbol,
    date: Date,
    predicted_return: f64,
    p_down: f64,
    p_flat: f64,
    p_up: f64,
    fitted_to: Option<Date>,
}

impl Candidate {
    /// Reads a CSV table with the columns `symbol, date, predicted_return, p_down, p_flat, p_up, fitted_to`; `fitted_to` is
    /// empty for a rule that was fitted on nothing.
    ///
    /// # Errors
    ///
    /// [`LabError::Select`] with file and line: a field that cannot be read, a prediction that is none, a day given twice,
    /// a forecast of a day that its maker was fitted on.
    pub fn read(name: &str, path: &Path) -> Result<Self, LabError> {
        let file = std::fs::File::open(path).map_err(|error| LabError::file(path, error))?;
        let mut forecasts: BTreeMap<Symbol, BTreeMap<Date, Forecast>> = BTreeMap::new();
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(file);
        for (number, row) in reader.deserialize::<Row>().enumerate() {
            let place = || format!("{}: line {}", path.display(), number + 2);
            let refuse = |rule: String| Err(LabError::select(place(), rule));
            let row = match row {
                Ok(row) => row,
                Err(error) => return refuse(error.to_string()),
            };
            let prediction = Prediction {
                predicted_return: row.predicted_return,
                probabilities: [row.p_down, row.p_flat, row.p_up],
            };
            if !prediction.is_valid() {
                return refuse(format!(
                    "must be a finite return and probabilities that sum to 1, got {} and {:?}",
                    row.predicted_return, prediction.probabilities
                ));
            }
            if let Some(fitted_to) = row.fitted_to.filter(|fitted_to| *fitted_to >= row.date) {
                return refuse(format!(
                    "must not be fitted on its own day {}, got {fitted_to}",
                    row.date
                ));
            }
            let forecast = Forecast {
                prediction,
                fitted_to: row.fitted_to,
            };
            let of_symbol = forecasts.entry(row.symbol).or_default();
            if of_symbol.insert(row.date, forecast).is_some() {
                return refuse(format!("{} on {} is given twice", row.symbol, row.date));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            forecasts,
        })
    }

    /// Lets bundles speak of every bar of one symbol. `fitted_to` is the last day that their weights were fitted on or
    /// their settings chosen by, which only their maker knows; the scaler's span must not reach behind it.
    ///
    /// # Errors
    ///
    /// [`LabError::Infer`] and [`LabError::Backtest`] when the bundles cannot be used, [`LabError::Select`] when the scaler
    /// was fitted on a later day.
    pub fn of_bundles(
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
                return Err(LabError::select(format!("candidate {name}"), rule));
            }
        }
        // What is foreseen does not depend on thresholds.
        let (strategy, clean) = (
            Settings::default().strategy(SignalMode::Return),
            CleanConfig::default(),
        );
        let told = Predictor::load(source, strategy, &clean)?.foresee(bars, &strategy, &clean)?;
        let mut forecasts: BTreeMap<Symbol, BTreeMap<Date, Forecast>> = BTreeMap::new();
        for seen in told.foreseen {
            let forecast = Forecast {
                prediction: seen.prediction,
                fitted_to: Some(fitted_to),
            };
            forecasts
                .entry(seen.bar.symbol)
                .or_default()
                .insert(seen.bar.date, forecast);
        }
        Ok(Self {
            name: name.to_owned(),
            forecasts,
        })
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
        for (symbol, days) in first.into_iter().flat_map(|first| &first.forecasts) {
            let mut means = BTreeMap::new();
            for (date, forecast) in days {
                let others: Option<Vec<&Forecast>> = rest
                    .iter()
                    .map(|part| part.forecasts.get(symbol)?.get(date))
                    .collect();
                let Some(others) = others else { continue };
                let all = || std::iter::once(forecast).chain(others.iter().copied());
                let mean = |value: &dyn Fn(&Prediction) -> f64| {
                    all().map(|one| value(&one.prediction)).sum::<f64>() / count
                };
                means.insert(
                    *date,
                    Forecast {
                        prediction: Prediction {
                            predicted_return: mean(&|one| one.predicted_return),
                            probabilities: [0, 1, 2]
                                .map(|class| mean(&|one| one.probabilities[class])),
                        },
                        fitted_to: all().filter_map(|one| one.fitted_to).max(),
                    },
                );
            }
            forecasts.insert(*symbol, means);
        }
        Self {
            name: name.to_owned(),
            forecasts,
        }
    }

    /// Checks that a symbol has a forecast for every day of the validation and test spans, made by something that was
    /// fitted on no day behind the training span that belongs to it.
    ///
    /// # Errors
    ///
    /// [`LabError::Select`] with candidate, symbol and the first day that breaks a rule.
    pub fn check(&self, symbol: Symbol, days: &[Date], folds: &Folds) -> Result<(), LabError> {
        let place = || format!("candidate {}, {symbol}", self.name);
        let Some(forecasts) = self.forecasts.get(&symbol) else {
            return Err(LabError::select(place(), "has no forecasts".to_owned()));
        };
        let spans = folds
            .folds
            .iter()
            .map(|fold| (&fold.train, &fold.validation));
        for (train, judged) in spans.chain([(&folds.last_train, &folds.test)]) {
            let limit = days[train.end - 1];
            for day in &days[judged.clone()] {
                let Some(forecast) = forecasts.get(day) else {
                    return Err(LabError::select(
                        place(),
                        format!("has no forecast for {day}"),
                    ));
                };
                if let Some(fitted_to) = forecast.fitted_to.filter(|fitted_to| *fitted_to > limit) {
                    let rule = format!(
                        "the forecast for {day} must be fitted on days up to {limit}, got {fitted_to}"
                    );
                    return Err(LabError::select(place(), rule));
                }
            }
        }
        Ok(())
    }
}
