//! The first line of a table: which family it is of, and where each value stands.

use serde::Serialize;

use super::units::VolumeUnit;
use crate::QuantError;

/// The family of a table, which fixes the units as far as a name can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Daily rows: volume in lots of 100 shares, amount in thousand CNY. Minute rows: shares and CNY.
    Tushare,
    /// Chinese column names, close before high; lots and CNY for most sources, shares for some.
    AkShare,
    /// Volume in shares, amount in CNY; suspended days have rows without a volume.
    Baostock,
    /// Volume in shares, amount in CNY: Yahoo, stockstats and most plain tables.
    Plain,
}

impl Layout {
    /// Returns the name for reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tushare => "Tushare",
            Self::AkShare => "AkShare",
            Self::Baostock => "baostock",
            Self::Plain => "plain",
        }
    }
}

/// Where each value stands in a row.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) symbol: Option<usize>,
    /// The day; `None` when the time column has it.
    pub(super) date: Option<usize>,
    pub(super) time: Option<usize>,
    pub(super) open: usize,
    pub(super) high: usize,
    pub(super) low: usize,
    pub(super) close: usize,
    pub(super) pre_close: Option<usize>,
    pub(super) volume: usize,
    pub(super) amount: Option<usize>,
    /// baostock's `adjustflag` and `tradestatus`.
    pub(super) adjust_flag: Option<usize>,
    pub(super) trade_status: Option<usize>,
}

/// What a header tells.
pub(super) struct Understood {
    pub(super) layout: Layout,
    pub(super) columns: Columns,
    /// The unit that the header names, or `None` when only the rows can tell.
    pub(super) volume_unit: Option<VolumeUnit>,
    pub(super) amount_cny: f64,
}

/// A header while it is being understood.
pub(super) struct Header<'a> {
    pub(super) source_name: &'a str,
    pub(super) names: &'a [String],
}

impl Header<'_> {
    pub(super) fn understand(&self) -> Result<Understood, QuantError> {
        let keys: Vec<String> = self.names.iter().map(|name| key(name)).collect();
        for (i, name) in keys.iter().enumerate() {
            if !name.is_empty() && keys[..i].contains(name) {
                return Err(self.refuse(format!("repeats the column {:?}", self.names[i])));
            }
        }
        let one = |known: &[&str]| -> Result<Option<usize>, QuantError> {
            let mut found = (0..keys.len()).filter(|i| known.contains(&keys[*i].as_str()));
            match (found.next(), found.next()) {
                (Some(a), Some(b)) => Err(self.refuse(format!(
                    "has two columns for one value, {:?} and {:?}",
                    self.names[a], self.names[b]
                ))),
                (first, _) => Ok(first),
            }
        };
        let date = one(&["date", "tradedate", "日期"])?;
        let time = one(&["time", "datetime", "tradetime", "时间"])?;
        let prices = [
            one(&["open", "开盘"])?,
            one(&["high", "最高"])?,
            one(&["low", "最低"])?,
            one(&["close", "收盘"])?,
        ];
        if date.is_none() && prices.iter().all(Option::is_none) {
            return Err(self.refuse(
                "is unknown; a table of bars starts with its column names, \
                 such as ts_code,trade_date,… or Date,Open,High,Low,Close,Volume",
            ));
        }
        let need = |found: Option<usize>, name: &str| {
            found.ok_or_else(|| self.refuse(format!("lacks the column {name}")))
        };
        if time.is_none() {
            need(date, "date")?;
        }
        let has = |known: &[&str]| keys.iter().any(|k| known.contains(&k.as_str()));
        let layout = if has(&["开盘", "收盘", "成交量"]) {
            Layout::AkShare
        } else if has(&["tscode", "tradedate"]) {
            Layout::Tushare
        } else if has(&["adjustflag", "tradestatus", "isst"]) {
            Layout::Baostock
        } else {
            Layout::Plain
        };
        let amount = one(&["amount", "成交额"])?;
        let (volume, volume_unit) = match (layout, one(&["vol"])?, one(&["volume", "成交量"])?) {
            (_, Some(_), Some(_)) => {
                return Err(self.refuse("has both vol and volume, so the unit is ambiguous"));
            }
            // The vendor's minute interface counts shares and CNY, unlike its daily one.
            (Layout::Tushare, Some(column), None) if time.is_some() => {
                (column, Some(VolumeUnit::Shares))
            }
            (Layout::Tushare, Some(column), None) => (column, Some(VolumeUnit::Lots)),
            (Layout::Tushare, None, _) => {
                return Err(self.refuse("is a Tushare table and lacks the column vol (lots)"));
            }
            (Layout::AkShare, _, Some(_)) if amount.is_none() => {
                return Err(
                    self.refuse("has 成交量 without 成交额, so lots or shares is ambiguous")
                );
            }
            (Layout::AkShare, _, Some(column)) => (column, None),
            (_, None, Some(column)) => (column, Some(VolumeUnit::Shares)),
            (_, Some(column), None) if amount.is_some() => (column, None),
            (_, Some(_), None) => {
                return Err(self.refuse(
                    "has vol without ts_code, trade_date or amount, so lots or shares is ambiguous; \
                     name the column volume if it counts shares",
                ));
            }
            (_, None, None) => return Err(self.refuse("lacks the column volume (shares)")),
        };
        let columns = Columns {
            symbol: one(&["tscode", "ticker", "symbol", "code", "股票代码", "代码"])?,
            date,
            time,
            open: need(prices[0], "open")?,
            high: need(prices[1], "high")?,
            low: need(prices[2], "low")?,
            close: need(prices[3], "close")?,
            pre_close: one(&["preclose"])?,
            volume,
            amount,
            adjust_flag: one(&["adjustflag"])?.filter(|_| layout == Layout::Baostock),
            trade_status: one(&["tradestatus"])?.filter(|_| layout == Layout::Baostock),
        };
        let thousands = layout == Layout::Tushare && time.is_none();
        Ok(Understood {
            layout,
            columns,
            volume_unit,
            amount_cny: if thousands { 1000.0 } else { 1.0 },
        })
    }

    /// Returns the columns that no bar is made of, as the header spells them.
    pub(super) fn ignored(&self, c: &Columns) -> Vec<String> {
        let used = [
            c.symbol,
            c.date,
            c.time,
            Some(c.open),
            Some(c.high),
            Some(c.low),
            Some(c.close),
            c.pre_close,
            Some(c.volume),
            c.amount,
            c.adjust_flag,
            c.trade_status,
        ];
        (0..self.names.len())
            .filter(|i| !used.contains(&Some(*i)))
            .map(|i| self.names[i].clone())
            .collect()
    }

    pub(super) fn refuse(&self, rule: impl Into<String>) -> QuantError {
        QuantError::Header {
            source_name: self.source_name.to_owned(),
            rule: rule.into(),
            got: self.names.join(",").chars().take(200).collect(),
        }
    }
}

/// Returns a column name without case, spaces and underscores.
pub(super) fn key(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}
