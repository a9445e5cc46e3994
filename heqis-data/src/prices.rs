//! Detection of adjusted prices. Traded closes are at a price limit or inside it and have two decimals; adjusted ones miss
//! the limit by cents in both directions, or have more decimals.

use heqis_quant::rules::{Limits, Markets};
use heqis_quant::{Bar, Date, Marks};

use crate::bars::Prices;

/// A close this near to a limit, as a share of the price, is one at the limit.
const NEAR: f64 = 0.006;
/// Prices are adjusted if at least this number of closes is beyond a limit, and ...
const LEAST: u32 = 3;
/// ... at least this share of those near one, which exceeds a vendor's rounding. Traded prices have none.
const SHARE: f64 = 0.05;
/// Before this year limits were rounded in other ways, and many closes are a cent beyond the limits of today's rule.
const ROUNDED_FROM: i16 = 2001;
/// The least number of bars for the check of decimals.
const LEAST_BARS: u32 = 20;

/// Returns the reason for which a series, in the order of time, has adjusted prices, or `None` if it has traded ones.
pub(crate) fn judge_prices<'a>(
    bars: impl Iterator<Item = &'a Bar>,
    declared: Option<Prices>,
    markets: &Markets,
) -> Option<String> {
    match declared {
        Some(Prices::Traded) => return None,
        Some(Prices::Adjusted) => return Some("so declared".into()),
        None => {}
    }
    let mut survey = PriceSurvey::default();
    for bar in bars {
        if bar.marks.contains(Marks::ADJUSTED) {
            return Some("so says the table".into());
        }
        survey.observe(bar, markets);
    }
    survey.adjusted()
}

/// The evidence of a series, bar by bar in the order of time.
#[derive(Clone, Debug, Default)]
pub struct PriceSurvey {
    last: Option<(Date, f64)>,
    bars: u32,
    off_tick: u32,
    near: u32,
    beyond: u32,
}

impl PriceSurvey {
    /// Examines the next bar. Only days of stocks with a limit are evidence.
    pub fn observe(&mut self, bar: &Bar, markets: &Markets) {
        let st = bar.marks.contains(Marks::SPECIAL);
        let listing = markets.of(bar.symbol);
        let rule = listing.and_then(|listing| listing.limit(bar.date, st));
        let (Some(listing), Some(rule), true) =
            (listing, rule, bar.close.is_finite() && bar.close > 0.0)
        else {
            return;
        };
        let before = self.last.replace((bar.date, bar.close));
        if bar.volume_shares < 1.0 || before.is_some_and(|(date, _)| date >= bar.date) {
            return;
        }
        self.bars += 1;
        let per_price = listing.market.units_per_price() as f64;
        let off = |price: f64| ((price * per_price).round() - price * per_price).abs() > 0.05;
        self.off_tick += u32::from(
            [bar.open, bar.high, bar.low, bar.close]
                .into_iter()
                .any(off),
        );
        let Some((date, close)) = before else { return };
        if date.weekdays_until(bar.date) > 0 || date.year() < ROUNDED_FROM {
            return;
        }
        let units = |price: f64| listing.market.price_units(price);
        let Ok(Limits::Band { up, down }) = listing.limits(bar.date, st, units(close)) else {
            return;
        };
        for (sign, limit) in [(1, up), (-1, down)] {
            let meant = close * (1.0 + f64::from(sign) * rule.percent as f64 / 100.0);
            if ((bar.close - meant) / meant).abs() <= NEAR {
                let over = (units(bar.close) - limit) * i64::from(sign);
                self.near += 1;
                self.beyond += u32::from(over >= 1);
            }
        }
    }

    /// Returns the reason for which the prices are adjusted, or `None` if they are not.
    #[must_use]
    pub fn adjusted(&self) -> Option<String> {
        if self.bars >= LEAST_BARS && self.off_tick * 2 > self.bars {
            return Some(format!(
                "{} of {} bars have prices between two ticks",
                self.off_tick, self.bars
            ));
        }
        let beyond = self.beyond >= LEAST && f64::from(self.beyond) >= SHARE * f64::from(self.near);
        beyond.then(|| {
            format!(
                "{} of {} closes near a price limit lie just beyond it",
                self.beyond, self.near
            )
        })
    }
}
