//! What a bar does to a position and to an order, where no broker says it.

use heqis_quant::MarketSnapshot;
use heqis_quant::decision::PortfolioOrder;

/// The return of a bar from its reference, where that is known.
pub(crate) fn return_of(snapshot: &MarketSnapshot) -> Option<f64> {
    let reference = snapshot.reference_close.filter(|price| *price > 0.0)?;
    Some(snapshot.close / reference - 1.0).filter(|value| value.is_finite())
}

/// Open and close over the reference; 1 where it is not known.
pub(crate) fn gains_of(snapshot: &MarketSnapshot) -> (f64, f64) {
    match snapshot.reference_close.filter(|price| *price > 0.0) {
        Some(reference) if snapshot.open > 0.0 => {
            (snapshot.open / reference, snapshot.close / reference)
        }
        _ => (1.0, 1.0),
    }
}

/// Whether a bar opens at the limit against an order.
pub(crate) fn is_blocked(order: &PortfolioOrder, snapshot: &MarketSnapshot) -> bool {
    let at_open = MarketSnapshot {
        close: snapshot.open,
        ..*snapshot
    };
    match order.amount > 0.0 {
        true => at_open.closed_at_upper_limit(),
        false => at_open.closed_at_lower_limit(),
    }
}

/// Fills an order at the open of a bar; returns the value at its close, and the change of cash.
pub(crate) fn filled(order: &PortfolioOrder, value: f64, open: f64, close: f64) -> (f64, f64) {
    if order.amount > 0.0 {
        // The number of shares is fixed at the close before.
        return (value * close + order.amount * close, -order.amount * open);
    }
    let sold = match order.weight == 0.0 {
        true => value,
        false => value.min(-order.amount),
    };
    ((value - sold) * close, sold * open)
}
