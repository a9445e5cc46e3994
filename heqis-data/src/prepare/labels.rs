//! Labels that compare the instruments of a day: a second pass over the rows, year by year, since a series alone does not
//! have them.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_quant::rules::Markets;
use heqis_quant::stats::LEAST_CROSS_SECTION;
use heqis_quant::target::{ForwardReturn, Member, Target, cross_section};
use heqis_quant::{Date, Symbol};

use crate::error::DataError;
use crate::store::dataset::{Columns, DataSet};
use crate::store::manifest::FileEntry;
use crate::store::{BarsWriter, NextBar, Rows};

/// The reason for which instruments that cannot be traded, such as an index, have no label.
const UNTRADABLE: &str = "untradable";

/// The returns of a span's instruments, day by day.
#[derive(Debug)]
pub struct CrossSections<'a> {
    target: Target,
    flat_band: f64,
    markets: &'a Markets,
    days: BTreeMap<Date, Vec<Member>>,
    unlabelled: BTreeMap<String, u64>,
}

/// The labels of a span.
#[derive(Debug, Default)]
pub struct DayLabels {
    labels: BTreeMap<(Symbol, Date), NextBar>,
    /// Rows with a return and without a label, by reason.
    pub unlabelled: BTreeMap<String, u64>,
}

impl<'a> CrossSections<'a> {
    /// Starts without rows.
    #[must_use]
    pub fn new(target: Target, flat_band: f64, markets: &'a Markets) -> Self {
        Self {
            target,
            flat_band,
            markets,
            days: BTreeMap::new(),
            unlabelled: BTreeMap::new(),
        }
    }

    /// Adds rows whose labels are returns. An instrument that no market lets one trade, such as an index, takes part only
    /// as the benchmark.
    pub fn add(&mut self, rows: &Rows) {
        for (bar, next) in rows.bars().iter().zip(rows.next()) {
            let Some(next) = next else { continue };
            let listing = self.markets.of(bar.symbol);
            let untradable = listing.is_some_and(|listing| listing.class.untradable.is_some());
            if untradable && self.target.benchmark != Some(bar.symbol) {
                *self.unlabelled.entry(UNTRADABLE.to_owned()).or_insert(0) += 1;
                continue;
            }
            self.days.entry(bar.date).or_default().push(Member {
                symbol: bar.symbol,
                forward: ForwardReturn {
                    known: next.date,
                    value: next.next_return,
                },
            });
        }
    }

    /// Returns the labels of all rows added.
    #[must_use]
    pub fn labels(self) -> DayLabels {
        let mut all = DayLabels {
            unlabelled: self.unlabelled,
            ..DayLabels::default()
        };
        for (day, members) in self.days {
            let labels = cross_section(&self.target, self.flat_band, &members);
            for (member, label) in members.iter().zip(labels) {
                match label {
                    Ok(label) => {
                        let next = NextBar {
                            date: member.forward.known,
                            next_return: label.next_return,
                            direction: label.direction,
                        };
                        all.labels.insert((member.symbol, day), next);
                    }
                    Err(reason) => {
                        let reason = reason.name().to_owned();
                        *all.unlabelled.entry(reason).or_insert(0) += 1;
                    }
                }
            }
        }
        all
    }
}

impl DayLabels {
    /// Returns rows with these labels instead of their own.
    #[must_use]
    pub fn apply(&self, rows: &Rows) -> Rows {
        let mut labelled = Rows::new(rows.feature_count());
        for (row, bar) in rows.bars().iter().enumerate() {
            let next = self.labels.get(&(bar.symbol, bar.date)).copied();
            labelled.push(*bar, rows.features(row), next);
        }
        labelled
    }
}

/// The result of the second pass.
pub(super) struct Relabelled {
    pub(super) files: Vec<FileEntry>,
    pub(super) unlabelled: BTreeMap<String, u64>,
}

/// Writes the rows of `raw`, whose labels are returns, with the labels of its target into the directory `dir`. At most the
/// labels of one year are in memory.
pub(super) fn relabel(
    raw: &DataSet,
    root: &Path,
    dir: &Path,
    markets: &Markets,
) -> Result<Relabelled, DataError> {
    let settings = &raw.manifest().settings;
    refuse_few(raw, root, markets)?;
    let mut writer = BarsWriter::create(dir, &settings.features)?;
    let mut unlabelled = BTreeMap::new();
    for year in 0..raw.manifest().files.len() {
        let mut days = CrossSections::new(settings.target, settings.flat_band, markets);
        raw.scan(year..year + 1, Columns::Bars, |rows| {
            days.add(&rows);
            Ok(())
        })?;
        let labels = days.labels();
        for (reason, count) in &labels.unlabelled {
            *unlabelled.entry(reason.clone()).or_insert(0) += count;
        }
        writer.restart();
        raw.scan(year..year + 1, Columns::All, |rows| {
            let rows = labels.apply(&rows);
            let mut from = 0;
            for series in rows.bars().chunk_by(|a, b| a.symbol == b.symbol) {
                let mut one = Rows::new(rows.feature_count());
                one.extend_from(&rows, from..from + series.len());
                from += series.len();
                writer.append(&one)?;
            }
            Ok(())
        })?;
    }
    Ok(Relabelled {
        files: writer.finish()?,
        unlabelled,
    })
}

/// Refuses a data set that can have no cross-section.
fn refuse_few(raw: &DataSet, root: &Path, markets: &Markets) -> Result<(), DataError> {
    let target = raw.manifest().settings.target;
    let series = raw.manifest().symbols.iter().filter(|entry| entry.bars > 0);
    if let Some(benchmark) = target.benchmark {
        return match series.clone().any(|entry| entry.symbol == benchmark) {
            true => Ok(()),
            false => Err(DataError::kind(
                root,
                format!("the benchmark {benchmark} of the target must be one of the series"),
            )),
        };
    }
    let tradable = |symbol: Symbol| {
        let listing = markets.of(symbol);
        listing.is_none_or(|listing| listing.class.untradable.is_none())
    };
    let count = series.filter(|entry| tradable(entry.symbol)).count();
    match count >= LEAST_CROSS_SECTION {
        true => Ok(()),
        false => Err(DataError::kind(
            root,
            format!(
                "a target of the kind {} compares the instruments of a day and needs at least {LEAST_CROSS_SECTION} that can \
                 be traded, got {count}",
                target.kind.name()
            ),
        )),
    }
}
