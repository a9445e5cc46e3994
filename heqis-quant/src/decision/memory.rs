//! What has to be remembered of one instrument between two decisions.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::Date;

/// Whether the last decisions left the instrument in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stance {
    /// Not entered, or left again.
    #[default]
    Out,
    /// Entered.
    In,
}

/// What filters remember beyond the stance. Without such filters it stays empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Carry {
    /// The price of the last entry, CNY, on the price level of the last bar. It is the close of the bar on which the
    /// entry was decided, since the next open is not known then, until a [`Report`](super::Report) tells the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_price: Option<f64>,
    /// Days left on which nothing is bought after a loss, today included.
    #[serde(skip_serializing_if = "is_zero")]
    pub cool_down_days: u32,
    /// Days left on which nothing is bought after a broken board, today included.
    #[serde(skip_serializing_if = "is_zero")]
    pub ban_days: u32,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(days: &u32) -> bool {
    *days == 0
}

impl Carry {
    /// Returns whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The memory of one instrument after its last decision. It serialises, and a decision's verdict and date restore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The stance after the last decision.
    pub stance: Stance,
    /// What filters remember.
    pub carry: Carry,
    /// The day of the last decision. Days are counted by decisions: a day without one does not count.
    pub last_date: Option<Date>,
}

impl Memory {
    /// Returns the memory as it was after `verdict`, which was given on `date`.
    #[must_use]
    pub fn after(verdict: &Verdict, date: Date) -> Self {
        Self {
            stance: verdict.stance,
            carry: verdict.carry,
            last_date: Some(date),
        }
    }

    /// Moves the memory to the next bar: counts the days down and follows the price level.
    pub(super) fn advance(&mut self, date: Date, level_ratio: f64) {
        if self.last_date.is_some_and(|last| last != date) {
            let carry = &mut self.carry;
            carry.cool_down_days = carry.cool_down_days.saturating_sub(1);
            carry.ban_days = carry.ban_days.saturating_sub(1);
        }
        if let Some(price) = &mut self.carry.entry_price {
            *price *= level_ratio;
        }
        self.last_date = Some(date);
    }
}
