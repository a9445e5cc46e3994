//! Tables as vendors write them, in every encoding and unit, from the committed series.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;

use heqis_quant::table::{Encoding, Layout, VolumeUnit};
use heqis_quant::{
    Bar, BarReader, CleanConfig, Cleaner, DayOrder, Marks, Prices, QuantError, Symbol, TableOptions,
};
use proptest::prelude::*;

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

#[test]
fn akshare_tables_are_read_in_both_encodings_and_both_units() {
    let bars = supor();
    for (unit, expected) in [(100.0, VolumeUnit::Lots), (1.0, VolumeUnit::Shares)] {
        let text = akshare(&bars, unit);
        let marked = format!("\u{feff}{text}");
        for (bytes, encoding) in [
            (text.clone().into_bytes(), Encoding::Utf8),
            (marked.into_bytes(), Encoding::Utf8),
            (gbk(&text), Encoding::Gbk),
        ] {
            let decided = BarReader::survey(&bytes[..], TableOptions::default(), "t.csv").unwrap();
            let surveyed = || {
                let decided = decided.clone();
                BarReader::decided(&bytes[..], TableOptions::default(), decided, "t.csv").unwrap()
            };
            // Rows that are read ahead and all rows of the file decide alike.
            for (reader, rows) in [(detect(&bytes).unwrap(), 256), (surveyed(), bars.len())] {
                let detected = reader.detected().clone();
                assert_eq!(
                    (detected.layout, detected.encoding, detected.volume_unit),
                    (Layout::AkShare, encoding, expected)
                );
                assert_eq!(
                    (detected.confirming_rows, detected.unexplained_rows),
                    (rows, 0)
                );
                assert_eq!(
                    reader.ignored_columns(),
                    ["振幅", "涨跌幅", "涨跌额", "换手率"]
                );
                let read: Vec<Bar> = reader.map(Result::unwrap).collect();
                assert_eq!(read.len(), bars.len());
                for (read, bar) in read.iter().zip(&bars) {
                    let rounded = (bar.volume_shares / unit).round() * unit;
                    assert_eq!(
                        *read,
                        Bar {
                            volume_shares: rounded,
                            ..*bar
                        }
                    );
                }
            }
        }
    }
}

#[test]
fn the_committed_files_are_read_alike_with_and_without_a_survey() {
    for (file, name, told) in [
        (
            "ashare/002032.SZ.csv",
            Some("002032.SZ"),
            "plain layout in UTF-8, daily bars, volume in shares by the amounts of 256 rows, amount in CNY",
        ),
        (
            "ashare/600000.SH.csv",
            Some("600000.SH"),
            "plain layout in UTF-8, daily bars, volume in shares by the header, no amount",
        ),
        (
            "ashare/000300.SH.csv",
            Some("000300.SH"),
            "plain layout in UTF-8, daily bars, volume in shares by the header, no amount",
        ),
        (
            "us/bokeh_5stocks_unadj_adjclose_2000_2013.csv",
            None,
            "plain layout in UTF-8, daily bars, volume in shares by the header, no amount",
        ),
    ] {
        let options = TableOptions {
            symbol: name.map(symbol),
            ..TableOptions::default()
        };
        let ahead = BarReader::with_options(committed(file), options.clone(), file).unwrap();
        assert_eq!(ahead.detected().to_string(), told, "{file}");
        let decided = BarReader::survey(committed(file), options.clone(), file).unwrap();
        let surveyed = BarReader::decided(committed(file), options, decided, file).unwrap();
        let ahead: Vec<Bar> = ahead.map(Result::unwrap).collect();
        let surveyed: Vec<Bar> = surveyed.map(Result::unwrap).collect();
        assert!(!ahead.is_empty());
        assert_eq!(ahead, surveyed, "{file}");
    }
}

#[test]
fn baostock_tables_keep_suspended_days_and_the_flag_of_special_treatment() {
    let text = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST\n\
                2004-08-17,sz.002032,12.21,12.21,11.03,11.20,11.00,7877900,90923240.0,3,1.2,1,1.8,0\n\
                2004-08-18,sz.002032,11.20,11.20,11.20,11.20,11.20,,,3,,0,0,1\n\
                2004-08-19,sz.002032,10.30,10.65,10.30,10.53,10.29,3116800,32614676.0,2,1.2,1,1.8,1\n\
                2004-08-20,sz.002032,10.30,10.65,10.30,10.53,10.29,,32614676.0,3,1.2,1,1.8,1\n";
    let mut reader = detect(text.as_bytes()).unwrap();
    assert_eq!(reader.layout(), Layout::Baostock);
    assert_eq!(reader.ignored_columns(), ["turn", "pctChg"]);
    let first = reader.next().unwrap().unwrap();
    assert_eq!(
        (first.symbol.as_str(), first.pre_close, first.volume_shares),
        ("002032.SZ", Some(11.0), 7_877_900.0)
    );
    assert_eq!(first.marks, Marks::NONE);
    let suspended = reader.next().unwrap().unwrap();
    assert_eq!((suspended.volume_shares, suspended.amount_cny), (0.0, None));
    assert_eq!(suspended.marks, Marks::SPECIAL);
    assert_eq!(reader.vendor_number("isST").unwrap(), Some(1.0));
    assert_eq!(reader.vendor_number("turn").unwrap(), None);
    assert!(reader.vendor_number("moon").is_err());
    let errors: Vec<String> = reader.map(|row| row.unwrap_err().to_string()).collect();
    assert!(
        errors[0].starts_with("t.csv line 4, column adjustflag: must be 3 like the rows before"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("t.csv line 5, column volume: must be a finite"),
        "{errors:?}"
    );
}

#[test]
fn columns_that_change_a_rule_are_used_or_warned_of() {
    // A day that the table calls one without a trade has no volume, whatever the cell repeats.
    let text = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,tradestatus,isST\n\
                2023-04-11,sh.600101,9.30,9.35,9.25,9.30,9.28,3000000,27900000,2,1,1\n\
                2023-04-12,sh.600101,9.30,9.30,9.30,9.30,9.30,3000000,27900000,2,0,1\n";
    let reader = detect(text.as_bytes()).unwrap();
    assert!(reader.detected().adjusted);
    let bars: Vec<Bar> = reader.map(Result::unwrap).collect();
    assert_eq!(bars[0].marks.to_string(), "adjusted|special_treatment");
    assert_eq!(bars[1].volume_shares, 0.0);
    let paused = "code,date,open,high,low,close,volume,money,paused,factor,high_limit\n\
                  600101.XSHG,2023-04-11,9.3,9.35,9.25,9.3,3000000,27900000,0,1.5,10.2\n\
                  600101.XSHG,2023-04-12,9.3,9.3,9.3,9.3,3000000,27900000,1,1.5,10.2\n";
    let reader = detect(paused.as_bytes()).unwrap();
    assert_eq!(
        reader.detected().warnings.len(),
        2,
        "{:?}",
        reader.detected().warnings
    );
    assert!(
        reader.detected().warnings[0].contains("factor")
            && reader.detected().warnings[1].contains("high_limit")
    );
    let bars: Vec<Bar> = reader.map(Result::unwrap).collect();
    assert_eq!(
        (bars[0].volume_shares, bars[1].volume_shares),
        (3_000_000.0, 0.0)
    );
    let tushare = "ts_code,trade_date,open,high,low,close,vol\n002032.SZ,20040817,12.21,12.21,11.03,11.20,78779\n";
    let detected = detect(tushare.as_bytes()).unwrap().detected().clone();
    assert!(
        detected.warnings[0].contains("lots of 100 shares"),
        "{:?}",
        detected.warnings
    );
}

/// A special-treatment flag of the table halves the limit in the cleaner.
#[test]
fn a_flag_of_special_treatment_in_a_table_reaches_the_limits() {
    let row = |day: &str, price: f64, st: u8| {
        format!(
            "{day},sh.600101,{price},{price},{price},{price},9.49,4738744,{},3,1,{st}\n",
            price * 4_738_744.0
        )
    };
    let header =
        "date,code,open,high,low,close,preclose,volume,amount,adjustflag,tradestatus,isST\n";
    for (st, passes) in [(1, false), (0, true)] {
        let text = format!(
            "{header}{}{}",
            row("2023-04-12", 9.49, st),
            row("2023-04-13", 10.2, st)
        );
        let mut cleaner = Cleaner::new(CleanConfig::default()).unwrap();
        let judged: Vec<bool> = detect(text.as_bytes())
            .unwrap()
            .map(|bar| cleaner.check(bar.unwrap()).is_ok())
            .collect();
        assert_eq!(judged, [true, passes]);
    }
}

#[test]
fn names_of_other_houses_and_units_in_brackets_are_known() {
    for (header, row, shares, amount) in [
        (
            "交易日期,证券代码,开盘价,最高价,最低价,收盘价,前收盘价,成交量(手),成交金额(万元)",
            "2023-02-01,'600101.SH,10.00,10.10,9.90,10.00,9.95,10000,1000",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "日期,代码,开盘,最高,最低,收盘,前收盘,成交量（股）,成交额（元）",
            "2023-02-01,600101,10.00,10.10,9.90,10.00,9.95,1000000,10000000",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "code,day,open,high,low,close,prev_close,volume,money",
            "SSE.STK.600101,2023/2/1,10.00,10.10,9.90,10.00,9.95,1000000,10000000",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "ts_code,date,open,high,low,close,pre_close,volume,amount",
            "600101.SH,20230201,10.00,10.10,9.90,10.00,9.95,10000,10000",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "Code;Date;Open;High;Low;Close;Pre Close;Volume;Amount",
            "SH600101;2023.2.1;10.00;10.10;9.90;10.00;9.95;1000000;10000000",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "Code\tDate\tOpen\tHigh\tLow\tClose\tpreClose\tVolume\tAmount",
            "SH600101\t2023年2月1日\t10.00\t10.10\t9.90\t10.00\t9.95\t1,000,000\t10,000,000.00",
            1_000_000.0,
            10_000_000.0,
        ),
        (
            "Code,Date,Open,High,Low,Close,PreClose,Volume,Amount,",
            "600101.XSHG,2023-02-01,10.00,10.10,9.90,10.00,9.95,\"1,000,000\",\"10,000,000\"",
            1_000_000.0,
            10_000_000.0,
        ),
    ] {
        let text = format!("{header}\n{row}\n");
        let bar = detect(text.as_bytes()).unwrap().next().unwrap().unwrap();
        assert_eq!(
            (bar.symbol.as_str(), bar.date.to_string().as_str()),
            ("600101.SH", "2023-02-01"),
            "{header}"
        );
        assert_eq!(
            (bar.open, bar.high, bar.low, bar.close, bar.pre_close),
            (10.0, 10.1, 9.9, 10.0, Some(9.95)),
            "{header}"
        );
        assert_eq!(
            (bar.volume_shares, bar.amount_cny),
            (shares, Some(amount)),
            "{header}"
        );
    }
}

#[test]
fn commas_too_many_and_columns_of_one_meaning_cost_no_row() {
    for text in [
        "date,open,high,low,close,volume\n2023-02-01,10,10.1,9.9,10,1000000,\n2023-02-02,10,10.1,9.9,10,1100000,,\n",
        "date,open,high,low,close,volume,\n2023-02-01,10,10.1,9.9,10,1000000\n2023-02-02,10,10.1,9.9,10,1100000,\n",
        ",Date,Open,High,Low,Close,Volume\n0,2023-02-01,10,10.1,9.9,10,1000000\n1,2023-02-02,10,10.1,9.9,10,1100000\n",
        ",open,high,low,close,volume\n2023-02-01,10,10.1,9.9,10,1000000\n2023-02-02,10,10.1,9.9,10,1100000\n",
        "\"Example, 600101\"\ndate,open,high,low,close,volume\n2023-02-01,10,10.1,9.9,10,1000000\n2023-02-02,10,10.1,9.9,10,1100000\n",
        "date,trade_time,open,high,low,close,vol,amount,volume\n2023-02-01,,10,10.1,9.9,10,10000.0,10000000,10000\n\
         2023-02-02,,10,10.1,9.9,10,11000.0,11000000,11000\n",
    ] {
        let bars: Vec<Bar> = detect(text.as_bytes())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let volumes: Vec<f64> = bars.iter().map(|bar| bar.volume_shares).collect();
        assert_eq!(volumes, [1_000_000.0, 1_100_000.0], "{text}");
    }
    let text = "date,open,high,low,close,volume\n2023-02-01,10,10.1,9.9,10,1000000,7\n";
    let error = detect(text.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("must have 6 cells like the header"),
        "{error}"
    );
}

#[test]
fn midnight_means_the_day_only_where_every_row_is_midnight() {
    let table = |rows: &[&str]| {
        let rows: Vec<String> = rows.iter().map(|row| format!("{row},5,5,5,5,1")).collect();
        format!("datetime,open,high,low,close,volume\n{}\n", rows.join("\n"))
    };
    let times = |text: &str| -> Vec<i64> {
        let bars = detect(text.as_bytes()).unwrap().map(Result::unwrap);
        bars.map(|bar| bar.time_ns / 1_000_000_000).collect()
    };
    let minutes = table(&[
        "2022-01-01 23:59:00",
        "2022-01-02 00:00:00",
        "2022-01-02 00:01:00",
        "2022-01-02 15:00:00",
    ]);
    let found = times(&minutes);
    assert_eq!(
        [
            found[1] - found[0],
            found[2] - found[1],
            found[3] - found[2]
        ],
        [60, 60, 53_940]
    );
    // Days of a data frame, also with an offset and from a program in UTC.
    for days in [
        ["2023-02-01 00:00:00", "2023-02-02 00:00:00"],
        ["2023/2/1 0:00", "2023/2/2 0:00"],
        ["2023-02-01T00:00:00", "2023-02-02T00:00:00"],
        ["2023-02-01 00:00:00-05:00", "2023-02-02 00:00:00-05:00"],
        ["2023-01-31T16:00:00Z", "2023-02-01T16:00:00.000Z"],
        ["1675180800", "1675267200"],
        ["1675209600000", "1675296000000"],
    ] {
        for column in ["datetime", "Date", "timestamp"] {
            let text = table(&days).replace("datetime", column);
            let bars: Vec<Bar> = detect(text.as_bytes())
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let dates: Vec<String> = bars.iter().map(|bar| bar.date.to_string()).collect();
            assert_eq!(dates, ["2023-02-01", "2023-02-02"], "{days:?}");
            assert!(
                bars.iter()
                    .all(|bar| bar.time_ns == bar.date.close_time_ns()),
                "{days:?}"
            );
        }
    }
    // A live feed of minutes may begin at midnight.
    let live = table(&["2022-01-02 00:00:00", "2022-01-02 00:01:00"]);
    let options = TableOptions {
        symbol: Some(symbol("BTCUSD")),
        ..TableOptions::default()
    };
    let bars: Vec<Bar> = BarReader::live(live.as_bytes(), options, "t")
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(bars[1].time_ns - bars[0].time_ns, 60_000_000_000);
}

#[test]
fn day_and_month_have_one_order_for_the_table_or_none() {
    let table = |days: &[&str]| {
        let rows: Vec<String> = days
            .iter()
            .map(|day| format!("{day},5,5,5,5,1000"))
            .collect();
        format!("date,open,high,low,close,volume\n{}\n", rows.join("\n"))
    };
    let days = |text: &str| -> Vec<String> {
        let bars = detect(text.as_bytes()).unwrap().map(Result::unwrap);
        bars.map(|bar| bar.date.to_string()).collect()
    };
    assert_eq!(
        days(&table(&["3/4/2023", "13/4/2023"])),
        ["2023-04-03", "2023-04-13"]
    );
    assert_eq!(
        days(&table(&["3/4/2023", "3/14/2023"])),
        ["2023-03-04", "2023-03-14"]
    );
    let message = refusal(table(&["3/4/2023", "4/4/2023"]).as_bytes());
    assert!(
        message.starts_with("t.csv line 2, column date: must show by some row"),
        "{message}"
    );
    let message = refusal(table(&["13/4/2023", "4/14/2023"]).as_bytes());
    assert!(
        message.contains("must have day and month in one order, and line 3"),
        "{message}"
    );
    let options = TableOptions {
        symbol: Some(symbol("600000.SH")),
        day_order: Some(DayOrder::DayFirst),
        ..TableOptions::default()
    };
    let text = table(&["3/4/2023"]);
    let bar = BarReader::with_options(text.as_bytes(), options, "t")
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(bar.date.to_string(), "2023-04-03");
}

#[test]
fn an_index_needs_no_units_and_a_wrong_code_names_the_right_one() {
    let text = "日期,开盘,收盘,最高,最低,成交量,成交额\n2023-02-01,4100.1,4120.2,4130.3,4090,120000000,250000000000\n";
    let reader = BarReader::new(text.as_bytes(), Some(symbol("000300.SH")), "t").unwrap();
    assert_eq!(reader.map(Result::unwrap).count(), 1);
    for (code, rule) in [
        ("600101.SZ", "the nearest is 600101.SH"),
        ("6001011", "has six digits"),
        ("2101", "it is 002101.SZ"),
        ("600101", "as in 600101.SH"),
    ] {
        let text =
            format!("symbol,date,open,high,low,close,volume\n{code},2023-02-01,10,10,10,10,1000\n");
        let error = detect(text.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("t.csv line 2, column symbol") && error.contains(rule),
            "{error}"
        );
    }
}

#[test]
fn a_plain_table_in_lots_is_told_by_its_amounts() {
    let mut text = "date,open,high,low,close,vol,amount\n".to_owned();
    for bar in &supor()[..50] {
        text += &format!(
            "{},{},{},{},{},{},{}\n",
            bar.date,
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.volume_shares / 100.0,
            bar.amount_cny.unwrap()
        );
    }
    for text in [text.clone(), text.replace("vol", "volume")] {
        let reader = detect(text.as_bytes()).unwrap();
        assert_eq!(reader.detected().volume_unit, VolumeUnit::Lots);
        let bars: Vec<Bar> = reader.map(Result::unwrap).collect();
        assert_eq!(bars[0].volume_shares, 7_877_900.0);
    }
}

#[test]
fn tables_whose_unit_cannot_be_trusted_are_refused_with_the_row_that_shows_it() {
    let bars = &supor()[..20];
    let shares = akshare(bars, 1.0);
    let lots = akshare(bars, 100.0);
    let joined = format!(
        "{}{}",
        lots,
        shares.split_once('\n').unwrap().1.lines().next().unwrap()
    );
    let message = refusal(joined.as_bytes());
    assert!(
        message.starts_with("t.csv line 22, column 成交量: must be lots or shares throughout")
            && message.contains("1 fit shares, 20 fit lots and 0 fit neither")
            && message.contains("7877900, at 11.5416 each in a bar from 11.03 to 12.21"),
        "{message}"
    );
    // Adjusted to a tenth, as after a long history of bonuses.
    let adjusted: Vec<Bar> = bars
        .iter()
        .map(|bar| Bar {
            open: bar.open / 10.0,
            high: bar.high / 10.0,
            low: bar.low / 10.0,
            close: bar.close / 10.0,
            ..*bar
        })
        .collect();
    // A tenth lies midway between shares and lots, so nothing but a word from the user helps.
    let table = akshare(&adjusted, 1.0);
    let message = refusal(table.as_bytes());
    assert!(
        message.starts_with("t.csv line 2, column 成交量") && message.contains("adjusted prices?"),
        "{message}"
    );
    let options = TableOptions {
        volume_unit: Some(VolumeUnit::Shares),
        prices: Some(Prices::Adjusted),
        ..TableOptions::default()
    };
    let reader = BarReader::with_options(table.as_bytes(), options, "t").unwrap();
    let read: Vec<Bar> = reader.map(Result::unwrap).collect();
    assert_eq!(read[0].volume_shares, bars[0].volume_shares);
    assert!(read.iter().all(|bar| bar.marks.contains(Marks::ADJUSTED)));
    // Half the price is not, and the amounts say that prices are adjusted.
    let halved: Vec<Bar> = bars
        .iter()
        .map(|bar| Bar {
            open: bar.open / 2.0,
            high: bar.high / 2.0,
            low: bar.low / 2.0,
            close: bar.close / 2.0,
            ..*bar
        })
        .collect();
    for (unit, expected) in [(1.0, VolumeUnit::Shares), (100.0, VolumeUnit::Lots)] {
        let table = akshare(&halved, unit);
        let detected = detect(table.as_bytes()).unwrap().detected().clone();
        assert_eq!((detected.volume_unit, detected.adjusted), (expected, true));
        assert!(
            detected.warnings[0].contains("adjusted prices"),
            "{:?}",
            detected.warnings
        );
    }
    // No amounts at all, or none that say anything.
    let message = refusal("日期,开盘,收盘,最高,最低,成交量\n".as_bytes());
    assert!(message.contains("lots or shares is ambiguous"), "{message}");
    let silent = "日期,开盘,收盘,最高,最低,成交量,成交额\n2024-01-02,1,1,1,1,0,0\n";
    let message = refusal(silent.as_bytes());
    assert!(
        message.starts_with("t.csv line 2, column 成交量: must show lots or shares"),
        "{message}"
    );
    // A vendor that contradicts its own documentation.
    let tushare = "ts_code,trade_date,open,high,low,close,vol,amount\n\
                   002032.SZ,20040817,12.21,12.21,11.03,11.20,7877900,90923.24\n";
    let message = refusal(tushare.as_bytes());
    assert!(
        message
            .starts_with("t.csv line 2, column vol: must count lots of 100 shares as Tushare does"),
        "{message}"
    );
}

#[test]
fn a_row_in_the_other_unit_far_down_the_file_is_an_error_and_the_rest_is_read() {
    let bars = &supor()[..400];
    let mut lines: Vec<String> = akshare(bars, 100.0).lines().map(str::to_owned).collect();
    let in_shares = akshare(bars, 1.0);
    lines[300] = in_shares.lines().nth(300).unwrap().to_owned();
    let results: Vec<_> = detect(lines.join("\n").as_bytes()).unwrap().collect();
    assert_eq!(results.len(), 400);
    let errors: Vec<String> = results
        .iter()
        .filter_map(|row| row.as_ref().err())
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("t.csv line 301, column 成交量: must be lots of 100 shares like"),
        "{errors:?}"
    );
}

#[test]
fn indices_have_no_say_since_points_are_no_prices() {
    let text = "ts_code,trade_date,open,high,low,close,vol,amount\n\
                000001.SH,20111206,2326.66,2331.892,2310.155,2325.905,45917078,42625595\n";
    let reader = detect(text.as_bytes()).unwrap();
    assert_eq!(reader.detected().confirming_rows, 0);
    assert_eq!(reader.map(Result::unwrap).count(), 1);
}

#[test]
fn minute_bars_of_every_vendor_end_at_their_minute() {
    // 09:31 at UTC+08:00 on 2024-01-02, computed apart from this crate.
    let expected_ns = 1_704_159_060_000_000_000;
    for (text, layout) in [
        (
            "时间,开盘,收盘,最高,最低,成交量,成交额\n2024-01-02 09:31:00,10.0,10.1,10.2,9.9,1234,1240000\n",
            Layout::AkShare,
        ),
        (
            "date,time,code,open,high,low,close,volume,amount,adjustflag\n\
             2024-01-02,20240102093100000,sz.002032,10.0,10.2,9.9,10.1,123400,1240000,3\n",
            Layout::Baostock,
        ),
        (
            "ts_code,trade_time,open,close,high,low,vol,amount\n\
             002032.SZ,2024-01-02 09:31:00,10.0,10.1,10.2,9.9,123400,1240000\n",
            Layout::Tushare,
        ),
        (
            "datetime,open,high,low,close,volume\n2024-01-02T09:31:00,10.0,10.2,9.9,10.1,123400\n",
            Layout::Plain,
        ),
    ] {
        let reader = detect(text.as_bytes()).unwrap();
        assert_eq!(reader.layout(), layout);
        assert!(reader.detected().has_time);
        let bar = reader.map(Result::unwrap).next().unwrap();
        assert_eq!(bar.time_ns, expected_ns, "{layout:?}");
        assert_eq!(
            (bar.date.to_string().as_str(), bar.close, bar.volume_shares),
            ("2024-01-02", 10.1, 123_400.0)
        );
    }
    for (cells, reason) in [
        ("2024-01-02,9:61", "column time: must be written"),
        (
            "2024-01-02,2024-01-03 09:31:00",
            "column time: must lie on 2024-01-02 like the date",
        ),
    ] {
        let text = format!("date,time,open,high,low,close,volume\n{cells},1,1,1,1,1\n");
        let error = detect(text.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let text = "time,open,high,low,close,volume\n09:31,1,1,1,1,1\n";
    let error = detect(text.as_bytes())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("must have a date"), "{error}");
}

#[test]
fn bare_codes_of_akshare_find_their_exchange_and_lost_zeros_are_refused() {
    for (code, expected) in [
        ("600000", Ok("600000.SH")),
        ("688001", Ok("688001.SH")),
        ("000001", Ok("000001.SZ")),
        ("300001", Ok("300001.SZ")),
        ("920001", Ok("920001.BJ")),
        ("sz002032", Ok("002032.SZ")),
        ("1", Err("it is 000001.SZ")),
        ("510300", Err("must be a stock code")),
        ("股票代码号", Err("may hold only ASCII")),
    ] {
        let good = "2024-01-01,600000,10.0,10.1,10.2,9.9,1234,1240000";
        let text = format!(
            "日期,股票代码,开盘,收盘,最高,最低,成交量,成交额\n{good}\n2024-01-02,{code},10.0,10.1,10.2,9.9,1234,1240000\n"
        );
        let result = detect(&gbk(&text)).unwrap().nth(1).unwrap();
        match (result, expected) {
            (Ok(bar), Ok(symbol)) => assert_eq!(bar.symbol.as_str(), symbol),
            (Err(error), Err(reason)) => assert!(error.to_string().contains(reason), "{error}"),
            (result, expected) => panic!("{code}: {result:?} for {expected:?}"),
        }
    }
}

#[test]
fn other_encodings_are_named_and_not_guessed() {
    let utf_16: Vec<u8> = "\u{feff}date,open,high,low,close,volume\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(refusal(&utf_16).contains("UTF-16"));
    assert!(refusal(b"date,\xff\xff,open\n").contains("the bytes are neither"));
}

proptest! {
    #[test]
    fn random_bytes_under_a_gbk_header_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut file = gbk("日期,股票代码,开盘,收盘,最高,最低,成交量,成交额\n2024-01-02,600000,10,10,10,10,100,100000\n");
        file.extend(bytes);
        if let Ok(reader) = detect(&file) {
            reader.for_each(drop);
        }
    }

    #[test]
    fn random_gbk_text_never_panics(text in "[日期开盘收最高低成交量额股票代码0-9,.\\-\n: ]{0,300}") {
        if let Ok(reader) = detect(&gbk(&text)) {
            reader.for_each(drop);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(reader) = detect(&bytes) {
            reader.for_each(drop);
        }
    }

    #[test]
    fn garbage_cells_give_one_result_each_and_every_error_names_its_line(
        cells in proptest::collection::vec("[0-9.eE+-]{0,8}|NaN|inf|\\PC{0,6}", 80)
    ) {
        let mut text = "date,time,code,open,high,low,close,volume,amount,adjustflag\n".to_owned();
        let rows: Vec<String> = cells.chunks(10).map(|row| {
            row.iter().map(|cell| cell.replace([',', '\n', '\r'], "")).collect::<Vec<_>>().join(",")
        }).collect();
        text += &rows.join("\n");
        let reader = BarReader::new(text.as_bytes(), None, "t.csv").unwrap();
        let mut last = 1;
        for result in reader {
            if let Err(error) = result {
                let message = error.to_string();
                let line: usize = message.strip_prefix("t.csv line ").unwrap()
                    .split(',').next().unwrap().parse().unwrap();
                prop_assert!(line > last && line <= rows.len() + 1, "{message}");
                last = line;
            }
        }
    }

    #[test]
    fn a_series_survives_the_way_through_gbk_and_lots(
        days in proptest::collection::vec((100u32..100_000, 0u32..100, 0u32..100, 11u32..1_000_000), 1..40)
    ) {
        let mut text = "日期,开盘,收盘,最高,最低,成交量,成交额\n".to_owned();
        for (i, (low_cents, above, spread, lots)) in days.iter().enumerate() {
            let low = f64::from(*low_cents) / 100.0;
            let close = f64::from(low_cents + above * low_cents / 1000) / 100.0;
            let high = close + f64::from(*spread) / 100.0 * close / 10.0;
            let date = heqis_quant::Date::from_days(19_000 + i as i32).unwrap();
            text += &format!("{date},{low},{close},{high},{low},{lots},{}\n", close * f64::from(*lots) * 100.0);
        }
        let file = gbk(&text);
        let reader = detect(&file).unwrap();
        prop_assert_eq!(reader.detected().volume_unit, VolumeUnit::Lots);
        prop_assert_eq!(reader.detected().confirming_rows, days.len());
        for (bar, (low_cents, _, _, lots)) in reader.zip(&days) {
            let bar = bar.unwrap();
            prop_assert_eq!((bar.low, bar.volume_shares), (f64::from(*low_cents) / 100.0, f64::from(*lots) * 100.0));
        }
    }
}

#[test]
fn a_bare_code_is_that_of_the_instrument_that_is_given() {
    let text = "code,date,open,high,low,close,volume\n000001,2024-01-02,9,9,9,9,100\n";
    for exchange in ["SZ", "SH"] {
        let symbol = Symbol::parse(&format!("000001.{exchange}")).unwrap();
        let mut bars = BarReader::new(text.as_bytes(), Some(symbol), "bars.csv").unwrap();
        assert_eq!(bars.next().unwrap().unwrap().symbol, symbol);
    }
    let other = Symbol::parse("000002.SZ").unwrap();
    for given in [None, Some(other)] {
        let mut bars = BarReader::new(text.as_bytes(), given, "bars.csv").unwrap();
        let error = bars.next().unwrap().unwrap_err().to_string();
        assert!(
            error.contains("six-digit code needs its exchange"),
            "{error}"
        );
    }
}

#[test]
fn a_carriage_return_ends_a_line() {
    let text = "date,open,high,low,close,volume\n2024-01-02,9,9,9,9,100\n2024-01-03,9,9,9,9,100\n";
    let symbol = Symbol::parse("600000.SH").unwrap();
    let bars = |text: &str| -> Vec<_> {
        let reader = BarReader::new(text.as_bytes(), Some(symbol), "bars.csv").unwrap();
        reader.map(Result::unwrap).collect()
    };
    assert_eq!(bars(text).len(), 2);
    assert_eq!(bars(&text.replace('\n', "\r")), bars(text));
    assert_eq!(bars(&text.replace('\n', "\r\n")), bars(text));
}

#[test]
fn a_bare_day_among_times_is_its_midnight() {
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    let text = "datetime,open,high,low,close,volume\n2022-01-01 23:59:00,1,1,1,1,5\n2022-01-02,2,2,2,2,5\n\
                2022-01-02 00:01:00,3,3,3,3,5\n";
    let reader = BarReader::new(text.as_bytes(), Some(symbol), "t.csv").unwrap();
    let times: Vec<i64> = reader.map(|bar| bar.unwrap().time_ns).collect();
    assert_eq!(times[1] - times[0], 60_000_000_000);
    assert_eq!(times[2] - times[1], 60_000_000_000);
    let text =
        "date,time,open,high,low,close,volume\n2022-01-01,23:59,1,1,1,1,5\n2022-01-02,,2,2,2,2,5\n";
    let mut reader = BarReader::new(text.as_bytes(), Some(symbol), "t.csv").unwrap();
    reader.next().unwrap().unwrap();
    let error = reader.next().unwrap().unwrap_err().to_string();
    assert!(
        error.contains("must have a time like the other rows"),
        "{error}"
    );
}

#[test]
fn a_title_says_what_prices_are() {
    let table = "date,open,high,low,close,volume\n2024-01-02,9,9,9,9,100\n";
    let symbol = Symbol::parse("600000.SH").unwrap();
    for (title, adjusted) in [
        ("600000 浦发银行 日线 前复权", true),
        ("600000 hfq", true),
        ("600000 浦发银行 日线 不复权", false),
        ("600000 浦发银行 日线", false),
    ] {
        let text = format!("{title}\n{table}");
        let reader = BarReader::new(text.as_bytes(), Some(symbol), "t.csv").unwrap();
        assert_eq!(reader.detected().adjusted, adjusted, "{title}");
    }
}

#[test]
fn a_name_with_the_parts_of_a_chinese_code_is_one_or_refused() {
    for name in [
        "600000.SHA",
        "600000.SH.0",
        "600000.0.SH",
        "T600000.SH",
        "60000.SH",
    ] {
        assert!(Symbol::parse(name).is_err(), "{name}");
    }
    for name in [
        "AAPL",
        "AAPL.US",
        "005930.KS",
        "SHFE.rb2401",
        "00700.HK",
        "10004567.SH",
        "BTC/USDT",
    ] {
        assert!(Symbol::parse(name).is_ok(), "{name}");
    }
}

#[test]
fn a_moment_of_a_year_that_is_not_known_is_refused() {
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    for (time, is_read) in [
        ("2199-12-31 23:59:59-14:59", false),
        ("2199-12-31 23:59:59+00:00", true),
        ("1900-01-01 00:00:01+01:00", false),
    ] {
        let text = format!(
            "time,open,high,low,close,volume\n2024-01-02 00:01:00Z,6,6,6,6,5\n{time},6,6,6,6,5\n"
        );
        let reader = BarReader::new(text.as_bytes(), Some(symbol), "t.csv").unwrap();
        let rows: Vec<bool> = reader.map(|row| row.is_ok()).collect();
        assert_eq!(rows, [true, is_read], "{time}");
    }
}
