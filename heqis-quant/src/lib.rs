//! The market domain of HEQIS: bars and their checks, indicators and features, trading rules, and decisions on
//! predictions. Everything here is pure: the same input gives the same bits on a board, in the lab and in a replay.
//!
//! | module | what it is |
//! |---|---|
//! | [`symbol`] | instruments, exchanges, boards |
//! | [`date`] | calendar days and spans of days |
//! | [`calendar`] | trading days of an exchange |
//! | [`bar`] | price bars and their marks |
//! | [`instrument`] | names, special treatment, listing and suspensions of a stock |
//! | [`rules`] | dated price limits, order sizes and fees of any market, as data with sources |
//! | [`adjust`] | ex-right events → adjustment factors and adjusted prices; check of a vendor's factors |
//! | [`breaches`] | days of a series that break the price limits |
//! | [`encoding`] | encodings of text files: UTF-8 or GBK |
//! | [`clean`] | bar → bar with marks, or a typed reject: **bars enter here** |
//! | [`indicators`] | streaming indicators, by the formulas of Chinese terminals or of TA-Lib |
//! | [`features`] | bar → one row of named features, free of the price level |
//! | [`scaler`] | feature row → scaled row, and the target back; `scaler_params.json` |
//! | [`window`] | scaled rows → the flat window that a model reads |
//! | [`stats`] | moments, correlations, and intervals by clusters |
//! | [`label`] | the default target of a model: what the next bar did |
//! | [`target`] | other targets: prices, horizons and units, and the cross-section of a day |
//! | [`decision`] | prediction and market → buy, hold or sell, with the reason: **data leaves here** |
//! | [`pipeline`] | the pieces above in a row, bar → decision, as the stages of the boards call them |
//!
//! ```
//! use heqis_quant::{Bar, CleanConfig, Cleaner, Date, FeatureSet, FeatureState, Marks, QuantError, Symbol};
//!
//! let symbol = Symbol::parse("002032.SZ")?;
//! let bar = |day: &str, [open, high, low, close]: [f64; 4]| -> Result<Bar, QuantError> {
//!     let date = Date::parse(day)?;
//!     Ok(Bar {
//!         symbol, date, time_ns: date.close_time_ns(), open, high, low, close,
//!         pre_close: None, volume_shares: 90_000.0, amount_cny: None, marks: Marks::NONE,
//!     })
//! };
//! let features = FeatureSet::parse(&["return_1", "range_ratio"])?;
//! let mut cleaner = Cleaner::new(CleanConfig::default())?;
//! let mut state = FeatureState::new(&features)?;
//! let mut results = Vec::new();
//! for bar in [
//!     bar("2024-01-02", [10.00, 10.30, 9.90, 10.20])?,
//!     bar("2024-01-03", [10.20, 10.40, 10.10, 10.30])?,
//!     bar("2024-01-04", [10.30, 99.00, 10.30, 10.40])?,
//! ] {
//!     match cleaner.check(bar) {
//!         Ok(bar) => results.push(match state.update(&bar)? {
//!             Some(row) => format!("{} {:.4} {:.4}", bar.date, row[0], row[1]),
//!             None => format!("{} warming up", bar.date),
//!         }),
//!         Err(reject) => results.push(reject.reason().to_owned()),
//!     }
//! }
//! assert_eq!(results, ["2024-01-02 warming up", "2024-01-03 0.0098 0.0291", "outside_limits"]);
//! # Ok::<(), QuantError>(())
//! ```
//!
//! Not here: files and tables of bars (`heqis-data`), sockets, clocks, threads, models, and every other HEQIS crate.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod adjust;
pub mod bar;
pub mod breaches;
pub mod calendar;
pub mod clean;
pub mod date;
pub mod decision;
pub mod encoding;
mod error;
pub mod features;
pub mod indicators;
pub mod instrument;
pub mod label;
pub mod pipeline;
mod records;
mod reject;
pub mod rules;
pub mod scaler;
pub mod stats;
pub mod symbol;
pub mod target;
pub mod window;

pub use adjust::{Adjustment, ExRight, ExRights, Factors};
pub use bar::{Bar, BarRef, Marks};
pub use calendar::Calendar;
pub use clean::{CleanConfig, CleanState, Cleaner, Reject, StPeriod};
pub use date::{Date, DayOrder, Span};
pub use decision::{
    Decision, DecisionReason, DecisionRule, DecisionState, Filters, MarketSnapshot, MarketState,
    Position, Prediction, Side, SignalMode, Strategy, TradingState,
};
pub use error::QuantError;
pub use features::{FeatureSet, FeatureState};
pub use instrument::Instrument;
pub use records::{BadRow, ByStock};
pub use rules::Markets;
pub use scaler::Scaler;
pub use symbol::{Board, Exchange, Symbol};
pub use window::RowWindow;
