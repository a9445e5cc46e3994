//! The day and the time of a row as text.

use heqis_quant::Date;

const SECOND_NS: i64 = 1_000_000_000;
const HOUR_NS: i64 = 3_600 * SECOND_NS;
const DAY_NS: i64 = 24 * HOUR_NS;

/// Formats a time in UTC as ISO 8601, for messages.
pub(super) fn iso(time_ns: i64) -> String {
    let (day, clock) = at(time_ns, 0);
    match day {
        Some(day) => format!("{day}T{clock}"),
        // Outside the years that the reader accepts.
        None => format!("{time_ns} ns"),
    }
}

/// Returns the day and the time of day of a bar, which the reader turns into the same time: at an offset at which the day
/// is that of the bar, if there is one, else in UTC.
pub(super) fn day_and_clock(date: Date, time_ns: i64) -> (Date, String) {
    let offsets = [8, 0, -5].into_iter().chain(-12..=14);
    for hours in offsets {
        let (day, clock) = at(time_ns, hours);
        if day == Some(date) {
            return (date, clock);
        }
    }
    let (day, clock) = at(time_ns, 0);
    (day.unwrap_or(date), clock)
}

/// Returns the day and the time of day at an offset of whole hours.
fn at(time_ns: i64, hours: i64) -> (Option<Date>, String) {
    let local_ns = time_ns.saturating_add(hours * HOUR_NS);
    let day = i32::try_from(local_ns.div_euclid(DAY_NS)).ok();
    let of_day = local_ns.rem_euclid(DAY_NS);
    let (seconds, fraction) = (of_day / SECOND_NS, of_day % SECOND_NS);
    let mut clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction != 0 {
        clock += &format!(".{fraction:09}");
    }
    clock += &match hours {
        0 => "Z".to_owned(),
        _ => format!("{hours:+03}:00"),
    };
    (day.and_then(Date::from_days), clock)
}
