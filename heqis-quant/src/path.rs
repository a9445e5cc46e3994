//! The decision path in process: bar → [`Cleaner`] → [`FeatureState`] and [`Market`] → [`Scaler`] → [`Inputs`] →
//! [`Model`] → [`Prediction`] → [`Strategy`]. These are the pieces that the stages of the boards are made of, called in
//! the same order, so that a backtest decides what a board would have decided, to the bit.
//!
//! ```
//! use heqis_quant::path::{DecisionPath, Model, Outcome, PathConfig};
//! # use heqis_quant::scaler::{FitOptions, OutOfRange, ScalerKind};
//! # use heqis_quant::{Bar, CleanConfig, Cleaner, Date, Marks, DecisionRule, FeatureSet, Filters, Prediction};
//! # use heqis_quant::{QuantError, Scaler, SignalMode, Span, Strategy, Symbol};
//!
//! /// Believes that the last move goes on.
//! struct Inertia;
//!
//! impl Model for Inertia {
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
//! let mut path = DecisionPath::new(PathConfig::new(scaler, strategy), Inertia)?;
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
//! let mut told = Vec::new();
//! for bar in bars {
//!     match path.step(bar)? {
//!         Outcome::Decided(decided) => told.push(decided.verdict.reason.name()),
//!         Outcome::WarmUp(_) => told.push("warming up"),
//!         Outcome::Rejected(reject) => told.push(reject.reason()),
//!         Outcome::Refused(error) => return Err(error),
//!     }
//! }
//! assert_eq!(told, ["warming up", "entered", "exited"]);
//! # Ok::<(), QuantError>(())
//! ```

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::decision::Report;
use crate::rules::Markets;
use crate::{
    Bar, CleanConfig, Cleaner, FeatureSet, FeatureState, KillState, Market, Memory, Prediction,
    QuantError, Reject, RowWindow, Scaler, Strategy, Symbol, Verdict, View,
};

/// What stands between windows and predictions: a feature model, which may be none, and a predicting model.
pub trait Model {
    /// What a model that fails says.
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
    /// called once for each of the symbol's windows, in their order, so that a model may carry a state from one to the next.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn factors(&mut self, symbol: Symbol, window: &[f32]) -> Result<&[f32], Self::Error>;

    /// Returns what is predicted from the last [`Model::input_rows`] rows, each of them the factors of a window and then
    /// the scaled features of its last bar: `[input_rows * (factor_count + features)]`.
    ///
    /// # Errors
    /// When the model cannot be computed.
    fn predict(&mut self, features: &[f32]) -> Result<Prediction, Self::Error>;
}

/// The inputs of both models for one series: windows of scaled rows, and rows of factors with scaled features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    window: RowWindow,
    joined: RowWindow,
    row: Vec<f32>,
}

impl Inputs {
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

    /// Refuses the factors of a bar when one of them is not finite: the bar then takes no place among the rows, here and on
    /// a board.
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
    /// Returns [`QuantError::Value`] when there are more or fewer factors than announced, or no row was pushed before.
    pub fn join(&mut self, factors: &[f32]) -> Result<Option<&[f32]>, QuantError> {
        self.row.clear();
        self.row.extend_from_slice(factors);
        self.row
            .extend_from_slice(self.window.last_row().unwrap_or_default());
        self.joined.push(&self.row)
    }
}

/// What a decision path is made of, beside its model.
#[derive(Clone, Debug)]
pub struct PathConfig {
    /// What the cleaner has to know; its stocks under special treatment have their limits in filters as well.
    pub clean: CleanConfig,
    /// Scaler of the features; it names them, and its window size is that of the model.
    pub scaler: Scaler,
    /// When to trade.
    pub strategy: Strategy,
    /// Whether trading is allowed at the start.
    pub kill: KillState,
}

impl PathConfig {
    /// Returns the configuration with the default cleaner, free to trade.
    #[must_use]
    pub fn new(scaler: Scaler, strategy: Strategy) -> Self {
        Self {
            clean: CleanConfig::default(),
            scaler,
            strategy,
            kill: KillState::Active,
        }
    }
}

/// What became of one bar.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "most bars are decided on, and a box would be an allocation for each"
)]
pub enum Outcome {
    /// The cleaner rejected it.
    Rejected(Reject),
    /// The cleaner passed it, but it has no features, cannot be scaled, or has factors that are not finite. A board counts it and goes on; so does this path.
    Refused(QuantError),
    /// It is good, and only filled indicators or windows. It comes with the cleaner's marks.
    WarmUp(Bar),
    /// It was decided on.
    Decided(Decided),
}

/// A bar that was decided on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// The bar with the cleaner's marks.
    pub bar: Bar,
    /// What the filters saw.
    pub view: View,
    /// What the model said.
    pub prediction: Prediction,
    /// What was decided.
    pub verdict: Verdict,
}

/// The state of one series.
#[derive(Debug)]
struct Series {
    features: FeatureState,
    market: Market,
    inputs: Inputs,
    memory: Memory,
}

/// The whole way from bars of any number of symbols to decisions.
#[derive(Debug)]
pub struct DecisionPath<M> {
    cleaner: Cleaner,
    clean: CleanConfig,
    set: FeatureSet,
    scaler: Scaler,
    strategy: Strategy,
    kill: KillState,
    markets: Markets,
    model: M,
    series: HashMap<Symbol, Series>,
    row: Vec<f64>,
    scaled: Vec<f32>,
}

impl<M: Model> DecisionPath<M> {
    /// Makes a path that has seen no bar.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the scaler names a feature that cannot be computed, or a part of the
    /// configuration is out of its range.
    pub fn new(config: PathConfig, model: M) -> Result<Self, QuantError> {
        let PathConfig {
            clean,
            scaler,
            strategy,
            kill,
        } = config;
        strategy.validate()?;
        Ok(Self {
            cleaner: Cleaner::new(clean.clone())?,
            clean,
            set: FeatureSet::parse(scaler.feature_names())?,
            row: vec![0.0; scaler.n_features()],
            scaled: vec![0.0; scaler.n_features()],
            scaler,
            strategy,
            kill,
            markets: Markets::shipped()?,
            model,
            series: HashMap::new(),
        })
    }

    /// Takes the next bar and decides on it when it can.
    ///
    /// # Errors
    /// Returns the model's error, and [`QuantError::Value`] as such when the model returns another number of factors than
    /// it announced. What a board counts and survives is an [`Outcome`] instead.
    pub fn step(&mut self, bar: Bar) -> Result<Outcome, M::Error> {
        let bar = match self.cleaner.check(bar) {
            Ok(bar) => bar,
            Err(reject) => return Ok(Outcome::Rejected(reject)),
        };
        let series = match self.series.entry(bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Series {
                features: FeatureState::new(&self.set)?,
                market: Market::new(&self.strategy.gauges())?,
                inputs: Inputs::new(
                    self.scaler.window_size(),
                    self.scaler.n_features(),
                    self.model.factor_count(),
                    self.model.input_rows(),
                )?,
                memory: Memory::default(),
            }),
        };
        let ready = match series.features.update_into(&bar, &mut self.row) {
            Ok(ready) => ready,
            Err(error) => return Ok(Outcome::Refused(error)),
        };
        let view = if self.strategy.needs_market() {
            let st = self.clean.is_st(bar.symbol, bar.date);
            match series.market.update(&self.markets, st, &bar) {
                Ok(view) => view,
                Err(error) => return Ok(Outcome::Refused(error)),
            }
        } else {
            View::of_close(bar.date, bar.close)
        };
        if !ready {
            return Ok(Outcome::WarmUp(bar));
        }
        if let Err(error) = self.scaler.transform_into(&self.row, &mut self.scaled) {
            return Ok(Outcome::Refused(error));
        }
        let Some(window) = series.inputs.push(&self.scaled)? else {
            return Ok(Outcome::WarmUp(bar));
        };
        let factors = self.model.factors(bar.symbol, window)?;
        if let Err(error) = Inputs::check_factors(factors) {
            return Ok(Outcome::Refused(error));
        }
        let Some(features) = series.inputs.join(factors)? else {
            return Ok(Outcome::WarmUp(bar));
        };
        let prediction = self.model.predict(features)?;
        let verdict = self
            .strategy
            .decide(&mut series.memory, &view, &prediction, self.kill);
        Ok(Outcome::Decided(Decided {
            bar,
            view,
            prediction,
            verdict,
        }))
    }

    /// Sets how far trading is allowed from the next bar on.
    pub fn set_kill_state(&mut self, kill: KillState) {
        self.kill = kill;
    }

    /// Corrects what is assumed of a symbol's last order; to be called before the symbol's next bar. Of a symbol that
    /// has no bar yet there is nothing to correct.
    pub fn report(&mut self, symbol: Symbol, report: Report) {
        if let Some(series) = self.series.get_mut(&symbol) {
            self.strategy.report(&mut series.memory, report);
        }
    }

    /// Returns the model, for what it counted.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }
}
