//! History along the path of the boards, with one of the two models listened to or answered for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;

use heqis_backtest::inputs::{Facts, Series};
use heqis_backtest::run::{Scene, Settings, run};
use heqis_backtest::strategy::{BundleModel, Foresight, decide, follow};
use heqis_bundle::{FactorsLayout, Layout, Role};
use heqis_data::import_args::ImportArgs;
use heqis_data::prepare::known::Tables;
use heqis_infer::{Bundle, TradingDifference};
use heqis_quant::decision::SignalMode;
use heqis_quant::pipeline::{DecisionPipeline, Model, PipelineConfig};
use heqis_quant::{Bar, CleanConfig, Date, Prediction, Span, Symbol};

use super::sides::Side;
use super::windows::{Answers, Windows};
use crate::error::LabError;

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
        let series = Series::read(&self.bars, Tables::default(), &ImportArgs::default(), None)?;
        let facts = Facts::read(
            series.bars.keys().copied(),
            &series.tables,
            CleanConfig::default(),
        )?;
        let tape = Rc::new(RefCell::new(Tape::default()));
        let reference = self.foresee(bundle, &settings, &facts, &series, &tape)?;
        let windows = tape.borrow().windows(bundle);
        let answers = side.compute(&windows)?;
        tape.borrow_mut().answer(bundle, &answers, windows.count);
        let backend = self.foresee(bundle, &settings, &facts, &series, &tape)?;

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
            let decided = |told: &Foresight| decide(&strategy, &told.foreseen, &settings.kill);
            let verdicts = decided(reference).into_iter().zip(decided(backend));
            let seen = reference.foreseen.iter().zip(&backend.foreseen);
            for ((a, b), (left, right)) in seen.zip(verdicts) {
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
    fn foresee(
        &self,
        bundle: &Bundle,
        settings: &Settings,
        facts: &Facts,
        series: &Series,
        tape: &Rc<RefCell<Tape>>,
    ) -> Result<Vec<(Symbol, Foresight)>, LabError> {
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
            .map(|(symbol, bars)| Ok((*symbol, follow(&mut path, bars)?)))
            .collect()
    }
}

fn total_return(
    told: &[(Symbol, Foresight)],
    facts: &Facts,
    span: Span,
    settings: &Settings,
) -> Result<f64, LabError> {
    let stocks = told.iter();
    let stocks = stocks.map(|(symbol, told)| told.clone().decided(*symbol, span, settings));
    let scene = Scene::new(stocks.collect(), facts, span, None)?;
    let outcome = run(&scene, settings, SignalMode::Return)?;
    Ok(outcome.metrics.curve.total_return)
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

/// Returns the role of a bundle whose windows can be computed one by one.
fn role(bundle: &Bundle) -> Result<Role, LabError> {
    if bundle.is_stateful() {
        let place = bundle.dir().display();
        let rule = format!("{place}: a model that carries a state cannot compute single windows");
        return Err(LabError::rule("verify", rule));
    }
    Ok(heqis_bundle::check(bundle)?.role())
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

/// Takes down windows and computes nothing.
#[derive(Debug)]
struct Listener {
    factors: Vec<f32>,
    window: Vec<f32>,
}

impl Model for Listener {
    type Error = LabError;

    fn factor_count(&self) -> usize {
        self.factors.len()
    }

    fn factors(&mut self, _: Symbol, window: &[f32]) -> Result<&[f32], LabError> {
        self.window.clear();
        self.window.extend_from_slice(window);
        Ok(&self.factors)
    }

    fn predict(&mut self, _: &[f32]) -> Result<Prediction, LabError> {
        Ok(Prediction {
            predicted_return: 0.0,
            probabilities: [0.0, 1.0, 0.0],
        })
    }
}

/// Returns `count` windows of a feature model, evenly over its training span, made of bars as on the boards.
///
/// # Errors
///
/// [`LabError::Rule`] when the bundle is no feature model, or the bars hold fewer windows of its training span;
/// [`LabError::Data`] and [`LabError::Quant`] when the bars cannot be read.
pub fn training_windows(
    bundle: &Bundle,
    bars: &[PathBuf],
    count: usize,
) -> Result<Windows, LabError> {
    let place = bundle.dir().display();
    if role(bundle)? != Role::Factors {
        let rule =
            format!("{place}: only a feature model is calibrated, whose input is a window of bars");
        return Err(LabError::rule("verify", rule));
    }
    let manifest = bundle.manifest();
    let span = Span::new(
        Date::parse(&manifest.training_span.from)?,
        Date::parse(&manifest.training_span.to)?,
    )?;
    let layout = FactorsLayout::of(bundle)?;
    let strategy = Settings::default().strategy(SignalMode::Return);
    let config = PipelineConfig::new(layout.scaler, strategy);
    let listener = Listener {
        factors: vec![0.0; layout.factors],
        window: Vec::new(),
    };
    let mut path = DecisionPipeline::new(config, listener)?;
    let mut all: Vec<Vec<f32>> = Vec::new();
    for bars in Series::read(bars, Tables::default(), &ImportArgs::default(), None)?
        .bars
        .values()
    {
        for bar in within(bars, span) {
            path.step(*bar)?;
            let window = &path.model().window;
            // A bar that only filled a window left the one before.
            if !window.is_empty() && all.last() != Some(window) {
                all.push(window.clone());
            }
        }
    }
    if count == 0 || all.len() < count {
        let rule = format!(
            "{place}: {count} windows of the training span are wanted, the bars hold {}",
            all.len()
        );
        return Err(LabError::rule("verify", rule));
    }
    let chosen = (0..count).flat_map(|i| all[i * all.len() / count].iter().copied());
    Ok(Windows {
        count,
        inputs: vec![chosen.collect()],
    })
}

/// Bars of a span: what lies outside it shall not be seen.
fn within(bars: &[Bar], span: Span) -> impl Iterator<Item = &Bar> {
    bars.iter().filter(move |bar| span.contains(bar.date))
}
