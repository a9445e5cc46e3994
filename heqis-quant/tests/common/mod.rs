//! A real series in the parts that indicators read.

use heqis_quant::indicators::{CloseVolume, Hlc};

/// One day of a real series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Day {
    pub(crate) high: f64,
    pub(crate) low: f64,
    pub(crate) close: f64,
    pub(crate) volume_shares: f64,
}

#[allow(dead_code, reason = "not every test reads every part")]
impl Day {
    pub(crate) fn hlc(&self) -> Hlc {
        Hlc {
            high: self.high,
            low: self.low,
            close: self.close,
        }
    }

    pub(crate) fn volume(&self) -> CloseVolume {
        CloseVolume {
            close: self.close,
            volume_shares: self.volume_shares,
        }
    }
}

/// The 2,813 days of 002032.SZ, unadjusted, as they stand in the golden table.
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
