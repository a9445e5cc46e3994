//! Files → series in memory, each in the order of time, with a report on all rows.

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

/// The series of any number of files, and the report on them.
///
/// ```
/// use heqis_data::{Import, TableOptions};
/// use heqis_quant::{CleanConfig, Cleaner, Symbol};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("600000.SH.csv");
/// let text = "date,open,high,low,close,volume\n\
///             2024-01-02,6.63,6.68,6.61,6.62,17000000\n\
///             2024-01-03,6.62,9.99,6.61,6.65,16000000\n\
///             2024-01-04,6.65,6.66,6.58,6.60,15000000\n";
/// std::fs::write(&path, text)?;
/// let options = TableOptions::default();
/// let mut import = Import::default();
/// import.read(&path, &options)?;
/// import.settle(&options)?;
/// let bars = import.clean(&Cleaner::new(CleanConfig::default())?);
/// assert_eq!(bars[&Symbol::parse("600000.SH")?].len(), 2);
/// let rejected = &import.report.series[0].rejected["outside_limits"];
/// assert_eq!(rejected.count, 1);
/// assert!(rejected.first.starts_with("600000.SH 2024-01-03: outside_limits"), "{}", rejected.first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The bars of each instrument as read, in the order of time. Adjusted ones are marked.
    pub series: BTreeMap<Symbol, Vec<Bar>>,
    /// The report on the rows.
    pub report: ImportReport,
    /// Whether the bars of each instrument have a time of day, and the file that shows it.
    kinds: BTreeMap<Symbol, (bool, String)>,
}

impl Import {
    /// Reads one file. Unreadable rows are counted, and the next bar of the series is marked.
    ///
    /// # Errors
    /// [`DataError`] if the whole file cannot be read: see [`Import::leave_out`].
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
                            let (days, minutes) = ("daily bars", "bars with a time of day");
                            let (here, there) = if has_time {
                                (minutes, days)
                            } else {
                                (days, minutes)
                            };
                            let rule =
                                format!("has {here} of {}, but {other} has {there}", bar.symbol);
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

    /// Reports a file that is left out, with the reason.
    pub fn leave_out(&mut self, path: &Path, why: &DataError) {
        self.report.files.push(FileReport {
            path: path.display().to_string(),
            left_out: Some(why.to_string()),
            ..FileReport::default()
        });
    }

    /// Sorts all series and detects those of adjusted prices, unless the options state it.
    ///
    /// # Errors
    /// [`DataError::Table`] if the market rules cannot be read.
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

    /// Cleans all series, completes the report, and returns the passed bars.
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
