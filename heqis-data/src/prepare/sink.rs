//! Writes series into a draft: computed ones, and ones copied from the previous version.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_quant::Symbol;
use heqis_quant::label::Direction;

use super::findings::Finding;
use super::lines::Lines;
use super::report::RejectRow;
use super::series::PreparedSeries;
use crate::error::DataError;
use crate::store::dataset::{DataSet, SeriesReader};
use crate::store::manifest::{Input, SymbolEntry};
use crate::store::{BarsWriter, Rows};

/// The previous version, if its parts can be reused.
pub(super) struct Previous {
    pub(super) data: DataSet,
    pub(super) inputs: BTreeMap<String, Input>,
    pub(super) symbols: BTreeMap<Symbol, SymbolEntry>,
}

/// Collects series in the order of symbols.
pub(super) struct Sink<'a> {
    pub(super) bars: BarsWriter,
    pub(super) report: Lines<RejectRow>,
    pub(super) findings: Lines<Finding>,
    pub(super) inputs: &'a [Input],
    pub(super) old_rejected: BTreeMap<String, Vec<RejectRow>>,
    pub(super) old_findings: BTreeMap<String, Vec<Finding>>,
    pub(super) symbols: Vec<SymbolEntry>,
    pub(super) computed: usize,
    /// Number of flat labels.
    pub(super) flat: u64,
}

impl Sink<'_> {
    pub(super) fn add(&mut self, series: PreparedSeries) -> Result<(), DataError> {
        for rejected in &series.rejected {
            let file = self.inputs.get(rejected.origin.file as usize);
            let path = file.map_or("", |input| input.path.as_str());
            self.report.add(&RejectRow::rejected(path, rejected))?;
        }
        for finding in &series.findings {
            self.findings.add(finding)?;
        }
        self.computed += 1;
        self.append(&series.rows)?;
        self.symbols.push(series.entry);
        Ok(())
    }

    fn append(&mut self, rows: &Rows) -> Result<(), DataError> {
        let labels = rows.next().iter().flatten();
        let flat = labels.filter(|next| next.direction == Direction::Flat);
        self.flat += flat.count() as u64;
        self.bars.append(rows)
    }

    /// Copies a series from the previous version.
    pub(super) fn copy(
        &mut self,
        symbol: Symbol,
        previous: Option<&Previous>,
        old: Option<&mut SeriesReader>,
    ) -> Result<(), DataError> {
        let entry = previous.and_then(|previous| previous.symbols.get(&symbol));
        let (Some(entry), Some(old)) = (entry, old) else {
            return Err(DataError::kind(
                previous.map_or(Path::new(""), |previous| previous.data.dir()),
                format!("has no {symbol} to copy; prepare again with --full"),
            ));
        };
        for line in self
            .old_rejected
            .remove(symbol.as_str())
            .unwrap_or_default()
        {
            self.report.add(&line)?;
        }
        for finding in self
            .old_findings
            .remove(symbol.as_str())
            .unwrap_or_default()
        {
            self.findings.add(&finding)?;
        }
        if let Some(rows) = old.seek(symbol)? {
            self.append(&rows)?;
        }
        self.symbols.push(entry.clone());
        Ok(())
    }
}
