//! The filters' inputs, as an extension of the messages that lead to a decision.
//!
//! The extension is sent only where a topology asks for it. A message without it has the bytes of versions before there
//! were filters, so nodes of both versions are compatible as long as no filter is on.

use heqis_quant::decision::Band;
use heqis_quant::{BarRef, MarketSnapshot};

use crate::{date, finite};

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

impl TryFrom<MarketSnapshotWire> for MarketSnapshot {
    type Error = String;

    /// The snapshot without date and close, which [`complete`] adds.
    fn try_from(wire: MarketSnapshotWire) -> Result<Self, String> {
        let known = |field, value: Option<f64>| value.map(|value| finite(field, value)).transpose();
        let level_ratio = finite("level_ratio", wire.level_ratio)?;
        if level_ratio <= 0.0 {
            return Err(format!("level_ratio is {level_ratio}, it must be positive"));
        }
        if let Some([down, up]) = wire.limits
            && !(0 <= down && down <= up)
        {
            return Err(format!("limits {down}..={up} are not a band of prices"));
        }
        Ok(Self {
            date: date(0)?,
            open: finite("open", wire.open)?,
            close: f64::NAN,
            reference_close: known("reference_close", wire.reference_close)?,
            limits: wire.limits.map(|[down_cents, up_cents]| Band {
                down_cents,
                up_cents,
            }),
            level_ratio,
            after_limit_lock: wire.after_limit_lock,
            volume_ratio: known("volume_ratio", wire.volume_ratio)?,
            filter_indicators_id: wire.filter_indicators_id,
            ma_short: known("ma_short", wire.ma_short)?,
            ma_long: known("ma_long", wire.ma_long)?,
            rsi: known("rsi", wire.rsi)?,
            adx: known("adx", wire.adx)?,
        })
    }
}

/// Adds the date and the close of its bar to a snapshot that was decoded.
pub(crate) fn complete(snapshot: &mut Option<MarketSnapshot>, bar: &BarRef) -> Result<(), String> {
    if let Some(snapshot) = snapshot {
        (snapshot.date, snapshot.close) = (bar.date, bar.close);
    }
    Ok(())
}
