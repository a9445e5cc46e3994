//! Files → series in memory, each in the order of time, with the report of what became of every row.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::{Bar, Cleaner, Marks, QuantError, Symbol};

use crate::bar_file::open;
use crate::bars::TableOptions;
use crate::error::DataError;
use crate::prices::judge_prices;
use crate::report::{FileReport, ImportReport, SeriesReport};

/// Series that were read, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The bars of each instrument as read, in the order of time. Adjusted ones are marked.
    pub series: BTreeMap<Symbol, Vec<Bar>>,
    /// What became of the rows.
    pub report: ImportReport,
    /// Whether the bars of each instrument have a time of day, and the file that showed it.
    kinds: BTreeMap<Symbol, (bool, String)>,
}

impl Import {
    /// Reads one file. A row that cannot be read is counted, and the next bar of its series says so in its marks.
    ///
    /// # Errors
    /// [`DataError`] when the file as a whole cannot be read: see [`Import::leave_out`].
    pub fn read(&mut self, path: &Path, options: &TableOptions) -> Result<(), DataError> {
        let file = open(path, options)?;
        let mut report = FileReport::new(path.display().to_string(), file.detected());
        let mut several = false;
        let has_time = file.detected().has_time;
        for row in file {
            report.rows += 1;
            match row {
                Ok(bar) => {
                    if report.symbol != Some(bar.symbol) {
                        let known = self.kinds.entry(bar.symbol);
                        let (kind, other) = known.or_insert((has_time, report.path.clone()));
                        if *kind != has_time {
                            let (days, minutes) = ("bars of days", "bars with a time of day");
                            let (here, there) = if has_time {
                                (minutes, days)
                            } else {
                                (days, minutes)
                            };
                            let rule = format!(
                                "holds {here} of {}, of which {other} holds {there}",
                                bar.symbol
                            );
                            return Err(DataError::kind(path, rule));
                        }
                    }
                    several |= *report.symbol.get_or_insert(bar.symbol) != bar.symbol;
                    self.series.entry(bar.symbol).or_default().push(bar);
                }
                Err(QuantError::Io { source, .. }) => return Err(DataError::file(path, source)),
                Err(error) => report.unreadable(&error),
            }
        }
        report.symbol = report.symbol.filter(|_| !several);
        self.report.files.push(report);
        Ok(())
    }

    /// Notes a file that gives nothing, with the reason.
    pub fn leave_out(&mut self, path: &Path, why: &DataError) {
        self.report.files.push(FileReport {
            path: path.display().to_string(),
            left_out: Some(why.to_string()),
            ..FileReport::default()
        });
    }

    /// Puts all series in order and finds out whose prices are adjusted, unless that was said.
    ///
    /// # Errors
    /// [`DataError::Table`] when the limits of the market cannot be read.
    pub fn settle(&mut self, options: &TableOptions) -> Result<(), DataError> {
        let shipped = Arc::new(Markets::shipped()?);
        let markets = options.markets.as_ref().unwrap_or(&shipped);
        for (symbol, bars) in &mut self.series {
            bars.sort_by_key(|bar| bar.time_ns);
            let mut report = SeriesReport::new(*symbol);
            report.unlisted = markets.of(*symbol).is_none();
            report.adjusted = judge_prices(bars.iter(), options.prices, markets);
            if report.adjusted.is_some() {
                bars.iter_mut()
                    .for_each(|bar| bar.marks.insert(Marks::ADJUSTED));
            }
            self.report.series.push(report);
        }
        Ok(())
    }

    /// Lets a cleaner judge all series, and returns the bars that it passes. The report is complete then.
    #[must_use]
    pub fn clean(&mut self, cleaner: &Cleaner) -> BTreeMap<Symbol, Vec<Bar>> {
        let mut passed = BTreeMap::new();
        for report in &mut self.report.series {
            let mut judge = cleaner.clone();
            let rows = self
                .series
                .get(&report.symbol)
                .map_or(&[][..], Vec::as_slice);
            let mut bars = Vec::with_capacity(rows.len());
            for row in rows {
                let judged = judge.check(*row);
                report.judged(row, &judged);
                bars.extend(judged);
            }
            passed.insert(report.symbol, bars);
        }
        passed
    }
}
