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
