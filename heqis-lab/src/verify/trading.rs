//! Decisions and returns on history, with one of the two models recorded or replaced by recorded outputs.

use crate::convert::calibration::role;
use crate::error::LabError;
use crate::implementation::Implementation;
use crate::input_args::span;
use crate::windows::{Outputs, Windows};
use heqis_backtest::backtest_input::BacktestInput;
use heqis_backtest::inputs::{RawBars, ReferenceData};
use heqis_backtest::run::run;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{BundleModel, PredictedSeries, decide, predict_series};
use heqis_bundle::{DirectionLayout, FactorsLayout, Role, load};
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::reference::Tables;
use heqis_factors::feature_set;
use heqis_infer::{Bundle, TradingDifference};
use heqis_quant::decision::SignalMode;
use heqis_quant::pipeline::{DecisionPipeline, Model, PipelineConfig};
use heqis_quant::{CleanConfig, Date, Prediction, Span, Symbol};
use heqis_train::metrics::errors::most_likely;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The data and settings for comparing decisions.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Tables of daily bars.
    pub bars: Vec<PathBuf>,
    /// The other bundle of the pair: a direction model for a feature model, and vice versa.
    pub with: Option<PathBuf>,
    /// Settings of the backtest.
    pub settings: Option<PathBuf>,
    /// First day that is traded.
    pub from: Option<Date>,
    /// Last day that is traded.
    pub to: Option<Date>,
}

impl Trade {
    /// Decides and trades twice, in one account for all stocks: with the bundles on the CPU engine, and with `implementation`
    /// in place of the bundle's model.
    ///
    /// # Errors
    ///
    /// [`LabError`] when an input cannot be read, the bundles are no pair, or a model or run fails.
    pub fn compare(
        &self,
        bundle: &Bundle,
        implementation: &mut dyn Implementation,
    ) -> Result<TradingDifference, LabError> {
        let settings = match &self.settings {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        let series = RawBars::read(&self.bars, Tables::default(), &ImportArgs::default(), None)?;
        let reference_data = ReferenceData::read(
            series.bars.keys().copied(),
            &series.tables,
            CleanConfig::default(),
        )?;
        let recording = Rc::new(RefCell::new(Recording::default()));
        let reference = self.predict(bundle, &settings, &reference_data, &series, &recording)?;
        let windows = recording.borrow().windows(bundle);
        let outputs = implementation.compute(&windows)?;
        recording
            .borrow_mut()
            .replay(bundle, &outputs, windows.count);
        let backend = self.predict(bundle, &settings, &reference_data, &series, &recording)?;

        let span = span(self.from, self.to)?;
        let strategy = settings.strategy(SignalMode::Return);
        let mut difference = TradingDifference {
            bars: 0,
            class_flips: 0,
            decisions: 0,
            reference_return: total_return(&reference, &reference_data, span, &settings)?,
            backend_return: total_return(&backend, &reference_data, span, &settings)?,
        };
        for ((_, reference), (_, backend)) in reference.iter().zip(&backend) {
            // Both have the same bars, since neither the cleaner nor the scaler depends on a model.
            let decided = |series: &PredictedSeries| {
                decide(&strategy, &series.predicted, &settings.trading_states)
            };
            let decisions = decided(reference).into_iter().zip(decided(backend));
            let predicted = reference.predicted.iter().zip(&backend.predicted);
            for ((a, b), (left, right)) in predicted.zip(decisions) {
                if span.contains(a.bar.date) {
                    difference.bars += 1;
                    let class = |prediction: &Prediction| most_likely(&prediction.probabilities);
                    difference.class_flips +=
                        usize::from(class(&a.prediction) != class(&b.prediction));
                    difference.decisions += usize::from(left.side != right.side);
                }
            }
        }
        Ok(difference)
    }

    /// Checks that the other bundle belongs to this one, before anything is computed.
    ///
    /// # Errors
    ///
    /// [`LabError::Bundle`] with the first rule that a bundle breaks, [`LabError::Rule`] when a feature model has no direction
    /// model.
    pub fn check_pair(&self, bundle: &Bundle) -> Result<(), LabError> {
        let (factors, direction) = self.pair(bundle)?;
        let factors = factors.map(load::<FactorsLayout>).transpose()?;
        heqis_bundle::check_pair(factors.as_ref(), &load::<DirectionLayout>(direction)?)?;
        Ok(())
    }

    /// Returns the directories of the feature model and of the direction model.
    fn pair<'a>(&'a self, bundle: &'a Bundle) -> Result<(Option<&'a Path>, &'a Path), LabError> {
        let other = self.with.as_deref();
        match (role(bundle)?, other) {
            (Role::Factors, Some(direction)) => Ok((Some(bundle.dir()), direction)),
            (Role::Factors, None) => {
                let rule = "a feature model needs a direction model to trade: name one by --with";
                Err(LabError::rule("verify", rule))
            }
            (Role::Direction, factors) => Ok((factors, bundle.dir())),
        }
    }

    /// Predicts every stock, oldest bar first.
    fn predict(
        &self,
        bundle: &Bundle,
        settings: &Settings,
        reference_data: &ReferenceData,
        series: &RawBars,
        recording: &Rc<RefCell<Recording>>,
    ) -> Result<Vec<(Symbol, PredictedSeries)>, LabError> {
        let role = role(bundle)?;
        let (factors, direction) = self.pair(bundle)?;
        let (inner, scaler) = BundleModel::load(factors, direction)?;
        let features = feature_set(scaler.feature_names())?;
        let strategy = settings.strategy(SignalMode::Return);
        let config = PipelineConfig {
            clean: reference_data.clean.clone(),
            ..PipelineConfig::new(scaler, strategy).with_features(features)
        };
        let model = RecordedModel {
            inner,
            role,
            recording: recording.clone(),
            factors: Vec::new(),
        };
        let mut pipeline = DecisionPipeline::new(config, model)?;
        let stocks = series.bars.iter();
        stocks
            .map(|(symbol, bars)| Ok((*symbol, predict_series(&mut pipeline, bars)?)))
            .collect()
    }
}

fn total_return(
    predicted: &[(Symbol, PredictedSeries)],
    reference: &ReferenceData,
    span: Span,
    settings: &Settings,
) -> Result<f64, LabError> {
    let stocks = predicted.iter();
    let stocks = stocks.map(|(symbol, series)| series.clone().decide(*symbol, span, settings));
    let input = BacktestInput::new(stocks.collect(), reference, span, None)?;
    let result = run(&input, settings, SignalMode::Return)?;
    Ok(result.metrics.curve.total_return)
}

/// The inputs of a model, and the outputs that it returns instead of computing.
#[derive(Debug, Default)]
struct Recording {
    inputs: Vec<f32>,
    outputs: Option<VecDeque<WindowOutputs>>,
}

/// The outputs of the model for one window.
type WindowOutputs = Vec<Vec<f32>>;

impl Recording {
    fn windows(&self, bundle: &Bundle) -> Windows {
        let length = bundle.manifest().inputs[0].checked_len().unwrap_or(1);
        Windows {
            count: self.inputs.len() / length,
            inputs: vec![self.inputs.clone()],
        }
    }

    /// Switches from recording to replaying `outputs`; predictions come in the order of return and probabilities.
    fn replay(&mut self, bundle: &Bundle, outputs: &Outputs, count: usize) {
        let specs = &bundle.manifest().outputs;
        let find = |name: &str| specs.iter().position(|output| output.name == name);
        let order: Vec<usize> = ["factors", "predicted_return", "probabilities"]
            .into_iter()
            .filter_map(find)
            .collect();
        let of_window = |window: usize| {
            let part = |&output: &usize| {
                let length = outputs[output].len() / count;
                outputs[output][window * length..(window + 1) * length].to_vec()
            };
            order.iter().map(part).collect()
        };
        self.outputs = Some((0..count).map(of_window).collect());
    }

    /// Records an input, or returns its outputs when replaying.
    fn next(&mut self, input: &[f32]) -> Result<Option<WindowOutputs>, LabError> {
        match &mut self.outputs {
            None => {
                self.inputs.extend_from_slice(input);
                Ok(None)
            }
            Some(outputs) => {
                let next = outputs.pop_front();
                let ended = || {
                    LabError::rule(
                        "verify",
                        "the second run computes more windows than the first".to_owned(),
                    )
                };
                next.map(Some).ok_or_else(ended)
            }
        }
    }
}

/// Both models, one of which is recorded or replayed.
#[derive(Debug)]
struct RecordedModel {
    inner: BundleModel,
    role: Role,
    recording: Rc<RefCell<Recording>>,
    factors: Vec<f32>,
}

impl Model for RecordedModel {
    type Error = LabError;

    fn factor_count(&self) -> usize {
        self.inner.factor_count()
    }

    fn input_rows(&self) -> usize {
        self.inner.input_rows()
    }

    fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], LabError> {
        if self.role == Role::Factors
            && let Some(mut outputs) = self.recording.borrow_mut().next(window)?
        {
            self.factors = outputs.swap_remove(0);
            return Ok(&self.factors);
        }
        Ok(self.inner.factors(symbol, window)?)
    }

    fn predict(&mut self, features: &[f32]) -> Result<Prediction, LabError> {
        if self.role == Role::Direction
            && let Some(outputs) = self.recording.borrow_mut().next(features)?
        {
            let classes = &outputs[1];
            return Ok(Prediction {
                predicted_return: outputs[0][0].into(),
                probabilities: [classes[0].into(), classes[1].into(), classes[2].into()],
            });
        }
        Ok(self.inner.predict(features)?)
    }
}
