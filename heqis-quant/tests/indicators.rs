//! Properties of every indicator.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Day, supor};
use heqis_quant::indicators::{
    Ad, Adx, Atr, Boll, Cci, Di, Ema, Indicator, Kdj, KdjStart, MAX_INPUT, Ma, Macd, Mfi, Obv,
    Profile, Returns, Rsi, SETTLED, SmaCn, Stoch, TrueRange, Volatility, VolumeRatio, Willr,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An indicator with its lines as a list, so that one test covers all.
trait Lines {
    fn update(&mut self, day: &Day) -> Option<Vec<f64>>;
    fn warmup_bars(&self) -> usize;
    fn settled_bars(&self) -> Option<usize>;
    fn rescale(&mut self, factor: f64);
    fn saved(&self) -> String;
    fn restore(&mut self, saved: &str);
}

struct Subject<I: Indicator> {
    indicator: I,
    input: fn(&Day) -> I::Input,
    lines: fn(I::Output) -> Vec<f64>,
}

impl<I: Indicator + Serialize + DeserializeOwned> Lines for Subject<I> {
    fn update(&mut self, day: &Day) -> Option<Vec<f64>> {
        self.indicator.update((self.input)(day)).map(self.lines)
    }

    fn warmup_bars(&self) -> usize {
        self.indicator.warmup_bars()
    }

    fn settled_bars(&self) -> Option<usize> {
        self.indicator.settled_bars()
    }

    fn rescale(&mut self, factor: f64) {
        self.indicator.rescale(factor);
    }

    fn saved(&self) -> String {
        serde_json::to_string(&self.indicator).unwrap()
    }

    fn restore(&mut self, saved: &str) {
        self.indicator = serde_json::from_str(saved).unwrap();
    }
}

/// The scale of an indicator's lines.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Price,
    Hundred,
    One,
}

struct Entry {
    name: &'static str,
    scale: Scale,
    /// Whether a bar with an unusable high and low, or volume, is unusable for this indicator.
    reads: (bool, bool),
    lines: Box<dyn Lines>,
}

/// Every indicator, in every profile.
fn every() -> Vec<Entry> {
    use Profile::{Cn, Talib};
    fn entry<I: Indicator + Serialize + DeserializeOwned + 'static>(
        name: &'static str,
        scale: Scale,
        reads: (bool, bool),
        indicator: I,
        input: fn(&Day) -> I::Input,
        lines: fn(I::Output) -> Vec<f64>,
    ) -> Entry {
        let lines = Box::new(Subject {
            indicator,
            input,
            lines,
        });
        Entry {
            name,
            scale,
            reads,
            lines,
        }
    }
    let mut all = Vec::new();
    macro_rules! of {
        (close: $($name:literal $scale:ident $make:expr => $lines:expr;)*) => {
            $(all.push(entry($name, Scale::$scale, (false, false), $make, |day| day.close, $lines));)*
        };
        (range: $($name:literal $scale:ident $make:expr => $lines:expr;)*) => {
            $(all.push(entry($name, Scale::$scale, (true, false), $make, Day::hlc, $lines));)*
        };
    }
    of! { close:
        "ma" Price Ma::new(20).unwrap() => |v| vec![v];
        "ema cn" Price Ema::new(12, Cn).unwrap() => |v| vec![v];
        "ema talib" Price Ema::new(12, Talib).unwrap() => |v| vec![v];
        "sma cn" Price SmaCn::new(6, 1).unwrap() => |v| vec![v];
        "macd cn" Price Macd::new(12, 26, 9, Cn).unwrap() => |v| vec![v.dif, v.dea, v.bar];
        "macd talib" Price Macd::new(12, 26, 9, Talib).unwrap() => |v| vec![v.dif, v.dea, v.bar];
        "rsi cn" Hundred Rsi::new(14, Cn).unwrap() => |v| vec![v];
        "rsi talib" Hundred Rsi::new(14, Talib).unwrap() => |v| vec![v];
        "boll" Price Boll::new(20, 2.0, 1).unwrap() => |v| vec![v.upper, v.middle, v.lower];
        "returns" One Returns::new(5).unwrap() => |v| vec![v];
        "volatility" One Volatility::new(20).unwrap() => |v| vec![v];
    }
    of! { range:
        "kdj from 50" Hundred Kdj::new(9, 3, 3, KdjStart::Fifty).unwrap() => |v| vec![v.k, v.d, v.j];
        "kdj from rsv" Hundred Kdj::new(9, 3, 3, KdjStart::FirstRsv).unwrap() => |v| vec![v.k, v.d, v.j];
        "stoch" Hundred Stoch::new(9, 3, 3).unwrap() => |v| vec![v.k, v.d];
        "tr cn" Price TrueRange::new(Cn) => |v| vec![v];
        "tr talib" Price TrueRange::new(Talib) => |v| vec![v];
        "atr cn" Price Atr::new(14, Cn).unwrap() => |v| vec![v];
        "atr talib" Price Atr::new(14, Talib).unwrap() => |v| vec![v];
        "di cn" Hundred Di::new(14, Cn).unwrap() => |v| vec![v.plus_di, v.minus_di];
        "di talib" Hundred Di::new(14, Talib).unwrap() => |v| vec![v.plus_di, v.minus_di];
        "adx cn" Hundred Adx::new(14, 6, Cn).unwrap() => |v| vec![v.adx, v.plus_di, v.minus_di];
        "adx talib" Hundred Adx::new(14, 14, Talib).unwrap() => |v| vec![v.adx, v.plus_di, v.minus_di];
        "cci" Hundred Cci::new(14).unwrap() => |v| vec![v];
        "willr" Hundred Willr::new(14).unwrap() => |v| vec![v];
    }
    for (name, profile) in [("obv cn", Cn), ("obv talib", Talib)] {
        let obv = Obv::new(profile);
        all.push(entry(
            name,
            Scale::One,
            (false, true),
            obv,
            Day::volume,
            |v| vec![v],
        ));
    }
    let both = (true, true);
    let mfi = Mfi::new(14).unwrap();
    all.push(entry("mfi", Scale::Hundred, both, mfi, Day::hlcv, |v| {
        vec![v]
    }));
    all.push(entry("ad", Scale::One, both, Ad::new(), Day::hlcv, |v| {
        vec![v]
    }));
    all.push(entry(
        "volume ratio",
        Scale::One,
        (false, true),
        VolumeRatio::new(5).unwrap(),
        |day| day.volume_shares,
        |v| vec![v],
    ));
    all
}

fn replay(lines: &mut dyn Lines, days: &[Day]) -> Vec<Option<Vec<f64>>> {
    days.iter().map(|day| lines.update(day)).collect()
}

/// Values as bits, since equal floats need not be identical.
fn bits(values: &[Option<Vec<f64>>]) -> Vec<Option<Vec<u64>>> {
    values
        .iter()
        .map(|value| {
            let lines = value.as_ref()?;
            Some(lines.iter().map(|line| line.to_bits()).collect())
        })
        .collect()
}

/// Whether a text makes an indicator of this type.
fn makes(text: &str, indicator: &str) -> bool {
    let call = format!("{indicator}::new(");
    text.match_indices(&call).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric())
    })
}

#[test]
fn every_exported_indicator_has_its_entries() {
    let module = include_str!("../src/indicators/mod.rs");
    let exports = module.split("pub use ").skip(1);
    let exported: Vec<&str> = exports
        .filter_map(|export| export.split_once(';')?.0.split_once("::"))
        .flat_map(|(_, names)| names.split(['{', '}', ',']).map(str::trim))
        .filter(|name| !name.is_empty())
        // The lines of an indicator, and how it starts.
        .filter(|name| !name.ends_with("Value") && !name.ends_with("Start"))
        .collect();
    assert!(exported.len() > 15 && exported.contains(&"Rsi"));
    let this = include_str!("indicators.rs");
    let (golden, hand_worked) = (include_str!("golden.rs"), include_str!("hand_worked.rs"));
    let (_, entries) = this.split_once("fn every()").unwrap();
    let (entries, _) = entries.split_once("fn replay(").unwrap();
    let allocation = include_str!("indicator_allocation.rs");
    let mut missing = Vec::new();
    for name in exported {
        if !module.contains(&format!("//! | [`{name}`]"))
            && !module.contains(&format!(", [`{name}`] |"))
        {
            missing.push(format!(
                "{name}: its row of the table at the top of src/indicators/mod.rs"
            ));
        }
        if !makes(entries, name) {
            missing.push(format!(
                "{name}: its entry in `every` of tests/indicators.rs"
            ));
        }
        if !makes(golden, name) && !makes(hand_worked, name) {
            missing.push(format!(
                "{name}: values computed elsewhere, in tests/golden.rs or tests/hand_worked.rs"
            ));
        }
        if !makes(allocation, name) {
            missing.push(format!(
                "{name}: its entry in tests/indicator_allocation.rs"
            ));
        }
    }
    assert!(
        missing.is_empty(),
        "missing in heqis-quant:\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_first_value_comes_right_after_the_warm_up_and_none_is_missing_after_it() {
    let days = supor();
    for mut entry in every() {
        let warmup_bars = entry.lines.warmup_bars();
        for (i, value) in replay(&mut *entry.lines, &days).into_iter().enumerate() {
            assert_eq!(value.is_some(), i >= warmup_bars, "{} bar {i}", entry.name);
            let finite = value.is_none_or(|lines| lines.iter().all(|line| line.is_finite()));
            assert!(finite, "{} bar {i}", entry.name);
        }
        // The warm-up is that of the indicator, not the bars that remain.
        assert_eq!(entry.lines.warmup_bars(), warmup_bars, "{}", entry.name);
    }
}

#[test]
fn an_unusable_input_gives_none_and_changes_no_state() {
    let days = supor();
    for mut entry in every() {
        let clean = bits(&replay(&mut *entry.lines, &days));
        let mut lines = every()
            .into_iter()
            .find(|other| other.name == entry.name)
            .unwrap()
            .lines;
        for (i, day) in days.iter().enumerate() {
            // Every bar during the warm-up, and some after it.
            if i < 45 || i % 97 == 0 {
                let before = lines.saved();
                for bad in [f64::NAN, f64::INFINITY, -f64::INFINITY, MAX_INPUT * 10.0] {
                    let (reads_range, reads_volume) = entry.reads;
                    let mut broken = vec![];
                    if entry.name != "volume ratio" {
                        broken.push(Day { close: bad, ..*day });
                    }
                    if reads_range {
                        broken.extend([Day { high: bad, ..*day }, Day { low: bad, ..*day }]);
                    }
                    if reads_volume {
                        broken.push(Day {
                            volume_shares: bad,
                            ..*day
                        });
                    }
                    for broken in broken {
                        assert_eq!(lines.update(&broken), None, "{} bar {i}", entry.name);
                    }
                }
                assert_eq!(lines.saved(), before, "{} bar {i}", entry.name);
            }
            let value = bits(&[lines.update(day)]);
            assert_eq!(value[0], clean[i], "{} bar {i}", entry.name);
        }
    }
}

#[test]
fn a_price_of_zero_is_unusable_for_returns_and_their_deviation() {
    let (mut returns, mut volatility) = (Returns::new(1).unwrap(), Volatility::new(2).unwrap());
    let prices = [1.0, 0.0, 2.0, -1.0, 1.0];
    assert_eq!(
        prices.map(|price| returns.update(price)),
        [None, None, Some(1.0), None, Some(-0.5)]
    );
    assert_eq!(
        prices.map(|price| volatility.update(price)),
        [None, None, None, None, Some((2.0f64 * 0.5625).sqrt())]
    );
}

#[test]
fn a_huge_price_does_not_affect_a_window_that_it_has_left() {
    let days = supor();
    for name in [
        "ma",
        "boll",
        "returns",
        "volatility",
        "stoch",
        "atr cn",
        "cci",
    ] {
        let find = || {
            let mut all = every().into_iter();
            all.find(|entry| entry.name == name).unwrap().lines
        };
        let mut with_huge = days.clone();
        with_huge[100] = Day {
            high: 1e20,
            low: 1e20,
            close: 1e20,
            ..days[100]
        };
        let clean = bits(&replay(&mut *find(), &days));
        let after = bits(&replay(&mut *find(), &with_huge));
        assert_ne!(clean[100], after[100], "{name}");
        assert_eq!(clean[130..], after[130..], "{name}");
    }
}

#[test]
fn bollinger_bands_keep_their_digits_at_any_price_level() {
    let cents = [0.0, 1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 2.0, 1.0, 0.0];
    let width = |level: f64| {
        let mut boll = Boll::new(10, 1.0, 0).unwrap();
        let bands = cents.map(|cent| boll.update(level + cent / 128.0));
        let band = bands[9].unwrap();
        (band.upper - band.middle) * 128.0
    };
    // Mean 2.4, squares 9.6: worked by hand. A 128th is exact at both levels.
    let expected = (9.6f64 - 2.4 * 2.4).sqrt();
    for level in [0.0, 1e6] {
        let width = width(level);
        assert!((width - expected).abs() < 1e-7, "{width} for {expected}");
    }
}

#[test]
fn the_effect_of_a_late_start_fades_as_documented() {
    let days = supor();
    for entry in every() {
        let Some(settled_bars) = entry.lines.settled_bars() else {
            let sums = entry.name.starts_with("obv") || entry.name == "ad";
            assert!(sums, "{}", entry.name);
            continue;
        };
        assert!(settled_bars >= entry.lines.warmup_bars(), "{}", entry.name);
        let recursive = settled_bars > entry.lines.warmup_bars() + 1;
        let last = |start: usize, end: usize| {
            let mut all = every().into_iter();
            let mut lines = all.find(|other| other.name == entry.name).unwrap().lines;
            replay(&mut *lines, &days[start..end]).pop().unwrap()
        };
        let mut report = format!("{} (settled after {settled_bars}):", entry.name);
        for end in [days.len(), 2500, 2000, 1500] {
            let full = last(0, end).unwrap();
            let scale = match entry.scale {
                Scale::Price => days[end - 1].close,
                Scale::Hundred => 100.0,
                Scale::One => 1.0,
            };
            for length in [50, 100, 250, 500, settled_bars + 1, settled_bars + 200] {
                let Some(lines) = last(end - length, end) else {
                    continue;
                };
                let drift = lines
                    .iter()
                    .zip(&full)
                    .map(|(late, full)| (late - full).abs() / scale)
                    .fold(0.0, f64::max);
                if end == days.len() {
                    report.push_str(&format!(" {length} bars {drift:.1e},"));
                }
                if length > settled_bars {
                    let bound = if recursive { SETTLED } else { 0.0 };
                    assert!(
                        drift <= bound,
                        "{}: off by {drift:e} of its scale after {length} bars",
                        entry.name
                    );
                }
            }
        }
        eprintln!("{}", report.trim_end_matches(','));
    }
}

#[test]
fn still_prices_give_the_documented_values() {
    let still = Day {
        high: 10.0,
        low: 10.0,
        close: 10.0,
        volume_shares: 0.0,
    };
    for mut entry in every() {
        let last = replay(&mut *entry.lines, &[still; 60]).pop().unwrap();
        let expected = match entry.name {
            "ma" | "ema cn" | "ema talib" | "sma cn" => Some(vec![10.0]),
            "boll" => Some(vec![10.0; 3]),
            "macd cn" | "macd talib" | "adx cn" | "adx talib" => Some(vec![0.0; 3]),
            "kdj from 50" | "kdj from rsv" => Some(vec![50.0; 3]),
            "rsi cn" => Some(vec![50.0]),
            "stoch" | "di cn" | "di talib" => Some(vec![0.0; 2]),
            "volume ratio" => None,
            _ => Some(vec![0.0]),
        };
        assert_eq!(last, expected, "{}", entry.name);
    }
}

#[test]
fn a_bar_without_movement_keeps_the_adx_of_talib() {
    let days = supor();
    let mut adx = Adx::new(14, 14, Profile::Talib).unwrap();
    for day in &days[..200] {
        adx.update(day.hlc());
    }
    // After 600 bars without movement, the sums of movement and range are below TA-Lib's zero.
    let still = Day {
        high: 10.0,
        low: 10.0,
        close: 10.0,
        volume_shares: 0.0,
    };
    let mut values = Vec::new();
    for _ in 0..600 {
        values.push(adx.update(still.hlc()).unwrap());
    }
    assert_eq!((values[599].plus_di, values[599].minus_di), (0.0, 0.0));
    assert!(values[599].adx > 0.0);
    assert_eq!(values[598].adx, values[599].adx);
}

#[test]
fn lengths_out_of_range_are_refused_with_the_range() {
    use Profile::Cn;
    for (error, field) in [
        (Ma::new(0).unwrap_err(), "ma n"),
        (Ema::new(0, Cn).unwrap_err(), "ema n"),
        (SmaCn::new(3, 4).unwrap_err(), "sma n"),
        (SmaCn::new(3, 0).unwrap_err(), "sma m"),
        (
            SmaCn::new(3, 1).unwrap().starting_at(f64::NAN).unwrap_err(),
            "sma start",
        ),
        (Macd::new(26, 12, 9, Cn).unwrap_err(), "macd fast"),
        (Macd::new(12, 26, 0, Cn).unwrap_err(), "ema n"),
        (Kdj::new(0, 3, 3, KdjStart::Fifty).unwrap_err(), "kdj n"),
        (Stoch::new(0, 3, 3).unwrap_err(), "stoch n"),
        (Rsi::new(1, Cn).unwrap_err(), "rsi n"),
        (Boll::new(1, 2.0, 0).unwrap_err(), "boll n"),
        (Boll::new(20, f64::NAN, 0).unwrap_err(), "boll deviations"),
        (Boll::new(20, 0.0, 0).unwrap_err(), "boll deviations"),
        (Boll::new(20, 2.0, 2).unwrap_err(), "boll ddof"),
        (Atr::new(0, Cn).unwrap_err(), "atr n"),
        (Di::new(1, Cn).unwrap_err(), "di n"),
        (Adx::new(14, 0, Cn).unwrap_err(), "adx m"),
        (Cci::new(1).unwrap_err(), "cci n"),
        (Willr::new(0).unwrap_err(), "willr n"),
        (Mfi::new(1).unwrap_err(), "mfi n"),
        (VolumeRatio::new(0).unwrap_err(), "ma n"),
        (Returns::new(usize::MAX).unwrap_err(), "returns n"),
        (Volatility::new(1).unwrap_err(), "volatility n"),
    ] {
        let message = error.to_string();
        let start = format!("indicator: {field}: must be ");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn a_broken_saved_state_is_refused() {
    for broken in [
        r#"{"n":0,"profile":"cn","to_go":1,"memory":0.0}"#,
        r#"{"n":12,"profile":"moon","to_go":1,"memory":0.0}"#,
        r#"{"n":12,"profile":"cn","to_go":1,"memory":null}"#,
        r#"{"n":12,"profile":"cn","to_go":1,"memory":0.0,"more":1}"#,
    ] {
        assert!(serde_json::from_str::<Ema>(broken).is_err(), "{broken}");
    }
    assert!(serde_json::from_str::<Ma>(r#"{"values":{"capacity":0,"values":[]}}"#).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_state_that_was_saved_and_restored_gives_identical_bits(cut in 0usize..120, again in 120usize..400) {
        let days = &supor()[..420];
        for (at, mut live) in every().into_iter().enumerate() {
            let whole = bits(&replay(&mut *live.lines, days));
            let mut lines = every().swap_remove(at).lines;
            let mut values = replay(&mut *lines, &days[..cut]);
            for (from, to) in [(cut, again), (again, days.len())] {
                let saved = lines.saved();
                lines = every().swap_remove(at).lines;
                lines.restore(&saved);
                prop_assert_eq!(lines.saved(), saved);
                values.extend(replay(&mut *lines, &days[from..to]));
            }
            prop_assert_eq!(bits(&values), whole, "{}", live.name);
        }
    }

    #[test]
    fn later_inputs_change_no_value(cut in 1usize..600, noise in proptest::collection::vec(0.5f64..2.0, 1..40)) {
        let days = &supor()[..700];
        let mut other_future = days[..cut].to_vec();
        other_future.extend(noise.iter().zip(&days[cut..]).map(|(factor, day)| Day {
            high: day.high * factor,
            low: day.low * factor,
            close: day.close * factor,
            volume_shares: day.volume_shares / factor,
        }));
        for ((mut whole, mut short), mut other) in every().into_iter().zip(every()).zip(every()) {
            let whole = bits(&replay(&mut *whole.lines, days));
            prop_assert_eq!(&bits(&replay(&mut *short.lines, &days[..cut]))[..], &whole[..cut], "{}", short.name);
            prop_assert_eq!(&bits(&replay(&mut *other.lines, &other_future))[..cut], &whole[..cut], "{}", short.name);
        }
    }

    #[test]
    fn rescaling_the_state_equals_rescaling_the_inputs(cut in 0usize..200, halvings in -3i32..4) {
        // A power of two keeps the products exact, so both ways must agree to the bit.
        let factor = 0.5f64.powi(halvings);
        let days = &supor()[..260];
        let moved: Vec<Day> = days[..cut].iter().map(|day| Day {
            high: day.high * factor,
            low: day.low * factor,
            close: day.close * factor,
            volume_shares: day.volume_shares / factor,
        }).collect();
        for (mut live, mut adjusted) in every().into_iter().zip(every()) {
            replay(&mut *live.lines, &days[..cut]);
            live.lines.rescale(factor);
            replay(&mut *adjusted.lines, &moved);
            let (live_values, adjusted_values) =
                (replay(&mut *live.lines, &days[cut..]), replay(&mut *adjusted.lines, &days[cut..]));
            prop_assert_eq!(bits(&live_values), bits(&adjusted_values), "{}", live.name);
        }
    }
}
