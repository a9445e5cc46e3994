//! Series after series into a draft: computed anew, or copied from the version before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use heqis_quant::{Date, Symbol};

use super::report::{Line, Report};
use super::series::Series;
use crate::error::LabError;
use crate::store::dataset::{DataSet, SeriesReader};
use crate::store::manifest::{Input, RowCounts, SymbolEntry};
use crate::store::{BarsWriter, Rows};

/// The version before, as far as it can be built upon.
pub(super) struct Previous {
    pub(super) data: DataSet,
    pub(super) inputs: BTreeMap<String, Input>,
    pub(super) symbols: BTreeMap<Symbol, SymbolEntry>,
}

/// Where series go, in the order of symbols.
pub(super) struct Sink<'a> {
    pub(super) bars: BarsWriter,
    pub(super) report: Report,
    pub(super) inputs: &'a [Input],
    pub(super) old_rejected: BTreeMap<String, Vec<Line>>,
    pub(super) symbols: Vec<SymbolEntry>,
    pub(super) days: BTreeSet<Date>,
    pub(super) marks: BTreeMap<String, u64>,
    pub(super) counts: RowCounts,
    pub(super) computed: usize,
}

impl Sink<'_> {
    pub(super) fn add(&mut self, series: Series) -> Result<(), LabError> {
        for rejected in &series.rejected {
            let file = self.inputs.get(rejected.origin.file as usize);
            let path = file.map_or("", |input| input.path.as_str());
            self.report.add(&Line::rejected(path, rejected))?;
        }
        self.computed += 1;
        self.put(series.entry, &series.rows)
    }

    /// Takes a series over from the version before.
    pub(super) fn copy(
        &mut self,
        symbol: Symbol,
        previous: Option<&Previous>,
        old: Option<&mut SeriesReader>,
    ) -> Result<(), LabError> {
        let lost = |what: &str| {
            let dir = previous.map_or(Path::new(""), |previous| previous.data.dir());
            LabError::data_set(
                dir,
                format!("{what} of {symbol} is missing; prepare again with --full"),
            )
        };
        let entry = previous.and_then(|previous| previous.symbols.get(&symbol));
        let (Some(entry), Some(old)) = (entry, old) else {
            return Err(lost("the entry"));
        };
        for line in self
            .old_rejected
            .remove(symbol.as_str())
            .unwrap_or_default()
        {
            self.report.add(&line)?;
        }
        let mut rows = None;
        while entry.bars > 0 && rows.is_none() {
            let series = old.next()?.ok_or_else(|| lost("the series"))?;
            let found = series.bars().first().map(|bar| bar.symbol);
            if found == Some(symbol) {
                rows = Some(series);
            } else if found > Some(symbol) {
                return Err(lost("the series"));
            }
        }
        let rows = rows.unwrap_or_else(|| Rows::new(0));
        if rows.len() as u64 != entry.bars {
            return Err(lost("a part"));
        }
        self.put(entry.clone(), &rows)
    }

    fn put(&mut self, entry: SymbolEntry, rows: &Rows) -> Result<(), LabError> {
        self.bars.append(rows)?;
        for (row, bar) in rows.bars().iter().enumerate() {
            if !self.days.contains(&bar.date) {
                self.days.insert(bar.date);
            }
            for mark in bar.marks.names() {
                match self.marks.get_mut(mark) {
                    Some(count) => *count += 1,
                    None => drop(self.marks.insert(mark.to_owned(), 1)),
                }
            }
            self.counts.with_features += u64::from(rows.features(row).is_some());
            self.counts.labelled += u64::from(rows.next()[row].is_some());
        }
        self.counts.bars += rows.len() as u64;
        self.symbols.push(entry);
        Ok(())
    }
}
