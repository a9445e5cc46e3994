//! The indicators of the chart, computed only here.
//!
//! They follow the formulas of Chinese terminals and stream over clean bars. On an ex-right day their state is rescaled to
//! the new price level, as it is for the features of the models, so the chart agrees with the model's inputs.

use heqis_quant::indicators::{Boll, Hlc, Indicator, Kdj, KdjStart, Ma, Macd, Profile, Rsi};
use heqis_quant::{Bar, Date, QuantError};

/// Names of the indicators, in the order of [`ChartIndicators::update`].
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

/// The values of one bar; `None` while an indicator warms up.
pub type IndicatorValues = [Option<f64>; NAMES.len()];

/// The state of all indicators over one series.
#[derive(Clone, Debug)]
pub struct ChartIndicators {
    prices: [Ma; 4],
    volumes: [Ma; 2],
    macd: Macd,
    kdj: Kdj,
    rsi: [Rsi; 3],
    boll: Boll,
    last: Option<(Date, f64)>,
}

impl ChartIndicators {
    /// Returns the state before the first bar: MA 5, 10, 20 and 60, volume MA 5 and 10, MACD(12,26,9), KDJ(9,3,3), RSI 6, 12
    /// and 24, BOLL(20,2).
    ///
    /// # Errors
    /// Never in practice: the lengths are valid constants.
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

    /// Takes the next bar of the series and returns its values.
    pub fn update(&mut self, bar: &Bar) -> IndicatorValues {
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

    /// Indicators and the columns of the golden table, which another program computed by the formulas of Chinese terminals.
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
    fn every_indicator_agrees_with_another_program_on_two_thousand_days() {
        let path = "../data/golden/indicators_002032_talib_and_cn.csv";
        let mut table = csv::Reader::from_path(path).unwrap();
        let symbol = Symbol::parse("002032.SZ").unwrap();
        let mut indicators = ChartIndicators::new().unwrap();
        let mut compared: BTreeMap<&str, usize> = BTreeMap::new();
        for (day, row) in table
            .deserialize::<BTreeMap<String, Option<f64>>>()
            .enumerate()
        {
            let row = row.unwrap();
            let number = |name: &str| row[name].unwrap();
            let date = Date::parse(&format!("{:.0}", number("date"))).unwrap();
            let values = indicators.update(&Bar {
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
            for (name, column) in PAIRS {
                let (Some(own), Some(other)) = (own[name], row[column]) else {
                    assert!(day < 30, "{name} of {date}");
                    continue;
                };
                let near = 1e-6 * other.abs().max(1.0);
                assert!(
                    (own - other).abs() <= near,
                    "{name} of {date}: {own} and {other}"
                );
                *compared.entry(name).or_default() += 1;
            }
        }
        assert!(compared.len() == PAIRS.len() && compared.values().all(|&days| days > 2_000));
    }

    #[test]
    fn a_bonus_share_rescales_the_averages() {
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
        let mut indicators = ChartIndicators::new().unwrap();
        for day in 1..5 {
            indicators.update(&bar(day, 20.0, 20.0));
        }
        // Two for one: 20 becomes 10, and four days of 100 shares count as 200 each.
        let values = indicators.update(&bar(5, 10.0, 10.0));
        assert_eq!((values[0], values[4]), (Some(10.0), Some(180.0)));
    }
}
