//! Real series.
#![allow(dead_code, reason = "not every test reads every part")]

use std::path::Path;

use heqis_quant::indicators::{CloseVolume, Hlc, Hlcv};
use heqis_quant::{Bar, Date, Marks, Symbol};

/// One day of a real series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Day {
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume_shares: f64,
}

impl Day {
    pub(crate) fn hlc(&self) -> Hlc {
        Hlc {
            high: self.high,
            low: self.low,
            close: self.close,
        }
    }

    pub(crate) fn hlcv(&self) -> Hlcv {
        Hlcv {
            high: self.high,
            low: self.low,
            close: self.close,
            volume_shares: self.volume_shares,
        }
    }

    pub(crate) fn volume(&self) -> CloseVolume {
        CloseVolume {
            close: self.close,
            volume_shares: self.volume_shares,
        }
    }
}

/// The 2,813 days of 002032.SZ, unadjusted, from the golden table.
pub(crate) fn supor() -> Vec<Day> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../data/golden/indicators_002032_talib_and_cn.csv"
    );
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names = rows.headers().unwrap().clone();
    rows.records()
        .map(|row| {
            let row = row.unwrap();
            let cell = |name| {
                let column = names.iter().position(|column| column == name).unwrap();
                row[column].parse().unwrap()
            };
            Day {
                high: cell("high"),
                low: cell("low"),
                close: cell("close"),
                volume_shares: cell("volume"),
            }
        })
        .collect()
}

/// The bars of a committed table of plain columns, such as `ashare/002032.SZ.csv`, for the instrument in its name.
pub(crate) fn bars(file: &str) -> Vec<Bar> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .join(file);
    let symbol = Symbol::parse(path.file_stem().unwrap().to_str().unwrap()).unwrap();
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names = rows.headers().unwrap().clone();
    let column = |name: &str| {
        names
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    };
    rows.records()
        .map(|row| {
            let row = row.unwrap();
            let number = |name: &str| column(name).map(|at| row[at].parse().unwrap());
            let date = Date::parse(&row[column("date").unwrap()]).unwrap();
            Bar {
                symbol,
                time_ns: date.close_time_ns(),
                date,
                open: number("open").unwrap(),
                high: number("high").unwrap(),
                low: number("low").unwrap(),
                close: number("close").unwrap(),
                pre_close: None,
                volume_shares: number("volume").unwrap(),
                amount_cny: number("amount"),
                marks: Marks::NONE,
            }
        })
        .collect()
}
