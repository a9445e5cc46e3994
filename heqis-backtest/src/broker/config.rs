//! The settings of an account, and slippage.

use heqis_quant::rules::{Limits, Trade};
use serde::{Deserialize, Serialize};

use crate::error::BacktestError;

/// Ten billion CNY.
const MAX_CASH_CENTS: i64 = 1_000_000_000_000;
const PER_ONE: i128 = 10_000;

/// The distance of a fill from the open, always to the trader's loss and rounded away from the trader to a tick. The price
/// stays within the price limits of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Slippage {
    /// Fills at the open.
    None,
    /// A number of ticks of the market: of 0.01 CNY for A-share stocks.
    Ticks(u32),
    /// A rate of the open in ten-thousandths.
    Rate(u32),
    /// A rate of the open in ten-thousandths, times the square of the order's share in the volume of the day: Zipline's
    /// `VolumeShareSlippage`. The volume is that of the day of the fill, which is unknown at the open; it can only make the
    /// fill worse.
    VolumeShare(u32),
}

impl Slippage {
    /// Returns the price of a fill. Prices and the tick are in price units of the market: cents for A-share stocks.
    ///
    /// `shares` are at most `volume`, the volume of the bar, both in quantity units.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when the price overflows an `i64`, which is impossible with prices and volumes of a
    /// [`Stock`](crate::Stock).
    pub fn price(
        self,
        trade: Trade,
        open: i64,
        shares: u64,
        volume: u64,
        limits: Limits,
        tick: i64,
    ) -> Result<i64, BacktestError> {
        let whole = i128::from(open);
        let tick = i128::from(tick.max(1));
        let loss = match self {
            Self::None => 0,
            Self::Ticks(ticks) => i128::from(ticks) * tick,
            Self::Rate(rate) => (whole * i128::from(rate) + PER_ONE - 1) / PER_ONE,
            Self::VolumeShare(impact) => {
                let (mut shares, mut volume) = (i128::from(shares), i128::from(volume));
                let rate = whole * i128::from(impact);
                loop {
                    let product = shares.checked_mul(shares).and_then(|s| s.checked_mul(rate));
                    let divisor = volume
                        .checked_mul(volume)
                        .and_then(|v| v.checked_mul(PER_ONE));
                    match (product, divisor) {
                        (_, Some(0)) => break 0,
                        (Some(product), Some(divisor)) => break (product + divisor - 1) / divisor,
                        // For volumes of coins: up to a part in 1,024 less precise, to the trader's loss.
                        _ => (shares, volume) = (shares / 1_024 + 1, volume / 1_024),
                    }
                }
            }
        };
        let loss = (loss + tick - 1) / tick * tick;
        let (down, up) = match limits {
            Limits::Band { up, down } => (down, up),
            Limits::NoLimit => (1, i64::MAX),
        };
        let moved = match trade {
            Trade::Buy => whole + loss,
            Trade::Sell => (whole - loss).max(1),
        };
        let price = i64::try_from(moved).map_err(|_| BacktestError::too_large("price", moved))?;
        // If the limits were not in force after all, an open outside them is also clipped to the trader's loss: a buy below
        // the lower limit pays the lower limit, and a sale above the upper limit gets the upper limit.
        Ok(price.clamp(down, up))
    }
}

/// The account and its order handling. Fees are part of the market rules, whose commission can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerConfig {
    /// The cash at the start, in cents.
    pub cash_cents: i64,
    /// The distance of fills from the open.
    pub slippage: Slippage,
    /// The maximum share of a day's volume that the account may trade in one stock, in ten-thousandths. The volume of the day of
    /// the fill is used as a cap only, never to choose a size.
    pub participation_e4: u32,
    /// The number of trading days until a buy order expires. Sell orders stay until they are filled or cancelled.
    pub buy_days: u32,
    /// The tax withheld from a cash dividend, in ten-thousandths. The tax of a private holder depends on how long the shares are
    /// held *after* the dividend (20 % up to a month, 10 % up to a year, nothing later), which is unknown when it is paid:
    /// 2,000 is the upper bound and 0, the default, the lower.
    pub dividend_tax_e4: u32,
}

impl Default for BrokerConfig {
    /// A million CNY, one tick, a tenth of the volume, buy orders for one day.
    fn default() -> Self {
        Self {
            cash_cents: 100_000_000,
            slippage: Slippage::Ticks(1),
            participation_e4: 1_000,
            buy_days: 1,
            dividend_tax_e4: 0,
        }
    }
}

impl BrokerConfig {
    /// Returns an error when a number is out of bounds; called by [`Broker::new`](super::Broker::new).
    ///
    /// # Errors
    /// [`BacktestError::Rule`] with the field: cash in 0..=10 billion CNY, rates in 0..=10,000, the participation and the
    /// days of a buy order at least 1.
    pub fn validate(&self) -> Result<(), BacktestError> {
        let slippage = match self.slippage {
            Slippage::None => 0,
            Slippage::Ticks(ticks) => i64::from(ticks),
            Slippage::Rate(rate) | Slippage::VolumeShare(rate) => i64::from(rate),
        };
        for (field, value, least, most) in [
            ("cash_cents", self.cash_cents, 0, MAX_CASH_CENTS),
            ("slippage", slippage, 0, 10_000),
            ("participation_e4", self.participation_e4.into(), 1, 10_000),
            ("buy_days", self.buy_days.into(), 1, 1_000),
            ("dividend_tax_e4", self.dividend_tax_e4.into(), 0, 10_000),
        ] {
            if !(least..=most).contains(&value) {
                let rule = format!("must be in {least}..={most}");
                return Err(BacktestError::rule_got(
                    format!("broker: {field}"),
                    rule,
                    value,
                ));
            }
        }
        Ok(())
    }
}
