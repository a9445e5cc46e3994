//! The part of a decision that is made from ranks: what the portfolio kept of one instrument.

use serde::{Deserialize, Serialize};

/// An order of a portfolio for one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortfolioOrder {
    /// The cross-section after which it was given.
    pub since: u64,
    /// The weight that it leads to, as a part of the account; 0 sells everything.
    pub weight: f64,
    /// The value that it buys, where an account begins with 1; negative for a sale.
    pub amount: f64,
}

/// What is kept for volatility and beta: exponentially weighted means of squares and products of returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// Returns so far.
    pub count: u32,
    /// Mean of the squared return.
    pub variance: f64,
    /// Mean of the return times that of the cross-section.
    pub covariance: f64,
    /// Mean of the squared return of the cross-section, which is the mean return of its instruments.
    pub market: f64,
}

/// The place of an instrument in a cross-section, and what the portfolio holds of it. Together with the decision it restores
/// the state of the portfolio for this instrument.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    /// The number of the cross-section, from 1.
    pub section: u64,
    /// The rank, 1 is the best; absent where the score is not a number or came too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// How many instruments have a rank.
    pub of: u32,
    /// How many instruments were expected and did not come.
    pub missing: u32,
    /// The score; null where it is not a number.
    #[serde(deserialize_with = "super::record::number")]
    pub score: f64,
    /// The weight that the portfolio wants, as a part of the account.
    pub weight: f64,
    /// The value of what is held at the close, where the account began with 1: only what was filled counts.
    pub value: f64,
    /// The cash of the account on the same scale.
    pub cash: f64,
    /// The order that waits for the next bar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<PortfolioOrder>,
    /// The earlier order that this bar did not fill and that this decision replaced or gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfilled: Option<PortfolioOrder>,
    /// What volatility and beta are computed from, where the portfolio uses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moments: Option<Moments>,
}
