//! The inputs of filters: the limits of the day, the bar before, and a few indicators.

use serde::{Deserialize, Serialize};

use crate::bar::{Bar, Marks};
use crate::date::Date;
use crate::error::QuantError;
use crate::features::id_of;
use crate::indicators::{Adx, Hlc, Indicator, Ma, Profile, Rsi};
use crate::rules::{Limits, Listing, Markets};

/// Lengths of the two means of the trend filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrendParams {
    /// Bars of the short mean of closes.
    pub short_bars: usize,
    /// Bars of the long mean, more than those of the short one.
    pub long_bars: usize,
}

/// Parameters of the filters' RSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RsiParams {
    /// Bars of the index.
    pub bars: usize,
    /// Which formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
}

/// Parameters of the filters' ADX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdxParams {
    /// Bars of the directional indicators.
    pub bars: usize,
    /// Bars of the mean that smooths them.
    pub smooth_bars: usize,
    /// Which formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
}

pub(super) fn terminal() -> Profile {
    Profile::Cn
}

/// The indicators that filters read. An indicator that is absent is not computed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct FilterIndicators {
    /// Two means of closes.
    pub trend: Option<TrendParams>,
    /// The relative strength index.
    pub rsi: Option<RsiParams>,
    /// The average directional index.
    pub adx: Option<AdxParams>,
}

impl FilterIndicators {
    /// Returns a number that identifies the indicators and their lengths; a [`MarketSnapshot`] says by it which it has.
    #[must_use]
    pub fn id(&self) -> u32 {
        id_of(&self.names())
    }

    /// Returns the names, such as `ma_5`, `ma_20`, `rsi_6_cn`, `adx_14_6_talib`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let of = |profile: Profile| match profile {
            Profile::Cn => "cn",
            Profile::Talib => "talib",
        };
        let mut names = Vec::new();
        if let Some(trend) = self.trend {
            names.push(format!("ma_{}", trend.short_bars));
            names.push(format!("ma_{}", trend.long_bars));
        }
        if let Some(rsi) = self.rsi {
            names.push(format!("rsi_{}_{}", rsi.bars, of(rsi.profile)));
        }
        if let Some(adx) = self.adx {
            let AdxParams {
                bars,
                smooth_bars,
                profile,
            } = adx;
            names.push(format!("adx_{bars}_{smooth_bars}_{}", of(profile)));
        }
        names
    }
}

/// The price limits of one day in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The lowest price.
    pub down_cents: i64,
    /// The highest price.
    pub up_cents: i64,
}

/// The inputs of the filters at the close of one bar. Nothing in it comes from a later bar.
///
/// ```
/// use heqis_quant::{Date, MarketSnapshot};
///
/// let mut snapshot = MarketSnapshot::of_close(Date::parse("2024-01-02")?, 11.0);
/// snapshot.limits = Some(heqis_quant::decision::Band { down_cents: 900, up_cents: 1_100 });
/// assert!(snapshot.closed_at_upper_limit() && snapshot.is_limit_locked());
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketSnapshot {
    /// The trading day.
    pub date: Date,
    /// The first price of the bar, CNY.
    pub open: f64,
    /// The last price of the bar, CNY.
    pub close: f64,
    /// The ex-right reference of the day, CNY; `None` on the first bar of a series and where a suspected corporate action
    /// leaves it unknown.
    pub reference_close: Option<f64>,
    /// The limits of the day; `None` where no limits are in force or the reference is unknown.
    pub limits: Option<Band>,
    /// The ex-right reference over the last close: 1 except on an ex-right day.
    pub level_ratio: f64,
    /// Whether the bar before was limit-locked at its upper limit.
    pub after_limit_lock: bool,
    /// Volume over that of the bar before, both in today's shares; `None` on the first bar and after a bar without volume.
    pub volume_ratio: Option<f64>,
    /// [`FilterIndicators::id`] of the four indicators below.
    pub filter_indicators_id: u32,
    /// The short mean of closes, CNY.
    pub ma_short: Option<f64>,
    /// The long mean of closes, CNY.
    pub ma_long: Option<f64>,
    /// The RSI, 0 to 100.
    pub rsi: Option<f64>,
    /// The ADX, 0 to 100.
    pub adx: Option<f64>,
}

impl MarketSnapshot {
    /// Returns a snapshot with a close and nothing else, enough for a strategy that
    /// [needs no market](super::Strategy::needs_market).
    #[must_use]
    pub fn of_close(date: Date, close: f64) -> Self {
        Self {
            date,
            open: close,
            close,
            reference_close: None,
            limits: None,
            level_ratio: 1.0,
            after_limit_lock: false,
            volume_ratio: None,
            filter_indicators_id: FilterIndicators::default().id(),
            ma_short: None,
            ma_long: None,
            rsi: None,
            adx: None,
        }
    }

    /// Returns whether the bar closed at its upper limit.
    #[must_use]
    pub fn closed_at_upper_limit(&self) -> bool {
        self.limits
            .is_some_and(|band| cents(self.close) >= band.up_cents)
    }

    /// Returns whether the bar closed at its lower limit.
    #[must_use]
    pub fn closed_at_lower_limit(&self) -> bool {
        self.limits
            .is_some_and(|band| cents(self.close) <= band.down_cents)
    }

    /// Returns whether the bar is limit-locked: open and close are at the upper limit, or both at the lower one.
    #[must_use]
    pub fn is_limit_locked(&self) -> bool {
        cents(self.open) == cents(self.close)
            && (self.closed_at_upper_limit() || self.closed_at_lower_limit())
    }
}

/// The filters' inputs of one series: bar after bar in, a [`MarketSnapshot`] of each out. It serialises, and continues with
/// identical bits after a restore.
///
/// The limits come from the dated rules of the market and the reference of the day, in integer cents; instruments that
/// are not priced in cents have no limits here, only the broker applies theirs. A bar that trades beyond the limits shows
/// that they were not in force (first days after an IPO, resumptions), so its snapshot has none. Without the vendor's
/// reference, the limits of a day with a suspected corporate action are unknown, and its snapshot has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarketState {
    filter_indicators_id: u32,
    last: Option<Last>,
    ma_short: Option<Ma>,
    ma_long: Option<Ma>,
    rsi: Option<Rsi>,
    adx: Option<Adx>,
}

/// What is kept of the last bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    date: Date,
    close: f64,
    volume_shares: f64,
    limit_locked_up: bool,
    /// The reference of that day.
    day_reference: Option<f64>,
}

impl MarketState {
    /// Makes the empty state of one series.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is out of the range of its indicator.
    pub fn new(indicators: &FilterIndicators) -> Result<Self, QuantError> {
        Ok(Self {
            filter_indicators_id: indicators.id(),
            last: None,
            ma_short: indicators
                .trend
                .map(|g| Ma::new(g.short_bars))
                .transpose()?,
            ma_long: indicators.trend.map(|g| Ma::new(g.long_bars)).transpose()?,
            rsi: indicators
                .rsi
                .map(|g| Rsi::new(g.bars, g.profile))
                .transpose()?,
            adx: indicators
                .adx
                .map(|g| Adx::new(g.bars, g.smooth_bars, g.profile))
                .transpose()?,
        })
    }

    /// Takes the next cleaned bar of the series and returns the snapshot at its close. `st` is whether the stock is under
    /// special treatment that day. Nothing is allocated.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`], and leaves the state as it was, when the reference price of a stock with limits is
    /// not between 0.01 and 100,000,000.00 CNY; a cleaner rejects such a bar.
    pub fn update(
        &mut self,
        markets: &Markets,
        st: bool,
        bar: &Bar,
    ) -> Result<MarketSnapshot, QuantError> {
        let new_day = self.last.is_none_or(|last| last.date != bar.date);
        let before = self
            .last
            .map(|last| bar.reference_close(last.date, last.close));
        let day_reference = match self.last {
            Some(last) if !new_day => last.day_reference,
            // The vendor's reference on an IPO day is the issue price, which sets no limits.
            _ if bar.marks.contains(Marks::FIRST_BAR) => None,
            // Adjusted prices have no ex-rights, whatever the vendor's reference was rounded to.
            Some(last) if bar.marks.contains(Marks::ADJUSTED) => Some(last.close),
            _ if bar.pre_close.is_some() => bar.pre_close,
            _ if bar.marks.breaks_level() => None,
            Some(last) => Some(last.close),
            None => None,
        };
        let st = st || bar.marks.contains(Marks::SPECIAL);
        let listing = markets.of(bar.symbol).filter(Listing::is_in_cents);
        let band = day_reference
            .zip(listing)
            .map(|(reference, listing)| listing.limits(bar.date, st, cents(reference)))
            .transpose()?;
        let level_ratio = match (self.last, before) {
            (Some(last), Some(before)) if before != last.close => before / last.close,
            _ => 1.0,
        };
        if level_ratio != 1.0 {
            self.rescale(level_ratio);
        }
        let snapshot = MarketSnapshot {
            date: bar.date,
            open: bar.open,
            close: bar.close,
            reference_close: day_reference,
            limits: match band {
                // Within the rounding of adjusted prices, a close near a limit counts as at it.
                Some(Limits::Band {
                    up: up_cents,
                    down: down_cents,
                }) if bar.marks.contains(Marks::ADJUSTED) => Some(Band {
                    down_cents: down_cents + down_cents / 500 + 1,
                    up_cents: up_cents - up_cents / 500 - 1,
                }),
                Some(Limits::Band {
                    up: up_cents,
                    down: down_cents,
                }) if cents(bar.high) <= up_cents && cents(bar.low) >= down_cents => Some(Band {
                    down_cents,
                    up_cents,
                }),
                _ => None,
            },
            level_ratio,
            after_limit_lock: self.last.is_some_and(|last| last.limit_locked_up),
            volume_ratio: self
                .last
                .filter(|last| last.volume_shares > 0.0)
                .map(|last| bar.volume_shares / last.volume_shares),
            filter_indicators_id: self.filter_indicators_id,
            ma_short: self.ma_short.as_mut().and_then(|ma| ma.update(bar.close)),
            ma_long: self.ma_long.as_mut().and_then(|ma| ma.update(bar.close)),
            rsi: self.rsi.as_mut().and_then(|rsi| rsi.update(bar.close)),
            adx: self
                .adx
                .as_mut()
                .and_then(|adx| adx.update(Hlc::from(bar)))
                .map(|value| value.adx),
        };
        self.last = Some(Last {
            date: bar.date,
            close: bar.close,
            volume_shares: bar.volume_shares,
            limit_locked_up: snapshot.is_limit_locked() && snapshot.closed_at_upper_limit(),
            day_reference,
        });
        Ok(snapshot)
    }

    fn rescale(&mut self, factor: f64) {
        if let Some(last) = &mut self.last {
            last.volume_shares /= factor;
        }
        for ma in [&mut self.ma_short, &mut self.ma_long]
            .into_iter()
            .flatten()
        {
            ma.rescale(factor);
        }
        if let Some(rsi) = &mut self.rsi {
            rsi.rescale(factor);
        }
        if let Some(adx) = &mut self.adx {
            adx.rescale(factor);
        }
    }
}

/// Returns a price in cents, to the nearest, as the cleaner does.
fn cents(price: f64) -> i64 {
    (price * 100.0).round() as i64
}
