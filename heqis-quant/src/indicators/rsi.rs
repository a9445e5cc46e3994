//! The relative strength index.

use serde::{Deserialize, Serialize};

use super::mean::Wilder;
use super::{Bars, Indicator, Profile, SmaCn, usable};
use crate::error::QuantError;

/// Sums of moves below this count as no move, as in TA-Lib.
const NO_MOVE: f64 = 1e-14;

/// The share of rises in all moves, 0 to 100.
///
/// `cn`: `SMA_cn(max(ΔC, 0), n, 1)/SMA_cn(|ΔC|, n, 1)·100` from the second bar on; 50 while the price has not moved at
/// all. `talib`: Wilder's means of rises and falls from bar n on; 0 without any move, as in TA-Lib.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rsi {
    last: Option<f64>,
    means: Means,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Means {
    Cn { rises: SmaCn, moves: SmaCn },
    Talib { rises: Wilder, falls: Wilder },
}

impl Rsi {
    /// Makes an index over `n` bars.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when `n` is below 2 or above 100,000.
    pub fn new(n: usize, profile: Profile) -> Result<Self, QuantError> {
        let bars = Bars::new("rsi n", n, 2)?;
        Ok(Self {
            last: None,
            means: match profile {
                Profile::Cn => Means::Cn {
                    rises: SmaCn::new(n, 1)?,
                    moves: SmaCn::new(n, 1)?,
                },
                Profile::Talib => Means::Talib {
                    rises: Wilder::new(bars),
                    falls: Wilder::new(bars),
                },
            },
        })
    }
}

impl Indicator for Rsi {
    type Input = f64;
    type Output = f64;

    fn warmup_bars(&self) -> usize {
        match &self.means {
            Means::Cn { .. } => 1,
            Means::Talib { rises, .. } => rises.n(),
        }
    }

    fn settled_bars(&self) -> Option<usize> {
        match &self.means {
            Means::Cn { rises, .. } => Some(1 + rises.settled_bars()?),
            Means::Talib { rises, .. } => Some(1 + rises.settled_bars()),
        }
    }

    #[inline]
    fn update(&mut self, close: f64) -> Option<f64> {
        if !usable(close) {
            return None;
        }
        let change = close - self.last.replace(close)?;
        let rise = if change > 0.0 { change } else { 0.0 };
        match &mut self.means {
            Means::Cn { rises, moves } => {
                let (rises, moves) = (rises.advance(rise), moves.advance(change.abs()));
                Some(if moves > 0.0 {
                    rises / moves * 100.0
                } else {
                    50.0
                })
            }
            Means::Talib { rises, falls } => {
                let (rises, falls) = (rises.advance(rise), falls.advance(rise - change));
                let (rises, falls) = (rises?, falls?);
                let moves = rises + falls;
                Some(if moves < NO_MOVE {
                    0.0
                } else {
                    100.0 * (rises / moves)
                })
            }
        }
    }

    fn rescale(&mut self, factor: f64) {
        self.last = self.last.map(|last| last * factor);
        match &mut self.means {
            Means::Cn { rises, moves } => {
                rises.rescale(factor);
                moves.rescale(factor);
            }
            Means::Talib { rises, falls } => {
                rises.rescale(factor);
                falls.rescale(factor);
            }
        }
    }
}
