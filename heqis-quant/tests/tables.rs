//! Tables as vendors write them, in every encoding and unit, from the committed series.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;

use heqis_quant::table::{Encoding, Layout, VolumeUnit};
use heqis_quant::{Bar, BarReader, QuantError, Symbol};
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
    BarReader::detect(bytes, Some(symbol("002032.SZ")), "t.csv")
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
            // The header alone leaves the unit open, so both constructors let the rows decide.
            for reader in [
                detect(&bytes).unwrap(),
                BarReader::new(&bytes[..], None, "t.csv").unwrap(),
            ] {
                let detected = reader.detected().clone();
                assert_eq!(
                    (detected.layout, detected.encoding, detected.volume_unit),
                    (Layout::AkShare, encoding, expected)
                );
                assert_eq!(
                    (detected.confirming_rows, detected.unexplained_rows),
                    (256, 0)
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
fn the_committed_files_are_read_alike_with_and_without_detection() {
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
        let name = name.map(symbol);
        let detected = BarReader::detect(committed(file), name, file).unwrap();
        assert_eq!(detected.detected().to_string(), told, "{file}");
        let plain = BarReader::new(committed(file), name, file).unwrap();
        assert_eq!(plain.detected().confirming_rows, 0);
        let plain: Vec<Bar> = plain.map(Result::unwrap).collect();
        let detected: Vec<Bar> = detected.map(Result::unwrap).collect();
        assert!(!plain.is_empty());
        assert_eq!(plain, detected, "{file}");
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
    assert_eq!(reader.ignored_columns(), ["turn", "pctChg", "isST"]);
    let first = reader.next().unwrap().unwrap();
    assert_eq!(
        (first.symbol.as_str(), first.pre_close, first.volume_shares),
        ("002032.SZ", Some(11.0), 7_877_900.0)
    );
    assert_eq!(reader.vendor_number("isST").unwrap(), Some(0.0));
    let suspended = reader.next().unwrap().unwrap();
    assert_eq!((suspended.volume_shares, suspended.amount_cny), (0.0, None));
    assert_eq!(reader.vendor_number("isST").unwrap(), Some(1.0));
    assert_eq!(reader.vendor_number("turn").unwrap(), None);
    assert!(reader.vendor_number("moon").is_err());
    let errors: Vec<String> = reader.map(|row| row.unwrap_err().to_string()).collect();
    assert!(
        errors[0].starts_with("t.csv line 4, column adjustflag: must be 3"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("t.csv line 5, column volume: must be a finite"),
        "{errors:?}"
    );
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
            && message.contains("7877900, at 11.5416 CNY each in a bar from 11.03 to 12.21"),
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
    let message = refusal(akshare(&adjusted, 1.0).as_bytes());
    assert!(
        message.starts_with("t.csv line 2, column 成交量") && message.contains("adjusted prices?"),
        "{message}"
    );
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
    // The header's word is taken where nobody asks for the arithmetic.
    assert!(BarReader::new(tushare.as_bytes(), None, "t.csv").is_ok());
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
        ("1", Err("spreadsheets drop leading zeros")),
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
