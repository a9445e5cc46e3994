//! The rows of one symbol.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use heqis_data::store::dataset::Columns;
use heqis_data::store::manifest::Adjust;
use heqis_data::store::{DataSet, Rows};
use heqis_quant::adjust::AdjustedBar;
use heqis_quant::{Adjustment, Bar, Date, Factors, Symbol};
use serde_json::{Map, Value, json};

use super::plot;
use crate::error::LabError;
use crate::output::CommandOutput;

/// Arguments of `data show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The data set's directory.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The instrument, such as 600000.SH.
    #[arg(value_name = "SYMBOL")]
    pub symbol: Symbol,
    /// First day to show.
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// Last day to show.
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
    /// The level of prices: as traded, of the last stored day, or of the first [default: as prepared].
    #[arg(long, value_enum)]
    pub adjust: Option<Adjust>,
    /// Print CSV with all digits.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON with all digits.
    #[arg(long)]
    pub json: bool,
    /// Also write an SVG chart of close and volume.
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
}

/// Returns the rows, and writes the chart when requested.
///
/// # Errors
///
/// [`LabError`] when the data set has no such rows or cannot be read, or the chart cannot be written.
pub fn run(args: &ShowArgs) -> Result<CommandOutput, LabError> {
    let data = DataSet::open(&args.dir)?;
    let all = data.symbol(args.symbol, Columns::All)?;
    let adjust = args.adjust.unwrap_or(data.manifest().settings.adjustment);
    let adjusted = adjusted(all.bars(), adjust)?;
    let (mut rows, mut prices) = (Rows::new(all.feature_count()), Vec::new());
    for (row, bar) in all.bars().iter().enumerate() {
        if args.from.is_none_or(|from| from <= bar.date) && args.to.is_none_or(|to| bar.date <= to)
        {
            rows.extend_from(&all, row..row + 1);
            prices.push(adjusted[row]);
        }
    }
    if rows.is_empty() {
        let span = match all.bars() {
            [first, .., last] => format!("its bars reach from {} to {}", first.date, last.date),
            [only] => format!("its one bar is of {}", only.date),
            [] => format!("{} has no bar in this data set", args.symbol),
        };
        return Err(LabError::rule(
            args.dir.display(),
            format!("no bar of {} to show: {span}", args.symbol),
        ));
    }
    if let Some(path) = &args.plot {
        let picture = plot::svg(args.symbol, rows.bars(), &prices, adjust);
        std::fs::write(path, picture).map_err(|source| LabError::file(path, source))?;
    }
    let features = &data.manifest().settings.features;
    let lines = match (args.json, args.csv) {
        (true, _) => vec![json(&rows, &prices, features)],
        (_, true) => csv(&rows, &prices, features),
        _ => table(&rows, &prices, features),
    };
    Ok(lines.into())
}

/// Returns the prices to show. The level follows from the bars' reference prices, which features and labels use;
/// the last level of a forward adjustment is that of the last stored bar, whatever range is shown.
fn adjusted(bars: &[Bar], adjust: Adjust) -> Result<Vec<AdjustedBar>, LabError> {
    let Some(last) = bars.last() else {
        return Ok(Vec::new());
    };
    let adjustment = match adjust {
        Adjust::None => Adjustment::None,
        Adjust::Forward => Adjustment::Forward { as_of: last.date },
        Adjust::Backward => Adjustment::Backward,
    };
    Ok(Factors::from_references(bars)?.adjust(bars, adjustment)?)
}

fn json(rows: &Rows, prices: &[AdjustedBar], features: &[String]) -> String {
    let lines: Vec<Value> = (0..rows.len())
        .map(|row| {
            let (bar, next) = (&rows.bars()[row], &rows.next()[row]);
            let price = &prices[row];
            let values = rows.features(row).map(|values| {
                let named = features
                    .iter()
                    .cloned()
                    .zip(values.iter().map(|&v| json!(v)));
                named.collect::<Map<String, Value>>()
            });
            json!({
                "symbol": bar.symbol,
                "date": bar.date,
                "time_ns": bar.time_ns,
                "open": price.open,
                "high": price.high,
                "low": price.low,
                "close": price.close,
                "multiplier": price.multiplier,
                "pre_close": bar.pre_close,
                "volume_shares": bar.volume_shares,
                "amount_cny": bar.amount_cny,
                "marks": bar.marks.names().collect::<Vec<_>>(),
                "features": values,
                "next": next.map(|next| json!({
                    "date": next.date,
                    "next_return": next.next_return,
                    "direction": next.direction,
                })),
            })
        })
        .collect();
    Value::from(lines).to_string()
}

/// A missing value is an empty cell. No cell needs quotes: names and numbers hold neither commas nor quotes.
fn csv(rows: &Rows, prices: &[AdjustedBar], features: &[String]) -> Vec<String> {
    let mut lines = vec![format!(
        "symbol,date,open,high,low,close,pre_close,volume,amount,marks,{},next_date,next_return,direction,multiplier,time_ns",
        features.join(",")
    )];
    let given = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    for ((row, bar), price) in rows.bars().iter().enumerate().zip(prices) {
        let mut cells = vec![
            bar.symbol.to_string(),
            bar.date.to_string(),
            price.open.to_string(),
            price.high.to_string(),
            price.low.to_string(),
            price.close.to_string(),
            given(bar.pre_close),
            bar.volume_shares.to_string(),
            given(bar.amount_cny),
            bar.marks.to_string(),
        ];
        let values = rows.features(row);
        cells.extend((0..features.len()).map(|i| given(values.map(|values| values[i]))));
        let next = rows.next()[row];
        cells.push(next.map(|next| next.date.to_string()).unwrap_or_default());
        cells.push(given(next.map(|next| next.next_return)));
        cells.push(
            next.map(|next| next.direction.class().to_string())
                .unwrap_or_default(),
        );
        cells.push(price.multiplier.to_string());
        cells.push(bar.time_ns.to_string());
        lines.push(cells.join(","));
    }
    lines
}

fn table(rows: &Rows, prices: &[AdjustedBar], features: &[String]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let fixed = ["date", "open", "high", "low", "close", "volume", "marks"];
    table.set_header(
        fixed
            .into_iter()
            .chain(features.iter().map(String::as_str))
            .chain(["next_return"]),
    );
    let rounded = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
    let minutes = rows
        .bars()
        .iter()
        .any(|bar| bar.time_ns != bar.date.close_time_ns());
    let time = |bar: &Bar| match minutes {
        true => {
            // Minutes of the day at UTC+08:00.
            let of_day = (bar.time_ns.div_euclid(60_000_000_000) + 480).rem_euclid(1440);
            format!("{} {:02}:{:02}", bar.date, of_day / 60, of_day % 60)
        }
        false => bar.date.to_string(),
    };
    for ((row, bar), price) in rows.bars().iter().enumerate().zip(prices) {
        // As many digits as the vendor gave, without those of the multiplication.
        let shown = |value: f64| ((value * 1e4).round() / 1e4).to_string();
        let mut cells = vec![
            time(bar),
            shown(price.open),
            shown(price.high),
            shown(price.low),
            shown(price.close),
            bar.volume_shares.to_string(),
            bar.marks.to_string(),
        ];
        let values = rows.features(row);
        cells.extend((0..features.len()).map(|i| rounded(values.map(|values| values[i]))));
        cells.push(rounded(rows.next()[row].map(|next| next.next_return)));
        table.add_row(cells);
    }
    table.lines().map(|line| line.trim().to_owned()).collect()
}
