//! The quantity that a model predicts: over which prices and days, and in which units.
//!
//! A broker that may sell a share only on the day after its purchase earns from an open to a later open, and a portfolio
//! needs to know which stock of a day does better, not by how much. So a target has a price, a horizon and a kind. The
//! default, the return from close to the next close, is the one of [`mod@crate::label`].
//!
//! [`forward_returns`] needs one series. Every other kind than `return` compares the instruments of a day:
//! [`cross_section`].

use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::date::Date;
use crate::error::QuantError;
use crate::label::{Direction, Label};
use crate::stats::{self, LEAST_CROSS_SECTION};
use crate::symbol::Symbol;

const PLACE: &str = "target";
/// The longest horizon.
pub const MAX_HORIZON_DAYS: u32 = 250;

/// The prices of a return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetPrice {
    /// From the open of the next bar to the open `horizon_days` bars later: what can be earned by orders that are placed
    /// after the close and executed at the next open.
    Open,
    /// From the close of the bar to the close `horizon_days` bars later.
    #[default]
    Close,
}

/// The units of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The return.
    #[default]
    Return,
    /// The return minus the mean of the day's instruments, or minus that of a benchmark.
    Excess,
    /// The rank among the day's instruments, from −0.5 (the least return) to 0.5; equal returns share the mean of their ranks.
    Rank,
    /// The return minus the day's mean, divided by the day's deviation (divisor n).
    Z,
}

impl TargetPrice {
    /// Returns the name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
        }
    }
}

impl TargetKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Return, Self::Excess, Self::Rank, Self::Z];

    /// Returns the name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Excess => "excess",
            Self::Rank => "rank",
            Self::Z => "z",
        }
    }
}

/// What a model predicts.
///
/// ```
/// use heqis_quant::target::{Target, TargetKind, TargetPrice};
///
/// let ranks = Target { price: TargetPrice::Open, kind: TargetKind::Rank, ..Target::default() };
/// assert_eq!(ranks.to_string(), "rank of open t+1 to open t+2");
/// // The open of the second bar after the window's last one must be known.
/// assert_eq!(ranks.horizon_bars(), 2);
/// assert_eq!(Target::default().to_string(), "return of close t to close t+1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Target {
    /// The prices of the return.
    pub price: TargetPrice,
    /// Bars of the series from the first price to the second, 1 to [`MAX_HORIZON_DAYS`].
    pub horizon_days: u32,
    /// The units.
    pub kind: TargetKind,
    /// The instrument whose return is subtracted for [`TargetKind::Excess`]; without it, the mean of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<Symbol>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            price: TargetPrice::Close,
            horizon_days: 1,
            kind: TargetKind::Return,
            benchmark: None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (price, days) = (self.price.name(), self.horizon_days);
        let kind = self.kind.name();
        match self.price {
            TargetPrice::Open => write!(f, "{kind} of open t+1 to open t+{}", u64::from(days) + 1)?,
            TargetPrice::Close => write!(f, "{kind} of {price} t to {price} t+{days}")?,
        }
        match self.benchmark {
            Some(benchmark) => write!(f, " against {benchmark}"),
            None => Ok(()),
        }
    }
}

impl Target {
    /// Returns whether this is the return from close to the next close, which files leave out.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a label depends on the other instruments of the day.
    #[must_use]
    pub fn is_cross_sectional(&self) -> bool {
        self.kind != TargetKind::Return
    }

    /// Returns the number of bars from a label's own bar to the one by which it is known.
    #[must_use]
    pub fn horizon_bars(&self) -> usize {
        let wait = usize::from(self.price == TargetPrice::Open);
        wait.saturating_add(self.horizon_days as usize)
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`QuantError::Value`] when the horizon is 0 or too long, or a benchmark is given for another kind than `excess`.
    pub fn check(&self) -> Result<(), QuantError> {
        let days = self.horizon_days;
        if days == 0 || days > MAX_HORIZON_DAYS {
            let rule = format!("must be from 1 to {MAX_HORIZON_DAYS}");
            return Err(QuantError::value(PLACE, "horizon_days", rule, days));
        }
        match self.benchmark {
            Some(symbol) if self.kind != TargetKind::Excess => {
                let rule = format!("needs the kind excess, not {}", self.kind.name());
                Err(QuantError::value(PLACE, "benchmark", rule, symbol))
            }
            _ => Ok(()),
        }
    }
}

/// A return with the day by which it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardReturn {
    /// The day of the bar with the second price.
    pub known: Date,
    /// The second price over the first, minus 1; ex-rights between them are removed by [`Bar::reference_close`].
    pub value: f64,
}

/// Returns for each bar of one series, in order, the return of the target's prices and horizon, whatever its kind. The last
/// [`Target::horizon_bars`] bars have none.
///
/// A horizon counts the bars of the series: that of a suspended stock ends that many bars after it is traded again.
///
/// # Errors
///
/// [`QuantError::Value`] as [`Target::check`], and when bars are of several instruments or out of order, or a price is not
/// positive.
pub fn forward_returns(
    bars: &[Bar],
    target: &Target,
) -> Result<Vec<Option<ForwardReturn>>, QuantError> {
    target.check()?;
    let mut returns = Vec::with_capacity(bars.len());
    if let Some(pair) = bars
        .windows(2)
        .find(|pair| pair[0].symbol != pair[1].symbol || pair[0].time_ns >= pair[1].time_ns)
    {
        let (bar, next) = (&pair[0], &pair[1]);
        let rule = format!(
            "must follow {} at {} ns in one series",
            bar.symbol, bar.time_ns
        );
        let got = format!("{} at {} ns", next.symbol, next.time_ns);
        return Err(QuantError::value(PLACE, "bars", rule, got));
    }
    let reference = |at: usize| bars[at].reference_close(bars[at - 1].date, bars[at - 1].close);
    for at in 0..bars.len() {
        let last = at.saturating_add(target.horizon_bars());
        if last >= bars.len() {
            returns.push(None);
            continue;
        }
        // From the first price to the close of its bar, from close to close, and to the second price.
        let (growth, first) = match target.price {
            TargetPrice::Open => (bars[at + 1].close / bars[at + 1].open, at + 2),
            TargetPrice::Close => (1.0, at + 1),
        };
        let growth = (first..last).fold(growth, |growth, inner| {
            growth * (bars[inner].close / reference(inner))
        });
        let end = match target.price {
            TargetPrice::Open => bars[last].open,
            TargetPrice::Close => bars[last].close,
        };
        let growth = growth * (end / reference(last));
        let value = growth - 1.0;
        if !value.is_finite() || growth <= 0.0 {
            let rule = "must have finite positive prices";
            return Err(QuantError::value(PLACE, "bars", rule, end));
        }
        returns.push(Some(ForwardReturn {
            known: bars[last].date,
            value,
        }));
    }
    Ok(returns)
}

/// One instrument of a day's cross-section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// The instrument.
    pub symbol: Symbol,
    /// Its return.
    pub forward: ForwardReturn,
}

/// Why an instrument with a return has no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unlabelled {
    /// Its return ends on a later day than that of the others, since it was suspended.
    Suspended,
    /// The day has fewer instruments than [`LEAST_CROSS_SECTION`].
    FewStocks,
    /// All returns of the day are equal, so that they have no z-score.
    Constant,
    /// The benchmark has no return over the same days, or the instrument is the benchmark.
    NoBenchmark,
}

impl Unlabelled {
    /// Returns the name in a manifest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::FewStocks => "few_stocks",
            Self::Constant => "constant",
            Self::NoBenchmark => "no_benchmark",
        }
    }
}

/// Turns the returns of one day's instruments into labels, in their order.
///
/// All returns of a cross-section end on one day, the earliest of them. An instrument that was suspended in between has a
/// later one and no label, since its return belongs to another period. So a label depends on nothing after its own day.
///
/// The direction of a rank and of a z-score is the third of the day that its rank lies in; that of an excess return is by
/// `flat_band`, as that of a return.
#[must_use]
pub fn cross_section(
    target: &Target,
    flat_band: f64,
    members: &[Member],
) -> Vec<Result<Label, Unlabelled>> {
    let known = members.iter().map(|member| member.forward.known).min();
    let is_in = |member: &&Member| Some(member.forward.known) == known;
    let inside: Vec<f64> = members
        .iter()
        .filter(is_in)
        .map(|member| member.forward.value)
        .collect();
    let mut labels = of_day(target, flat_band, members, known, &inside).into_iter();
    members
        .iter()
        .map(|member| match is_in(&member) {
            true => labels.next().unwrap_or(Err(Unlabelled::FewStocks)),
            false => Err(Unlabelled::Suspended),
        })
        .collect()
}

/// Returns the labels of the returns that end on one day.
fn of_day(
    target: &Target,
    flat_band: f64,
    members: &[Member],
    known: Option<Date>,
    inside: &[f64],
) -> Vec<Result<Label, Unlabelled>> {
    let by_band = |value: f64| Label {
        next_return: value,
        direction: Direction::of(value, flat_band),
    };
    let all = |reason| vec![Err(reason); inside.len()];
    if let Some(symbol) = target.benchmark {
        let of_it = |member: &&Member| member.symbol == symbol;
        let benchmark = members.iter().find(of_it).map(|member| member.forward);
        let Some(benchmark) = benchmark.filter(|forward| Some(forward.known) == known) else {
            return all(Unlabelled::NoBenchmark);
        };
        let inside = members.iter().filter(|m| Some(m.forward.known) == known);
        return inside
            .map(|member| match member.symbol == symbol {
                true => Err(Unlabelled::NoBenchmark),
                false => Ok(by_band(member.forward.value - benchmark.value)),
            })
            .collect();
    }
    if inside.len() < LEAST_CROSS_SECTION {
        return all(Unlabelled::FewStocks);
    }
    let mean = stats::mean(inside.iter().copied()).unwrap_or_default();
    let ranks = centred_ranks(inside);
    let by_third = |value: f64, rank: f64| Label {
        next_return: value,
        direction: Direction::of(rank, 1.0 / 6.0),
    };
    let values = inside.iter().zip(&ranks);
    match target.kind {
        TargetKind::Return => inside.iter().map(|value| Ok(by_band(*value))).collect(),
        TargetKind::Excess => inside
            .iter()
            .map(|value| Ok(by_band(value - mean)))
            .collect(),
        TargetKind::Rank => ranks
            .iter()
            .map(|rank| Ok(by_third(*rank, *rank)))
            .collect(),
        TargetKind::Z => match z_scores(inside) {
            None => all(Unlabelled::Constant),
            Some(scores) => scores
                .iter()
                .zip(values)
                .map(|(score, (_, rank))| Ok(by_third(*score, *rank)))
                .collect(),
        },
    }
}

/// Returns the centred rank of each value, from −0.5 to 0.5; equal values share the mean of their ranks, and one value alone
/// has the rank 0.
///
/// ```
/// assert_eq!(heqis_quant::target::centred_ranks(&[3.0, 1.0, 2.0]), [0.5, -0.5, 0.0]);
/// ```
#[must_use]
pub fn centred_ranks(values: &[f64]) -> Vec<f64> {
    let steps = values.len().saturating_sub(1).max(1) as f64;
    let middle = (values.len() as f64 + 1.0) / 2.0;
    let ranks = stats::ranks(values).into_iter();
    ranks.map(|rank| (rank - middle) / steps).collect()
}

/// Returns the z-score of each value, by the deviation with divisor n; `None` when all values are equal.
#[must_use]
pub fn z_scores(values: &[f64]) -> Option<Vec<f64>> {
    let first = values.first()?;
    if values.iter().all(|value| value == first) {
        return None;
    }
    let mean = stats::mean(values.iter().copied())?;
    let deviation = stats::deviation(values, 0).filter(|deviation| *deviation > 0.0)?;
    Some(
        values
            .iter()
            .map(|value| (value - mean) / deviation)
            .collect(),
    )
}

#[cfg(test)]
mod tests;
