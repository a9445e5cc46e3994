//! Close and volume as SVG: a line above columns.

use std::fmt::Write;

use heqis_quant::adjust::AdjustedBar;
use heqis_quant::{Bar, Symbol};

use heqis_data::store::manifest::Adjust;
use heqis_data::svg::Canvas;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 480.0;
/// The price labels end at this abscissa.
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 15.0;
/// The vertical ranges of the line and of the columns.
const PRICE: (f64, f64) = (40.0, 330.0);
const VOLUME: (f64, f64) = (350.0, 440.0);

/// Draws the bars of one series, at least one of them, with the prices to show for each.
///
/// Bars stand at equal distances, so that suspensions leave no hole in the line; the axis names the first and the last
/// day.
#[must_use]
pub fn svg(symbol: Symbol, bars: &[Bar], prices: &[AdjustedBar], adjust: Adjust) -> String {
    let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut most_shares = 0.0f64;
    for (bar, price) in bars.iter().zip(prices) {
        least = least.min(price.close);
        greatest = greatest.max(price.close);
        most_shares = most_shares.max(bar.volume_shares);
    }
    let step = (RIGHT - LEFT) / bars.len().max(1) as f64;
    let x = |i: usize| LEFT + (i as f64 + 0.5) * step;
    let y = |close: f64| match greatest > least {
        true => PRICE.1 - (close - least) / (greatest - least) * (PRICE.1 - PRICE.0),
        false => (PRICE.0 + PRICE.1) / 2.0,
    };
    let mut columns = String::new();
    for (i, bar) in bars.iter().enumerate() {
        if most_shares > 0.0 {
            let height = bar.volume_shares / most_shares * (VOLUME.1 - VOLUME.0);
            // Writing to a String cannot fail.
            let _ = write!(columns, "M{:.1} {:.1}v{:.1}", x(i), VOLUME.1, -height);
        }
    }
    let level = match adjust {
        Adjust::None => String::new(),
        adjusted => format!("{}-adjusted ", adjusted.name()),
    };
    let day = |bar: Option<&Bar>| bar.map(|bar| bar.date.to_string()).unwrap_or_default();
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let title = format!("{symbol}: {level}close and volume, {} bars", bars.len());
    canvas.text(LEFT, 24.0, "start", &title);
    canvas.text(LEFT - 8.0, PRICE.0 + 4.0, "end", &format!("{greatest:.2}"));
    canvas.text(LEFT - 8.0, PRICE.1 + 4.0, "end", &format!("{least:.2}"));
    canvas.text(LEFT - 8.0, VOLUME.0 + 10.0, "end", &shares(most_shares));
    canvas.text(LEFT, HEIGHT - 15.0, "start", &day(bars.first()));
    canvas.text(RIGHT, HEIGHT - 15.0, "end", &day(bars.last()));
    canvas.path(&columns, "#9ab", (step * 0.7).max(0.3));
    let line = prices
        .iter()
        .enumerate()
        .map(|(i, price)| (x(i), y(price.close)));
    canvas.line(line, "#06c", 1.2);
    canvas.finish()
}

/// Returns a number of shares in thousands or millions.
fn shares(count: f64) -> String {
    match count {
        _ if count >= 1e6 => format!("{:.1}M", count / 1e6),
        _ if count >= 1e3 => format!("{:.1}k", count / 1e3),
        _ => format!("{count:.0}"),
    }
}
