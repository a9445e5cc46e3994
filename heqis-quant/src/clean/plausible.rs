//! Checks of a bar by itself.

use crate::bar::{Bar, Marks};
use crate::reject::Reject;

/// Prices above this are garbage. The bound keeps every product of cents and percent inside an `i64`.
pub(super) const MAX_PRICE: f64 = 100_000_000.0;
/// Volumes above this number of shares are garbage; no instrument trades a thousandth of it in a day.
const MAX_VOLUME: f64 = 1e15;
/// The mean price of a day, amount over volume, may leave the bar by this factor, because of trades outside the session and
/// rounded amounts. The next wrong unit is a factor of ten away.
const MEAN_PRICE_FACTOR: f64 = 2.0;

/// Compares amount over volume with the prices of the bar. Bars without an amount and adjusted prices, at which nothing
/// was paid, are not checked.
pub(super) fn check_mean_price(bar: &Bar) -> Result<(), Reject> {
    let amount = bar.amount_cny.filter(|amount| *amount > 0.0);
    let (Some(amount_cny), false) = (amount, bar.marks.contains(Marks::ADJUSTED)) else {
        return Ok(());
    };
    // Vendors that count lots round the volume to 100 shares and the amount to 1,000 CNY.
    let most = (amount_cny + 1_000.0) / (bar.volume_shares - 100.0).max(1.0);
    let least = (amount_cny - 1_000.0) / (bar.volume_shares + 100.0);
    if most * MEAN_PRICE_FACTOR < bar.low || least > bar.high * MEAN_PRICE_FACTOR {
        return Err(Reject::ImplausibleAmount {
            amount_cny,
            volume_shares: bar.volume_shares,
        });
    }
    Ok(())
}

/// The checks that need only the bar.
pub(super) fn check_alone(bar: &Bar) -> Result<(), Reject> {
    let prices = [
        ("open", Some(bar.open)),
        ("high", Some(bar.high)),
        ("low", Some(bar.low)),
        ("close", Some(bar.close)),
        ("pre_close", bar.pre_close),
    ];
    let volumes = [
        ("volume_shares", Some(bar.volume_shares)),
        ("amount_cny", bar.amount_cny),
    ];
    for (field, value) in prices.into_iter().chain(volumes) {
        if value.is_some_and(|v| !v.is_finite()) {
            return Err(Reject::NotANumber { field });
        }
    }
    let given = prices
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)));
    for (field, value) in given.clone() {
        if value <= 0.0 {
            return Err(Reject::NonPositivePrice { field, value });
        }
    }
    for (field, value) in given {
        if value > MAX_PRICE {
            return Err(Reject::ImplausiblePrice { field, value });
        }
    }
    let (high, low) = (bar.high, bar.low);
    if high < low {
        return Err(Reject::HighBelowLow { high, low });
    }
    for (field, value) in [("open", bar.open), ("close", bar.close)] {
        if value < low || value > high {
            return Err(Reject::OpenOrCloseOutsideRange { field, value });
        }
    }
    for (field, value) in volumes {
        if let Some(value) = value.filter(|v| *v < 0.0) {
            return Err(Reject::NegativeVolume { field, value });
        }
    }
    if bar.volume_shares > MAX_VOLUME {
        return Err(Reject::ImplausibleVolume {
            value: bar.volume_shares,
        });
    }
    Ok(())
}
