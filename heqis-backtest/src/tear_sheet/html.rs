//! The tear sheet as one page. It has no script and loads nothing.

use std::fmt::Write;

use heqis_quant::Date;

use super::statistics::Summary;
use super::{PartSheet, TearSheet};
use crate::report::html::STYLE;
use crate::report::plot::{PlotLine, escape, lines};

fn percent(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{:.3} %", value * 100.0))
}

fn plain(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.4}"))
}

fn short(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.2}"))
}

/// A mean with its t value.
fn mean_and_t(summary: &Summary) -> String {
    match summary.days {
        0 => "–".into(),
        _ => format!("{:.4} ({})", summary.mean, short(summary.t_overlap)),
    }
}

struct Html(String);

impl Html {
    fn table(&mut self, head: &[String], rows: impl IntoIterator<Item = Vec<String>>) {
        let row = |out: &mut String, tag: &str, cells: &[String]| {
            *out += "<tr>";
            for (at, cell) in cells.iter().enumerate() {
                let class = if at == 0 { " class=\"text\"" } else { "" };
                let _ = write!(out, "<{tag}{class}>{}</{tag}>", escape(cell));
            }
            *out += "</tr>\n";
        };
        self.0 += "<table>";
        row(&mut self.0, "th", head);
        for cells in rows {
            row(&mut self.0, "td", &cells);
        }
        self.0 += "</table>\n";
    }

    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{text}</h2>");
    }

    fn text(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escape(text));
    }
}

/// Returns the page.
pub(super) fn page(sheet: &TearSheet, title: &str) -> String {
    let title = escape(title);
    let mut html = Html(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    ));
    let settings = &sheet.settings;
    html.text(&format!(
        "{} scores of {} stocks from {} to {}. Held from {}. Not used: {} without a bar, {} that could not be entered, {} \
         too close to the end, {} of days with few stocks; {} exits at the last close before a day without a bar.",
        sheet.scores,
        sheet.stocks,
        sheet.from,
        sheet.to,
        match settings.price {
            super::EntryPrice::Open => "the next open",
            super::EntryPrice::Close => "the close of the score itself, which is past by then",
        },
        sheet.unused.no_bar,
        sheet.unused.no_entry,
        sheet.unused.no_exit,
        sheet.unused.few_stocks,
        sheet.unused.exits_without_bar,
    ));
    html.heading("By holding period");
    let head = [
        "days held",
        "RankIC",
        "95 % interval",
        "t, days independent",
        "t, overlap allowed for",
        "IC",
        "top − bottom",
        "long-short",
        "top, excess",
        "its turnover",
        "top, excess after costs",
        "rank autocorrelation",
    ];
    let rows = sheet.horizons.iter().map(|of| {
        let top = of.quantiles.last();
        let ends = |ends: [f64; 2]| format!("{:.4} … {:.4}", ends[0], ends[1]);
        vec![
            of.horizon.to_string(),
            plain(Some(of.rank_ic.mean)),
            of.rank_ic.interval.map_or("–".into(), ends),
            short(of.rank_ic.t),
            short(of.rank_ic.t_overlap),
            plain(Some(of.ic.mean)),
            percent(Some(of.spread.mean)),
            percent(Some(of.long_short.mean)),
            percent(top.and_then(|top| top.mean_excess)),
            percent(top.and_then(|top| top.turnover)),
            percent(of.top_after_costs),
            plain(of.rank_autocorrelation),
        ]
    });
    html.table(&head.map(str::to_owned), rows);
    html.text(&format!(
        "Returns are those of one holding period. Excess is the return less that of all stocks. After costs: every stock that \
         enters the top quantile costs {} of its value, to buy and to sell. Short positions, as in the long-short figures, are \
         hardly possible in A-shares.",
        percent(Some(settings.round_trip_cost))
    ));
    html.heading("Mean excess return by quantile");
    let mut head = vec!["quantile".to_owned()];
    head.extend(settings.horizons.iter().map(|days| format!("{days} days")));
    let rows = (0..settings.quantiles).map(|quantile| {
        let excess = (sheet.horizons.iter()).map(|of| percent(of.quantiles[quantile].mean_excess));
        std::iter::once((quantile + 1).to_string())
            .chain(excess)
            .collect()
    });
    html.table(&head, rows);
    curves(&mut html, sheet);
    parts(&mut html, sheet, "By year", &sheet.years);
    parts(&mut html, sheet, "By sector", &sheet.sectors);
    html.0 + "</body>\n</html>\n"
}

fn parts(html: &mut Html, sheet: &TearSheet, heading: &str, parts: &[PartSheet]) {
    if parts.is_empty() {
        return;
    }
    html.heading(&format!("{heading}: RankIC (t)"));
    let mut head = vec![String::new()];
    let horizons = sheet.settings.horizons.iter();
    head.extend(horizons.map(|days| format!("{days} days")));
    let rows = parts.iter().map(|part| {
        let cells = part.rank_ic.iter().map(mean_and_t);
        std::iter::once(part.name.clone()).chain(cells).collect()
    });
    html.table(&head, rows);
}

/// The sums of RankIC and of the spread at the shortest horizon.
fn curves(html: &mut Html, sheet: &TearSheet) {
    let dates: Vec<Date> = sheet.days.iter().map(|day| day.date).collect();
    let summed = |value: &dyn Fn(&super::DayValues) -> Option<f64>| -> Vec<f64> {
        let days = sheet.days.iter();
        days.scan(0.0, |sum, day| {
            *sum += value(day).unwrap_or(0.0);
            Some(*sum)
        })
        .collect()
    };
    let days = sheet.settings.horizons[0];
    let (rank_ic, spread) = (
        summed(&|day| day.rank_ic[0]),
        summed(&|day| day.spread[0].map(|spread| spread / days as f64)),
    );
    for (heading, colour, values, unit) in [
        (
            format!("Sum of RankIC, {days} days held"),
            "#06c",
            &rank_ic,
            1.0,
        ),
        (
            format!("Sum of top − bottom before costs, {days} days held, per cent"),
            "#c80",
            &spread,
            100.0,
        ),
    ] {
        html.heading(&heading);
        let line = PlotLine {
            name: "sum",
            colour,
            values,
        };
        html.0 += &lines(&dates, &[line], 240.0, true, |level| {
            format!("{:.1}", level * unit)
        });
    }
}
