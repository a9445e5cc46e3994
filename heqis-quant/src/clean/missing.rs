//! Days and minutes that are missing before a bar.

use super::Cleaner;
use super::config::DAY_MINUTES;
use super::rules::BarRules;
use super::series::{Hole, SeriesState};
use crate::bar::Bar;
use crate::calendar::Calendar;
use crate::date::Date;
use crate::rules::Days;
use crate::symbol::Exchange;

/// Returns the trading minutes of a day that had passed at a time: 1 at 09:31, 120 from 11:30 to 13:00, 240 from 15:00.
fn minutes_passed(date: Date, time_ns: i64) -> u32 {
    let before_close = (date.close_time_ns() - time_ns).div_euclid(60_000_000_000);
    let left = match before_close {
        ..=0 => 0,
        minutes @ 1..=120 => minutes,
        121..=210 => 120,
        minutes => (minutes - 90).min(240),
    };
    DAY_MINUTES - u32::try_from(left).unwrap_or(DAY_MINUTES)
}

impl Cleaner {
    /// Returns the hole right before a bar, or `None` if nothing is missing or a suspension explains it.
    pub(super) fn hole(
        &self,
        bar: &Bar,
        before: &SeriesState,
        rules: &BarRules<'_>,
    ) -> Option<Hole> {
        // A good row replaces a rejected one of the same time.
        if before.lost_ns.is_some_and(|lost_ns| lost_ns < bar.time_ns) {
            let days = self.days_between(bar, before.date, rules).max(1);
            return Some(Hole { days, lost: true });
        }
        if bar.date == before.date || before.silent {
            return None;
        }
        // The close of the day before is unknown if its last bars are missing.
        let cut_off = rules.is_traded_in_china && before.time_ns < before.date.close_time_ns();
        match self.days_between(bar, before.date, rules) {
            0 if cut_off => Some(Hole {
                days: 1,
                lost: false,
            }),
            0 => None,
            days => Some(Hole { days, lost: false }),
        }
    }

    /// Returns the number of trading days strictly between a day and that of a bar: by the calendar, by the holidays of the
    /// market, or by weekdays.
    fn days_between(&self, bar: &Bar, since: Date, rules: &BarRules<'_>) -> u32 {
        let counted = self
            .calendar_of(bar)
            .and_then(|calendar| calendar.between(since, bar.date))
            .and_then(|days| u32::try_from(days).ok());
        if let Some(days) = counted {
            return days;
        }
        let Some(listing) = rules.listing else {
            return since.weekdays_until(bar.date);
        };
        let days = (since.days() + 1..bar.date.days()).filter_map(Date::from_days);
        let open = |day: &Date| listing.market.is_open(*day).unwrap_or(!day.is_weekend());
        u32::try_from(days.filter(open).count()).unwrap_or(u32::MAX)
    }

    /// Returns the calendar if it is that of the bar's exchange: other exchanges have other holidays.
    fn calendar_of(&self, bar: &Bar) -> Option<&Calendar> {
        self.calendar
            .as_deref()
            .filter(|_| bar.symbol.exchange() != Exchange::Other)
    }

    pub(super) fn missing_days(&self, bar: &Bar, since: Date, rules: &BarRules<'_>) -> bool {
        let always_open = rules
            .listing
            .is_some_and(|listing| listing.market.days == Days::All);
        match self
            .calendar_of(bar)
            .and_then(|calendar| calendar.between(since, bar.date))
        {
            Some(missing) => missing > 0,
            None if always_open => self.days_between(bar, since, rules) > 0,
            None => since.weekdays_until(bar.date) > self.config.holiday_weekdays,
        }
    }

    /// Returns whether trading minutes are missing since the last bar, or before the first bar of a new day.
    pub(super) fn missing_minutes(
        &self,
        bar: &Bar,
        before: &SeriesState,
        rules: &BarRules<'_>,
    ) -> bool {
        let Some(length) = self.config.bar_minutes else {
            return false;
        };
        if rules
            .listing
            .is_some_and(|listing| listing.market.days == Days::All)
        {
            let step_ns = i64::from(length) * 60_000_000_000;
            return bar.time_ns - before.time_ns > step_ns;
        }
        let now = minutes_passed(bar.date, bar.time_ns);
        match (minutes_passed(before.date, before.time_ns), now) {
            _ if bar.symbol.exchange() == Exchange::Other => false,
            (last, now) if bar.date == before.date => now > last + length,
            (last, now) => last < DAY_MINUTES || now > length,
        }
    }

    pub(super) fn is_closed(&self, bar: &Bar, rules: &BarRules<'_>) -> bool {
        let closes = rules
            .listing
            .is_some_and(|listing| listing.market.days == Days::Weekdays);
        let weekend = (closes || bar.symbol.exchange() != Exchange::Other) && bar.date.is_weekend();
        // A day between two covered days is covered itself.
        weekend
            || self.calendar_of(bar).is_some_and(|calendar| {
                calendar.between(bar.date, bar.date).is_some() && !calendar.contains(bar.date)
            })
    }
}
