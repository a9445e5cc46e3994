//! Tables in the layouts of vendors, in every encoding and unit, made from the committed series.

#![allow(clippy::unwrap_used, missing_docs)]

mod layouts;
mod random;
mod times;
mod units;

use std::fs::File;

use heqis_data::bars::{BarReader, Layout, Prices, TableOptions, VolumeUnit};
use heqis_quant::encoding::Encoding;
use heqis_quant::{Bar, CleanConfig, Cleaner, DayOrder, Marks, QuantError, Symbol};

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn committed(file: &str) -> File {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/");
    File::open(format!("{folder}{file}")).unwrap()
}

fn supor() -> Vec<Bar> {
    BarReader::new(
        committed("ashare/002032.SZ.csv"),
        Some(symbol("002032.SZ")),
        "002032.SZ.csv",
    )
    .unwrap()
    .map(Result::unwrap)
    .collect()
}

fn gbk(text: &str) -> Vec<u8> {
    let (bytes, _, unmappable) = encoding_rs::GBK.encode(text);
    assert!(!unmappable);
    bytes.into_owned()
}

fn detect(bytes: &[u8]) -> Result<BarReader<&[u8]>, QuantError> {
    BarReader::new(bytes, Some(symbol("002032.SZ")), "t.csv")
}

fn refusal(bytes: &[u8]) -> String {
    match detect(bytes) {
        Err(error) => error.to_string(),
        Ok(reader) => panic!("accepted as {}", reader.detected()),
    }
}

/// The series as AkShare writes it: close before high, a bare code, and the volume in `unit` shares.
fn akshare(bars: &[Bar], unit: f64) -> String {
    let mut text =
        "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额,振幅,涨跌幅,涨跌额,换手率\n".to_owned();
    for bar in bars {
        text += &format!(
            "{},002032,{},{},{},{},{},{},1.5,0.8,0.1,2.2\n",
            bar.date,
            bar.open,
            bar.close,
            bar.high,
            bar.low,
            (bar.volume_shares / unit).round(),
            bar.amount_cny.unwrap()
        );
    }
    text
}
