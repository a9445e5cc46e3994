//! Bars to named features that are free of the price level, so that one model serves a stock at 3 CNY and at 300 CNY.
//!
//! | name | value | first row after |
//! |---|---|---|
//! | `return_N` | close over the close N bars ago, minus 1 | N bars |
//! | `volatility_N` | deviation of the last N one-bar returns | N bars |
//! | `ma_ratio_N` | close over the mean of the last N closes, minus 1 | N − 1 bars |
//! | `volume_ratio_N` | ln((1 + volume)/(1 + mean volume of the N bars before)) | N bars |
//! | `range_ratio` | (high − low)/close | 0 bars |
//! | `body_ratio` | close/open − 1 | 0 bars |
//! | `gap_ratio` | open over the reference close, minus 1 | 1 bar |
//! | `dif_ratio` | DIF of MACD(12,26,9) over close | 250 bars |
//! | `dea_ratio` | DEA of MACD(12,26,9) over close | 250 bars |
//! | `macd_ratio` | histogram of MACD(12,26,9) over close | 250 bars |
//! | `k` | K of KDJ(9,3,3) over 100 | 70 bars |
//! | `d` | D of KDJ(9,3,3) over 100 | 70 bars |
//! | `j` | J of KDJ(9,3,3) over 100 | 70 bars |
//!
//! The features are the rows of one table, `features/table.rs`; [`names`] lists them. MACD and KDJ are computed only for a
//! set that has one of their lines. They have a value from the first bar, but depend on where the series started. After 250
//! and 70 bars that dependence is below 1e-8 of the value, so a board that starts today and a lab that started years ago
//! agree.
//!
//! **Other features.** [`FeatureSet::of_program`] makes a set of features that another crate computes, such as the expressions
//! of `heqis-factors`; such a name contains its formula.
//!
//! **Corporate actions.** Before a bar whose [reference close](crate::Bar::reference_close) differs from the last close,
//! all prices in the state are multiplied by their ratio, and all volumes divided by it, so that a bonus share is no crash
//! and no burst of trading. With the vendor's `pre_close` this is exact. On a bar that is only suspected, the reference is
//! the bar's own open: the overnight return counts as zero and the return within the day is kept.
//!
//! ```
//! use heqis_quant::features::FeatureSet;
//!
//! let set = FeatureSet::parse(&["return_5", "k"])?;
//! assert_eq!((set.len(), set.warmup_bars()), (2, 70));
//! let unknown = FeatureSet::parse(&["return_0"]).unwrap_err();
//! assert!(unknown.to_string().contains("whole number of bars in 1..=1000"));
//! # Ok::<(), heqis_quant::QuantError>(())
//! ```

mod program;
mod table;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bar::Bar;
use crate::date::Date;
use crate::error::{QuantError, finite};
use crate::indicators::{Hlc, Indicator, Kdj, KdjStart, MAX_INPUT, Macd, Profile, is_price};
use program::Held;
use table::{Inputs, MAX_N, Row, Slot, TABLE};

pub use program::{FeatureProgram, ProgramState};

const PLACE: &str = "features";

/// The standard set. `dea_ratio` and `d` are left out, since they are linear in the lines that are in.
const STANDARD: [&str; 12] = [
    "return_1",
    "return_5",
    "return_20",
    "volatility_20",
    "range_ratio",
    "ma_ratio_5",
    "ma_ratio_20",
    "dif_ratio",
    "macd_ratio",
    "k",
    "j",
    "volume_ratio_5",
];

/// Returns the names of all features, with `_N` for a length, and their formulas.
pub fn names() -> impl Iterator<Item = (String, &'static str)> {
    TABLE.iter().map(|row| match row.least {
        Some(_) => (format!("{}_N", row.stem), row.value),
        None => (row.stem.to_owned(), row.value),
    })
}

/// A feature by its row in the table and its length, 0 where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feature {
    row: usize,
    n: usize,
}

impl Feature {
    fn parse(name: &str) -> Result<Self, QuantError> {
        let refuse = |rule: String| QuantError::value(PLACE, "name", rule, format!("{name:?}"));
        let row = |stem: &str, has_length: bool| {
            let fits = |row: &Row| row.stem == stem && row.least.is_some() == has_length;
            TABLE.iter().position(fits)
        };
        if let Some(row) = row(name, false) {
            return Ok(Self { row, n: 0 });
        }
        let with_length = name.rsplit_once('_').and_then(|(stem, n)| {
            let row = row(stem, true)?;
            Some((row, TABLE[row].least?, n))
        });
        let Some((row, least, n)) = with_length else {
            let names: Vec<String> = names().map(|(name, _)| name).collect();
            let rule = match names.split_last() {
                Some((last, others)) => format!("must be {} or {last}", others.join(", ")),
                None => String::new(),
            };
            return Err(refuse(rule));
        };
        // Only the canonical spelling, so that one feature has one name: no sign, no leading zero.
        match n.parse::<usize>() {
            Ok(bars) if (least..=MAX_N).contains(&bars) && bars.to_string() == n => {
                Ok(Self { row, n: bars })
            }
            _ => Err(refuse(format!(
                "must end in a whole number of bars in {least}..={MAX_N}"
            ))),
        }
    }

    fn warmup_bars(self) -> usize {
        (TABLE[self.row].warmup_bars)(self.n)
    }

    fn slot(self) -> Result<Slot, QuantError> {
        (TABLE[self.row].slot)(self.n)
    }
}

/// A list of features that can be computed, in the order of a row. Sets with the same names are equal.
#[derive(Clone, Debug)]
pub struct FeatureSet {
    names: Vec<String>,
    features: Features,
}

/// Who computes the features.
#[derive(Clone, Debug)]
enum Features {
    Table(Vec<Feature>),
    Program(Arc<dyn FeatureProgram>),
}

impl PartialEq for FeatureSet {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for FeatureSet {}

/// Refuses an empty list, and a repeated name.
fn check_names(names: &[String]) -> Result<(), QuantError> {
    if names.is_empty() {
        return Err(QuantError::value(PLACE, "names", "must not be empty", "[]"));
    }
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let rule = "must not repeat a feature";
            return Err(QuantError::value(PLACE, "names", rule, format!("{name:?}")));
        }
    }
    Ok(())
}

impl FeatureSet {
    /// Reads a list of names.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the list is empty, or a name is unknown or repeated.
    pub fn parse(names: &[impl AsRef<str>]) -> Result<Self, QuantError> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        check_names(&names)?;
        let features = names.iter().map(|name| Feature::parse(name));
        let features = Features::Table(features.collect::<Result<_, _>>()?);
        Ok(Self { names, features })
    }

    /// Makes a set of features that another crate computes.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the program has no name or repeats one.
    pub fn of_program(program: Arc<dyn FeatureProgram>) -> Result<Self, QuantError> {
        let names = program.names().to_vec();
        check_names(&names)?;
        let features = Features::Program(program);
        Ok(Self { names, features })
    }

    /// Returns the set that the shipped models use: 12 features of return, volatility, trend, MACD, KDJ and volume.
    #[must_use]
    pub fn standard() -> Self {
        let features = STANDARD.iter().filter_map(|name| Feature::parse(name).ok());
        Self {
            features: Features::Table(features.collect()),
            names: STANDARD.map(str::to_owned).to_vec(),
        }
    }

    /// Returns the names in the order of a row.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the number of features in a row, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns the number of bars of a series before its first row.
    #[must_use]
    pub fn warmup_bars(&self) -> usize {
        match &self.features {
            Features::Table(features) => {
                let bars = features.iter().map(|feature| feature.warmup_bars());
                bars.max().unwrap_or(0)
            }
            Features::Program(program) => program.warmup_bars(),
        }
    }

    /// Returns a number that identifies the names and their order: FNV-1a, 32 bits, over the names joined by newlines.
    #[must_use]
    pub fn id(&self) -> u32 {
        id_of(&self.names)
    }
}

/// Returns what [`FeatureSet::id`] returns, for names that need not be computable here.
#[must_use]
pub fn id_of(names: &[impl AsRef<str>]) -> u32 {
    let mut hash = 0x811c_9dc5u32;
    for (i, name) in names.iter().enumerate() {
        let newline = (i > 0).then_some(b'\n');
        for byte in newline.into_iter().chain(name.as_ref().bytes()) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    hash
}

/// The state of one series. It serialises, and continues with identical bits after a restore.
///
/// ```
/// use heqis_quant::{Bar, Date, FeatureSet, FeatureState, Marks, Symbol};
///
/// let mut state = FeatureState::new(&FeatureSet::parse(&["return_1", "body_ratio"])?)?;
/// let date = Date::parse("2024-01-02")?;
/// let bar = Bar {
///     symbol: Symbol::parse("600000.SH")?, date, time_ns: date.close_time_ns(),
///     open: 10.0, high: 10.5, low: 9.9, close: 10.0,
///     pre_close: None, volume_shares: 1_000.0, amount_cny: None, marks: Marks::NONE,
/// };
/// assert_eq!(state.update(&bar)?, None);
/// let next = Bar { open: 10.0, close: 10.5, ..bar };
/// assert_eq!(state.update(&next)?, Some(vec![10.5 / 10.0 - 1.0, 10.5 / 10.0 - 1.0]));
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureState {
    set_id: u32,
    warmup_bars: usize,
    bars_seen: u64,
    last: Option<(Date, f64)>,
    /// Kept once for all features that read its lines, and empty when no feature of the set does; so is `kdj`.
    macd: Macd,
    kdj: Kdj,
    slots: Vec<Slot>,
}

impl FeatureState {
    /// Makes the empty state of one series.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when a length is out of range, which [`FeatureSet::parse`] has already refused.
    pub fn new(set: &FeatureSet) -> Result<Self, QuantError> {
        Ok(Self {
            set_id: set.id(),
            warmup_bars: set.warmup_bars(),
            bars_seen: 0,
            last: None,
            macd: Macd::new(12, 26, 9, Profile::Cn)?,
            kdj: Kdj::new(9, 3, 3, KdjStart::Fifty)?,
            slots: match &set.features {
                Features::Table(features) => features
                    .iter()
                    .map(|feature| feature.slot())
                    .collect::<Result<_, _>>()?,
                Features::Program(program) => {
                    vec![Slot::Program(Held::Running(program.start()?))]
                }
            },
        })
    }

    /// Returns the [`FeatureSet::id`] that this state belongs to; a restored state must match its set.
    #[must_use]
    pub fn set_id(&self) -> u32 {
        self.set_id
    }

    /// Gives a state that was read the set that it belongs to. A state of a set that another crate computes takes no bar
    /// before that.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the state belongs to another set, or its bytes are damaged.
    pub fn attach(&mut self, set: &FeatureSet) -> Result<(), QuantError> {
        if self.set_id != set.id() {
            let rule = format!("must be of the feature set {:#010x}", set.id());
            let got = format!("{:#010x}", self.set_id);
            return Err(QuantError::value(PLACE, "saved state", rule, got));
        }
        match (&set.features, &mut self.slots[..]) {
            (Features::Table(_), _) => Ok(()),
            (Features::Program(program), [Slot::Program(held)]) => held.attach(&**program),
            (Features::Program(_), slots) => {
                let rule = "must hold one state of its program";
                Err(QuantError::value(PLACE, "saved state", rule, slots.len()))
            }
        }
    }

    /// Returns the number of bars that are missing before the first row.
    #[must_use]
    pub fn bars_to_go(&self) -> usize {
        usize::try_from(self.bars_seen).map_or(0, |seen| self.warmup_bars.saturating_sub(seen))
    }

    /// Takes the next bar of the series and writes its features into `out`, `[features]`. Once the warm-up is
    /// over nothing is allocated.
    ///
    /// Returns whether a row was written; otherwise what `out` holds is no row. Features of the table have values on every
    /// bar after the warm-up; those of a program may be missing on a bar, which then has no row.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`], and leaves the state as it was, when `out` has another length than the set, or
    /// a price of the bar is not finite and positive, its volume is not finite and at least zero, or one of them is beyond
    /// what indicators take, [`MAX_INPUT`].
    pub fn update_into(&mut self, bar: &Bar, out: &mut [f64]) -> Result<bool, QuantError> {
        let width = self.width()?;
        if out.len() != width {
            let rule = format!("must have {width} places");
            return Err(QuantError::value(PLACE, "out", rule, out.len()));
        }
        check(bar)?;
        let reference = self
            .last
            .map(|(date, close)| bar.reference_close(date, close));
        if let (Some((_, close)), Some(reference)) = (self.last, reference)
            && reference != close
        {
            self.rescale(reference / close);
        }
        let macd = self.reads(Slot::reads_macd);
        let kdj = self.reads(Slot::reads_kdj);
        let inputs = Inputs {
            bar,
            reference,
            macd: macd.then(|| self.macd.update(bar.close)).flatten(),
            kdj: kdj.then(|| self.kdj.update(Hlc::from(bar))).flatten(),
        };
        let mut ready = self.bars_to_go() == 0;
        if let [Slot::Program(Held::Running(state))] = &mut self.slots[..] {
            ready &= state.update(bar, out);
        }
        for (slot, out) in self.slots.iter_mut().zip(out.iter_mut()) {
            let value = slot.update(&inputs);
            // Every slot has a value once its warm-up is over, and the warm-up of the set is the longest of them.
            if let (true, Some(value)) = (ready, value) {
                *out = value;
            }
        }
        self.bars_seen = self.bars_seen.saturating_add(1);
        self.last = Some((bar.date, bar.close));
        Ok(ready)
    }

    /// Takes the next bar of the series and returns its features, or `None` during the warm-up.
    ///
    /// # Errors
    /// As [`FeatureState::update_into`].
    pub fn update(&mut self, bar: &Bar) -> Result<Option<Vec<f64>>, QuantError> {
        let mut row = vec![0.0; self.width()?];
        Ok(self.update_into(bar, &mut row)?.then_some(row))
    }

    fn width(&self) -> Result<usize, QuantError> {
        match &self.slots[..] {
            [Slot::Program(Held::Running(state))] => Ok(state.width()),
            [Slot::Program(Held::Saved(_))] => {
                let rule = "must be given its set by FeatureState::attach before a bar";
                Err(QuantError::value(PLACE, "saved state", rule, "bytes"))
            }
            slots => Ok(slots.len()),
        }
    }

    fn reads(&self, shared: fn(&Slot) -> bool) -> bool {
        self.slots.iter().any(shared)
    }

    fn rescale(&mut self, factor: f64) {
        self.macd.rescale(factor);
        self.kdj.rescale(factor);
        for slot in &mut self.slots {
            slot.rescale(factor);
        }
    }
}

fn check(bar: &Bar) -> Result<(), QuantError> {
    let prices = [
        ("open", Some(bar.open)),
        ("high", Some(bar.high)),
        ("low", Some(bar.low)),
        ("close", Some(bar.close)),
        ("pre_close", bar.pre_close),
    ];
    for (field, price) in prices {
        if let Some(price) = price
            && finite(PLACE, field, price)? <= 0.0
        {
            return Err(QuantError::value(PLACE, field, "must be positive", price));
        }
        // Beyond these limits an indicator ignores a bar.
        if let Some(price) = price
            && !is_price(price)
        {
            let rule = format!("must lie between {:e} and {MAX_INPUT:e}", 1.0 / MAX_INPUT);
            return Err(QuantError::value(PLACE, field, rule, price));
        }
    }
    if finite(PLACE, "volume_shares", bar.volume_shares)? < 0.0 {
        return Err(QuantError::value(
            PLACE,
            "volume_shares",
            "must not be negative",
            bar.volume_shares,
        ));
    }
    if bar.volume_shares > MAX_INPUT {
        let rule = format!("must be at most {MAX_INPUT:e}");
        return Err(QuantError::value(
            PLACE,
            "volume_shares",
            rule,
            bar.volume_shares,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A name of the row's feature that [`FeatureSet::parse`] accepts.
    fn example(row: &Row) -> String {
        match row.least {
            Some(least) => format!("{}_{}", row.stem, least.max(5)),
            None => row.stem.to_owned(),
        }
    }

    fn bar(n: i32) -> Bar {
        let date = Date::from_days(19_000 + n).unwrap();
        let close = 10.0 + f64::from(n % 7) * 0.1;
        Bar {
            symbol: crate::symbol::Symbol::parse("600000.SH").unwrap(),
            time_ns: date.close_time_ns(),
            date,
            open: close - 0.05,
            high: close + 0.1,
            low: close - 0.1,
            close,
            pre_close: None,
            volume_shares: 1_000.0 + f64::from(n % 5),
            amount_cny: None,
            marks: crate::bar::Marks::NONE,
        }
    }

    #[test]
    fn every_row_of_the_table_is_complete() {
        for row in &TABLE {
            let name = example(row);
            let set = FeatureSet::parse(&[&name]).unwrap();
            let mut state = FeatureState::new(&set).unwrap();
            let first = (0..400).find_map(|n| Some((n, state.update(&bar(n)).unwrap()?)));
            let (first, values) = first.unwrap_or_else(|| panic!("{name} has no value"));
            assert_eq!(first as usize, set.warmup_bars(), "warm-up of {name}");
            assert!(values[0].is_finite(), "{name}: {values:?}");
            assert!(TABLE.iter().filter(|other| other.stem == row.stem).count() == 1);
        }
    }

    /// The module's documentation is a copy of the table for readers.
    #[test]
    fn every_row_of_the_table_is_documented() {
        let documentation = include_str!("mod.rs");
        for ((name, value), row) in names().zip(&TABLE) {
            let first = match (row.least, (row.warmup_bars)(row.least.unwrap_or(0))) {
                (Some(least), bars) if bars + 1 == least => "N − 1 bars".to_owned(),
                (Some(_), _) => "N bars".to_owned(),
                (None, 1) => "1 bar".to_owned(),
                (None, bars) => format!("{bars} bars"),
            };
            let line = format!("//! | `{name}` | {value} | {first} |");
            assert!(documentation.contains(&line), "missing: {line}");
        }
    }

    #[test]
    fn macd_and_kdj_are_computed_only_for_sets_that_read_them() {
        let shared = |names: &[&str]| {
            let mut state = FeatureState::new(&FeatureSet::parse(names).unwrap()).unwrap();
            let (macd, kdj) = (state.macd.clone(), state.kdj.clone());
            state.update(&bar(0)).unwrap();
            (state.macd != macd, state.kdj != kdj)
        };
        assert_eq!(shared(&["return_1"]), (false, false));
        assert_eq!(shared(&["return_1", "dea_ratio"]), (true, false));
        assert_eq!(shared(&["j"]), (false, true));
        assert_eq!(shared(&["macd_ratio", "d"]), (true, true));
    }
}
