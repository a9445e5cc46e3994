//! From the scores of one timestamp to target weights and decisions of a portfolio.
//!
//! ```text
//! Row (bar, snapshot, prediction, score) ▸ SectionCollector ▸ Section ▸ Portfolio::step ▸ Decision for each row
//!                                                      choose ▸ weigh ▲    ▼ orders ▲ fills
//! ```
//!
//! - [`config`]: the parameters. [`section`]: collects one timestamp of all instruments. [`choose`]: ranks and top-N with
//!   dropout. [`weigh`]: weights and their limits. [`portfolio`]: the state from one timestamp to the next. `fills`: what a bar does to an order without a broker.
//!
//! The lab, the boards and a replay call the same functions, and no result depends on a clock, on a thread or on the order in
//! which the rows of a timestamp come. Arithmetic is `+ − × ÷ √` only, so that every machine gives the same bits.
//!
//! Not here: money and fills of a broker (`heqis-backtest`), where scores come from.

pub mod choose;
pub mod config;
mod fills;
pub mod portfolio;
pub mod section;
pub mod weigh;

pub use config::PortfolioConfig;
pub use portfolio::{Actual, Portfolio};
pub use section::{Row, ScoreKind, Section, SectionCollector};
