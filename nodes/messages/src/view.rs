//! What filters need of the market, behind the messages that lead to a decision.
//!
//! It is there only where a topology asks for it. A message without it has the bytes that it had before there were
//! filters, so nodes of both ages understand one another as long as no filter is on.

use heqis_actors::PayloadError;
use heqis_quant::View;
use heqis_quant::decision::Band;

use crate::{BarRef, finite, rule};

/// [`View`] as it lies behind a [`BarRef`], whose date and close it shares.
#[derive(Clone, Copy, Debug, wincode::SchemaRead, wincode::SchemaWrite)]
pub(crate) struct ViewWire {
    open: f64,
    reference_close: Option<f64>,
    /// Lower and upper limit in cents.
    limits: Option<[i64; 2]>,
    level_ratio: f64,
    after_one_word: bool,
    volume_ratio: Option<f64>,
    gauges_id: u32,
    ma_short: Option<f64>,
    ma_long: Option<f64>,
    rsi: Option<f64>,
    adx: Option<f64>,
}

impl From<&View> for ViewWire {
    fn from(view: &View) -> Self {
        Self {
            open: view.open,
            reference_close: view.reference_close,
            limits: view.limits.map(|band| [band.down_cents, band.up_cents]),
            level_ratio: view.level_ratio,
            after_one_word: view.after_one_word,
            volume_ratio: view.volume_ratio,
            gauges_id: view.gauges_id,
            ma_short: view.ma_short,
            ma_long: view.ma_long,
            rsi: view.rsi,
            adx: view.adx,
        }
    }
}

impl ViewWire {
    pub(crate) fn checked(self, payload: &'static str, bar: &BarRef) -> Result<View, PayloadError> {
        let known = |field: &str, value: Option<f64>| {
            value.map(|value| finite(payload, field, value)).transpose()
        };
        let level_ratio = finite(payload, "level_ratio", self.level_ratio)?;
        if level_ratio <= 0.0 {
            let message = format!("level_ratio is {level_ratio}, it must be positive");
            return Err(rule(payload, message));
        }
        if let Some([down, up]) = self.limits
            && !(0 <= down && down <= up)
        {
            let message = format!("limits {down}..={up} are no band of prices");
            return Err(rule(payload, message));
        }
        Ok(View {
            date: bar.date,
            open: finite(payload, "open", self.open)?,
            close: bar.close,
            reference_close: known("reference_close", self.reference_close)?,
            limits: self.limits.map(|[down_cents, up_cents]| Band {
                down_cents,
                up_cents,
            }),
            level_ratio,
            after_one_word: self.after_one_word,
            volume_ratio: known("volume_ratio", self.volume_ratio)?,
            gauges_id: self.gauges_id,
            ma_short: known("ma_short", self.ma_short)?,
            ma_long: known("ma_long", self.ma_long)?,
            rsi: known("rsi", self.rsi)?,
            adx: known("adx", self.adx)?,
        })
    }
}

/// Reads a message that may have a tail: `$plain`, or `$tailed` with the fields `wire` and `tail`. Gives the wire and
/// the tail, if any.
macro_rules! read_with_tail {
    ($payload:expr, $bytes:expr, $plain:ty, $tailed:ty) => {
        match heqis_actors::decode_meta::<$plain>($payload, $bytes) {
            Ok(wire) => (wire, None),
            // The lengths of the two differ, so no bytes are both.
            Err(_) => {
                let tailed: $tailed = heqis_actors::decode_meta($payload, $bytes)?;
                (tailed.wire, Some(tailed.tail))
            }
        }
    };
}

pub(crate) use read_with_tail;
