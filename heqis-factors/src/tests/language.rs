//! Meanings of expressions, worked by hand.

use super::{Bar, set};
use crate::{Columns, FactorSeries, FactorSet, functions, shipped};

/// The last value of an expression over closes.
fn last(expression: &str, closes: &[f64]) -> f64 {
    let set = set(&format!("x = {expression}"));
    let mut series = FactorSeries::new(&set).unwrap();
    let mut out = [f64::NAN];
    for close in closes {
        let bar: Bar = [
            *close,
            close + 1.0,
            close - 1.0,
            *close,
            100.0 * close,
            f64::NAN,
            f64::NAN,
        ];
        series.update(&bar, &mut out).unwrap();
    }
    out[0]
}

#[test]
fn operators_bind_as_in_arithmetic() {
    let closes = [1.0, 2.0, 4.0];
    for (expression, expected) in [
        ("close + 2 * 3 - 8 / 4 / 2", 4.0 + 6.0 - 1.0),
        ("-close * 2", -8.0),
        ("2 - 1 - close", -3.0),
        ("-(close - 1) - -1", -2.0),
        ("if(close > 3 and close < 5 or close == 9, 1, 2)", 1.0),
        ("if(not close > 3, 1, 2)", 2.0),
        ("if(not (close > 3) || close != 4 && close >= 0, 1, 2)", 2.0),
        ("larger(close, 5) + smaller(close, 5)", 9.0),
        ("delta(close, 2) + ref(close, 1)", 5.0),
        ("count(close > ref(close, 1), 2)", 2.0),
        ("sum(close, 3) / mean(close, 3)", 3.0),
        ("wma(close, 2)", 10.0 / 3.0),
        (
            "sign(close - 5) + abs(-close) + sqrt(close) + power(close, 2)",
            -1.0 + 4.0 + 2.0 + 16.0,
        ),
        ("log(exp(1))", 1.0),
        ("argmax(close, 3) * 10 + argmin(close, 3)", 31.0),
        ("mean(1, 3)", 1.0),
        ("(close # a comment\n  - 1) # another", 3.0),
        ("\"close - 1\"", 3.0),
        ("willr(3)", (5.0 - 4.0) / (5.0 - 0.0) * -100.0),
    ] {
        assert_eq!(last(expression, &closes), expected, "{expression}");
    }
}

#[test]
fn what_has_no_value_is_missing() {
    let closes = [1.0, 2.0, 4.0];
    for expression in [
        "close / (close - close)",
        "log(-close)",
        "sqrt(-close)",
        "vwap",
        "ref(close, 3)",
        "mean(close, 4)",
        "mean(vwap, 2)",
        "if(vwap > 1, 1, 2)",
        "corr(close, 1 + 0 * close, 3)",
        "exp(close * 1000)",
        "larger(vwap, close)",
        "after(close, 3)",
    ] {
        assert!(last(expression, &closes).is_nan(), "{expression}");
    }
    // Only the chosen side of a condition counts.
    assert_eq!(last("if(close > 3, close, vwap)", &closes), 4.0);
    assert_eq!(last("fill(vwap, close) + fill(close, vwap)", &closes), 8.0);
    assert_eq!(last("after(close, 2)", &closes), 4.0);
}

#[test]
fn look_backs_are_known_before_any_bar() {
    for (expression, bars) in [
        ("close / open", 0),
        ("ref(close, 5)", 5),
        ("mean(close, 5)", 4),
        ("mean(ref(close, 5), 5)", 9),
        ("max(close, 3) / mean(delta(close, 2), 4)", 5),
        ("returns(close, 20)", 20),
        ("after(ema(close, 12), 60)", 60),
        ("ref(kdj(9, 3, 3).k, 1)", 133),
        ("obv()", 0),
    ] {
        assert_eq!(
            set(&format!("x = {expression}")).look_back(0),
            bars,
            "{expression}"
        );
    }
}

#[test]
fn common_parts_are_computed_once() {
    let set = set(
        "a = mean(close, 5) / close\nb = mean(close, 5) * 2\nc = 2 * mean(close , 5)\nd = boll(close, 20, 2).upper\ne = boll(close, 20, 2).lower",
    );
    // close, mean, division, product, bands.
    assert_eq!(set.operations(), 5);
    let alpha = super::set(shipped::find("alpha158").unwrap().text);
    assert!(alpha.operations() < 420, "{}", alpha.operations());
}

#[test]
fn definitions_are_written_the_same_way_again() {
    for (text, canonical) in [
        ("x=close-(open-low)", "x = close - (open - low)"),
        ("x = ((close-open))-low", "x = close - open - low"),
        ("x = -(-close)", "x = --close"),
        ("x = -(close+1)*2", "x = -(close + 1) * 2"),
        ("x = 1.50e-12 * 3.0", "x = 1.5e-12 * 3"),
        (
            "x = if(not(close>1 || close<0)&&open>1,1,0)",
            "x = if(not (close > 1 or close < 0) and open > 1, 1, 0)",
        ),
        (
            "_d = close - open\nx = _d / _d",
            "x = (close - open) / (close - open)",
        ),
        (
            "[factors]\nx = \"macd( close,12,26,9 ).dif\"",
            "x = macd(close, 12, 26, 9).dif",
        ),
    ] {
        let set = set(text);
        assert_eq!(set.definitions(), [canonical]);
        assert_eq!(FactorSet::parse(canonical, &Columns::bars()).unwrap(), set);
    }
}

#[test]
fn the_shipped_texts_are_in_canonical_form_where_they_define_no_helpers() {
    let text = shipped::find("alpha158").unwrap().text;
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" = ")).collect();
    assert_eq!(set(text).definitions(), lines);
}

#[test]
fn every_function_is_documented() {
    let page = include_str!("../../../docs/factors.md");
    for (call, about) in functions() {
        let line = format!("| `{call}` | {about} |");
        assert!(page.contains(&line), "docs/factors.md lacks: {line}");
    }
}
