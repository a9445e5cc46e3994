//! The checks, each of which reports its measurement.

use std::collections::HashMap;

use heqis_backtest::broker::Slippage;
use heqis_quant::rules::{Limits, Trade};
use heqis_quant::stats::{deviation, pearson};
use heqis_quant::{Bar, Date, Marks};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::subject::{Decision, Filled, Fitted, Subject, Trades, Units};
use crate::error::LabError;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// Whether the check was possible.
    pub checked: bool,
    /// Whether no fault was found; true as well where the check was not possible.
    pub good: bool,
    /// The measurement, and the first fault.
    pub detail: String,
}

/// Writes `passed` and `detail`, and for one version their former names too, `good` and `told`.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 6)?;
        object.serialize_field("check", self.check)?;
        object.serialize_field("checked", &self.checked)?;
        object.serialize_field("passed", &self.good)?;
        object.serialize_field("detail", &self.detail)?;
        object.serialize_field("good", &self.good)?;
        object.serialize_field("told", &self.detail)?;
        object.end()
    }
}

impl Finding {
    pub(super) fn new(check: &'static str, good: bool, detail: String) -> Self {
        Self {
            check,
            checked: true,
            good,
            detail,
        }
    }

    /// Reports that a check was not possible, with the reason.
    pub(super) fn unchecked(check: &'static str, reason: &str) -> Self {
        Self {
            check,
            checked: false,
            good: true,
            detail: format!("not checked: {reason}"),
        }
    }
}

/// The fit must be the same with and without the test span: no scaler, weight, setting or choice may depend on it.
///
/// # Errors
///
/// The errors of the subject.
pub fn fit_sees_no_test(
    subject: &dyn Subject,
    bars: &[Bar],
    test_from: Date,
) -> Result<Finding, LabError> {
    let before = bars.partition_point(|bar| bar.date < test_from);
    let whole = subject.fit(bars, test_from)?.fingerprint();
    let cut = subject.fit(&bars[..before], test_from)?.fingerprint();
    let hidden = bars.len() - before;
    Ok(Finding::new(
        "fit_sees_no_test",
        whole == cut,
        match whole == cut {
            true => format!("the fit is the same without the {hidden} bars from {test_from} on"),
            false => {
                format!("the fit differs without the {hidden} bars from {test_from} on")
            }
        },
    ))
}

/// The scaler must not be fitted on days of the test span.
#[must_use]
pub fn scaler_span(fitted: &dyn Fitted, test_from: Date) -> Finding {
    match fitted.scaler_span() {
        None => Finding::new("scaler_span", true, "there is no scaler".to_owned()),
        Some(span) => Finding::new(
            "scaler_span",
            span.to < test_from,
            format!(
                "fitted on {} to {}, the test span begins {test_from}",
                span.from, span.to
            ),
        ),
    }
}

/// Decisions and predictions up to a bar must be the same, to the bit, when the history ends with that bar.
///
/// `cuts` bars are drawn from those with a decision.
///
/// # Errors
///
/// The errors of the subject.
pub fn future_cut_off(
    fitted: &dyn Fitted,
    bars: &[Bar],
    cuts: usize,
    seed: u64,
) -> Result<Finding, LabError> {
    let whole = fitted.decide(bars)?;
    let mut days: Vec<(Date, i64)> = whole.iter().map(|one| (one.date, one.time_ns)).collect();
    days.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    days.truncate(cuts);
    let mut compared = 0;
    for (day, time_ns) in &days {
        let end = bars.partition_point(|bar| bar.time_ns <= *time_ns);
        let known = fitted.decide(&bars[..end])?;
        let upto = whole.partition_point(|one| one.time_ns <= *time_ns);
        compared += upto;
        if let Some(other) = first_difference(&whole[..upto], &known) {
            let detail = format!("with the history cut off after {day}, {other}");
            return Ok(Finding::new("future_cut_off", false, detail));
        }
    }
    let detail = format!(
        "{compared} decisions are the same with the history cut off on {} days",
        days.len()
    );
    Ok(Finding::new("future_cut_off", !days.is_empty(), detail))
}

fn first_difference(whole: &[Decision], known: &[Decision]) -> Option<String> {
    let pairs = whole.iter().zip(known);
    for (a, b) in pairs {
        let same = a.time_ns == b.time_ns
            && a.side == b.side
            && a.predicted_return.to_bits() == b.predicted_return.to_bits();
        if !same {
            return Some(format!(
                "the decision on {} is {:?} by {} instead of {:?} by {}",
                a.date, b.side, b.predicted_return, a.side, a.predicted_return
            ));
        }
    }
    (whole.len() != known.len()).then(|| {
        format!(
            "there are {} decisions instead of {}",
            known.len(),
            whole.len()
        )
    })
}

/// Recursive indicators must become independent of the start of the history: the prediction on the last bar is computed
/// with several starts, each of which leaves at least `warmup_bars`, and may change by `tolerance` of the spread of all
/// predictions.
///
/// # Errors
///
/// The errors of the subject.
pub fn start_drift(
    fitted: &dyn Fitted,
    bars: &[Bar],
    warmup_bars: usize,
    tolerance: f64,
) -> Result<Finding, LabError> {
    let whole = fitted.decide(bars)?;
    let Some(last) = whole.last() else {
        return Ok(Finding::new(
            "start_drift",
            false,
            "no decision was made".to_owned(),
        ));
    };
    let predicted: Vec<f64> = whole.iter().map(|one| one.predicted_return).collect();
    // There is a last decision, so there is a spread.
    let spread = deviation(&predicted, 0).unwrap_or(f64::NAN);
    let room = bars.len().saturating_sub(warmup_bars);
    let mut detail = Vec::new();
    let mut worst = 0.0_f64;
    for parts in 1..=4 {
        let start = room * parts / 4;
        let later = fitted.decide(&bars[start..])?;
        let Some(other) = later.last().filter(|one| one.time_ns == last.time_ns) else {
            let detail = format!(
                "no decision is made on {} from {} bars",
                last.date,
                bars.len() - start
            );
            return Ok(Finding::new("start_drift", false, detail));
        };
        let moved = (other.predicted_return - last.predicted_return).abs();
        let drift = match moved == 0.0 {
            true => 0.0,
            false => moved / spread,
        };
        worst = worst.max(drift);
        detail.push(format!(
            "{drift:.1e} of the spread with {} bars",
            bars.len() - start
        ));
    }
    let detail = format!("the last prediction changes by {}", detail.join(", "));
    // NaN counts as a large drift.
    Ok(Finding::new(
        "start_drift",
        worst <= tolerance && !worst.is_nan(),
        detail,
    ))
}

/// With shuffled days the past holds no information on the future, so predictions must have no skill: their correlation
/// with the next returns lies within `max_errors` standard errors of zero, in each of `rounds` shuffles.
///
/// A day keeps its proportions (open, high and low over close, volume) and its return; only the order is random, and with
/// it every label.
///
/// # Errors
///
/// The errors of the subject.
pub fn shuffled(
    subject: &dyn Subject,
    bars: &[Bar],
    test_from: Date,
    rounds: usize,
    max_errors: f64,
    seed: u64,
) -> Result<Finding, LabError> {
    let mut detail = Vec::new();
    let (mut worst, mut days) = (0.0_f64, 0);
    for round in 0..rounds as u64 {
        let market = shuffle(bars, seed.wrapping_add(round));
        let decisions = subject.fit(&market, test_from)?.decide(&market)?;
        let next: HashMap<i64, f64> = market
            .windows(2)
            .map(|pair| (pair[0].time_ns, pair[1].close / pair[0].close - 1.0))
            .collect();
        let (predicted, realised): (Vec<f64>, Vec<f64>) = decisions
            .iter()
            .filter(|one| one.date >= test_from)
            .filter_map(|one| Some((one.predicted_return, *next.get(&one.time_ns)?)))
            .unzip();
        // Constant predictions have no correlation.
        let correlation = pearson(&predicted, &realised).unwrap_or(0.0);
        worst = worst.max(correlation.abs() * (predicted.len() as f64).sqrt());
        detail.push(format!("{correlation:+.3} over {} days", predicted.len()));
        days = days.max(predicted.len());
    }
    if days == 0 {
        return Ok(Finding::unchecked(
            "shuffled",
            "the test span holds no prediction",
        ));
    }
    let detail = format!(
        "predictions correlate with the next returns by {}",
        detail.join(", ")
    );
    Ok(Finding::new("shuffled", worst <= max_errors, detail))
}

/// Returns the days of a series in random order, chained by their returns from the first close on.
fn shuffle(bars: &[Bar], seed: u64) -> Vec<Bar> {
    let Some(first) = bars.first() else {
        return Vec::new();
    };
    let mut order: Vec<usize> = (1..bars.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut market = vec![*first];
    let mut close = first.close;
    for (place, from) in order.into_iter().enumerate() {
        let (day, before, date) = (&bars[from], &bars[from - 1], &bars[place + 1]);
        let level = close / day.reference_close(before.date, before.close);
        let pre_close = day.pre_close.map(|_| close);
        close = day.close * level;
        market.push(Bar {
            symbol: day.symbol,
            time_ns: date.time_ns,
            date: date.date,
            open: day.open * level,
            high: day.high * level,
            low: day.low * level,
            close,
            pre_close,
            volume_shares: day.volume_shares,
            amount_cny: day.amount_cny.map(|amount| amount * level),
            marks: Marks::NONE,
        });
    }
    market
}

/// Every fill must come after the close at which it was decided, on a day with trades, start from a price within that
/// day's range, and end within its limits; slippage, which may leave the day's range, must be a loss. When the broker
/// promises a price, the fill must be at it: the open, moved by exactly the slippage.
#[must_use]
pub fn fills(bars: &[Bar], trades: &Trades) -> Finding {
    let at: HashMap<i64, &Bar> = bars.iter().map(|bar| (bar.time_ns, bar)).collect();
    let units = trades.units;
    let unit = match units.per_price {
        100 => "cents".to_owned(),
        per_price => format!("/ {per_price}"),
    };
    let price_units = |price: f64| (price * units.per_price as f64).round() as i64;
    let fault = |fill: &Filled| {
        if fill.time_ns <= fill.decided_ns {
            return Some(format!("decided at the close of {}", fill.decided));
        }
        let Some(bar) = at.get(&fill.time_ns).filter(|bar| bar.volume_shares > 0.0) else {
            return Some("a day without trades".to_owned());
        };
        let [low, high] = [bar.low, bar.high].map(price_units);
        if !(low..=high).contains(&fill.market) {
            return Some(format!("{} {unit} is not in {low} to {high}", fill.market));
        }
        let is_loss = match fill.is_buy {
            true => fill.price >= fill.market,
            false => fill.price <= fill.market,
        };
        if !is_loss {
            return Some(format!(
                "{} {unit} is better than the market's {}",
                fill.price, fill.market
            ));
        }
        if let Some((down, up)) = fill.limits
            && !(down..=up).contains(&fill.price)
        {
            return Some(format!(
                "{} {unit} is outside the limits {down} to {up}",
                fill.price
            ));
        }
        let promised = promised(trades.promise?, fill, bar, units)?;
        (fill.price != promised).then(|| {
            format!(
                "{} {unit}, where the broker promises {promised}",
                fill.price
            )
        })
    };
    let found = trades
        .fills
        .iter()
        .find_map(|fill| Some((fill, fault(fill)?)));
    match found {
        Some((fill, fault)) => {
            Finding::new("fills", false, format!("fill on {}: {fault}", fill.date))
        }
        None => Finding::new(
            "fills",
            true,
            format!("{} fills are plausible", trades.fills.len()),
        ),
    }
}

/// Returns the price of a fill at the open; `None` when it overflows 64 bits.
fn promised(slippage: Slippage, fill: &Filled, bar: &Bar, units: Units) -> Option<i64> {
    let trade = match fill.is_buy {
        true => Trade::Buy,
        false => Trade::Sell,
    };
    let limits = match fill.limits {
        Some((down, up)) => Limits::Band { up, down },
        None => Limits::NoLimit,
    };
    let volume = (bar.volume_shares * units.per_share as f64) as u64;
    let open = (bar.open * units.per_price as f64).round() as i64;
    slippage
        .price(trade, open, fill.shares, volume, limits, units.tick)
        .ok()
}

/// Trading must have costs. Reports them relative to the traded amount and to the gain before fees.
#[must_use]
pub fn costs(trades: &Trades) -> Finding {
    if trades.traded_cents == 0 {
        return Finding::new("costs", true, "nothing was traded".to_owned());
    }
    let share = trades.fees_cents as f64 / trades.traded_cents as f64;
    let gross = trades.profit_cents + trades.fees_cents;
    let of_gain = match gross > 0 {
        true => format!(
            "{:.1} % of the gain before them",
            100.0 * trades.fees_cents as f64 / gross as f64
        ),
        false => "and there is no gain before them".to_owned(),
    };
    Finding::new(
        "costs",
        trades.fees_cents > 0,
        format!(
            "fees are {:.3} % of the traded amount, {of_gain}",
            100.0 * share
        ),
    )
}
