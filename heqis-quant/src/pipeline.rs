//! The decision pipeline in process: bar → [`Cleaner`] → [`FeatureState`] and [`MarketState`] → [`Scaler`] →
//! [`ModelInputs`] → [`Model`] → [`Prediction`] → [`Strategy`]. These are the pieces that the stages of the boards are made
//! of, called in the same order, so that a backtest decides what a board would have decided, to the bit.
//!
//! ```
//! use heqis_quant::pipeline::{BarOutcome, DecisionPipeline, Model, PipelineConfig};
//! # use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
//! # use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Marks, DecisionRule, FeatureSet, Filters, Prediction};
//! # use heqis_quant::{QuantError, Scaler, SignalMode, Span, Strategy, Symbol};
//!
//! /// Predicts that the last move continues.
//! struct Momentum;
//!
//! impl Model for Momentum {
//!     type Error = QuantError;
//!
//!     fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], QuantError> {
//!         Ok(&[])
//!     }
//!
//!     fn predict(&mut self, features: &[f32]) -> Result<Prediction, QuantError> {
//!         let up = f64::from(features[0]);
//!         Ok(Prediction { predicted_return: up - 0.5, probabilities: [1.0 - up, 0.0, up] })
//!     }
//! }
//! # let features = FeatureSet::parse(&["return_1"])?;
//! # let day = Date::parse("2024-01-02")?;
//! # let scaler = Scaler::fit(
//! #     FitOptions { kind: ScalerKind::MinMax, out_of_range: OutOfRange::Clip, window_size: 1, span: Span::new(day, day)? },
//! #     features.names(), [&[-0.1][..], &[0.1][..]], [-0.1, 0.1])?;
//! # let rule = DecisionRule { enter: 0.1, exit: -0.1, min_confidence: 0.0, min_exit_confidence: 0.0 };
//! let strategy = Strategy { mode: SignalMode::Both, rule, filters: Filters { limit_up_hold: true, ..Filters::default() } };
//! let mut pipeline = DecisionPipeline::new(PipelineConfig::new(scaler, strategy), Momentum)?;
//! # let symbol = Symbol::parse("600000.SH")?;
//! # let bar = |day: &str, [open, high, low, close]: [f64; 4]| -> Result<Bar, QuantError> {
//! #     let (date, volume_shares, marks) = (Date::parse(day)?, 1000.0, Marks::NONE);
//! #     let time_ns = date.close_time_ns();
//! #     Ok(Bar { symbol, date, time_ns, open, high, low, close, pre_close: None, volume_shares, amount_cny: None, marks })
//! # };
//! let bars = [
//!     bar("2024-01-02", [10.0, 10.2, 9.9, 10.0])?,
//!     bar("2024-01-03", [10.0, 10.5, 10.0, 10.5])?,
//!     bar("2024-01-04", [10.4, 10.4, 10.0, 10.1])?,
//! ];
//! let mut outcomes = Vec::new();
//! for bar in bars {
//!     match pipeline.step(bar)? {
//!         BarOutcome::Decided { decision, .. } => outcomes.push(decision.reason.name()),
//!         BarOutcome::WarmUp(_) => outcomes.push("warming up"),
//!         BarOutcome::Rejected(reject) => outcomes.push(reject.reason()),
//!         BarOutcome::Unusable(error) => return Err(error),
//!     }
//! }
//! assert_eq!(outcomes, ["warming up", "entered", "exited"]);
//! # Ok::<(), QuantError>(())
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use crate::bar::{Bar, BarRef};
use crate::clean::{CleanConfig, Cleaner, Reject};
use crate::decision::{
    Decision, DecisionState, ExecutionReport, MarketSnapshot, MarketState, Prediction, Strategy,
    TradingState,
};
use crate::error::QuantError;
use crate::features::{FeatureSet, FeatureState};
use crate::rules::Markets;
use crate::scaler::Scaler;
use crate::symbol::Symbol;
use crate::window::RowWindow;

/// The models between windows and predictions: an optional factor model and a predicting model.
pub trait Model {
    /// The error of a model that fails.
    type Error: From<QuantError>;

    /// Number of factors that [`Model::factors`] returns; 0 by default.
    fn factor_count(&self) -> usize {
        0
    }

    /// Number of rows that [`Model::predict`] reads; 1 by default.
    fn input_rows(&self) -> usize {
        1
    }

    /// Returns the latent factors of a window of scaled features, `[window_rows * features]`, the oldest row first. It is
    /// called once for each of the symbol's windows, in their order, so that a model may keep a state from one to the next.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], Self::Error>;

    /// Returns the prediction from the last [`Model::input_rows`] rows, each of them the factors of a window and then
    /// the scaled features of its last bar: `[input_rows * (factor_count + features)]`.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn predict(&mut self, features: &[f32]) -> Result<Prediction, Self::Error>;
}

/// The inputs of both models for one series: windows of scaled rows, and rows of factors with scaled features.
///
/// ```
/// use heqis_quant::pipeline::ModelInputs;
///
/// // Windows of two rows of one feature; the predicting model reads one row of one factor and that feature.
/// let mut inputs = ModelInputs::new(2, 1, 1, 1)?;
/// assert_eq!(inputs.push(&[0.1])?, None);
/// assert_eq!(inputs.push(&[0.2])?, Some(&[0.1, 0.2][..]));
/// assert_eq!(inputs.join(&[0.9])?, Some(&[0.9, 0.2][..]));
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInputs {
    window: RowWindow,
    joined: RowWindow,
    row: Vec<f32>,
}

impl ModelInputs {
    /// Makes empty inputs for windows of `window_rows` rows of `n_features`, and for `input_rows` rows of `n_factors`
    /// and `n_features`.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a number of rows or features is 0, or one of the two would hold more than 2^24
    /// values.
    pub fn new(
        window_rows: usize,
        n_features: usize,
        n_factors: usize,
        input_rows: usize,
    ) -> Result<Self, QuantError> {
        let width = n_factors.saturating_add(n_features);
        Ok(Self {
            window: RowWindow::new(window_rows, n_features)?,
            joined: RowWindow::new(input_rows, width)?,
            row: Vec::with_capacity(width),
        })
    }

    /// Adds the scaled features of the next bar and returns the window `[window_rows * n_features]` once it is full.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the row has another length.
    pub fn push(&mut self, scaled: &[f32]) -> Result<Option<&[f32]>, QuantError> {
        self.window.push(scaled)
    }

    /// Refuses the factors of a bar when one of them is not finite: the bar then becomes no row, here and on a board.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] with the first such factor.
    pub fn check_factors(factors: &[f32]) -> Result<(), QuantError> {
        match factors.iter().position(|factor| !factor.is_finite()) {
            Some(at) => Err(QuantError::value(
                "factors",
                format!("factor_{at}"),
                "must be a finite number",
                factors[at],
            )),
            None => Ok(()),
        }
    }

    /// Joins the factors of the window with its last row, and returns the rows `[input_rows * (n_factors + n_features)]`
    /// once there are enough of them. Nothing is allocated.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the number of factors is not `n_factors`, or no row was pushed before.
    pub fn join(&mut self, factors: &[f32]) -> Result<Option<&[f32]>, QuantError> {
        self.row.clear();
        self.row.extend_from_slice(factors);
        self.row
            .extend_from_slice(self.window.last_row().unwrap_or_default());
        self.joined.push(&self.row)
    }
}

/// The parts of a decision pipeline without its model.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// The cleaner's configuration; the filters apply the limits of its stocks under special treatment too.
    pub clean: CleanConfig,
    /// Scaler of the features, whose window size is that of the model.
    pub scaler: Scaler,
    /// The features that the scaler names; absent, those of the table of this crate.
    pub features: Option<FeatureSet>,
    /// When to trade.
    pub strategy: Strategy,
    /// The trading state at the start.
    pub trading_state: TradingState,
}

impl PipelineConfig {
    /// Returns the configuration with the default cleaner and the trading state active.
    #[must_use]
    pub fn new(scaler: Scaler, strategy: Strategy) -> Self {
        Self {
            clean: CleanConfig::default(),
            scaler,
            features: None,
            strategy,
            trading_state: TradingState::Active,
        }
    }

    /// Sets the features, for a scaler whose names are definitions that another crate computes.
    #[must_use]
    pub fn with_features(self, features: FeatureSet) -> Self {
        Self {
            features: Some(features),
            ..self
        }
    }
}

/// The outcome of one bar.
///
/// Exhaustive: a program that trades on the outcome must decide on each.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most bars are decided on, and a box would be an allocation for each"
)]
pub enum BarOutcome {
    /// The cleaner rejected it.
    Rejected(Reject),
    /// The cleaner passed it, but it has no features, cannot be scaled, or has factors that are not finite. A board counts
    /// it and continues; so does this pipeline.
    Unusable(QuantError),
    /// It only filled indicators or windows. It has the cleaner's marks.
    WarmUp(Bar),
    /// It was decided on.
    Decided {
        /// The bar with the cleaner's marks.
        bar: Bar,
        /// The inputs of the filters.
        snapshot: MarketSnapshot,
        /// The decision, with the prediction that it was made on.
        decision: Decision,
    },
}

/// The state of one symbol.
#[derive(Debug)]
struct SymbolState {
    features: FeatureState,
    market: MarketState,
    inputs: ModelInputs,
    decision: DecisionState,
}

/// The whole way from bars of any number of symbols to decisions; see the [module](self) for an example.
#[derive(Debug)]
pub struct DecisionPipeline<M> {
    cleaner: Cleaner,
    clean: CleanConfig,
    set: FeatureSet,
    scaler: Scaler,
    strategy: Strategy,
    trading_state: TradingState,
    markets: Markets,
    model: M,
    symbols: HashMap<Symbol, SymbolState>,
    row: Vec<f64>,
    scaled: Vec<f32>,
}

impl<M: Model> DecisionPipeline<M> {
    /// Makes a pipeline that has taken no bar.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the scaler names a feature that cannot be computed, or a part of the
    /// configuration is out of its range.
    pub fn new(config: PipelineConfig, model: M) -> Result<Self, QuantError> {
        let PipelineConfig {
            clean,
            scaler,
            features,
            strategy,
            trading_state,
        } = config;
        strategy.validate()?;
        let set = match features {
            Some(set) => set,
            None => FeatureSet::parse(scaler.feature_names())?,
        };
        if set.names() != scaler.feature_names() {
            let rule = "must be those that the scaler names";
            let got = format!("{} features", set.len());
            return Err(QuantError::value("pipeline", "features", rule, got));
        }
        Ok(Self {
            cleaner: Cleaner::new(clean.clone())?,
            clean,
            set,
            row: vec![0.0; scaler.n_features()],
            scaled: vec![0.0; scaler.n_features()],
            scaler,
            strategy,
            trading_state,
            markets: Markets::shipped()?,
            model,
            symbols: HashMap::new(),
        })
    }

    /// Takes the next bar and decides on it once warm-up and windows are complete.
    ///
    /// # Errors
    /// Returns the model's error, and [`QuantError::Value`] as such when the model returns another number of factors than
    /// its [`Model::factor_count`]. Errors that a board counts and survives are a [`BarOutcome`] instead.
    pub fn step(&mut self, bar: Bar) -> Result<BarOutcome, M::Error> {
        let bar = match self.cleaner.check(bar) {
            Ok(bar) => bar,
            Err(reject) => return Ok(BarOutcome::Rejected(reject)),
        };
        let state = match self.symbols.entry(bar.symbol) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(SymbolState {
                features: FeatureState::new(&self.set)?,
                market: MarketState::new(&self.strategy.filter_indicators())?,
                inputs: ModelInputs::new(
                    self.scaler.window_size(),
                    self.scaler.n_features(),
                    self.model.factor_count(),
                    self.model.input_rows(),
                )?,
                decision: DecisionState::default(),
            }),
        };
        let ready = match state.features.update_into(&bar, &mut self.row) {
            Ok(ready) => ready,
            Err(error) => return Ok(BarOutcome::Unusable(error)),
        };
        let snapshot = if self.strategy.needs_market() {
            let st = self.clean.is_st(bar.symbol, bar.date);
            match state.market.update(&self.markets, st, &bar) {
                Ok(snapshot) => snapshot,
                Err(error) => return Ok(BarOutcome::Unusable(error)),
            }
        } else {
            MarketSnapshot::of_close(bar.date, bar.close)
        };
        if !ready {
            return Ok(BarOutcome::WarmUp(bar));
        }
        if let Err(error) = self.scaler.transform_into(&self.row, &mut self.scaled) {
            return Ok(BarOutcome::Unusable(error));
        }
        let Some(window) = state.inputs.push(&self.scaled)? else {
            return Ok(BarOutcome::WarmUp(bar));
        };
        let factors = self.model.factors(bar.symbol, window)?;
        if let Err(error) = ModelInputs::check_factors(factors) {
            return Ok(BarOutcome::Unusable(error));
        }
        let Some(features) = state.inputs.join(factors)? else {
            return Ok(BarOutcome::WarmUp(bar));
        };
        let prediction = self.model.predict(features)?;
        let decision = self.strategy.decide(
            &mut state.decision,
            &BarRef::from(&bar),
            &snapshot,
            &prediction,
            self.trading_state,
        );
        Ok(BarOutcome::Decided {
            bar,
            snapshot,
            decision,
        })
    }

    /// Sets the trading state from the next bar on.
    pub fn set_trading_state(&mut self, trading_state: TradingState) {
        self.trading_state = trading_state;
    }

    /// Corrects the state of a symbol by a broker's report on its last order; to be called before the symbol's next bar. A
    /// symbol without a bar has no order to correct.
    pub fn report(&mut self, symbol: Symbol, report: ExecutionReport) {
        if let Some(state) = self.symbols.get_mut(&symbol) {
            self.strategy.report(&mut state.decision, report);
        }
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }
}
