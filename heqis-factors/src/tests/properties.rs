//! Random expressions.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::{Bar, row, rows, set, walk};
use crate::functions::{Build, FUNCTIONS, Function, Parameter};
use crate::{Columns, FactorSeries, FactorSet, shipped};

/// Which functions an expression may call.
#[derive(Clone, Copy, PartialEq)]
enum Calls {
    /// Those whose values depend on a fixed number of bars.
    Finite,
    /// Those and the indicators.
    Series,
}

fn callable(function: &Function, calls: Calls) -> bool {
    match function.build {
        Build::Indicator(kind) => calls == Calls::Series && kind.lines().is_empty(),
        Build::Cross(_) | Build::Neutral | Build::After => false,
        _ => true,
    }
}

/// A text that is an expression.
fn expression(calls: Calls) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        4 => prop::sample::select(vec!["open", "high", "low", "close", "volume", "vwap"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["0", "2", "0.5", "1e-12"]).prop_map(str::to_owned),
    ];
    let functions: Vec<&'static Function> = FUNCTIONS
        .iter()
        .filter(|function| callable(function, calls))
        .collect();
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let functions = functions.clone();
        let operator = prop::sample::select(vec!["+", "-", "*", "/"]);
        let compare = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
        let condition = (inner.clone(), compare, inner.clone())
            .prop_map(|(x, compare, y)| format!("({x} {compare} {y})"));
        prop_oneof![
            2 => (inner.clone(), operator, inner.clone()).prop_map(|(x, op, y)| format!("({x} {op} {y})")),
            1 => inner.clone().prop_map(|x| format!("-{x}")),
            4 => (
                prop::sample::select(functions),
                prop::collection::vec(inner, 3),
                condition,
                prop::collection::vec(2usize..9, 3),
            )
                .prop_map(|(function, numbers, condition, bars)| call(function, &numbers, &condition, &bars)),
        ]
    })
    .boxed()
}

fn call(function: &Function, numbers: &[String], condition: &str, bars: &[usize]) -> String {
    let (mut numbers, mut lengths) = (numbers.iter(), bars.iter());
    let arguments: Vec<String> = function
        .parameters
        .iter()
        .map(|parameter| match parameter {
            Parameter::Number => numbers.next().unwrap().clone(),
            Parameter::Condition => condition.to_owned(),
            Parameter::Bars(_) => lengths.next().unwrap().to_string(),
            Parameter::Share => "0.3".to_owned(),
            Parameter::Positive => "2".to_owned(),
            Parameter::Profile => "talib".to_owned(),
        })
        .collect();
    format!("{}({})", function.name, arguments.join(", "))
}

/// A set of three expressions, of which the last reads the first two.
fn three(calls: Calls) -> impl Strategy<Value = String> {
    prop::collection::vec(expression(calls), 3)
        .prop_map(|x| format!("a = {}\nb = {}\nc = {} + a - b", x[0], x[1], x[2]))
}

/// Reads a set of indicators; some random arguments of theirs are refused.
fn parsed(text: &str) -> Result<FactorSet, TestCaseError> {
    FactorSet::parse(text, &Columns::bars()).map_err(|error| {
        let known = [
            "another price level",
            "must be shorter",
            "must be in",
            "must be",
        ];
        match known.iter().any(|rule| error.to_string().contains(rule)) {
            true => TestCaseError::reject("refused"),
            false => TestCaseError::fail(error.to_string()),
        }
    })
}

/// Prices times `factor`, volumes over it.
fn moved(bar: &Bar, factor: f64) -> Bar {
    let [open, high, low, close, volume, amount, vwap] = *bar;
    let by = 1.0 / factor;
    [
        open * factor,
        high * factor,
        low * factor,
        close * factor,
        volume * by,
        amount,
        vwap * factor,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn a_state_that_was_saved_and_restored_gives_identical_bits(
        text in three(Calls::Series), seed in any::<u64>(), cut in 0usize..60, again in 0usize..60
    ) {
        let set = parsed(&text)?;
        let bars = walk(seed, 120);
        let whole = rows(&set, &bars);
        let mut series = FactorSeries::new(&set).unwrap();
        for (i, bar) in bars.iter().enumerate() {
            if i == cut || i == cut + again {
                let saved = series.save().unwrap();
                series = FactorSeries::restore(&set, &saved).unwrap();
                prop_assert_eq!(series.save().unwrap(), saved);
            }
            prop_assert_eq!(&row(&mut series, &set, bar), &whole[i]);
        }
    }

    #[test]
    fn later_bars_change_no_value(text in three(Calls::Series), seed in any::<u64>(), cut in 1usize..100) {
        let set = parsed(&text)?;
        let bars = walk(seed, 100);
        let mut other = bars.clone();
        other[cut..].copy_from_slice(&walk(seed.wrapping_add(99), 100)[cut..]);
        prop_assert_eq!(&rows(&set, &bars)[..cut], &rows(&set, &other)[..cut]);
    }

    #[test]
    fn common_parts_that_are_computed_once_give_identical_bits(text in three(Calls::Series), seed in any::<u64>()) {
        let set = parsed(&text)?;
        let copies = FactorSet::with(&text, &Columns::bars(), true).unwrap();
        prop_assert!(set.operations() <= copies.operations());
        let bars = walk(seed, 80);
        prop_assert_eq!(rows(&set, &bars), rows(&copies, &bars));
    }

    #[test]
    fn a_definition_that_is_read_again_is_the_same_factor(text in three(Calls::Series), seed in any::<u64>()) {
        let set = parsed(&text)?;
        let again = FactorSet::parse(&set.definitions().join("\n"), &Columns::bars()).unwrap();
        prop_assert_eq!(&again, &set);
        prop_assert_eq!(again.id(), set.id());
        let bars = walk(seed, 60);
        prop_assert_eq!(rows(&again, &bars), rows(&set, &bars));
    }

    #[test]
    fn values_do_not_depend_on_where_the_series_began(text in three(Calls::Finite), seed in any::<u64>(), start in 1usize..40) {
        let set = set(&text);
        let bars = walk(seed, 110);
        let (early, late) = (rows(&set, &bars), rows(&set, &bars[start..]));
        let settled = set.warmup_bars();
        for (i, row) in late.iter().enumerate().skip(settled) {
            prop_assert_eq!(row, &early[start + i], "bar {} of {}", i, text);
        }
    }

    #[test]
    fn another_price_level_equals_earlier_bars_on_that_level(
        text in three(Calls::Finite), seed in any::<u64>(), first in 1usize..50, second in 1usize..50
    ) {
        let set = set(&text);
        let bars = walk(seed, 110);
        let (mut series, mut all) = (FactorSeries::new(&set).unwrap(), Vec::new());
        let mut last = Vec::new();
        for (i, bar) in bars.iter().enumerate() {
            for (at, factor) in [(first, 0.9371), (first + second, 0.41)] {
                if i == at {
                    series.rescale(factor);
                    all.iter_mut().for_each(|bar| *bar = moved(bar, factor));
                }
            }
            all.push(*bar);
            last = row(&mut series, &set, bar);
            if i == first || i == first + second + 3 {
                prop_assert_eq!(Some(last.clone()), rows(&set, &all).pop(), "bar {} of {}", i, text);
            }
        }
        prop_assert_eq!(Some(last.clone()), rows(&set, &all).pop(), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9$_().,+*/<>=!&|\"#\\[\\] \n-]{0,80}|\\PC{0,40}") {
        let _ = FactorSet::parse(&text, &Columns::bars());
        let _ = FactorSet::parse(&format!("x = {text}"), &Columns::bars());
    }

    #[test]
    fn no_words_of_the_language_panic(words in prop::collection::vec(prop::sample::select(vec![
        "close", "ref", "(", ")", ",", "5", "-", "+", "/", "mean", "if", ">", "not", "and", "macd", ".", "dif", "rank", "=", "\n", "1e308",
        "quantile", "talib", "kdj", "after", "x", "corr", "0",
    ]), 0..30)) {
        let _ = FactorSet::parse(&words.join(" "), &Columns::bars());
        let _ = FactorSet::parse(&format!("x = {}", words.concat()), &Columns::bars());
    }

    #[test]
    fn no_bytes_of_a_state_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, value in any::<u8>()) {
        let set = set("a = ema(close, 5) / mean(close, 9)\nb = kdj(9, 3, 3).k + quantile(close, 5, 0.2)");
        let _ = FactorSeries::restore(&set, &bytes);
        let mut series = FactorSeries::new(&set).unwrap();
        let bars = walk(1, 30);
        bars.iter().for_each(|bar| { row(&mut series, &set, bar); });
        let mut saved = series.save().unwrap();
        let at = at % saved.len();
        saved[at] = value;
        if let Ok(mut series) = FactorSeries::restore(&set, &saved) {
            series.rescale(0.5);
            let mut out = [0.0; 2];
            series.update(&bars[0], &mut out).unwrap();
        }
    }
}

#[test]
fn the_shipped_sets_are_saved_and_rescaled_as_every_set() {
    let bars = walk(5, 320);
    for shipped in shipped::SETS.iter().filter(|set| set.name != "alpha101") {
        let set = set(shipped.text);
        let whole = rows(&set, &bars);
        let mut series = FactorSeries::new(&set).unwrap();
        for (i, bar) in bars.iter().enumerate() {
            if i % 40 == 7 {
                series = FactorSeries::restore(&set, &series.save().unwrap()).unwrap();
            }
            assert_eq!(row(&mut series, &set, bar), whole[i], "{}", shipped.name);
        }
        let (mut level, mut all) = (FactorSeries::new(&set).unwrap(), Vec::new());
        for (i, bar) in bars.iter().enumerate() {
            if i == 300 {
                level.rescale(0.83);
                all.iter_mut().for_each(|bar| *bar = moved(bar, 0.83));
            }
            all.push(*bar);
            let now = row(&mut level, &set, bar);
            if i >= 300 && shipped.name == "alpha158" {
                assert_eq!(now, *rows(&set, &all).last().unwrap(), "bar {i}");
            }
        }
    }
}
