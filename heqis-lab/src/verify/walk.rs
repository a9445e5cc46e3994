//! History along the path of the boards, with one of the two models listened to or answered for.

use crate::convert::calibration::role;
use crate::error::LabError;
use crate::side::Side;
use crate::windows::{Answers, Windows};
use heqis_backtest::backtest_input::BacktestInput;
use heqis_backtest::inputs::{RawBars, ReferenceData};
use heqis_backtest::run::run;
use heqis_backtest::settings::Settings;
use heqis_backtest::strategy::{BundleModel, PredictedSeries, decide, predict_series};
use heqis_bundle::Role;
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::reference::Tables;
use heqis_infer::{Bundle, TradingDifference};
use heqis_quant::decision::SignalMode;
use heqis_quant::pipeline::{DecisionPipeline, Model, PipelineConfig};
use heqis_quant::{CleanConfig, Date, Prediction, Span, Symbol};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

/// What decisions are compared on.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Tables of daily bars.
    pub bars: Vec<PathBuf>,
    /// The other bundle of the pair: a predicting one for a feature model, and the other way round.
    pub with: Option<PathBuf>,
    /// Settings of the backtest.
    pub settings: Option<PathBuf>,
    /// First day that is traded.
    pub from: Option<Date>,
    /// Last day that is traded.
    pub to: Option<Date>,
}

impl Trade {
    /// Decides and trades once with the bundles on the CPU engine, and once with `side` in the place of the bundle's model,
    /// in one account for all stocks.
    ///
    /// # Errors
    ///
    /// [`LabError`] when an input cannot be read, the bundles are no pair, or a model or a run fails.
    pub fn compare(
        &self,
        bundle: &Bundle,
        side: &mut dyn Side,
    ) -> Result<TradingDifference, LabError> {
        let settings = match &self.settings {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        let series = RawBars::read(&self.bars, Tables::default(), &ImportArgs::default(), None)?;
        let facts = ReferenceData::read(
            series.bars.keys().copied(),
            &series.tables,
            CleanConfig::default(),
        )?;
        let tape = Rc::new(RefCell::new(Tape::default()));
        let reference = self.predict(bundle, &settings, &facts, &series, &tape)?;
        let windows = tape.borrow().windows(bundle);
        let answers = side.compute(&windows)?;
        tape.borrow_mut().answer(bundle, &answers, windows.count);
        let backend = self.predict(bundle, &settings, &facts, &series, &tape)?;

        let span = Span::new(
            self.from.map_or_else(|| Date::new(1990, 1, 1), Ok)?,
            self.to.map_or_else(|| Date::new(2199, 12, 31), Ok)?,
        )?;
        let strategy = settings.strategy(SignalMode::Return);
        let mut difference = TradingDifference {
            bars: 0,
            class_flips: 0,
            decisions: 0,
            reference_return: total_return(&reference, &facts, span, &settings)?,
            backend_return: total_return(&backend, &facts, span, &settings)?,
        };
        for ((_, reference), (_, backend)) in reference.iter().zip(&backend) {
            // Both saw the same bars, since neither the cleaner nor the scaler asks a model.
            let decided = |series: &PredictedSeries| {
                decide(&strategy, &series.predicted, &settings.trading_states)
            };
            let decisions = decided(reference).into_iter().zip(decided(backend));
            let predicted = reference.predicted.iter().zip(&backend.predicted);
            for ((a, b), (left, right)) in predicted.zip(decisions) {
                if span.contains(a.bar.date) {
                    difference.bars += 1;
                    difference.class_flips +=
                        usize::from(class(&a.prediction) != class(&b.prediction));
                    difference.decisions += usize::from(left.side != right.side);
                }
            }
        }
        Ok(difference)
    }

    /// Predicts every stock, oldest bar first.
    fn predict(
        &self,
        bundle: &Bundle,
        settings: &Settings,
        facts: &ReferenceData,
        series: &RawBars,
        tape: &Rc<RefCell<Tape>>,
    ) -> Result<Vec<(Symbol, PredictedSeries)>, LabError> {
        let role = role(bundle)?;
        let (inner, scaler) = match (role, &self.with) {
            (Role::Factors, Some(direction)) => BundleModel::load(Some(bundle.dir()), direction)?,
            (Role::Factors, None) => {
                let rule = "a feature model trades only with a predicting one, which --with names";
                return Err(LabError::rule("verify", rule.to_owned()));
            }
            (Role::Direction, factors) => BundleModel::load(factors.as_deref(), bundle.dir())?,
        };
        let config = PipelineConfig {
            clean: facts.clean.clone(),
            ..PipelineConfig::new(scaler, settings.strategy(SignalMode::Return))
        };
        let taped = Taped {
            inner,
            role,
            tape: tape.clone(),
            factors: Vec::new(),
        };
        let mut path = DecisionPipeline::new(config, taped)?;
        let stocks = series.bars.iter();
        stocks
            .map(|(symbol, bars)| Ok((*symbol, predict_series(&mut path, bars)?)))
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

/// The most likely class; of equal ones the first.
fn class(prediction: &Prediction) -> usize {
    let [down, flat, up] = prediction.probabilities;
    match (down >= flat && down >= up, flat >= up) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// What a model was asked, and what it shall answer instead of computing.
#[derive(Debug, Default)]
struct Tape {
    asked: Vec<f32>,
    answers: Option<VecDeque<Answer>>,
}

/// The outputs of one window.
type Answer = Vec<Vec<f32>>;

impl Tape {
    fn windows(&self, bundle: &Bundle) -> Windows {
        let length = bundle.manifest().inputs[0].checked_len().unwrap_or(1);
        Windows {
            count: self.asked.len() / length,
            inputs: vec![self.asked.clone()],
        }
    }

    /// Has the tape answer from now on, with predictions in the order of return and probabilities.
    fn answer(&mut self, bundle: &Bundle, answers: &Answers, count: usize) {
        let outputs = &bundle.manifest().outputs;
        let find = |name: &str| outputs.iter().position(|output| output.name == name);
        let order: Vec<usize> = ["factors", "predicted_return", "probabilities"]
            .into_iter()
            .filter_map(find)
            .collect();
        let of_window = |window: usize| {
            let part = |&output: &usize| {
                let length = answers[output].len() / count;
                answers[output][window * length..(window + 1) * length].to_vec()
            };
            order.iter().map(part).collect()
        };
        self.answers = Some((0..count).map(of_window).collect());
    }

    /// Takes down a question and returns the answer when it is the tape's to give.
    fn next(&mut self, question: &[f32]) -> Result<Option<Answer>, LabError> {
        match &mut self.answers {
            None => {
                self.asked.extend_from_slice(question);
                Ok(None)
            }
            Some(answers) => {
                let answer = answers.pop_front();
                let ended = || LabError::rule("verify", "more windows than before".to_owned());
                answer.map(Some).ok_or_else(ended)
            }
        }
    }
}

/// Both models, one of them on tape.
#[derive(Debug)]
struct Taped {
    inner: BundleModel,
    role: Role,
    tape: Rc<RefCell<Tape>>,
    factors: Vec<f32>,
}

impl Model for Taped {
    type Error = LabError;

    fn factor_count(&self) -> usize {
        self.inner.factor_count()
    }

    fn input_rows(&self) -> usize {
        self.inner.input_rows()
    }

    fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], LabError> {
        if self.role == Role::Factors
            && let Some(mut answer) = self.tape.borrow_mut().next(window)?
        {
            self.factors = answer.swap_remove(0);
            return Ok(&self.factors);
        }
        Ok(self.inner.factors(symbol, window)?)
    }

    fn predict(&mut self, features: &[f32]) -> Result<Prediction, LabError> {
        if self.role == Role::Direction
            && let Some(answer) = self.tape.borrow_mut().next(features)?
        {
            let classes = &answer[1];
            return Ok(Prediction {
                predicted_return: answer[0][0].into(),
                probabilities: [classes[0].into(), classes[1].into(), classes[2].into()],
            });
        }
        Ok(self.inner.predict(features)?)
    }
}
