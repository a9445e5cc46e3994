//! The filters' inputs, as an extension of the messages that lead to a decision.
//!
//! The extension is sent only where a topology asks for it. A message without it has the bytes of versions before there
//! were filters, so nodes of both versions are compatible as long as no filter is on.

use heqis_actors::PayloadError;
use heqis_quant::decision::Band;
use heqis_quant::{BarRef, MarketSnapshot};

use crate::{finite, rule};

/// [`MarketSnapshot`] on the wire, after a [`BarRef`] whose date and close it shares.
#[derive(Clone, Copy, Debug, wincode::SchemaRead, wincode::SchemaWrite)]
pub(crate) struct MarketSnapshotWire {
    open: f64,
    reference_close: Option<f64>,
    /// Lower and upper limit in cents.
    limits: Option<[i64; 2]>,
    level_ratio: f64,
    after_limit_lock: bool,
    volume_ratio: Option<f64>,
    filter_indicators_id: u32,
    ma_short: Option<f64>,
    ma_long: Option<f64>,
    rsi: Option<f64>,
    adx: Option<f64>,
}

impl From<&MarketSnapshot> for MarketSnapshotWire {
    fn from(snapshot: &MarketSnapshot) -> Self {
        Self {
            open: snapshot.open,
            reference_close: snapshot.reference_close,
            limits: snapshot.limits.map(|band| [band.down_cents, band.up_cents]),
            level_ratio: snapshot.level_ratio,
            after_limit_lock: snapshot.after_limit_lock,
            volume_ratio: snapshot.volume_ratio,
            filter_indicators_id: snapshot.filter_indicators_id,
            ma_short: snapshot.ma_short,
            ma_long: snapshot.ma_long,
            rsi: snapshot.rsi,
            adx: snapshot.adx,
        }
    }
}

impl MarketSnapshotWire {
    pub(crate) fn checked(
        self,
        payload: &'static str,
        bar: &BarRef,
    ) -> Result<MarketSnapshot, PayloadError> {
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
            let message = format!("limits {down}..={up} are not a band of prices");
            return Err(rule(payload, message));
        }
        Ok(MarketSnapshot {
            date: bar.date,
            open: finite(payload, "open", self.open)?,
            close: bar.close,
            reference_close: known("reference_close", self.reference_close)?,
            limits: self.limits.map(|[down_cents, up_cents]| Band {
                down_cents,
                up_cents,
            }),
            level_ratio,
            after_limit_lock: self.after_limit_lock,
            volume_ratio: known("volume_ratio", self.volume_ratio)?,
            filter_indicators_id: self.filter_indicators_id,
            ma_short: known("ma_short", self.ma_short)?,
            ma_long: known("ma_long", self.ma_long)?,
            rsi: known("rsi", self.rsi)?,
            adx: known("adx", self.adx)?,
        })
    }
}

/// Reads a message that may have an extension: `$plain`, or `$extended` with the fields `wire` and `extension`. Gives the
/// wire and the extension, if any.
macro_rules! read_with_extension {
    ($payload:expr, $bytes:expr, $plain:ty, $extended:ty) => {
        match heqis_actors::decode_meta::<$plain>($payload, $bytes) {
            Ok(wire) => (wire, None),
            // The lengths of the two differ, so no bytes are both.
            Err(_) => {
                let extended: $extended = heqis_actors::decode_meta($payload, $bytes)?;
                (extended.wire, Some(extended.extension))
            }
        }
    };
}

pub(crate) use read_with_extension;
