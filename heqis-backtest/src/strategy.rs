//! Where predictions come from: model bundles that run as on a board, or a table that somebody else computed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heqis_bundle::{DirectionLayout, FactorsLayout, check_pair, load};
use heqis_data::predictions::Predictions;
use heqis_infer::{BackendKind, Bundle, ModelState, StatefulModel, TensorView, open};
use heqis_quant::decision::{
    DecisionReason, DecisionState, MarketSnapshot, MarketState, Side, SignalMode, Strategy,
    TradingState,
};
use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
use heqis_quant::rules::Markets;
use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Decision, Prediction, Scaler, Span, Symbol};

use super::settings::{KillChange, Settings};
use crate::error::BacktestError;

/// What makes predictions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A predicting bundle of the task `direction`, behind a feature bundle of the task `factors` where there is one.
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
    /// Reads what a command line names: a table of predictions, `DIR`, or `FACTORS_DIR,DIRECTION_DIR`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let path = Path::new(text);
        let is_table = match std::fs::metadata(path) {
            Ok(found) => !found.is_dir(),
            Err(_) => [".csv", ".gz", ".parquet"]
                .iter()
                .any(|ending| text.ends_with(ending)),
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

    /// Returns the name that a run is filed under: that of the last directory or of the table.
    #[must_use]
    pub fn name(&self) -> String {
        let (Self::Bundles {
            direction: path, ..
        }
        | Self::Table(path)) = self;
        let name = path.file_stem().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy();
        // Packed tables have two endings.
        name.strip_suffix(".csv").unwrap_or(&name).to_owned()
    }
}

/// One bar of a series with what was seen and predicted at its close.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Foreseen {
    /// The bar, cleaned.
    pub bar: Bar,
    /// What filters see.
    pub view: MarketSnapshot,
    /// What the model says.
    pub prediction: Prediction,
    /// Whether the model gives probabilities; without them a prediction's say nothing.
    pub has_probabilities: bool,
}

/// A series of one stock with the predictions of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Foresight {
    /// All bars that the cleaner passed, in order.
    pub bars: Vec<Bar>,
    /// Those that a prediction exists for, in order.
    pub foreseen: Vec<Foreseen>,
}

/// What a run needs of a bar that a prediction exists for: small, since a market of years has millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// The end of the bar in UTC nanoseconds.
    pub time_ns: i64,
    /// The trading day.
    pub date: Date,
    /// Whether the model gives probabilities.
    pub has_probabilities: bool,
    /// What was decided in each signal mode, in their order: see [`Said::decided`].
    decided: [(Side, DecisionReason); 3],
    /// The last price.
    pub close: f64,
    /// The return to the next bar of the same stock that something is said of; 0 for the last one.
    pub followed: f64,
    /// What the model says.
    pub prediction: Prediction,
}

impl Said {
    /// Returns what was decided in a signal mode, and why.
    #[must_use]
    pub fn decided(&self, mode: SignalMode) -> (Side, DecisionReason) {
        self.decided[mode as usize]
    }
}

/// One stock on the way to a [`Scene`](super::scene::Scene).
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The stock.
    pub symbol: Symbol,
    /// All bars that the cleaner passed, in order.
    pub bars: Vec<Bar>,
    /// What was said and decided of those in the span, in order.
    pub said: Vec<Said>,
}

impl Foresight {
    /// Decides on what is foreseen in a span, outside of any position at its begin, and forgets what only decisions need.
    #[must_use]
    pub fn decided(self, symbol: Symbol, span: Span, settings: &Settings) -> Told {
        let mut foreseen = self.foreseen;
        foreseen.retain(|seen| span.contains(seen.bar.date));
        let mut said: Vec<Said> = Vec::with_capacity(foreseen.len());
        said.extend(foreseen.iter().enumerate().map(|(at, seen)| {
            let bar = &seen.bar;
            let followed = foreseen.get(at + 1).map_or(0.0, |next| {
                let reference = next.bar.reference_close(bar.date, bar.close);
                next.bar.close / reference - 1.0
            });
            Said {
                time_ns: bar.time_ns,
                date: bar.date,
                has_probabilities: seen.has_probabilities,
                decided: [(Side::Hold, DecisionReason::InvalidPrediction); 3],
                close: bar.close,
                followed,
                prediction: seen.prediction,
            }
        }));
        for mode in [SignalMode::Return, SignalMode::Class, SignalMode::Both] {
            let decisions = decide(&settings.strategy(mode), &foreseen, &settings.kill);
            for (said, decision) in said.iter_mut().zip(decisions) {
                said.decided[mode as usize] = (decision.side, decision.reason);
            }
        }
        let bars = self.bars;
        Told { symbol, bars, said }
    }
}

/// A source that is loaded.
#[derive(Debug)]
pub enum Predictor {
    /// Bundles on the CPU engine, with the scaler that they were trained with.
    Bundles(Box<DecisionPipeline<BundleModel>>),
    /// A table, which threads share.
    Table(Arc<Predictions>),
}

impl Predictor {
    /// Loads a source. The strategy says which gauges filters need; its thresholds play no part in what is foreseen.
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
                let config = PipelineConfig {
                    clean: clean.clone(),
                    ..PipelineConfig::new(scaler, strategy)
                };
                Ok(Self::Bundles(Box::new(DecisionPipeline::new(
                    config, model,
                )?)))
            }
            Source::Table(path) => Ok(Self::Table(Arc::new(Predictions::read(path)?))),
        }
    }

    /// Goes through the raw bars of one stock, oldest first; each stock once.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] and [`BacktestError::Infer`] when a step fails.
    pub fn foresee(
        &mut self,
        bars: &[Bar],
        strategy: &Strategy,
        clean: &CleanConfig,
    ) -> Result<Foresight, BacktestError> {
        match self {
            Self::Bundles(path) => follow(path, bars),
            Self::Table(table) => {
                let mut told = Foresight {
                    bars: Vec::with_capacity(bars.len()),
                    foreseen: Vec::with_capacity(bars.len()),
                };
                let markets = Markets::shipped()?;
                let mut cleaner = Cleaner::new(clean.clone())?;
                let mut market = MarketState::new(&strategy.filter_indicators())?;
                for bar in bars {
                    let Ok(bar) = cleaner.check(*bar) else {
                        continue;
                    };
                    let st = clean.is_st(bar.symbol, bar.date);
                    let view = market.update(&markets, st, &bar)?;
                    told.bars.push(bar);
                    told.foreseen
                        .extend(table.of(&bar).map(|forecast| Foreseen {
                            bar,
                            view,
                            prediction: forecast.prediction(),
                            has_probabilities: forecast.probabilities.is_some(),
                        }));
                }
                Ok(told)
            }
        }
    }
}

/// Goes along a path with the raw bars of one stock, oldest first.
///
/// # Errors
/// What the path or its model says.
pub fn follow<M: Model>(
    path: &mut DecisionPipeline<M>,
    bars: &[Bar],
) -> Result<Foresight, M::Error> {
    let mut told = Foresight {
        bars: Vec::with_capacity(bars.len()),
        foreseen: Vec::with_capacity(bars.len()),
    };
    for bar in bars {
        match path.step(*bar)? {
            // No day to trade on: the broker sees what the decisions saw.
            BarOutcome::Rejected(_) | BarOutcome::Unusable(_) => {}
            BarOutcome::WarmUp(bar) => told.bars.push(bar),
            BarOutcome::Decided {
                bar,
                snapshot,
                decision,
            } => {
                told.bars.push(bar);
                told.foreseen.push(Foreseen {
                    bar,
                    view: snapshot,
                    prediction: decision.prediction(),
                    has_probabilities: true,
                });
            }
        }
    }
    Ok(told)
}

/// Decides on every bar that is foreseen, by the code of the boards. Before the first of `kills`, which are in the order of
/// their days, everything is allowed.
#[must_use]
pub fn decide(strategy: &Strategy, foreseen: &[Foreseen], kills: &[KillChange]) -> Vec<Decision> {
    let mut state = DecisionState::default();
    foreseen
        .iter()
        .map(|seen| {
            let before = kills.partition_point(|kill| kill.from <= seen.bar.date);
            let last = kills[..before].last();
            let kill = last.map_or(TradingState::Active, |kill| kill.state);
            strategy.decide(
                &mut state,
                &(&seen.bar).into(),
                &seen.view,
                &seen.prediction,
                kill,
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

/// A model that computes.
#[derive(Debug)]
struct Running {
    model: StatefulModel,
    shape: Vec<usize>,
    /// The states of a model that carries one, by stock.
    states: HashMap<Symbol, ModelState>,
}

impl Running {
    fn open(bundle: &Bundle) -> Result<Self, BacktestError> {
        let opened = open(bundle, &[BackendKind::Cpu], true)?;
        // The layout has been checked to have one input.
        let shape = bundle.inputs().flat_map(|input| input.shape.clone());
        Ok(Self {
            shape: shape.collect(),
            model: StatefulModel::new(bundle, opened.engine),
            states: HashMap::new(),
        })
    }
}

impl BundleModel {
    /// Loads the bundles and the scaler that both were trained with.
    ///
    /// # Errors
    /// [`BacktestError::Bundle`] when a bundle breaks a rule or the two are no pair, [`BacktestError::Infer`] when an engine
    /// does not load a model.
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
