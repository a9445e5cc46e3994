#![allow(clippy::unwrap_used)]
use super::*;
use heqis_quant::Date;
use proptest::prelude::*;

fn stock() -> Option<Symbol> {
    Some(Symbol::parse("002032.SZ").unwrap())
}

fn bars(text: &str) -> Vec<Result<Bar, QuantError>> {
    BarReader::new(text.as_bytes(), stock(), "t.csv")
        .unwrap()
        .collect()
}

fn header_error(text: &str) -> String {
    match BarReader::new(text.as_bytes(), stock(), "t.csv") {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text:?} was accepted"),
    }
}

#[test]
fn a_tushare_table_counts_lots_and_thousands() {
    let text = "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n\
                600000.SH,19991111,27.58,28.38,27.53,27.71,27.75,-0.04,-0.1441,294034,821582\n";
    let reader = BarReader::new(text.as_bytes(), None, "t.csv").unwrap();
    assert_eq!(reader.layout(), Layout::Tushare);
    assert_eq!(reader.ignored_columns(), ["change", "pct_chg"]);
    let bar = reader.map(Result::unwrap).next().unwrap();
    assert_eq!(bar.symbol.as_str(), "600000.SH");
    assert_eq!(bar.volume_shares, 29_403_400.0);
    assert_eq!(bar.amount_cny, Some(821_582_000.0));
    assert_eq!(bar.pre_close, Some(27.75));
}

#[test]
fn plain_tables_are_read_whatever_the_order_the_case_the_quotes_and_the_mark() {
    for text in [
        "Date,Open,High,Low,Close,Adj Close,Volume\n1999-11-10,2,4,1,3,0.5,700\n",
        "\u{feff}date,volume,close,high,low,open,adjClose\r\n19991110.0,700.0,3,4,1,2,-1\r\n",
        "\"DATE\",\"VOLUME\",\"CLOSE\",\"HIGH\",\"LOW\",\"OPEN\"\n\n\"1999/11/10\",\"700\",\"3\",\"4\",\"1\",\"2\"",
    ] {
        let bar = *bars(text)[0].as_ref().unwrap();
        assert_eq!(bar.date.to_string(), "1999-11-10");
        assert_eq!(
            (bar.open, bar.high, bar.low, bar.close),
            (2.0, 4.0, 1.0, 3.0)
        );
        assert_eq!((bar.volume_shares, bar.amount_cny), (700.0, None));
    }
}

#[test]
fn a_bad_row_names_its_place_and_the_next_row_is_still_read() {
    let text = "date,open,high,low,close,volume\n\
                19991110,2,4,1,3,700\n\
                19991111,2,4,1,NaN,700\n\
                19991112,2,4,1,3\n\
                1999111x,2,4,1,3,700\n\
                19991116,2,\"4,1,3,700\n\
                19991117,2,4,1,3,700\n";
    let results = bars(text);
    let messages: Vec<String> = results
        .iter()
        .filter_map(|r| r.as_ref().err())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        messages,
        [
            "t.csv line 3, column close: must be a finite decimal number, got \"NaN\"",
            "t.csv line 4, column *: must have 6 cells like the header, got \"5 cells\"",
            "t.csv line 5, column date: must be written YYYYMMDD, YYYY-MM-DD, YYYY/M/D or YYYY年M月D日, got \"1999111x\"",
            "t.csv line 6, column *: must close its quote on the same line, got \"19991116,2,\\\"4,1,3,700\"",
        ]
    );
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 2);
}

#[test]
fn a_header_that_cannot_be_trusted_is_refused_with_its_reason() {
    for (text, reason) in [
        ("", "must not be empty"),
        ("a,b,c\n1,2,3", "is unknown"),
        ("19991110,1,2,3,4,5\n", "is unknown"),
        ("date,open,high,low,volume\n", "lacks the column close"),
        ("date,open,high,low,close\n", "lacks the column volume"),
        ("date,open,high,low,close,vol\n", "ambiguous"),
        (
            "date,open,high,low,close,vol,volume\n1999-11-10,1,1,1,1,5,500\n",
            "ambiguous",
        ),
        (
            "ts_code,trade_date,open,high,low,close,volume\n",
            "lots or shares is ambiguous",
        ),
        (
            "date,open,high,low,close,Close,volume\n1999-11-10,1,1,1,1,2,5\n",
            "differ in line 2: \"1\" and \"2\"",
        ),
        (
            "date,time,datetime,open,high,low,close,volume\n1999-11-10,10:00,1999-11-11 10:00,1,1,1,1,5\n",
            "two columns for one value",
        ),
    ] {
        let message = header_error(text);
        assert!(
            message.starts_with("t.csv header: ") && message.contains(reason),
            "{message}"
        );
    }
    let nameless = BarReader::new(
        "date,open,high,low,close,volume\n".as_bytes(),
        None,
        "t.csv",
    );
    assert!(
        nameless
            .err()
            .unwrap()
            .to_string()
            .contains("symbol must be given")
    );
}

#[test]
fn a_failing_reader_ends_the_rows_with_one_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the cable is out"))
        }
    }
    let text = "date,open,high,low,close,volume\n19991110,2,4,1,3,700\n".as_bytes();
    let results: Vec<_> = BarReader::new(text.chain(Broken), stock(), "t.csv")
        .unwrap()
        .collect();
    assert!(results[0].is_ok());
    assert!(
        results[1]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("the cable is out")
    );
    assert_eq!(results.len(), 2);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(reader) = BarReader::new(&bytes[..], stock(), "t.csv") {
            reader.for_each(drop);
        }
    }

    #[test]
    fn random_rows_under_a_good_header_give_one_result_each(
        rows in proptest::collection::vec("[-0-9eE.,\" a]{0,39}a", 0..20)
    ) {
        let text = format!("date,open,high,low,close,volume,amount\n{}", rows.join("\n"));
        prop_assert_eq!(bars(&text).len(), rows.len());
    }

    #[test]
    fn a_written_bar_is_read_back_to_the_bit(
        prices in proptest::collection::vec(0.01f64..10_000.0, 4), volume in 0u64..u64::MAX >> 12, days in 0i32..20_000
    ) {
        let date = Date::from_days(days).unwrap();
        let text = format!("Date,Open,High,Low,Close,Volume\n{date},{},{},{},{},{volume}", prices[0], prices[1], prices[2], prices[3]);
        let bar = *bars(&text)[0].as_ref().unwrap();
        prop_assert_eq!(vec![bar.open, bar.high, bar.low, bar.close], prices);
        prop_assert_eq!(bar.volume_shares, volume as f64);
        prop_assert_eq!(bar.time_ns, date.close_time_ns());
    }
}
