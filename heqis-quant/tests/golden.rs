//! Every column of the golden table: values computed by other programs, with TA-Lib and with the formulas of Chinese terminals.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Day, supor};
use heqis_quant::indicators::{
    Ad, Adx, Atr, Boll, Cci, Ema, Indicator, Kdj, KdjStart, Macd, Mfi, Obv, Profile, Rsi, Stoch,
    TrueRange, Willr, batch,
};

/// The columns of the golden table; an empty cell is `None`.
fn golden() -> BTreeMap<String, Vec<Option<f64>>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../data/golden/indicators_002032_talib_and_cn.csv"
    );
    let mut rows = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
    let mut columns = BTreeMap::<String, Vec<Option<f64>>>::new();
    for row in rows.records() {
        for (name, cell) in names.iter().zip(row.unwrap().iter()) {
            columns
                .entry(name.clone())
                .or_default()
                .push(cell.parse().ok());
        }
    }
    columns
}

/// The golden table and the columns that were compared with it.
struct Table {
    golden: BTreeMap<String, Vec<Option<f64>>>,
    days: Vec<Day>,
    compared: BTreeSet<&'static str>,
    worst: (f64, &'static str),
}

impl Table {
    /// Replays an indicator over the table and compares each of its lines with the column of that name: within 1e-9,
    /// relative above 1 because the table has ten significant digits, and `None` on exactly the same bars.
    fn compare<I: Indicator, const LINES: usize>(
        &mut self,
        names: [&'static str; LINES],
        mut indicator: I,
        input: impl Fn(&Day) -> I::Input,
        lines: impl Fn(I::Output) -> [f64; LINES],
    ) {
        let warmup_bars = indicator.warmup_bars();
        let values = batch(&mut indicator, self.days.iter().map(input));
        let values: Vec<_> = values.into_iter().map(|value| value.map(&lines)).collect();
        for (line, name) in names.into_iter().enumerate() {
            let expected = &self.golden[name];
            assert_eq!((values.len(), expected.len()), (2813, 2813), "{name}");
            assert_eq!(
                expected.iter().position(Option::is_some),
                Some(warmup_bars),
                "{name}"
            );
            for (row, (ours, expected)) in values.iter().zip(expected).enumerate() {
                match (ours.map(|lines| lines[line]), expected) {
                    (Some(a), Some(b)) => {
                        let off = (a - b).abs() / b.abs().max(1.0);
                        assert!(off <= 1e-9, "{name} row {row}: {a} for {b}");
                        if off > self.worst.0 {
                            self.worst = (off, name);
                        }
                    }
                    (ours, expected) => assert_eq!(ours, *expected, "{name} row {row}"),
                }
            }
            assert!(self.compared.insert(name), "{name} is compared twice");
        }
    }
}

#[test]
fn every_column_of_the_golden_table_is_reproduced() {
    let mut table = Table {
        golden: golden(),
        days: supor(),
        compared: BTreeSet::new(),
        worst: (0.0, ""),
    };
    let close = |day: &Day| day.close;

    let macd = |profile| Macd::new(12, 26, 9, profile).unwrap();
    table.compare(
        ["ta_macd", "ta_macdsignal", "ta_macdhist"],
        macd(Profile::Talib),
        close,
        |v| [v.dif, v.dea, v.bar],
    );
    table.compare(
        ["cn_dif", "cn_dea", "cn_macd"],
        macd(Profile::Cn),
        close,
        |v| [v.dif, v.dea, v.bar],
    );

    for (n, name) in [(6, "ta_rsi6"), (14, "ta_rsi14")] {
        table.compare([name], Rsi::new(n, Profile::Talib).unwrap(), close, |v| [v]);
    }
    for (n, name) in [(6, "cn_rsi6"), (12, "cn_rsi12"), (24, "cn_rsi24")] {
        table.compare([name], Rsi::new(n, Profile::Cn).unwrap(), close, |v| [v]);
    }

    for (ddof, names) in [
        (0, ["ta_bb_up", "ta_bb_mid", "ta_bb_lo"]),
        (1, ["cn_ub", "cn_boll", "cn_lb"]),
    ] {
        table.compare(names, Boll::new(20, 2.0, ddof).unwrap(), close, |v| {
            [v.upper, v.middle, v.lower]
        });
    }

    for (profile, name) in [(Profile::Talib, "ta_atr14"), (Profile::Cn, "cn_atr14")] {
        table.compare([name], Atr::new(14, profile).unwrap(), Day::hlc, |v| [v]);
    }
    table.compare(["cn_tr"], TrueRange::new(Profile::Cn), Day::hlc, |v| [v]);

    table.compare(
        ["ta_stochk", "ta_stochd"],
        Stoch::new(9, 3, 3).unwrap(),
        Day::hlc,
        |v| [v.k, v.d],
    );
    for (start, names) in [
        (KdjStart::Fifty, ["cn_k50", "cn_d50", "cn_j50"]),
        (KdjStart::FirstRsv, ["cn_k", "cn_d", "cn_j"]),
    ] {
        table.compare(names, Kdj::new(9, 3, 3, start).unwrap(), Day::hlc, |v| {
            [v.k, v.d, v.j]
        });
    }

    table.compare(
        ["ta_ema12"],
        Ema::new(12, Profile::Talib).unwrap(),
        close,
        |v| [v],
    );
    table.compare(
        ["ta_adx14"],
        Adx::new(14, 14, Profile::Talib).unwrap(),
        Day::hlc,
        |v| [v.adx],
    );
    table.compare(["ta_cci14"], Cci::new(14).unwrap(), Day::hlc, |v| [v]);
    table.compare(["ta_obv"], Obv::new(Profile::Talib), Day::volume, |v| [v]);

    table.compare(["ta_willr14"], Willr::new(14).unwrap(), Day::hlc, |v| [v]);
    table.compare(["ta_mfi14"], Mfi::new(14).unwrap(), Day::hlcv, |v| [v]);
    table.compare(["ta_ad"], Ad::new(), Day::hlcv, |v| [v]);

    let inputs = ["date", "open", "high", "low", "close", "volume"];
    let expected: BTreeSet<&str> = table
        .golden
        .keys()
        .map(String::as_str)
        .filter(|name| !inputs.contains(name))
        .collect();
    assert_eq!(table.compared, expected);
    eprintln!(
        "{} columns, worst {:.1e} in {}",
        expected.len(),
        table.worst.0,
        table.worst.1
    );
}
