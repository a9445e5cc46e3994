//! The watch list: sectors with stocks by name or code, indices and funds by code.

use std::collections::BTreeSet;
use std::path::Path;

use heqis_quant::Symbol;
use serde::Deserialize;

use crate::error::{DataError, Rule};

/// A watch list as in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchList {
    /// The sectors.
    pub sector: Vec<Sector>,
}

/// One sector.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sector {
    /// Its name.
    pub name: String,
    /// A-shares, by name or code.
    #[serde(default)]
    pub stocks: Vec<String>,
    /// Indices, by code.
    #[serde(default)]
    pub indices: Vec<Symbol>,
    /// Funds, by code.
    #[serde(default)]
    pub funds: Vec<Symbol>,
}

impl WatchList {
    /// Reads the file of a watch list.
    ///
    /// # Errors
    ///
    /// [`DataError::File`] when it cannot be read, otherwise as [`WatchList::parse`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let text = std::fs::read_to_string(path).map_err(|error| DataError::file(path, error))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a watch list in TOML. `place` is the file's name, for messages.
    ///
    /// # Errors
    ///
    /// [`DataError::Rule`] with line and column, or naming a sector without instruments.
    pub fn parse(text: &str, place: &str) -> Result<Self, DataError> {
        let refuse = |rule: String| DataError::from(Rule::new(place, rule));
        let list: Self = toml::from_str(text)
            .map_err(|error| refuse(error.to_string().trim_end().to_owned()))?;
        let is_empty = |sector: &&Sector| {
            sector.stocks.is_empty() && sector.indices.is_empty() && sector.funds.is_empty()
        };
        if let Some(empty) = list.sector.iter().find(is_empty) {
            return Err(refuse(format!("sector {} has no instrument", empty.name)));
        }
        if list.sector.is_empty() {
            return Err(refuse("has no sector".to_owned()));
        }
        Ok(list)
    }

    /// Returns the indices of all sectors without repetition.
    #[must_use]
    pub fn indices(&self) -> BTreeSet<Symbol> {
        let all = self.sector.iter().flat_map(|sector| &sector.indices);
        all.copied().collect()
    }

    /// Returns the funds of all sectors without repetition.
    #[must_use]
    pub fn funds(&self) -> BTreeSet<Symbol> {
        let all = self.sector.iter().flat_map(|sector| &sector.funds);
        all.copied().collect()
    }
}
