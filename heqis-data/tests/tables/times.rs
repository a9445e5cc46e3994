//! Days, times and time zones.

use super::*;

#[test]
fn midnight_means_the_day_only_if_every_row_is_midnight() {
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
    // Days of a data frame, with and without an offset, and from a program in UTC.
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
fn day_and_month_have_one_order_in_a_table_or_it_is_refused() {
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
fn minute_bars_of_every_vendor_end_at_their_minute() {
    // 09:31 at UTC+08:00 on 2024-01-02, computed independently of this crate.
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
fn a_time_outside_the_supported_years_is_refused() {
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
