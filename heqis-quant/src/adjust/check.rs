//! Disagreements of a vendor's factors with events and prices.

use serde::Serialize;

use super::PLACE;
use super::events::{EventKind, ExRight, cents, due, of_stock, series, step};
use crate::bar::Bar;
use crate::date::Date;
use crate::error::QuantError;
use crate::rules::{Listing, Markets};

/// The evidence that a vendor's factor contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// A factor must be positive. Vendors write −1 or 0 for an unknown factor.
    Sign,
    /// The known events of the day give another step.
    Events,
    /// The vendor's own reference price of the day gives another step, by more than its rounding to a cent.
    Reference,
    /// The bar leaves the price limits around the reference price of the step and fits a lower one: an ex-right is missing.
    Prices,
}

impl Evidence {
    /// Returns its name, as in the JSON of a finding.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Events => "events",
            Self::Reference => "reference",
            Self::Prices => "prices",
        }
    }
}

/// A disagreement of a vendor's factor. It is a finding to display, not an error; nothing is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FactorMismatch {
    /// The day of the bar.
    pub date: Date,
    /// The contradicted evidence.
    pub evidence: Evidence,
    /// The step of the factor since the bar before, according to the evidence; for [`Evidence::Prices`] the smallest
    /// possible one, and for [`Evidence::Sign`] 0, which the factor must exceed.
    pub expected: f64,
    /// The vendor's step, or for [`Evidence::Sign`] the vendor's factor.
    pub got: f64,
}

/// A vendor's factor for one bar, with its rounding error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VendorFactor {
    /// The factor; only ratios of factors matter.
    pub factor: f64,
    /// The largest relative error of the vendor's rounding.
    pub tolerance: f64,
}

impl VendorFactor {
    /// A published factor, rounded to six decimals or six significant digits, whichever is coarser.
    #[must_use]
    pub fn published(factor: f64) -> Self {
        Self {
            factor,
            tolerance: 1e-6,
        }
    }

    /// The factor of a vendor-adjusted close that was rounded to a cent.
    #[must_use]
    pub fn of_adjusted_close(adjusted_close: f64, close: f64) -> Self {
        Self {
            factor: adjusted_close / close,
            tolerance: 0.005 / adjusted_close.abs(),
        }
    }
}

/// Compares a vendor's factors with the events, the reference prices and the prices of the bars, and returns all
/// disagreements in order.
///
/// `vendor` has one factor for each bar; `events` is `None` without a table of events. A day can occur several times, once
/// for each evidence. The step after an unusable factor is not checked. Prices in cents are checked by the limits of stocks
/// without special treatment, with a tolerance of two cents of the reference price, and only for a missing ex-right: a step
/// that is too large is left to the events, and a day of share reform had no limits.
///
/// # Errors
/// Returns [`QuantError::Value`] if the lengths differ, bars are not of one stock in order, or a reference price cannot
/// be computed.
pub fn check_factors(
    bars: &[Bar],
    vendor: &[VendorFactor],
    events: Option<&[ExRight]>,
    markets: &Markets,
) -> Result<Vec<FactorMismatch>, QuantError> {
    let (symbol, ..) = series(bars)?;
    let known = events.is_some();
    let events = of_stock(symbol, events.unwrap_or_default());
    if bars.len() != vendor.len() {
        let rule = format!("must be as many as the {} bars", bars.len());
        return Err(QuantError::value(
            PLACE,
            "vendor factors",
            rule,
            vendor.len(),
        ));
    }
    let usable = |v: &VendorFactor| v.factor.is_finite() && v.factor > 0.0;
    let mut found = Vec::new();
    for (i, (bar, claim)) in bars.iter().zip(vendor).enumerate() {
        if !usable(claim) {
            found.push(FactorMismatch {
                date: bar.date,
                evidence: Evidence::Sign,
                expected: 0.0,
                got: claim.factor,
            });
            continue;
        }
        let Some(before) = i.checked_sub(1) else {
            continue;
        };
        if !usable(&vendor[before]) {
            continue;
        }
        let got = claim.factor / vendor[before].factor;
        let tolerance = claim.tolerance + vendor[before].tolerance;
        if known {
            let expected = step(&bars[before], bar, &events)?;
            if (got / expected - 1.0).abs() > tolerance {
                found.push(FactorMismatch {
                    date: bar.date,
                    evidence: Evidence::Events,
                    expected,
                    got,
                });
            }
        }
        if let Some(reference) = bar.pre_close {
            let expected = bars[before].close / reference;
            let cent = 0.5 / cents(reference).max(1) as f64;
            if (got / expected - 1.0).abs() > tolerance + cent {
                found.push(FactorMismatch {
                    date: bar.date,
                    evidence: Evidence::Reference,
                    expected,
                    got,
                });
            }
        }
        if !has_reform(&bars[before], bar, &events)
            && let Some(least) = least_step(&bars[before], bar, markets)
            && got < least * (1.0 - tolerance)
        {
            found.push(FactorMismatch {
                date: bar.date,
                evidence: Evidence::Prices,
                expected: least,
                got,
            });
        }
    }
    Ok(found)
}

/// Returns whether a share reform took effect after one bar up to the next.
fn has_reform(before: &Bar, bar: &Bar, events: &[ExRight]) -> bool {
    due(before, bar, events).any(|event| event.kind == EventKind::ReformNoExRight)
}

/// Returns the smallest step of the factor that brings the bar inside its limits, or `None` if it is inside or no step does.
fn least_step(before: &Bar, bar: &Bar, markets: &Markets) -> Option<f64> {
    let listing = markets.of(bar.symbol).filter(Listing::is_in_cents)?;
    let close = cents(before.close);
    let (_, most) = listing.references(bar.date, false, cents(bar.low), cents(bar.high))?;
    let most = most + 2;
    (most < close).then(|| close as f64 / most as f64)
}
