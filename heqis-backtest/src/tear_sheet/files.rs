//! The files of a tear sheet.

use std::path::Path;

use heqis_data::table::{Table, Values};

use super::TearSheet;
use super::html::page;
use crate::error::BacktestError;

impl TearSheet {
    /// Writes `tear_sheet.json`, `tear_sheet.html`, and the values of each day as `days.csv` and `days.parquet` into a
    /// directory: the day, its stocks, and RankIC and spread at the first horizon.
    ///
    /// # Errors
    /// [`BacktestError::Data`] when a file cannot be written.
    pub fn save(&self, dir: &Path, title: &str) -> Result<(), BacktestError> {
        std::fs::create_dir_all(dir).map_err(|source| BacktestError::file(dir, source))?;
        let json = serde_json::to_string_pretty(self)
            .map_err(|source| BacktestError::json(dir, source))?;
        for (name, text) in [
            ("tear_sheet.json", json + "\n"),
            ("tear_sheet.html", page(self, title)),
        ] {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|source| BacktestError::file(&path, source))?;
        }
        let days = &self.days;
        let whole = |day: &super::DayValues| i64::try_from(day.stocks).ok();
        Table::new(days.len())
            .with("date", Values::days(days, |day| day.date))
            .with("stocks", Values::whole(days, whole))
            .with("rank_ic", Values::numbers(days, |day| day.rank_ic[0]))
            .with("spread", Values::numbers(days, |day| day.spread[0]))
            .save(dir, "days")?;
        Ok(())
    }
}
