//! Options for reading a table.

use std::sync::Arc;

use heqis_quant::rules::Markets;
use heqis_quant::{DayOrder, Symbol};
use serde::{Deserialize, Serialize};

use super::units::VolumeUnit;

/// The kind of prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prices {
    /// As traded.
    Traded,
    /// Adjusted by the vendor for ex-rights, forward or backward: moves are correct, levels are not.
    Adjusted,
}

impl Prices {
    /// Returns the kind of prices in a title or file name, such as `日线 前复权` or `600000.SH.qfq`, if it states one.
    #[must_use]
    pub(crate) fn of_title(title: &str) -> Option<Self> {
        let title = title.to_lowercase();
        let is_word = |word: &&str| {
            title
                .split(|c: char| !c.is_alphanumeric())
                .any(|w| w == *word)
        };
        if title.contains("不复权") {
            Some(Self::Traded)
        } else if title.contains("前复权")
            || title.contains("后复权")
            || ["qfq", "hfq"].iter().any(is_word)
        {
            Some(Self::Adjusted)
        } else {
            None
        }
    }
}

/// What the caller of a reader knows about the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableOptions {
    /// The instrument of a table without a symbol column.
    pub symbol: Option<Symbol>,
    /// The IANA zone of times without an offset, instead of that of the instrument's exchange.
    pub zone: Option<String>,
    /// The unit of the volume, instead of the one that the amounts show.
    pub volume_unit: Option<VolumeUnit>,
    /// The order of day and month in days with the year last.
    pub day_order: Option<DayOrder>,
    /// The kind of prices, instead of the one that the table shows.
    pub prices: Option<Prices>,
    /// The markets of instruments and their time zones, instead of the shipped ones.
    #[serde(skip)]
    pub markets: Option<Arc<Markets>>,
}
