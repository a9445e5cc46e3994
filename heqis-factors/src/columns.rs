//! The columns that expressions may read.

use heqis_quant::Bar;

use crate::fault::FactorError;
use crate::text::lexer::name_len;

/// How a column's earlier values change when a corporate action moves prices to another level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// A price: multiplied like all prices before the action.
    Price,
    /// A number of shares: divided by the same factor.
    Volume,
    /// Neither, such as money, ratios, codes, and every column of another series.
    Fixed,
}

/// The names of the columns in the order of the values of one bar.
///
/// ```
/// use heqis_factors::{Columns, FactorSet, Level};
///
/// let columns = Columns::bars().with("$turnover", Level::Fixed)?.with("index.close", Level::Fixed)?;
/// let set = FactorSet::parse("beta = corr(close, index.close, 20)\nbusy = mean($turnover, 5)", &columns)?;
/// assert_eq!(set.names().collect::<Vec<_>>(), ["beta", "busy"]);
/// # Ok::<(), heqis_factors::FactorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    columns: Vec<(String, Level)>,
}

impl Columns {
    /// Returns the columns of bars: `open`, `high`, `low`, `close` in CNY, `volume` in shares, `amount` in CNY, and `vwap`, the amount
    /// over the volume. Where a table has no amounts, the last two are missing on every bar.
    #[must_use]
    pub fn bars() -> Self {
        let price = ["open", "high", "low", "close"].map(|name| (name, Level::Price));
        let rest = [
            ("volume", Level::Volume),
            ("amount", Level::Fixed),
            ("vwap", Level::Price),
        ];
        let columns = price.into_iter().chain(rest);
        Self {
            columns: columns
                .map(|(name, level)| (name.to_owned(), level))
                .collect(),
        }
    }

    /// Adds a column of the user: a plain name, one with `$`, or one of another series, such as `index.close`. Expressions may write a
    /// plain name with and without `$`.
    ///
    /// # Errors
    /// Returns [`FactorError::Value`] when the text is no such name, or the column is there already.
    pub fn with(mut self, name: &str, level: Level) -> Result<Self, FactorError> {
        let is_name = |name: &str| name_len(name) == Some(name.len());
        let fits = match name.split_once('.') {
            Some((series, column)) => is_name(series) && is_name(column) && !name.contains('$'),
            None => is_name(name),
        };
        if !fits {
            let rule = "must be a name of letters, digits and _, with $ before it or of the form series.column";
            return Err(FactorError::value("column", rule, name));
        }
        if self.find(name).is_some() {
            return Err(FactorError::value("column", "must be new", name));
        }
        self.columns.push((name.to_owned(), level));
        Ok(self)
    }

    /// Returns the number of columns.
    #[must_use]
    #[allow(
        clippy::len_without_is_empty,
        reason = "there are always the columns of bars"
    )]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Returns the names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn level(&self, column: usize) -> Option<Level> {
        self.columns.get(column).map(|(_, level)| *level)
    }

    /// Returns the place and the level of a column.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, Level)> {
        let plain = |name: &str| name.strip_prefix('$').unwrap_or(name).to_owned();
        let wanted = plain(name);
        let at = self.names().position(|other| plain(other) == wanted)?;
        Some((at, self.columns[at].1))
    }
}

/// Returns the values of [`Columns::bars`] of one bar, NaN where the bar has none.
#[must_use]
pub fn values_of(bar: &Bar) -> [f64; 7] {
    let amount = bar.amount_cny.unwrap_or(f64::NAN);
    let vwap = match bar.volume_shares > 0.0 {
        true => amount / bar.volume_shares,
        false => f64::NAN,
    };
    [
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume_shares,
        amount,
        vwap,
    ]
}

/// Places of the columns that indicators of whole bars read.
pub(crate) const HIGH: u32 = 1;
pub(crate) const LOW: u32 = 2;
pub(crate) const CLOSE: u32 = 3;
pub(crate) const VOLUME: u32 = 4;
