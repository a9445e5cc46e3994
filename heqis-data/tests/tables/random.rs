//! Random tables.

use super::*;
use proptest::prelude::*;

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
    fn a_series_is_the_same_after_a_round_trip_through_gbk_and_lots(
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
