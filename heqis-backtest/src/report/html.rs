//! A run as one page: metrics, charts and the reasons of unfilled orders. It has no script and loads nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use heqis_data::ImportReport;
use heqis_quant::Date;
use heqis_quant::rules::Trade;

use super::plot::{FillMark, PlotLine, candles, escape, lines};
use crate::alternatives::Alternatives;
use crate::broker::{Ledger, Reason};
use crate::inputs::LeftOut;
use crate::market::MarketHistory;
use crate::metrics::Metrics;
use crate::metrics::returns::drawdowns;

/// The number of stocks with a candle chart: those with the most fills.
const CHARTS: usize = 3;

/// The content of a page.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The name of the run.
    pub title: &'a str,
    /// The settings by name.
    pub settings: &'a [(String, String)],
    /// The market.
    pub market: &'a MarketHistory,
    /// Orders, fills and the account.
    pub ledger: &'a Ledger,
    /// One return a day.
    pub returns: &'a [f64],
    /// One return of the benchmark a day.
    pub benchmark: Option<&'a [f64]>,
    /// The metrics.
    pub metrics: &'a Metrics,
    /// The instruments that are not traded, with the reasons.
    pub left_out: &'a [LeftOut],
    /// The import report of the rows read.
    pub import: &'a ImportReport,
    /// The same account without a model.
    pub alternatives: &'a Alternatives,
    /// The warnings.
    pub warnings: &'a [String],
}

impl Page<'_> {
    /// Returns the page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escape(self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        for warning in self.warnings {
            let _ = writeln!(out, "<p class=\"warning\">{}</p>", escape(warning));
        }
        self.figures(&mut out);
        self.alternatives(&mut out);
        self.curves(&mut out);
        out += "<h2>Months</h2>\n";
        out += &months(&self.dates(), self.returns);
        self.charts(&mut out);
        self.reasons(&mut out);
        self.left_out(&mut out);
        self.import(&mut out);
        out += "<h2>Settings</h2>\n<table>";
        for (name, value) in self.settings {
            let _ = write!(
                out,
                "<tr><th>{}</th><td class=\"text\">{}</td></tr>",
                escape(name),
                escape(value)
            );
        }
        out + "</table>\n</body>\n</html>\n"
    }

    fn dates(&self) -> Vec<Date> {
        self.ledger.daily().iter().map(|day| day.date).collect()
    }

    fn import(&self, out: &mut String) {
        if self.import.series.is_empty() {
            return;
        }
        let lines: Vec<String> = self
            .import
            .lines()
            .iter()
            .map(|line| escape(line))
            .collect();
        let _ = writeln!(
            out,
            "<h2>What was read</h2>\n<pre>{}</pre>",
            lines.join("\n")
        );
    }

    fn left_out(&self, out: &mut String) {
        if self.left_out.is_empty() {
            return;
        }
        *out += "<h2>Not traded</h2>\n<table><tr><th>instrument</th><th>reason</th></tr>";
        for LeftOut { symbol, reason } in self.left_out {
            let _ = write!(
                out,
                "<tr><td class=\"text\">{symbol}</td><td class=\"text\">{}</td></tr>",
                escape(reason)
            );
        }
        *out += "</table>\n";
    }

    /// The currency of the account.
    fn currency(&self) -> &str {
        let first = self.market.stocks().first();
        first.map_or("CNY", |stock| &stock.market().currency)
    }

    fn figures(&self, out: &mut String) {
        let m = self.metrics;
        let percent =
            |value: Option<f64>| value.map_or("–".into(), |v| format!("{:.2} %", v * 100.0));
        let plain = |value: Option<f64>| value.map_or("–".into(), |v| format!("{v:.3}"));
        let benchmark = m.benchmark.as_ref();
        let rows = [
            ("total return", percent(Some(m.curve.total_return))),
            ("annual return", percent(m.curve.annual_return)),
            ("volatility", percent(m.curve.volatility)),
            ("Sharpe", plain(m.curve.sharpe)),
            ("Sortino", plain(m.curve.sortino)),
            ("Calmar", plain(m.curve.calmar)),
            ("largest drawdown", percent(Some(m.curve.max_drawdown))),
            ("alpha", percent(benchmark.and_then(|a| a.alpha))),
            ("beta", plain(benchmark.and_then(|a| a.beta))),
            (
                "information ratio",
                plain(benchmark.and_then(|a| a.information_ratio)),
            ),
            (
                "benchmark a year",
                percent(benchmark.and_then(|a| a.benchmark_return)),
            ),
            ("round trips", m.trades.count.to_string()),
            ("win rate", percent(m.trades.win_rate)),
            ("profit factor", plain(m.trades.profit_factor)),
            ("average trip", percent(m.trades.average)),
            ("turnover a year", plain(m.turnover)),
            ("exposure", percent(m.exposure)),
            (
                "fees",
                format!("{:.2} {}", m.fees_cents as f64 / 100.0, self.currency()),
            ),
            ("fees over traded", percent(m.cost_share)),
            ("IC", plain(m.scores.map(|s| s.ic))),
            ("RankIC", plain(m.scores.map(|s| s.rank_ic))),
            ("ICIR", plain(m.scores.and_then(|s| s.icir))),
        ];
        *out += "<div class=\"figures\">";
        for (name, value) in rows {
            let _ = write!(out, "<div><b>{value}</b>{name}</div>");
        }
        let _ = write!(
            out,
            "</div>\n<p>{} trading days; a year has {} of them, the rate without risk is {} %, and {} degree of freedom is \
             taken off in deviations.</p>\n",
            m.days,
            m.basis.days_per_year,
            m.basis.risk_free * 100.0,
            m.basis.ddof
        );
    }

    /// Writes the table of the run and its alternatives, *hold* and *cash*.
    fn alternatives(&self, out: &mut String) {
        *out += "<table><tr><th></th><th>total return</th><th>annual return</th><th>Sharpe</th><th>largest drawdown</th>\
                 <th>fees</th></tr>\n";
        let run = ("this run", self.metrics);
        for (name, m) in [run].into_iter().chain(self.alternatives.named()) {
            let percent = |v: f64| format!("{:.2} %", v * 100.0);
            let _ = writeln!(
                out,
                "<tr><th class=\"text\">{name}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2} CNY</td></tr>",
                percent(m.curve.total_return),
                m.curve.annual_return.map_or("–".into(), percent),
                m.curve.sharpe.map_or("–".into(), |v| format!("{v:.3}")),
                percent(m.curve.max_drawdown),
                m.fees_cents as f64 / 100.0
            );
        }
        *out += "</table>\n<p>Hold buys equal parts of all instruments after their first close, by the same broker, rules and \
                 costs, and keeps them; cash buys nothing and earns nothing.</p>\n";
    }

    fn curves(&self, out: &mut String) {
        let dates = self.dates();
        let grow = |returns: &[f64]| -> Vec<f64> {
            let mut level = 1.0;
            let levels = returns.iter().map(|r| {
                level *= 1.0 + r;
                level
            });
            levels.collect()
        };
        let account = grow(self.returns);
        let other = self.benchmark.map(grow);
        let hold = grow(&self.alternatives.hold_returns);
        let mut shown = vec![
            PlotLine {
                name: "account",
                colour: "#06c",
                values: &account,
            },
            PlotLine {
                name: "hold",
                colour: "#c80",
                values: &hold,
            },
        ];
        if let Some(other) = &other {
            shown.push(PlotLine {
                name: "benchmark",
                colour: "#888",
                values: other,
            });
        }
        *out += "<h2>Account</h2>\n";
        *out += &lines(&dates, &shown, 320.0, false, |level| format!("{level:.2}"));
        *out += "\n<h2>Drawdown</h2>\n";
        let falls = drawdowns(self.returns);
        let falls = [PlotLine {
            name: "drawdown",
            colour: "#c33",
            values: &falls,
        }];
        let percent = |fall| format!("{:.0} %", fall * 100.0);
        *out += &lines(&dates, &falls, 180.0, true, percent);
        *out += "\n";
    }

    fn charts(&self, out: &mut String) {
        let mut fills: BTreeMap<usize, Vec<FillMark>> = BTreeMap::new();
        let days = self.market.days();
        for fill in &self.ledger.fills {
            let Ok(day) = days.binary_search(&fill.date) else {
                continue;
            };
            fills.entry(fill.stock).or_default().push(FillMark {
                day: day as u32,
                price: fill.price,
                is_buy: fill.trade == Trade::Buy,
                shares: fill.shares,
            });
        }
        let mut most: Vec<(&usize, &Vec<FillMark>)> = fills.iter().collect();
        most.sort_by_key(|(stock, marks)| (std::cmp::Reverse(marks.len()), **stock));
        for (stock, marks) in most.into_iter().take(CHARTS) {
            let stock = &self.market.stocks()[*stock];
            let _ = write!(
                out,
                "<h2>{}: {} fills</h2>\n<p>Prices as traded; blue marks are buys, orange ones sales.</p>\n\
                 <div class=\"wide\">{}</div>\n",
                escape(stock.symbol().as_str()),
                marks.len(),
                candles(days, stock, marks)
            );
        }
    }

    fn reasons(&self, out: &mut String) {
        let mut counts: BTreeMap<(Reason, &str), usize> = BTreeMap::new();
        for order in &self.ledger.orders {
            for note in &order.notes {
                *counts
                    .entry((note.reason, order.status.name()))
                    .or_default() += 1;
            }
        }
        let _ = write!(
            out,
            "<h2>Orders</h2>\n<p>{} orders, {} fills. What kept orders from being filled whole:</p>\n<table>\
             <tr><th>reason</th><th>end</th><th>orders</th></tr>",
            self.ledger.orders.len(),
            self.ledger.fills.len()
        );
        for ((reason, status), count) in counts {
            let _ = write!(
                out,
                "<tr><td class=\"text\">{reason}</td><td class=\"text\">{status}</td><td>{count}</td></tr>"
            );
        }
        *out += "</table>\n";
    }
}

/// Returns a table of monthly and yearly returns, coloured by size.
fn months(dates: &[Date], returns: &[f64]) -> String {
    let mut years: BTreeMap<i16, [Option<f64>; 12]> = BTreeMap::new();
    for (date, r) in dates.iter().zip(returns) {
        // A date as text is YYYY-MM-DD.
        let text = date.to_string();
        let month: usize = text.get(5..7).and_then(|m| m.parse().ok()).unwrap_or(1);
        let cell = &mut years.entry(date.year()).or_default()[month - 1];
        *cell = Some((1.0 + cell.unwrap_or(0.0)) * (1.0 + r) - 1.0);
    }
    let mut out = String::from("<table class=\"months\"><tr><th></th>");
    for month in 1..=12 {
        let _ = write!(out, "<th>{month}</th>");
    }
    out += "<th>year</th></tr>\n";
    for (year, cells) in years {
        let _ = write!(out, "<tr><th>{year}</th>");
        let whole = cells
            .iter()
            .flatten()
            .fold(1.0, |level, r| level * (1.0 + r))
            - 1.0;
        for value in cells.into_iter().chain([Some(whole)]) {
            let Some(value) = value else {
                out += "<td></td>";
                continue;
            };
            // Red for gains, as usual in China; the colour is darkest from 10 % on.
            let depth = (value.abs() * 10.0).min(1.0) * 0.75;
            let colour = if value >= 0.0 {
                "204,51,51"
            } else {
                "34,136,51"
            };
            let _ = write!(
                out,
                "<td style=\"background:rgba({colour},{depth:.2})\">{:.1}</td>",
                value * 100.0
            );
        }
        out += "</tr>\n";
    }
    out + "</table>\n"
}

pub(crate) const STYLE: &str = "body{font:14px/1.5 sans-serif;color:#222;max-width:1130px;margin:24px auto;padding:0 16px}\
h1{font-size:22px}h2{font-size:16px;margin:28px 0 8px}svg{font:12px sans-serif;fill:#444;display:block;max-width:none}\
.wide{overflow-x:auto;border:1px solid #ddd}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right;\
border:1px solid #eee;font-weight:normal}th{color:#666}.text{text-align:left;overflow-wrap:anywhere}.months td{min-width:42px}\
.warning{background:#fff4e0;padding:6px 10px;border-left:4px solid #e80}\
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px}\
.figures div{background:#f6f6f6;padding:6px 10px;font-size:12px;color:#666}\
.figures b{display:block;font-size:17px;color:#222}";
