//! The series of a data set that a training uses, as a corpus.

use std::collections::BTreeSet;

use heqis_data::store::dataset::{Columns, DataSet};
use heqis_data::store::rows::Rows;
use heqis_data::watch_list::WatchList;
use heqis_quant::Symbol;
use heqis_quant::target::Target;

use super::config::{DataConfig, Symbols};
use crate::corpus::{Corpus, CutConfig, LookBack};
use crate::error::TrainError;

impl DataConfig {
    /// Returns where the spans are cut.
    fn cut(&self, target: Target) -> CutConfig {
        CutConfig {
            validation_from: self.validation_from,
            test_from: self.test_from,
            to: self.to,
            purge_bars: self.purge_bars,
            embargo_days: self.embargo_days,
            stride: self.stride,
            target,
        }
    }
}

impl Corpus {
    /// Reads the chosen series of a data set and cuts them into spans.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when the data set cannot be read or a symbol is not in it; otherwise as [`Corpus::new`].
    pub fn load(
        data: &DataSet,
        config: &DataConfig,
        look_back: LookBack,
    ) -> Result<Self, TrainError> {
        let settings = &data.manifest().settings;
        let cut = config.cut(settings.target);
        let mut corpus = Self::new(read(data, config)?, &settings.features, &cut, look_back)?;
        corpus.scale_by_day(config.scale_by_day);
        if config.shuffle_labels {
            corpus.shuffle_labels();
        }
        Ok(corpus)
    }
}

/// Reads the configured series.
fn read(data: &DataSet, config: &DataConfig) -> Result<Vec<(Symbol, Rows)>, TrainError> {
    let chosen = match &config.symbols {
        Symbols::All(_) => {
            let mut reader = data.series(Columns::All)?;
            let mut all = Vec::new();
            while let Some(rows) = reader.next()? {
                if let Some(bar) = rows.bars().first() {
                    all.push((bar.symbol, rows));
                }
            }
            return Ok(all);
        }
        Symbols::One(symbol) => vec![*symbol],
        Symbols::List(symbols) => symbols.clone(),
        Symbols::Sector(sector) => {
            let list = WatchList::read(&sector.watch_list)?;
            members(&list, &sector.sector, data)?
        }
    };
    let chosen: BTreeSet<Symbol> = chosen.into_iter().collect();
    chosen
        .into_iter()
        .map(|symbol| {
            let rows = data.symbol(symbol, Columns::All)?;
            match rows.is_empty() {
                true => Err(TrainError::training(
                    "data.symbols",
                    format!("{symbol} is not in the data set"),
                )),
                false => Ok((symbol, rows)),
            }
        })
        .collect()
}

/// Returns the symbols of a sector, given by code with or without the exchange.
fn members(list: &WatchList, sector: &str, data: &DataSet) -> Result<Vec<Symbol>, TrainError> {
    let refuse = |rule: String| TrainError::training("data.symbols", rule);
    let found = list.sector.iter().find(|s| s.name == sector);
    let found = found.ok_or_else(|| refuse(format!("the watch list has no sector {sector}")))?;
    found
        .stocks
        .iter()
        .map(|text| {
            let known = data.manifest().symbols.iter().map(|entry| entry.symbol);
            let mut known = known.filter(|symbol| {
                let code = symbol.as_str().split('.').next();
                symbol.as_str() == text || code == Some(text)
            });
            known.next().ok_or_else(|| {
                refuse(format!(
                    "{text} of sector {sector} must be the code of a series in the data set"
                ))
            })
        })
        .collect()
}
