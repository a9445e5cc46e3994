//! Layouts of vendors: columns, encodings, codes.

use super::*;

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
            let format = BarReader::survey(&bytes[..], TableOptions::default(), "t.csv").unwrap();
            let surveyed = || {
                let format = format.clone();
                BarReader::with_format(&bytes[..], TableOptions::default(), format, "t.csv")
                    .unwrap()
            };
            // Rows read ahead decide like all rows of the file.
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
fn the_committed_files_give_the_same_bars_with_and_without_a_survey() {
    for (file, name, detected) in [
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
        assert_eq!(ahead.detected().to_string(), detected, "{file}");
        let format = BarReader::survey(committed(file), options.clone(), file).unwrap();
        let surveyed = BarReader::with_format(committed(file), options, format, file).unwrap();
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
fn columns_that_affect_a_rule_are_read_or_give_a_warning() {
    // A day without a trade, according to the table, has no volume, even if the cell repeats one.
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
fn a_flag_of_special_treatment_changes_the_limits() {
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
fn column_names_of_other_vendors_and_units_in_brackets_are_recognized() {
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
fn surplus_commas_and_equal_columns_of_one_meaning_are_accepted() {
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
fn bare_codes_of_akshare_get_their_exchange_and_lost_zeros_are_refused() {
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
fn other_encodings_are_refused_by_name() {
    let utf_16: Vec<u8> = "\u{feff}date,open,high,low,close,volume\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(refusal(&utf_16).contains("UTF-16"));
    assert!(refusal(b"date,\xff\xff,open\n").contains("the bytes are neither"));
}

#[test]
fn a_bare_code_is_that_of_the_given_instrument() {
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
fn a_title_states_whether_prices_are_adjusted() {
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
fn a_name_that_resembles_a_chinese_code_is_one_or_refused() {
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
