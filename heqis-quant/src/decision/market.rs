//! What filters see of the market: the limits of the day, the bar before, and a few gauges.

use serde::{Deserialize, Serialize};

use crate::features::id_of;
use crate::indicators::{Adx, Hlc, Indicator, Ma, Profile, Rsi};
use crate::rules::{Limits, Listing, Markets};
use crate::{Bar, Date, Marks, QuantError};

/// Lengths of the two means of the trend gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrendGauge {
    /// Bars of the short mean of closes.
    pub short_bars: usize,
    /// Bars of the long mean, more than those of the short one.
    pub long_bars: usize,
}

/// An RSI as a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RsiGauge {
    /// Bars of the index.
    pub bars: usize,
    /// Whose formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
}

/// An ADX as a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdxGauge {
    /// Bars of the directional indicators.
    pub bars: usize,
    /// Bars of the mean over them.
    pub smooth_bars: usize,
    /// Whose formula; by default that of Chinese terminals.
    #[serde(default = "terminal")]
    pub profile: Profile,
}

pub(super) fn terminal() -> Profile {
    Profile::Cn
}

/// The indicators that filters read. What no filter reads is not computed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub struct Gauges {
    /// Two means of closes.
    pub trend: Option<TrendGauge>,
    /// The relative strength index.
    pub rsi: Option<RsiGauge>,
    /// The average directional index.
    pub adx: Option<AdxGauge>,
}

impl Gauges {
    /// Returns a number that stands for the gauges and their lengths, by which a [`View`] is known to carry them.
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
            let AdxGauge {
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

/// What is known of the market at the close of one bar, beside the prediction. Nothing in it comes from a later bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// The trading day.
    pub date: Date,
    /// The first price of the bar, CNY.
    pub open: f64,
    /// The last price of the bar, CNY.
    pub close: f64,
    /// The ex-right reference of the day, CNY; `None` on the first bar of a series and where a corporate action hides it.
    pub reference_close: Option<f64>,
    /// The limits of the day; `None` where none is in force or the reference is not known.
    pub limits: Option<Band>,
    /// The ex-right reference over the last close: 1 but on an ex-right day.
    pub level_ratio: f64,
    /// Whether the bar before was a one-word board at its upper limit.
    pub after_one_word: bool,
    /// Volume over that of the bar before, both in today's shares; `None` on the first bar and after one of no volume.
    pub volume_ratio: Option<f64>,
    /// [`Gauges::id`] of the four numbers below.
    pub gauges_id: u32,
    /// The short mean of closes, CNY.
    pub ma_short: Option<f64>,
    /// The long mean of closes, CNY.
    pub ma_long: Option<f64>,
    /// The RSI, 0 to 100.
    pub rsi: Option<f64>,
    /// The ADX, 0 to 100.
    pub adx: Option<f64>,
}

impl View {
    /// Returns the view of one who knows a close and nothing else, enough for a strategy
    /// [without filters](super::Strategy::needs_market).
    #[must_use]
    pub fn of_close(date: Date, close: f64) -> Self {
        Self {
            date,
            open: close,
            close,
            reference_close: None,
            limits: None,
            level_ratio: 1.0,
            after_one_word: false,
            volume_ratio: None,
            gauges_id: Gauges::default().id(),
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

    /// Returns whether open and close are at the upper limit, or both at the lower one.
    #[must_use]
    pub fn is_one_word_board(&self) -> bool {
        cents(self.open) == cents(self.close)
            && (self.closed_at_upper_limit() || self.closed_at_lower_limit())
    }
}

/// Follows the market of one series and gives a [`View`] of each bar. It serialises, and continues with identical bits
/// after a restore.
///
/// The limits come from the dated rules of the market and the reference of the day, in integer cents; instruments that
/// are not priced in cents have none here, and only the broker keeps theirs. A bar that trades
/// beyond them shows that they were not in force (first days after an IPO, resumptions), so its view has none. Without
/// the vendor's reference, the limits of a day with a suspected corporate action are not known, and its view has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    gauges_id: u32,
    last: Option<Last>,
    ma_short: Option<Ma>,
    ma_long: Option<Ma>,
    rsi: Option<Rsi>,
    adx: Option<Adx>,
}

/// What is remembered of the last bar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Last {
    date: Date,
    close: f64,
    volume_shares: f64,
    one_word_up: bool,
    /// The reference of that day.
    day_reference: Option<f64>,
}

impl Market {
    /// Makes the empty memory of one series.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is out of the range of its indicator.
    pub fn new(gauges: &Gauges) -> Result<Self, QuantError> {
        Ok(Self {
            gauges_id: gauges.id(),
            last: None,
            ma_short: gauges.trend.map(|g| Ma::new(g.short_bars)).transpose()?,
            ma_long: gauges.trend.map(|g| Ma::new(g.long_bars)).transpose()?,
            rsi: gauges
                .rsi
                .map(|g| Rsi::new(g.bars, g.profile))
                .transpose()?,
            adx: gauges
                .adx
                .map(|g| Adx::new(g.bars, g.smooth_bars, g.profile))
                .transpose()?,
        })
    }

    /// Takes the next cleaned bar of the series and returns the view at its close. `st` tells whether the stock is
    /// under special treatment that day. Nothing is allocated.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`], and leaves the memory as it was, when the reference price of a stock with limits
    /// is not between 0.01 and 100,000,000.00 CNY; a cleaner lets no such bar through.
    pub fn update(&mut self, markets: &Markets, st: bool, bar: &Bar) -> Result<View, QuantError> {
        let new_day = self.last.is_none_or(|last| last.date != bar.date);
        let before = self
            .last
            .map(|last| bar.reference_close(last.date, last.close));
        let day_reference = match self.last {
            Some(last) if !new_day => last.day_reference,
            // What the vendor says of an IPO day is the issue price, which limits nothing.
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
        let view = View {
            date: bar.date,
            open: bar.open,
            close: bar.close,
            reference_close: day_reference,
            limits: match band {
                // Within the rounding of adjusted prices, a close near a limit is one at it.
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
            after_one_word: self.last.is_some_and(|last| last.one_word_up),
            volume_ratio: self
                .last
                .filter(|last| last.volume_shares > 0.0)
                .map(|last| bar.volume_shares / last.volume_shares),
            gauges_id: self.gauges_id,
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
            one_word_up: view.is_one_word_board() && view.closed_at_upper_limit(),
            day_reference,
        });
        Ok(view)
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
