//! The series of a data set.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use heqis_data::store::DataSet;
use serde_json::json;

use crate::error::LabError;
use crate::output::CommandOutput;

/// Arguments of `data ls`.
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// The data set's directory.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Returns one line for each series, and a summary.
///
/// # Errors
///
/// [`LabError`] when there is no data set.
pub fn run(args: &LsArgs) -> Result<CommandOutput, LabError> {
    let data = DataSet::open(&args.dir)?;
    let manifest = data.manifest();
    if args.json {
        let answer = json!({
            "version": manifest.version,
            "settings": manifest.settings,
            "span": manifest.span,
            "scaler_span": manifest.scaler_span,
            "rows": manifest.rows,
            "symbols": manifest.symbols,
        });
        return Ok(vec![answer.to_string()].into());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["symbol", "from", "to", "bars", "gaps", "rejected"]);
    for entry in &manifest.symbols {
        let day = |date: Option<heqis_quant::Date>| date.map_or("-".into(), |d| d.to_string());
        table.add_row([
            entry.symbol.to_string(),
            day(entry.span.map(|span| span.from)),
            day(entry.span.map(|span| span.to)),
            entry.bars.to_string(),
            entry.gaps.to_string(),
            entry.rejected.to_string(),
        ]);
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.push(format!(
        "{} symbols, {} bars, {} to {}; {} features, adjustment {}; scaler {} to {}",
        manifest.symbols.len(),
        manifest.rows.bars,
        manifest.span.from,
        manifest.span.to,
        manifest.settings.features.len(),
        manifest.settings.adjustment.name(),
        manifest.scaler_span.from,
        manifest.scaler_span.to
    ));
    Ok(lines.into())
}
