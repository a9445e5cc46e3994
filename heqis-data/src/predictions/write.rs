//! Predictions → files for [`Predictions::read`](super::Predictions::read).

use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use heqis_base::files::write_atomically_with;
use heqis_quant::target::TargetKind;
use heqis_quant::{Date, DecisionRule, Symbol};

use super::{Forecast, time};
use crate::error::DataError;
use crate::table::{Table, Values};

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictionRow {
    /// The instrument.
    pub symbol: Symbol,
    /// The trading day of the bar.
    pub date: Date,
    /// The end of the bar in UTC nanoseconds.
    pub time_ns: i64,
    /// The prediction at its close.
    pub forecast: Forecast,
}

/// Writes rows in their order, atomically: Parquet if the name ends in `.parquet`, gzip-compressed CSV if it ends in `.gz`,
/// else CSV. Numbers are read back as the same bits. Columns without a value are left out, and so is `time` if all bars are
/// days.
///
/// # Errors
/// [`DataError::File`] when the file cannot be written.
pub fn write(path: &Path, lines: &[PredictionRow]) -> Result<(), DataError> {
    write_kind(path, lines, TargetKind::Return)
}

/// As [`write()`], of predictions of any kind. A column `target` names the kind, unless it is that of returns.
///
/// # Errors
/// As [`write()`].
pub fn write_kind(path: &Path, lines: &[PredictionRow], kind: TargetKind) -> Result<(), DataError> {
    let failed = |source| DataError::file(path, source);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let table = table(lines, kind);
    let name = path.to_string_lossy().to_lowercase();
    write_atomically_with(path, |file| {
        if name.ends_with(".parquet") {
            table
                .parquet("predictions", file)
                .map_err(std::io::Error::other)
        } else if name.ends_with(".gz") {
            let mut packed = GzEncoder::new(file, Compression::default());
            table.csv(&mut packed)?;
            packed.finish().map(|_| ())
        } else {
            table.csv(file)
        }
    })
    .map_err(failed)
}

fn table(lines: &[PredictionRow], kind: TargetKind) -> Table<'_> {
    let mut table = Table::new(lines.len()).with(
        "symbol",
        Values::text(lines, |line| line.symbol.to_string()),
    );
    let is_day = |line: &PredictionRow| line.time_ns == line.date.close_time_ns();
    if lines.iter().all(is_day) {
        table = table.with("date", Values::days(lines, |line| line.date));
    } else {
        let stamp = |line: &PredictionRow| time::day_and_clock(line.date, line.time_ns);
        table = table
            .with("date", Values::days(lines, move |line| stamp(line).0))
            .with("time", Values::text(lines, move |line| stamp(line).1));
    }
    table = table.with(
        "predicted_return",
        Values::numbers(lines, |line| Some(line.forecast.predicted_return)),
    );
    if lines
        .iter()
        .any(|line| line.forecast.probabilities.is_some())
    {
        for (class, name) in ["p_down", "p_flat", "p_up"].into_iter().enumerate() {
            let share =
                move |line: &PredictionRow| line.forecast.probabilities.map(|shares| shares[class]);
            table = table.with(name, Values::numbers(lines, share));
        }
    }
    if lines.iter().any(|line| line.forecast.fitted_to.is_some()) {
        let day = |line: &PredictionRow| line.forecast.fitted_to.map(|day| day.to_string());
        let day = move |line: &PredictionRow| day(line).unwrap_or_default();
        table = table.with("fitted_to", Values::text(lines, day));
    }
    if kind != TargetKind::Return {
        let name = move |_: &PredictionRow| kind.name().to_owned();
        table = table.with("target", Values::text(lines, name));
    }
    table
}

/// Returns the path of the default decision rule of a table of predictions, a file of backtest settings next to the
/// table.
#[must_use]
pub fn rule_path(table: &Path) -> PathBuf {
    with_suffix(table, ".rule.toml")
}

/// Writes the decision rule of the model next to its table of predictions. Without a rule, an existing file is removed,
/// since it belongs to an earlier table.
///
/// # Errors
/// [`DataError::File`] when the file cannot be written or removed.
pub fn write_rule(table: &Path, rule: Option<&DecisionRule>) -> Result<(), DataError> {
    let path = rule_path(table);
    let done = match rule {
        Some(rule) => {
            let text = format!(
                "# The rule that the maker of these predictions was shipped with.\n\
                 rule = {{ enter = {:?}, exit = {:?}, min_confidence = {:?}, min_exit_confidence = {:?} }}\n",
                rule.enter, rule.exit, rule.min_confidence, rule.min_exit_confidence
            );
            std::fs::write(&path, text)
        }
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    };
    done.map_err(|source| DataError::file(&path, source))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
