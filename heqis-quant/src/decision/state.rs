//! The state of one instrument between two decisions.

use serde::{Deserialize, Serialize};

use crate::date::Date;

/// The position that the last decisions lead to. There are no short positions.
///
/// Exhaustive: a program that trades must decide on each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// No position: not bought yet, or sold again. The name in files is `out`.
    #[default]
    #[serde(rename = "out")]
    Flat,
    /// Bought and not sold. The name in files is `in`.
    #[serde(rename = "in")]
    Long,
}

/// What the risk filters keep beyond the position. It stays empty while no such filter is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RiskState {
    /// The price of the last entry, CNY, on the price level of the last bar. It is the close of the bar on which the
    /// entry was decided, since the next open is not known then, until an [`ExecutionReport`](super::ExecutionReport)
    /// gives the real price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_price: Option<f64>,
    /// Days left without purchases after a loss, today included.
    #[serde(skip_serializing_if = "is_zero")]
    pub cool_down_days: u32,
    /// Days left without purchases after a broken limit lock, today included.
    #[serde(skip_serializing_if = "is_zero")]
    pub ban_days: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(days: &u32) -> bool {
    *days == 0
}

impl RiskState {
    /// Returns whether every field has its default.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The state of one instrument after its last decision. It serialises, and the decision alone restores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionState {
    /// The position after the last decision.
    #[serde(rename = "stance")]
    pub position: Position,
    /// What the risk filters keep.
    #[serde(rename = "carry")]
    pub risk: RiskState,
    /// The day of the last decision. Days are counted by decisions: a day without one does not count.
    pub last_date: Option<Date>,
}

impl DecisionState {
    /// Moves the state to the next bar: counts the days down and follows the price level.
    pub(super) fn advance(&mut self, date: Date, level_ratio: f64) {
        let risk = &mut self.risk;
        if self.last_date.is_some_and(|last| last != date) {
            risk.cool_down_days = risk.cool_down_days.saturating_sub(1);
            risk.ban_days = risk.ban_days.saturating_sub(1);
        }
        if let Some(price) = &mut risk.entry_price {
            *price *= level_ratio;
        }
        self.last_date = Some(date);
    }
}
