//! Charts as self-contained SVG without scripts.

use crate::market::{DayBar, Stock};
use heqis_data::svg::Canvas;
use heqis_quant::Date;
use std::fmt::{Display, Write};

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// The width of one candle with its gap.
const CANDLE: f64 = 5.0;
const CANDLES_HEIGHT: f64 = 320.0;

/// A curve over days.
#[derive(Clone, Copy, Debug)]
pub struct PlotLine<'a> {
    /// The name in the legend.
    pub name: &'a str,
    /// The SVG colour.
    pub colour: &'a str,
    /// One value a day; a value that is not finite leaves a gap.
    pub values: &'a [f64],
}

/// The mark of a fill on a candle chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillMark {
    /// The index of the day in the calendar.
    pub day: u32,
    /// The price in price units of the stock's market.
    pub price: i64,
    /// Whether it is a buy.
    pub is_buy: bool,
    /// The number of shares, in quantity units.
    pub shares: u64,
}

/// Escapes text for XML and HTML.
#[must_use]
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Returns the minimum and maximum of the finite values, with a margin if they are equal.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - 0.5, high + 0.5),
        false => (0.0, 1.0),
    }
}

/// Draws lines over days. `label` formats the values of the left axis; `fill` fills the area between the lines and zero.
#[must_use]
pub fn lines(
    dates: &[Date],
    lines: &[PlotLine<'_>],
    height: f64,
    fill: bool,
    label: impl Fn(f64) -> String,
) -> String {
    let values = || lines.iter().flat_map(|line| line.values.iter().copied());
    let (low, high) = match fill {
        true => bounds(values().chain([0.0])),
        false => bounds(values()),
    };
    let steps = dates.len().max(2) as f64 - 1.0;
    let x = |at: usize| LEFT + at as f64 / steps * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| TOP + (high - value) / (high - low) * (height - TOP - BOTTOM);
    let mut canvas = Canvas::inline(WIDTH, height);
    for part in 0..=4 {
        let value = low + (high - low) * f64::from(part) / 4.0;
        grid(&mut canvas, y(value), WIDTH, &label(value));
    }
    years(&mut canvas, dates, height, x);
    for line in lines {
        let mut path = String::new();
        let mut pen_up = true;
        for (at, value) in line.values.iter().enumerate() {
            if value.is_finite() {
                let step = if pen_up { 'M' } else { 'L' };
                let _ = write!(path, "{step}{:.1} {:.1}", x(at), y(*value));
            }
            pen_up = !value.is_finite();
        }
        if fill {
            let last = line.values.len().saturating_sub(1);
            let _ = write!(
                path,
                "L{:.1} {:.1}L{:.1} {:.1}Z",
                x(last),
                y(0.0),
                x(0),
                y(0.0)
            );
        }
        let paint = if fill { line.colour } else { "none" };
        let area: [(&str, &dyn Display); 5] = [
            ("d", &path),
            ("fill", &paint),
            ("fill-opacity", &".35"),
            ("stroke", &line.colour),
            ("stroke-width", &"1.2"),
        ];
        canvas.element("path", &area, None);
    }
    for (at, line) in lines.iter().enumerate() {
        let x = format!("{:.0}", LEFT + 8.0 + 150.0 * at as f64);
        let y = format!("{:.0}", TOP + 12.0);
        let legend: [(&str, &dyn Display); 3] = [("x", &x), ("y", &y), ("fill", &line.colour)];
        canvas.element("text", &legend, Some(&escape(line.name)));
    }
    canvas.finish()
}

/// Draws candles with the marks of fills. Days that rose are red and days that fell green, as usual in China.
#[must_use]
pub fn candles(days: &[Date], stock: &Stock, marks: &[FillMark]) -> String {
    let bars = &by_day(stock.bars());
    let rules = stock.market();
    let decimals = rules.price_decimals as usize;
    let per_price = rules.units_per_price() as f64;
    let width = LEFT + RIGHT + CANDLE * bars.len() as f64;
    let (low, high) = bounds(
        bars.iter()
            .flat_map(|bar| [bar.low as f64, bar.high as f64]),
    );
    let x = |at: usize| LEFT + CANDLE * (at as f64 + 0.5);
    let y =
        |units: i64| TOP + (high - units as f64) / (high - low) * (CANDLES_HEIGHT - TOP - BOTTOM);
    let mut canvas = Canvas::inline(width, CANDLES_HEIGHT);
    for part in 0..=4 {
        let units = low + (high - low) * f64::from(part) / 4.0;
        grid(
            &mut canvas,
            y(units as i64),
            width,
            &format!("{:.decimals$}", units / per_price),
        );
    }
    let dates: Vec<Date> = bars.iter().map(|bar| days[bar.day as usize]).collect();
    years(&mut canvas, &dates, CANDLES_HEIGHT, x);
    for (colour, rising) in [("#c33", true), ("#283", false)] {
        let mut path = String::new();
        for (at, bar) in bars.iter().enumerate() {
            if (bar.close >= bar.open) != rising {
                continue;
            }
            let (body_top, body_bottom) = (y(bar.open.max(bar.close)), y(bar.open.min(bar.close)));
            let _ = write!(
                path,
                "M{0:.1} {1:.1}V{2:.1}M{3:.1} {4:.1}h3v{5:.1}h-3z",
                x(at),
                y(bar.high),
                y(bar.low),
                x(at) - 1.5,
                body_top,
                (body_bottom - body_top).max(0.5)
            );
        }
        let bodies: [(&str, &dyn Display); 4] = [
            ("d", &path),
            ("fill", &colour),
            ("stroke", &colour),
            ("stroke-width", &".8"),
        ];
        canvas.element("path", &bodies, None);
    }
    for mark in marks {
        let Ok(at) = bars.binary_search_by_key(&mark.day, |bar| bar.day) else {
            continue;
        };
        let (x, y) = (x(at), y(mark.price));
        let (colour, tip) = match mark.is_buy {
            true => ("#06c", 9.0),
            false => ("#e80", -9.0),
        };
        let arrow = format!("M{x:.1} {y:.1}l-4 {tip}h8z");
        let title = format!(
            "<title>{} {} {} at {:.decimals$}</title>",
            days[mark.day as usize],
            if mark.is_buy { "buy" } else { "sell" },
            rules.quantity_text(mark.shares),
            mark.price as f64 / per_price
        );
        let arrow: [(&str, &dyn Display); 2] = [("d", &arrow), ("fill", &colour)];
        canvas.element("path", &arrow, Some(&title));
    }
    canvas.finish()
}

/// Merges the bars of each day.
fn by_day(bars: &[DayBar]) -> Vec<DayBar> {
    let days = bars.chunk_by(|a, b| a.day == b.day);
    days.filter_map(|day| {
        let (first, last) = (day.first()?, day.last()?);
        Some(DayBar {
            open: first.open,
            high: day.iter().map(|bar| bar.high).max()?,
            low: day.iter().map(|bar| bar.low).min()?,
            ..*last
        })
    })
    .collect()
}

fn grid(canvas: &mut Canvas, y: f64, width: f64, label: &str) {
    let line = format!("M{LEFT} {y:.1}H{:.0}", width - RIGHT);
    canvas.element("path", &[("d", &line), ("stroke", &"#ddd")], None);
    let (x, y) = (format!("{:.0}", LEFT - 6.0), format!("{:.1}", y + 4.0));
    let place: [(&str, &dyn Display); 3] = [("x", &x), ("y", &y), ("text-anchor", &"end")];
    canvas.element("text", &place, Some(&escape(label)));
}

/// Writes each year at its first day.
fn years(canvas: &mut Canvas, dates: &[Date], height: f64, x: impl Fn(usize) -> f64) {
    let mut last = None;
    let mut right = f64::NEG_INFINITY;
    for (at, date) in dates.iter().enumerate() {
        if last != Some(date.year()) && x(at) > right + 40.0 {
            right = x(at);
            let (x, y) = (format!("{right:.0}"), format!("{:.0}", height - 6.0));
            let year = date.year().to_string();
            canvas.element("text", &[("x", &x), ("y", &y)], Some(&year));
        }
        last = Some(date.year());
    }
}
