//! Units of volume and amount.

use super::*;

#[test]
fn an_index_needs_no_units_and_a_wrong_code_gives_the_nearest_one() {
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
fn the_amounts_of_a_plain_table_show_lots() {
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
fn tables_with_contradictory_units_are_refused_with_a_row_that_shows_it() {
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
    // A tenth is midway between shares and lots, so the user must state the unit.
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
    // Half the price is not, and the amounts show that prices are adjusted.
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
    // Without amounts, or without usable ones.
    let message = refusal("日期,开盘,收盘,最高,最低,成交量\n".as_bytes());
    assert!(message.contains("lots or shares is ambiguous"), "{message}");
    let silent = "日期,开盘,收盘,最高,最低,成交量,成交额\n2024-01-02,1,1,1,1,0,0\n";
    let message = refusal(silent.as_bytes());
    assert!(
        message.starts_with("t.csv line 2, column 成交量: must show lots or shares"),
        "{message}"
    );
    // A table that contradicts its vendor's documentation.
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
fn a_row_in_the_other_unit_later_in_the_file_is_an_error_and_the_rest_is_read() {
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
fn indices_are_ignored_when_units_are_detected() {
    let text = "ts_code,trade_date,open,high,low,close,vol,amount\n\
                000001.SH,20111206,2326.66,2331.892,2310.155,2325.905,45917078,42625595\n";
    let reader = detect(text.as_bytes()).unwrap();
    assert_eq!(reader.detected().confirming_rows, 0);
    assert_eq!(reader.map(Result::unwrap).count(), 1);
}
