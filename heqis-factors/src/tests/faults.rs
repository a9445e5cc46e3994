//! Faults have the place, the rule and the value.

use crate::{Columns, FactorSet};

fn fault(text: &str) -> String {
    FactorSet::parse(text, &Columns::bars())
        .unwrap_err()
        .to_string()
}

#[test]
fn each_fault_names_the_place_and_the_rule() {
    for (text, expected) in [
        (
            "x = ref(close, -5)",
            "line 1, column 5: refused: ref(close, -5) reads the future\n    x = ref(close, -5)\n        ^^^^^^^^^^^^^^",
        ),
        (
            "x = delta(close, 2 - 4)",
            "refused: delta(close, 2 - 4) reads the future",
        ),
        (
            "ok = close\nx = maen(close, 5)",
            "line 2, column 5: unknown function maen: the nearest is mean(x, n)\n    x = maen(close, 5)\n        ^^^^",
        ),
        ("x = Ref(close, 1)", "the nearest is ref(x, n)"),
        ("x = delay(close, 1)", "the nearest is ref(x, n)"),
        (
            "x = zzzzzzzzzz(close)",
            "unknown function zzzzzzzzzz: docs/factors.md lists the functions",
        ),
        (
            "x = clsoe",
            "unknown column or definition clsoe: the nearest is close\n    x = clsoe\n        ^^^^^",
        ),
        (
            "x = $turnover",
            "unknown column or definition $turnover: the columns are open, high,",
        ),
        (
            "x = index.close",
            "unknown column or definition index.close",
        ),
        ("x = mean(close)", "mean(x, n) must have 2 arguments, got 1"),
        (
            "x = rsi(close)",
            "rsi(x, n, profile) must have 2 or 3 arguments, got 1",
        ),
        (
            "x = mean(close, 0)",
            "n of mean must be a whole number of bars in 1..=10000 that does not change, got 0",
        ),
        ("x = mean(close, 2.5)", "got 2.5"),
        ("x = mean(close, -3)", "got -3"),
        ("x = mean(close, volume)", "got volume"),
        (
            "x = std(close, 1)",
            "n of std must be a whole number of bars in 2..=10000",
        ),
        (
            "x = max(open, close)",
            "got close; larger(x, y) is the larger of two values",
        ),
        (
            "x = quantile(close, 5, 1.5)",
            "q must be a constant in 0..=1, got 1.5",
        ),
        (
            "x = boll(close, 20, 0).upper",
            "k must be a constant above 0, got 0",
        ),
        (
            "x = rsi(close, 6, moon)",
            "the profile must be cn or talib, got moon",
        ),
        (
            "x = close > open",
            "must be a number, got a condition: if(c, 1, 0) is a number\n    x = close > open\n        ^^^^^^^^^^^^",
        ),
        (
            "x = if(close, 1, 0)",
            "must be a condition, such as close > open, got a number",
        ),
        ("x = 1 < 2 < 3", "comparisons do not chain"),
        (
            "x = macd(close, 12, 26, 9)",
            "must name one of its lines: .dif, .dea, .bar",
        ),
        (
            "x = macd(close, 12, 26, 9).signal",
            "unknown line .signal: the lines are .dif, .dea, .bar",
        ),
        ("x = rsi(close, 6).k", "has one line, and no .k"),
        (
            "x = macd(close, 26, 12, 9).dif",
            "macd fast must be shorter than slow 12, got 26",
        ),
        (
            "x = ema(log(close), 5)",
            "its argument must be a price, a volume, or a ratio of them",
        ),
        (
            "x = ema(close + 1, 5)",
            "its argument must be a price, a volume, or a ratio of them",
        ),
        ("x = (close", "must be a closing bracket, got the end"),
        (
            "x = close close",
            "must be an operator or the end of the expression, got close",
        ),
        (
            "x = ",
            "must be a number, a name or an opening bracket, got the end",
        ),
        ("x = close @ 2", "'@' is no part of an expression"),
        ("x = 1e999", "a number must fit into 64 bits, got 1e999"),
        ("close = open", "must be a new name: close is a column"),
        ("mean = open", "must be a new name: mean is a function"),
        (
            "x = open\nx = close",
            "line 2, column 1: must be a new name: x is a definition",
        ),
        (
            "x = mean",
            "mean is a function: its arguments must follow in brackets",
        ),
        ("close / open", "must be a definition: name = expression"),
        ("_x = close", "must define at least one factor"),
        ("# nothing", "must define at least one factor"),
    ] {
        let message = fault(text);
        assert!(
            message.contains(expected),
            "{text}\n{message}\nexpected\n{expected}"
        );
    }
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!("x = {}close{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(fault(&deep).contains("nested at most"));
    let minus = format!("x = {}close", "-".repeat(10_000));
    assert!(fault(&minus).contains("nested at most"));
    let long = format!("x = {}", vec!["close"; 10_000].join(" + "));
    assert!(fault(&long).contains("operators and calls deep"));
    // Each definition writes the one before it out twice.
    let mut doubled = "a0 = close\n".to_owned();
    (1..40).for_each(|i| doubled.push_str(&format!("a{i} = a{} + a{}\n", i - 1, i - 1)));
    assert!(fault(&doubled).contains("must be shorter"));
    let mut chained = "a0 = close\n".to_owned();
    (1..300).for_each(|i| chained.push_str(&format!("a{i} = a{} + {i}\n", i - 1)));
    assert!(fault(&chained).contains("nested too deep"));
    let far = |column: &str| format!("{}{column}{}", "ref(".repeat(40), ", 10000)".repeat(40));
    let one = format!("x = {}", far("close"));
    assert!(FactorSet::parse(&one, &Columns::bars()).is_ok());
    let many = format!("{one} + {} + {}", far("open"), far("low"));
    assert!(fault(&many).contains("must remember at most"));
}
