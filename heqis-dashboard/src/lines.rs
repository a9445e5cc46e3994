//! The lines of the chart: every indicator that the page draws, computed here and nowhere else.
//!
//! By the formulas of Chinese terminals, as one stream over clean bars, with the memory moved to the new price level on
//! an ex-right day, exactly as the features of the models are: what is drawn is what the model saw.

use heqis_quant::indicators::{Boll, Hlc, Indicator, Kdj, KdjStart, Ma, Macd, Profile, Rsi};
use heqis_quant::{Bar, Date, QuantError};

/// Names of the lines, in the order of [`Lines::update`].
pub const NAMES: [&str; 18] = [
    "ma5",
    "ma10",
    "ma20",
    "ma60",
    "volume_ma5",
    "volume_ma10",
    "dif",
    "dea",
    "macd",
    "k",
    "d",
    "j",
    "rsi6",
    "rsi12",
    "rsi24",
    "boll_upper",
    "boll_middle",
    "boll_lower",
];

/// The values of one bar; `None` while a line warms up.
pub type Values = [Option<f64>; NAMES.len()];

/// The running state of all lines over one series.
#[derive(Clone, Debug)]
pub struct Lines {
    prices: [Ma; 4],
    volumes: [Ma; 2],
    macd: Macd,
    kdj: Kdj,
    rsi: [Rsi; 3],
    boll: Boll,
    last: Option<(Date, f64)>,
}

impl Lines {
    /// Lines before the first bar: MA 5, 10, 20 and 60, volume MA 5 and 10, MACD(12,26,9), KDJ(9,3,3), RSI 6, 12 and 24,
    /// BOLL(20,2).
    ///
    /// # Errors
    /// None: the lengths are constants that the indicators take.
    pub fn new() -> Result<Self, QuantError> {
        let rsi = |n| Rsi::new(n, Profile::Cn);
        Ok(Self {
            prices: [Ma::new(5)?, Ma::new(10)?, Ma::new(20)?, Ma::new(60)?],
            volumes: [Ma::new(5)?, Ma::new(10)?],
            macd: Macd::new(12, 26, 9, Profile::Cn)?,
            kdj: Kdj::new(9, 3, 3, KdjStart::Fifty)?,
            rsi: [rsi(6)?, rsi(12)?, rsi(24)?],
            boll: Boll::new(20, 2.0, 1)?,
            last: None,
        })
    }

    /// Takes the next bar of the series and gives its values.
    pub fn update(&mut self, bar: &Bar) -> Values {
        if let Some((date, close)) = self.last {
            let reference = bar.reference_close(date, close);
            if reference != close {
                self.rescale(reference / close);
            }
        }
        self.last = Some((bar.date, bar.close));
        let [ma5, ma10, ma20, ma60] = self.prices.each_mut().map(|ma| ma.update(bar.close));
        let [v5, v10] = self
            .volumes
            .each_mut()
            .map(|ma| ma.update(bar.volume_shares));
        let macd = self.macd.update(bar.close);
        let kdj = self.kdj.update(Hlc::from(bar));
        let [r6, r12, r24] = self.rsi.each_mut().map(|rsi| rsi.update(bar.close));
        let boll = self.boll.update(bar.close);
        [
            ma5,
            ma10,
            ma20,
            ma60,
            v5,
            v10,
            macd.map(|macd| macd.dif),
            macd.map(|macd| macd.dea),
            macd.map(|macd| macd.bar),
            kdj.map(|kdj| kdj.k),
            kdj.map(|kdj| kdj.d),
            kdj.map(|kdj| kdj.j),
            r6,
            r12,
            r24,
            boll.map(|boll| boll.upper),
            boll.map(|boll| boll.middle),
            boll.map(|boll| boll.lower),
        ]
    }

    fn rescale(&mut self, factor: f64) {
        self.prices.iter_mut().for_each(|ma| ma.rescale(factor));
        self.volumes
            .iter_mut()
            .for_each(|ma| ma.rescale(1.0 / factor));
        self.macd.rescale(factor);
        self.kdj.rescale(factor);
        self.rsi.iter_mut().for_each(|rsi| rsi.rescale(factor));
        self.boll.rescale(factor);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use heqis_quant::{Marks, Symbol};

    use super::*;

    /// Lines and the columns of the golden table, which another program computed by the formulas of Chinese terminals.
    const PAIRS: [(&str, &str); 12] = [
        ("dif", "cn_dif"),
        ("dea", "cn_dea"),
        ("macd", "cn_macd"),
        ("k", "cn_k50"),
        ("d", "cn_d50"),
        ("j", "cn_j50"),
        ("rsi6", "cn_rsi6"),
        ("rsi12", "cn_rsi12"),
        ("rsi24", "cn_rsi24"),
        ("boll_middle", "cn_boll"),
        ("boll_upper", "cn_ub"),
        ("boll_lower", "cn_lb"),
    ];

    #[test]
    fn every_line_is_what_another_program_computed_on_two_thousand_days() {
        let path = "../data/golden/indicators_002032_talib_and_cn.csv";
        let mut table = csv::Reader::from_path(path).unwrap();
        let symbol = Symbol::parse("002032.SZ").unwrap();
        let mut lines = Lines::new().unwrap();
        let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
        for (day, row) in table
            .deserialize::<BTreeMap<String, Option<f64>>>()
            .enumerate()
        {
            let row = row.unwrap();
            let number = |name: &str| row[name].unwrap();
            let date = Date::parse(&format!("{:.0}", number("date"))).unwrap();
            let values = lines.update(&Bar {
                symbol,
                time_ns: date.close_time_ns(),
                date,
                open: number("open"),
                high: number("high"),
                low: number("low"),
                close: number("close"),
                pre_close: None,
                volume_shares: number("volume"),
                amount_cny: None,
                marks: Marks::NONE,
            });
            let own: BTreeMap<&str, Option<f64>> = NAMES.into_iter().zip(values).collect();
            for (line, column) in PAIRS {
                let (Some(own), Some(other)) = (own[line], row[column]) else {
                    assert!(day < 30, "{line} of {date}");
                    continue;
                };
                let near = 1e-6 * other.abs().max(1.0);
                assert!(
                    (own - other).abs() <= near,
                    "{line} of {date}: {own} and {other}"
                );
                *compared.entry(line).or_default() += 1;
            }
        }
        assert!(compared.len() == PAIRS.len() && compared.values().all(|&days| days > 2_000));
    }

    #[test]
    fn a_bonus_share_moves_the_means_to_the_new_level() {
        let bar = |day: i8, close: f64, pre_close: f64| Bar {
            symbol: Symbol::parse("600000.SH").unwrap(),
            time_ns: i64::from(day),
            date: Date::new(2024, 1, day).unwrap(),
            open: close,
            high: close,
            low: close,
            close,
            pre_close: Some(pre_close),
            volume_shares: 100.0,
            amount_cny: None,
            marks: Marks::NONE,
        };
        let mut lines = Lines::new().unwrap();
        for day in 1..5 {
            lines.update(&bar(day, 20.0, 20.0));
        }
        // Two for one: 20 becomes 10, and four days of 100 shares count as 200 each.
        let values = lines.update(&bar(5, 10.0, 10.0));
        assert_eq!((values[0], values[4]), (Some(10.0), Some(180.0)));
    }
}
