//! Parsing of headers: layout, columns, and the units in column names.

use heqis_quant::QuantError;
use serde::Serialize;

use super::units::{SCALES, Scale, VolumeUnit, scale};

/// The layout of a table, which fixes the units as far as names can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Daily rows: volume in lots of 100 shares, amount in thousand CNY. Minute rows: shares and CNY.
    Tushare,
    /// Chinese column names; lots and CNY for most sources, shares for some.
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

/// The meaning of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Symbol,
    Date,
    Time,
    /// A day, unless another column has one: some vendors add the day of the month.
    Day,
    /// The beginning of a bar, which is its time if there is no other column for it.
    OpenTime,
    Open,
    High,
    Low,
    Close,
    PreClose,
    Volume,
    Amount,
    AdjustFlag,
    TradeStatus,
    Paused,
    Special,
}

/// The names of each column, as returned by [`key`].
const NAMES: [(Role, &[&str]); 16] = [
    (
        Role::Symbol,
        &[
            "tscode",
            "ticker",
            "symbol",
            "code",
            "stockcode",
            "secucode",
            "securitycode",
            "instrument",
            "instrumentid",
            "orderbookid",
            "windcode",
            "contract",
            "股票代码",
            "代码",
            "证券代码",
            "合约代码",
            "基金代码",
            "债券代码",
            "指数代码",
        ],
    ),
    (
        Role::Date,
        &[
            "date",
            "tradedate",
            "tradingdate",
            "tradingday",
            "日期",
            "交易日期",
            "交易日",
        ],
    ),
    (
        Role::Time,
        &[
            "time",
            "datetime",
            "tradetime",
            "timestamp",
            "timestamps",
            "closetime",
            "bartime",
            "eob",
            "时间",
            "日期时间",
            "交易时间",
        ],
    ),
    (Role::Day, &["day"]),
    (Role::OpenTime, &["opentime", "bob"]),
    (Role::Open, &["open", "openprice", "开盘", "开盘价", "今开"]),
    (
        Role::High,
        &["high", "highprice", "highest", "最高", "最高价"],
    ),
    (Role::Low, &["low", "lowprice", "lowest", "最低", "最低价"]),
    (Role::Close, &["close", "closeprice", "收盘", "收盘价"]),
    (
        Role::PreClose,
        &[
            "preclose",
            "prevclose",
            "previousclose",
            "precloseprice",
            "前收盘",
            "昨收",
            "前收盘价",
            "昨收盘",
            "昨收价",
            "前收",
        ],
    ),
    (
        Role::Volume,
        &[
            "vol",
            "volume",
            "tradevolume",
            "成交量",
            "成交股数",
            "总手",
            "成交手数",
        ],
    ),
    (
        Role::Amount,
        &[
            "amount",
            "money",
            "totalturnover",
            "turnovervalue",
            "quotevolume",
            "quoteassetvolume",
            "成交额",
            "成交金额",
            "总金额",
        ],
    ),
    (Role::AdjustFlag, &["adjustflag"]),
    (Role::TradeStatus, &["tradestatus"]),
    (
        Role::Paused,
        &["paused", "suspended", "issuspended", "是否停牌"],
    ),
    (Role::Special, &["isst", "是否st"]),
];

/// Columns that could affect a rule and are not read, each with a remedy.
const WARNED: [(&[&str], &str); 3] = [
    (
        &["factor", "adjfactor", "复权因子"],
        "factors are read as a table of their own: see --factors and --adjust",
    ),
    (
        &[
            "uplimit",
            "downlimit",
            "highlimit",
            "lowlimit",
            "limitup",
            "limitdown",
            "涨停价",
            "跌停价",
        ],
        "limits are computed from the rules of the market",
    ),
    (
        &[
            "adjclose",
            "adjustedclose",
            "dividends",
            "stocksplits",
            "splitratio",
            "dividend",
        ],
        "ex-rights are read as a table of their own: see --events",
    ),
];

/// The indices of the columns.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) symbol: Option<usize>,
    /// The day; `None` if the time column has it.
    pub(super) date: Option<usize>,
    pub(super) time: Option<usize>,
    pub(super) open: usize,
    pub(super) high: usize,
    pub(super) low: usize,
    pub(super) close: usize,
    pub(super) pre_close: Option<usize>,
    pub(super) volume: usize,
    pub(super) amount: Option<usize>,
    pub(super) adjust_flag: Option<usize>,
    /// 0 on a day without a trade.
    pub(super) trade_status: Option<usize>,
    /// 1 on a day without a trade.
    pub(super) paused: Option<usize>,
    /// 1 on a day of special treatment.
    pub(super) special: Option<usize>,
    /// Pairs of columns of one meaning, which must be equal.
    pub(super) duplicates: Vec<(usize, usize)>,
}

/// A parsed header.
#[derive(Clone, Debug)]
pub(super) struct ParsedHeader {
    pub(super) layout: Layout,
    pub(super) columns: Columns,
    /// The units of the header, or `None` if only the rows show them.
    pub(super) named: Option<Scale>,
    /// The units that the rows may show.
    pub(super) possible: Vec<Scale>,
    /// Whether rows with other units contradict the vendor.
    pub(super) fixed: bool,
    pub(super) warnings: Vec<String>,
}

/// A header to parse.
pub(super) struct Header<'a> {
    pub(super) source_name: &'a str,
    pub(super) names: &'a [String],
}

impl Header<'_> {
    /// Returns whether the names are those of bars.
    pub(super) fn is_known(&self) -> bool {
        let keys: Vec<String> = self.names.iter().map(|name| key(name)).collect();
        let has = |role: Role| keys.iter().any(|key| role_of(key) == Some(role));
        has(Role::Date)
            || has(Role::Day)
            || [Role::Open, Role::High, Role::Low, Role::Close]
                .into_iter()
                .any(has)
    }

    pub(super) fn parse(&self) -> Result<ParsedHeader, QuantError> {
        let keys: Vec<String> = self.names.iter().map(|name| key(name)).collect();
        let mut duplicates = Vec::new();
        let mut one = |role: Role| -> Option<usize> {
            let mut found = (0..keys.len()).filter(|i| role_of(&keys[*i]) == Some(role));
            let first = found.next()?;
            duplicates.extend(found.map(|other| (first, other)));
            Some(first)
        };
        if !self.is_known() {
            return Err(self.refuse(
                "is unknown; a table of bars starts with its column names, \
                 such as ts_code,trade_date,… or Date,Open,High,Low,Close,Volume",
            ));
        }
        let need = |found: Option<usize>, name: &str| {
            found.ok_or_else(|| self.refuse(format!("lacks the column {name}")))
        };
        let time = match one(Role::Time) {
            None => one(Role::OpenTime),
            time => time,
        };
        let day = match (one(Role::Date), time) {
            (None, None) => one(Role::Day),
            (date, _) => date,
        };
        let date = match (day, time) {
            // A data frame writes its index first, without a name; the rows show whether it is a day.
            (None, None) => {
                let index = |name: &str| ["", "unnamed:0", "index", "level0"].contains(&name);
                Some(need(
                    keys.first().filter(|k| index(k.as_str())).map(|_| 0),
                    "date",
                )?)
            }
            (date, _) => date,
        };
        let has = |known: &[&str]| keys.iter().any(|k| known.contains(&k.as_str()));
        let layout = if keys.iter().any(|k| k.starts_with(['开', '收', '成'])) {
            Layout::AkShare
        } else if has(&["tscode", "tradedate"]) {
            Layout::Tushare
        } else if has(&["adjustflag", "tradestatus", "isst"]) {
            Layout::Baostock
        } else {
            Layout::Plain
        };
        let amount = one(Role::Amount);
        let volume = need(one(Role::Volume), "volume (shares)")?;
        let volume_key = keys[volume].as_str();
        let unit = unit_of(&self.names[volume]).or(match volume_key {
            "总手" | "成交手数" => Some(VolumeUnit::Lots),
            "成交股数" => Some(VolumeUnit::Shares),
            _ => None,
        });
        let amount_cny = amount.map_or(1.0, |at| amount_unit(&self.names[at]).unwrap_or(0.0));
        let mut warnings = Vec::new();
        let vendor = layout == Layout::Tushare && volume_key == "vol" && unit.is_none();
        let (named, possible) = match (unit, layout) {
            (Some(unit), _) => (Some(scale(unit, 1.0)), vec![scale(unit, 1.0)]),
            // The vendor's minute bars count shares and CNY, unlike its daily bars.
            (None, Layout::Tushare) if vendor && time.is_some() => {
                let scales = vec![SCALES[0], SCALES[1]];
                (Some(SCALES[0]), scales)
            }
            (None, Layout::Tushare) if vendor => {
                if amount.is_none() {
                    warnings.push(
                        "vol is taken for lots of 100 shares as the vendor writes it, and there is no amount to confirm it"
                            .to_owned(),
                    );
                }
                let thousands = vec![
                    scale(VolumeUnit::Lots, 1000.0),
                    scale(VolumeUnit::Shares, 1000.0),
                ];
                (Some(thousands[0]), thousands)
            }
            (None, Layout::Tushare) if amount.is_none() => {
                return Err(self.refuse(
                    "is a Tushare table with a volume that is not the vendor's vol (lots) and no amount, so lots or shares \
                     is ambiguous",
                ));
            }
            (None, Layout::AkShare) if amount.is_none() => {
                return Err(
                    self.refuse("has 成交量 without 成交额, so lots or shares is ambiguous")
                );
            }
            (None, Layout::AkShare | Layout::Tushare) => (None, SCALES.to_vec()),
            (None, Layout::Baostock) => (Some(SCALES[0]), vec![SCALES[0], SCALES[1]]),
            (None, Layout::Plain) if volume_key == "vol" && amount.is_none() => {
                return Err(self.refuse(
                    "has vol without ts_code, trade_date or amount, so lots or shares is ambiguous; \
                     name the column volume if it counts shares",
                ));
            }
            (None, Layout::Plain) if volume_key == "vol" => (None, SCALES.to_vec()),
            (None, Layout::Plain) => (Some(SCALES[0]), SCALES.to_vec()),
        };
        // Units in brackets take precedence.
        let said = |scale: Scale| match amount_cny {
            0.0 => scale,
            amount_cny if amount.is_some() => Scale {
                amount_cny,
                ..scale
            },
            _ => scale,
        };
        let mut possible: Vec<Scale> = possible.into_iter().map(said).collect();
        possible.dedup();
        for (names, remedy) in WARNED {
            for name in self
                .names
                .iter()
                .filter(|name| names.contains(&key(name).as_str()))
            {
                warnings.push(format!("the column {name} is not read: {remedy}"));
            }
        }
        let columns = Columns {
            symbol: one(Role::Symbol),
            date,
            time,
            open: need(one(Role::Open), "open")?,
            high: need(one(Role::High), "high")?,
            low: need(one(Role::Low), "low")?,
            close: need(one(Role::Close), "close")?,
            pre_close: one(Role::PreClose),
            volume,
            amount,
            adjust_flag: one(Role::AdjustFlag),
            trade_status: one(Role::TradeStatus),
            paused: one(Role::Paused),
            special: one(Role::Special),
            duplicates: Vec::new(),
        };
        Ok(ParsedHeader {
            layout,
            named: named.map(said),
            possible,
            fixed: vendor || layout == Layout::Baostock || unit.is_some(),
            warnings,
            columns: Columns {
                duplicates,
                ..columns
            },
        })
    }

    /// Returns the columns that are not read, as spelled in the header.
    pub(super) fn ignored(&self, c: &Columns) -> Vec<String> {
        let read = |at: usize| match role_of(&key(&self.names[at])) {
            Some(Role::OpenTime) => c.time == Some(at),
            Some(Role::Day) => c.date == Some(at),
            Some(_) => true,
            None => c.date == Some(at),
        };
        (0..self.names.len())
            .filter(|at| !read(*at) && !self.names[*at].is_empty())
            .map(|at| self.names[at].clone())
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

/// Returns whether bars are read from a column of this name.
#[must_use]
pub fn is_bar_column(name: &str) -> bool {
    role_of(&key(name)).is_some()
}

fn role_of(key: &str) -> Option<Role> {
    let known = |(_, names): &&(Role, &[&str])| names.contains(&key);
    NAMES.iter().find(known).map(|(role, _)| *role)
}

/// Returns a column name without case, spaces, underscores and brackets.
pub(super) fn key(name: &str) -> String {
    let name = name.trim_start_matches('\u{feff}');
    let bare = name.split(['(', '（', '[', '【']).next().unwrap_or(name);
    bare.chars()
        .filter(|c| !c.is_whitespace() && *c != '_')
        .flat_map(char::to_lowercase)
        .collect()
}

/// Returns the text in brackets.
fn bracketed(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once(['(', '（', '[', '【'])?;
    Some(rest.trim_end_matches([')', '）', ']', '】']).trim())
}

fn unit_of(name: &str) -> Option<VolumeUnit> {
    match bracketed(name)? {
        "手" | "lots" | "lot" => Some(VolumeUnit::Lots),
        "股" | "份" | "shares" => Some(VolumeUnit::Shares),
        _ => None,
    }
}

fn amount_unit(name: &str) -> Option<f64> {
    match bracketed(name)? {
        "元" | "CNY" | "RMB" => Some(1.0),
        "千元" => Some(1e3),
        "万元" | "万" => Some(1e4),
        "百万元" => Some(1e6),
        "亿元" | "亿" => Some(1e8),
        _ => None,
    }
}
