//! The vendor's interfaces: names, fields with their types, and caps.

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An instrument.
    Code,
    /// Text or null.
    Text,
    /// A day.
    Day,
    /// A day or null.
    DayOrNone,
    /// A finite number.
    Number,
    /// A finite number or null.
    NumberOrNone,
}

/// One interface.
#[derive(Debug, PartialEq, Eq)]
pub struct Api {
    /// The name in requests.
    pub name: &'static str,
    /// All fields, which are requested by name.
    pub fields: &'static [(&'static str, Kind)],
    /// Number of leading fields that identify a row.
    pub key_fields: usize,
    /// Largest number of rows in one reply.
    pub cap_rows: usize,
}

impl Api {
    /// Returns the index of the field with the day of a row.
    #[must_use]
    pub(crate) fn day_field(&self) -> Option<usize> {
        self.fields.iter().position(|(_, kind)| *kind == Day)
    }

    /// Returns whether every open day of a year has rows, so that a day without rows is late.
    ///
    /// Some days have no suspension, and price limits are published since 2007.
    #[must_use]
    pub(crate) fn has_rows_every_day(&self, year: i16) -> bool {
        match self.name {
            "suspend_d" => false,
            "stk_limit" => year >= 2007,
            _ => self.day_field().is_some(),
        }
    }
}

use Kind::{Code, Day, DayOrNone, Number, NumberOrNone, Text};

/// Volume in lots of 100 shares, amount in 1000 CNY.
const BARS: &[(&str, Kind)] = &[
    ("ts_code", Code),
    ("trade_date", Day),
    ("open", Number),
    ("high", Number),
    ("low", Number),
    ("close", Number),
    ("pre_close", NumberOrNone),
    ("change", NumberOrNone),
    ("pct_chg", NumberOrNone),
    ("vol", Number),
    ("amount", NumberOrNone),
];

const fn api(
    name: &'static str,
    fields: &'static [(&'static str, Kind)],
    key_fields: usize,
    cap_rows: usize,
) -> Api {
    Api {
        name,
        fields,
        key_fields,
        cap_rows,
    }
}

/// Daily bars of stocks, unadjusted.
pub static DAILY: Api = api("daily", BARS, 2, 6000);
/// Daily bars of indices.
pub static INDEX_DAILY: Api = api("index_daily", BARS, 2, 6000);
/// Daily bars of funds.
pub static FUND_DAILY: Api = api("fund_daily", BARS, 2, 6000);
/// Turnover, valuation and shares, daily.
pub static DAILY_BASIC: Api = api(
    "daily_basic",
    &[
        ("ts_code", Code),
        ("trade_date", Day),
        ("turnover_rate", NumberOrNone),
        ("volume_ratio", NumberOrNone),
        ("pe", NumberOrNone),
        ("pb", NumberOrNone),
        ("total_share", NumberOrNone),
        ("float_share", NumberOrNone),
        ("total_mv", NumberOrNone),
        ("circ_mv", NumberOrNone),
    ],
    2,
    6000,
);
/// Adjustment factors.
pub static ADJ_FACTOR: Api = api(
    "adj_factor",
    &[
        ("ts_code", Code),
        ("trade_date", Day),
        ("adj_factor", Number),
    ],
    2,
    6000,
);
/// Price limits of the day.
pub static STK_LIMIT: Api = api(
    "stk_limit",
    &[
        ("ts_code", Code),
        ("trade_date", Day),
        ("pre_close", NumberOrNone),
        ("up_limit", NumberOrNone),
        ("down_limit", NumberOrNone),
    ],
    2,
    5800,
);
/// Suspensions and resumptions.
pub static SUSPEND_D: Api = api(
    "suspend_d",
    &[
        ("ts_code", Code),
        ("trade_date", Day),
        ("suspend_timing", Text),
        ("suspend_type", Text),
    ],
    4,
    5000,
);
/// Dividends in cash and shares, from plan to payment, without rights issues.
pub static DIVIDEND: Api = api(
    "dividend",
    &[
        ("ts_code", Code),
        ("end_date", DayOrNone),
        ("ann_date", DayOrNone),
        ("div_proc", Text),
        ("stk_div", NumberOrNone),
        ("stk_bo_rate", NumberOrNone),
        ("stk_co_rate", NumberOrNone),
        ("cash_div", NumberOrNone),
        ("cash_div_tax", NumberOrNone),
        ("record_date", DayOrNone),
        ("ex_date", DayOrNone),
        ("pay_date", DayOrNone),
    ],
    12,
    2000,
);
/// Former names.
pub static NAMECHANGE: Api = api(
    "namechange",
    &[
        ("ts_code", Code),
        ("name", Text),
        ("start_date", DayOrNone),
        ("end_date", DayOrNone),
        ("change_reason", Text),
    ],
    5,
    6000,
);
/// Open and closed days.
pub static TRADE_CAL: Api = api(
    "trade_cal",
    &[
        ("exchange", Text),
        ("cal_date", Day),
        ("is_open", Number),
        ("pretrade_date", DayOrNone),
    ],
    2,
    6000,
);
/// The list of stocks.
pub static STOCK_BASIC: Api = api(
    "stock_basic",
    &[
        ("ts_code", Code),
        ("name", Text),
        ("industry", Text),
        ("market", Text),
        ("exchange", Text),
        ("list_status", Text),
        ("list_date", DayOrNone),
        ("delist_date", DayOrNone),
        ("cnspell", Text),
    ],
    // The whole row: the vendor lists some stocks twice, and `prepare` reports them.
    9,
    6000,
);
