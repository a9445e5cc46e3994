//! Sources of predictions: model bundles, run as on a board, or a table computed elsewhere.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_bundle::{DirectionLayout, FactorsLayout, check_pair, load};
use heqis_data::predictions::Predictions;
use heqis_factors::feature_set;
use heqis_infer::{BackendKind, Bundle, ModelState, StatefulModel, TensorView, open};
use heqis_quant::decision::{
    Band, DecisionReason, DecisionState, MarketSnapshot, MarketState, Side, SignalMode, Strategy,
    TradingState,
};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Decision, Prediction, Scaler, Span, Symbol};

use super::settings::{Settings, TradingStateChange};
use crate::error::BacktestError;

/// A source of predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A predicting bundle of the task `direction`, optionally fed by a feature bundle of the task `factors`.
    Bundles {
        /// The feature model's directory.
        factors: Option<PathBuf>,
        /// The predicting model's directory.
        direction: PathBuf,
    },
    /// A table of [`predictions`](heqis_data::predictions).
    Table(PathBuf),
}

impl Source {
    /// Parses the argument of a command line: a table of predictions, `DIR`, or `FACTORS_DIR,DIRECTION_DIR`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let path = Path::new(text);
        let is_table = match std::fs::metadata(path) {
            Ok(found) => !found.is_dir(),
            Err(_) => [".csv", ".gz", ".parquet"]
                .iter()
                .any(|extension| text.ends_with(extension)),
        };
        match text.split_once(',') {
            _ if is_table => Self::Table(text.into()),
            Some((factors, direction)) => Self::Bundles {
                factors: Some(factors.into()),
                direction: direction.into(),
            },
            None => Self::Bundles {
                factors: None,
                direction: text.into(),
            },
        }
    }

    /// Returns the name of the directory of a run: the name of the bundle directory or of the table.
    #[must_use]
    pub fn name(&self) -> String {
        let (Self::Bundles {
            direction: path, ..
        }
        | Self::Table(path)) = self;
        let name = path.file_stem().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy();
        // Compressed tables have two extensions.
        name.strip_suffix(".csv").unwrap_or(&name).to_owned()
    }
}

/// One bar of a series with the market snapshot and the prediction at its close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictedBar {
    /// The cleaned bar.
    pub bar: Bar,
    /// The input of the filters.
    pub snapshot: MarketSnapshot,
    /// The output of the model.
    pub prediction: Prediction,
    /// Whether the model gives probabilities; without them, those of `prediction` are meaningless.
    pub has_probabilities: bool,
}

/// A series of one stock with the predictions of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedSeries {
    /// All bars that the cleaner passed, in order.
    pub bars: Vec<Bar>,
    /// The bars that have a prediction, in order.
    pub predicted: Vec<PredictedBar>,
}

/// The part of a predicted bar that a run needs, with its decisions. It is small, since a market of years has millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecidedBar {
    /// The end of the bar in UTC nanoseconds.
    pub time_ns: i64,
    /// The trading day.
    pub date: Date,
    /// Whether the model gives probabilities.
    pub has_probabilities: bool,
    /// The decisions by signal mode, in the order of [`SignalMode`]: see [`DecidedBar::decision`].
    decisions: [(Side, DecisionReason); 3],
    /// The last price.
    pub close: f64,
    /// The return to the next predicted bar of the same stock; 0 for the last one.
    pub next_return: f64,
    /// The reference price of the day, not a number where it is unknown.
    reference_close: f64,
    /// Lower and upper limit of the day in cents; 0 where none is in force, and beyond 21 million.
    limits_cents: [i32; 2],
    /// The output of the model.
    pub prediction: Prediction,
}

impl DecidedBar {
    /// Returns the side decided in a signal mode, and the reason.
    #[must_use]
    pub fn decision(&self, mode: SignalMode) -> (Side, DecisionReason) {
        self.decisions[mode as usize]
    }

    /// Returns the market at its close, as far as a portfolio reads it.
    #[must_use]
    pub fn snapshot(&self) -> MarketSnapshot {
        let [down, up] = self.limits_cents;
        MarketSnapshot {
            reference_close: Some(self.reference_close).filter(|price| !price.is_nan()),
            limits: (up > 0).then_some(Band {
                down_cents: down.into(),
                up_cents: up.into(),
            }),
            ..MarketSnapshot::of_close(self.date, self.close)
        }
    }
}

/// One stock of a [`BacktestInput`](super::backtest_input::BacktestInput).
#[derive(Clone, Debug, PartialEq)]
pub struct DecidedSeries {
    /// The stock.
    pub symbol: Symbol,
    /// All bars that the cleaner passed, in order.
    pub bars: Vec<Bar>,
    /// The predicted bars of the span with their decisions, in order.
    pub decided: Vec<DecidedBar>,
}

impl PredictedSeries {
    /// Decides on the predicted bars of a span, starting without a position, and drops what only decisions need.
    #[must_use]
    pub fn decide(self, symbol: Symbol, span: Span, settings: &Settings) -> DecidedSeries {
        let mut predicted = self.predicted;
        predicted.retain(|row| span.contains(row.bar.date));
        let mut decided: Vec<DecidedBar> = Vec::with_capacity(predicted.len());
        decided.extend(predicted.iter().enumerate().map(|(at, row)| {
            let bar = &row.bar;
            let next_return = predicted.get(at + 1).map_or(0.0, |next| {
                let reference = next.bar.reference_close(bar.date, bar.close);
                next.bar.close / reference - 1.0
            });
            DecidedBar {
                time_ns: bar.time_ns,
                date: bar.date,
                has_probabilities: row.has_probabilities,
                decisions: [(Side::Hold, DecisionReason::InvalidPrediction); 3],
                close: bar.close,
                next_return,
                reference_close: row.snapshot.reference_close.unwrap_or(f64::NAN),
                limits_cents: row.snapshot.limits.map_or([0; 2], |band| {
                    let cents = [band.down_cents, band.up_cents].map(i32::try_from);
                    match cents {
                        [Ok(down), Ok(up)] => [down, up],
                        _ => [0; 2],
                    }
                }),
                prediction: row.prediction,
            }
        }));
        for mode in [SignalMode::Return, SignalMode::Class, SignalMode::Both] {
            let decisions = decide(
                &settings.strategy(mode),
                &predicted,
                &settings.trading_states,
            );
            for (row, decision) in decided.iter_mut().zip(decisions) {
                row.decisions[mode as usize] = (decision.side, decision.reason);
            }
        }
        let bars = self.bars;
        DecidedSeries {
            symbol,
            bars,
            decided,
        }
    }
}

/// A loaded source.
#[derive(Debug)]
pub enum Predictor {
    /// Bundles on the CPU engine, with the scaler that they were trained with.
    Bundles(Box<DecisionPipeline<BundleModel>>),
    /// A table, which threads share.
    Table(Arc<Predictions>),
}

impl Predictor {
    /// Loads a source. The strategy determines the indicators of the filters; its thresholds do not affect predictions.
    ///
    /// # Errors
    /// As [`BundleModel::load`]; [`BacktestError::Data`] and [`BacktestError::Quant`] when a table cannot be read.
    pub fn load(
        source: &Source,
        strategy: Strategy,
        clean: &CleanConfig,
    ) -> Result<Self, BacktestError> {
        match source {
            Source::Bundles { factors, direction } => {
                let (model, scaler) = BundleModel::load(factors.as_deref(), direction)?;
                let features = feature_set(scaler.feature_names())?;
                let config = PipelineConfig {
                    clean: clean.clone(),
                    ..PipelineConfig::new(scaler, strategy).with_features(features)
                };
                Ok(Self::Bundles(Box::new(DecisionPipeline::new(
                    config, model,
                )?)))
            }
            Source::Table(path) => Ok(Self::Table(Arc::new(Predictions::read(path)?))),
        }
    }

    /// Predicts the raw bars of one stock, oldest first. Call it once for each stock.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] and [`BacktestError::Infer`] when a step fails.
    pub fn predict(
        &mut self,
        bars: &[Bar],
        strategy: &Strategy,
        clean: &CleanConfig,
    ) -> Result<PredictedSeries, BacktestError> {
        match self {
            Self::Bundles(pipeline) => predict_series(pipeline, bars),
            Self::Table(table) => {
                let mut series = PredictedSeries {
                    bars: Vec::with_capacity(bars.len()),
                    predicted: Vec::with_capacity(bars.len()),
                };
                let markets = Markets::shipped()?;
                let mut cleaner = Cleaner::new(clean.clone())?;
                let mut market = MarketState::new(&strategy.filter_indicators())?;
                for bar in bars {
                    let Ok(bar) = cleaner.check(*bar) else {
                        continue;
                    };
                    let st = clean.is_st(bar.symbol, bar.date);
                    let snapshot = market.update(&markets, st, &bar)?;
                    series.bars.push(bar);
                    series
                        .predicted
                        .extend(table.of(&bar).map(|forecast| PredictedBar {
                            bar,
                            snapshot,
                            prediction: forecast.prediction(),
                            has_probabilities: forecast.probabilities.is_some(),
                        }));
                }
                Ok(series)
            }
        }
    }
}

/// Runs a decision pipeline over the raw bars of one stock, oldest first.
///
/// # Errors
/// The errors of the pipeline and of its model.
pub fn predict_series<M: Model>(
    pipeline: &mut DecisionPipeline<M>,
    bars: &[Bar],
) -> Result<PredictedSeries, M::Error> {
    let mut series = PredictedSeries {
        bars: Vec::with_capacity(bars.len()),
        predicted: Vec::with_capacity(bars.len()),
    };
    for bar in bars {
        match pipeline.step(*bar)? {
            // The broker trades on the same bars as the decisions, so a rejected bar is not a trading day.
            BarOutcome::Rejected(_) | BarOutcome::Unusable(_) => {}
            BarOutcome::WarmUp(bar) => series.bars.push(bar),
            BarOutcome::Decided {
                bar,
                snapshot,
                decision,
            } => {
                series.bars.push(bar);
                series.predicted.push(PredictedBar {
                    bar,
                    snapshot,
                    prediction: decision.prediction(),
                    has_probabilities: true,
                });
            }
        }
    }
    Ok(series)
}

/// Decides on every predicted bar, by the code of the boards. Before the first of `states`, which are in the order of their
/// days, trading is active.
#[must_use]
pub fn decide(
    strategy: &Strategy,
    predicted: &[PredictedBar],
    states: &[TradingStateChange],
) -> Vec<Decision> {
    let mut state = DecisionState::default();
    predicted
        .iter()
        .map(|row| {
            let before = states.partition_point(|change| change.from <= row.bar.date);
            let last = states[..before].last();
            let trading_state = last.map_or(TradingState::Active, |change| change.state);
            strategy.decide(
                &mut state,
                &(&row.bar).into(),
                &row.snapshot,
                &row.prediction,
                trading_state,
            )
        })
        .collect()
}

/// One or two bundles on the CPU engine.
#[derive(Debug)]
pub struct BundleModel {
    factors: Option<Running>,
    direction: Running,
    layout: DirectionLayout,
}

/// A loaded model with its state.
#[derive(Debug)]
struct Running {
    model: StatefulModel,
    shape: Vec<usize>,
    /// The state of a stateful model by stock.
    states: HashMap<Symbol, ModelState>,
}

impl Running {
    fn open(bundle: &Bundle) -> Result<Self, BacktestError> {
        let opened = open(bundle, &[BackendKind::Cpu], true)?;
        // The layout check guarantees one input.
        let shape = bundle.inputs().flat_map(|input| input.shape.clone());
        Ok(Self {
            shape: shape.collect(),
            model: StatefulModel::new(bundle, opened.engine),
            states: HashMap::new(),
        })
    }
}

impl BundleModel {
    /// Loads the bundles and the scaler of their training.
    ///
    /// # Errors
    /// [`BacktestError::Bundle`] when a bundle is invalid or the two do not match, [`BacktestError::Infer`] when an engine
    /// cannot load a model.
    pub fn load(factors: Option<&Path>, direction: &Path) -> Result<(Self, Scaler), BacktestError> {
        let factors = factors.map(load::<FactorsLayout>).transpose()?;
        let direction = load::<DirectionLayout>(direction)?;
        check_pair(factors.as_ref(), &direction)?;
        let scaler = direction.layout.scaler.clone();
        let factors = factors.map(|loaded| Running::open(&loaded.bundle));
        let model = Self {
            factors: factors.transpose()?,
            direction: Running::open(&direction.bundle)?,
            layout: direction.layout,
        };
        Ok((model, scaler))
    }
}

impl Model for BundleModel {
    type Error = BacktestError;

    fn factor_count(&self) -> usize {
        self.layout.factors
    }

    fn input_rows(&self) -> usize {
        self.layout.rows
    }

    fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], BacktestError> {
        match &mut self.factors {
            Some(model) => {
                let window = TensorView::f32(&model.shape, window);
                let state = model.states.entry(symbol).or_default();
                model.model.step(state, &[window])?;
                Ok(model.model.output(0))
            }
            None => Ok(&[]),
        }
    }

    fn predict(&mut self, features: &[f32]) -> Result<Prediction, BacktestError> {
        let model = &mut self.direction;
        let features = TensorView::f32(&model.shape, features);
        model.model.step(&mut ModelState::default(), &[features])?;
        let classes = model.model.output(self.layout.probabilities);
        Ok(Prediction {
            predicted_return: model.model.output(self.layout.predicted_return)[0].into(),
            probabilities: [classes[0].into(), classes[1].into(), classes[2].into()],
        })
    }
}
