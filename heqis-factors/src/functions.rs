//! The functions of the language: the one place that lists them.

use crate::ops::{CrossOp, PairOp, UnaryOp, WindowOp};
use crate::recursion::Kind;

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Number,
    Condition,
    /// A whole number of bars, constant, at least this.
    Bars(usize),
    /// A constant in 0..=1.
    Share,
    /// A constant above 0.
    Positive,
    /// `cn` or `talib`; may be left out, then `cn`.
    Profile,
}

/// How a call becomes nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    Unary(UnaryOp),
    Larger,
    Smaller,
    Power,
    Fill,
    If,
    After,
    Ref,
    Delta,
    Window(WindowOp),
    Quantile,
    Line(u32),
    Pair(PairOp),
    Indicator(Kind),
    Cross(CrossOp),
    Neutral,
}

/// A function of the language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// The names of its parameters, as in the documentation.
    pub(crate) form: &'static str,
    pub(crate) about: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) build: Build,
}

const fn function(
    name: &'static str,
    form: &'static str,
    parameters: &'static [Parameter],
    build: Build,
    about: &'static str,
) -> Function {
    Function {
        name,
        form,
        about,
        parameters,
        build,
    }
}

use Parameter::{Bars, Condition, Number, Positive, Profile, Share};

const X: &[Parameter] = &[Number];
const XY: &[Parameter] = &[Number, Number];
const XN: &[Parameter] = &[Number, Bars(1)];
const XN2: &[Parameter] = &[Number, Bars(2)];
const XYN: &[Parameter] = &[Number, Number, Bars(2)];
const N: &[Parameter] = &[Bars(1)];
const N2: &[Parameter] = &[Bars(2)];
const NNN: &[Parameter] = &[Bars(1), Bars(1), Bars(1)];

/// Every function, by groups: of one bar, of the past, indicators, of the day.
pub(crate) const FUNCTIONS: [Function; 55] = [
    function("abs", "x", X, Build::Unary(UnaryOp::Abs), "magnitude of x"),
    function("sign", "x", X, Build::Unary(UnaryOp::Sign), "−1, 0 or 1"),
    function(
        "log",
        "x",
        X,
        Build::Unary(UnaryOp::Log),
        "natural logarithm",
    ),
    function(
        "log1p",
        "x",
        X,
        Build::Unary(UnaryOp::Log1p),
        "ln(1 + x), exact near 0",
    ),
    function(
        "exp",
        "x",
        X,
        Build::Unary(UnaryOp::Exp),
        "e to the power of x",
    ),
    function("sqrt", "x", X, Build::Unary(UnaryOp::Sqrt), "square root"),
    function("power", "x, y", XY, Build::Power, "x to the power of y"),
    function(
        "larger",
        "x, y",
        XY,
        Build::Larger,
        "the larger of two values of this bar",
    ),
    function(
        "smaller",
        "x, y",
        XY,
        Build::Smaller,
        "the smaller of two values of this bar",
    ),
    function(
        "if",
        "c, x, y",
        &[Condition, Number, Number],
        Build::If,
        "x where c holds, otherwise y",
    ),
    function(
        "fill",
        "x, y",
        XY,
        Build::Fill,
        "x, or y where x is missing",
    ),
    function(
        "after",
        "x, n",
        XN,
        Build::After,
        "x, missing on the first n bars of the series",
    ),
    function("ref", "x, n", XN, Build::Ref, "x of n bars ago"),
    function("delta", "x, n", XN, Build::Delta, "x − ref(x, n)"),
    function(
        "mean",
        "x, n",
        XN,
        Build::Window(WindowOp::Mean),
        "mean of the last n bars, this one included",
    ),
    function("sum", "x, n", XN, Build::Window(WindowOp::Sum), "sum"),
    function(
        "wma",
        "x, n",
        XN,
        Build::Window(WindowOp::WeightedMean),
        "mean with the weights 1 (oldest) to n (newest)",
    ),
    function(
        "std",
        "x, n",
        XN2,
        Build::Window(WindowOp::Std),
        "sample deviation, divisor n − 1",
    ),
    function(
        "max",
        "x, n",
        XN,
        Build::Window(WindowOp::Max),
        "highest value",
    ),
    function(
        "min",
        "x, n",
        XN,
        Build::Window(WindowOp::Min),
        "lowest value",
    ),
    function(
        "argmax",
        "x, n",
        XN,
        Build::Window(WindowOp::ArgMax),
        "place of the highest value: 1 oldest to n newest, the oldest of equal ones",
    ),
    function(
        "argmin",
        "x, n",
        XN,
        Build::Window(WindowOp::ArgMin),
        "place of the lowest value",
    ),
    function(
        "quantile",
        "x, n, q",
        &[Number, Bars(1), Share],
        Build::Quantile,
        "the quantile q, 0 to 1, linear between two values",
    ),
    function(
        "ts_rank",
        "x, n",
        XN,
        Build::Window(WindowOp::Rank),
        "rank of this bar's value in the window over n, equal ones share their mean rank",
    ),
    function(
        "slope",
        "x, n",
        XN2,
        Build::Line(0),
        "slope per bar of the line of least squares",
    ),
    function(
        "rsquare",
        "x, n",
        XN2,
        Build::Line(1),
        "share of the variance that the line explains; missing where x does not vary",
    ),
    function(
        "resid",
        "x, n",
        XN2,
        Build::Line(2),
        "distance of this bar's value from the line",
    ),
    function(
        "corr",
        "x, y, n",
        XYN,
        Build::Pair(PairOp::Correlation),
        "correlation; missing where x or y does not vary",
    ),
    function(
        "cov",
        "x, y, n",
        XYN,
        Build::Pair(PairOp::Covariance),
        "sample covariance, divisor n − 1",
    ),
    function(
        "count",
        "c, n",
        &[Condition, Bars(1)],
        Build::Window(WindowOp::Sum),
        "number of bars on which c holds",
    ),
    function(
        "ma",
        "x, n",
        XN,
        Build::Window(WindowOp::PlainMean),
        "mean, summed from the oldest to the newest as by heqis-quant",
    ),
    function(
        "ema",
        "x, n, profile",
        &[Number, Bars(1), Profile],
        Build::Indicator(Kind::Ema),
        "exponential mean",
    ),
    function(
        "sma_cn",
        "x, n, m",
        &[Number, Bars(1), Bars(1)],
        Build::Indicator(Kind::SmaCn),
        "weighted mean of Chinese terminals",
    ),
    function(
        "returns",
        "x, n",
        XN,
        Build::Indicator(Kind::Returns),
        "x / ref(x, n) − 1",
    ),
    function(
        "volatility",
        "x, n",
        XN2,
        Build::Indicator(Kind::Volatility),
        "deviation of the last n one-bar returns",
    ),
    function(
        "volume_ratio",
        "x, n",
        XN,
        Build::Indicator(Kind::VolumeRatio),
        "x over its mean of the n bars before",
    ),
    function(
        "rsi",
        "x, n, profile",
        &[Number, Bars(2), Profile],
        Build::Indicator(Kind::Rsi),
        "relative strength index",
    ),
    function(
        "macd",
        "x, fast, slow, signal, profile",
        &[Number, Bars(1), Bars(1), Bars(1), Profile],
        Build::Indicator(Kind::Macd),
        "lines dif, dea, bar",
    ),
    function(
        "boll",
        "x, n, k, profile",
        &[Number, Bars(2), Positive, Profile],
        Build::Indicator(Kind::Boll),
        "Bollinger bands of k deviations, lines upper, middle, lower",
    ),
    function(
        "kdj",
        "n, m1, m2",
        NNN,
        Build::Indicator(Kind::Kdj),
        "lines k, d, j, from 50",
    ),
    function(
        "stoch",
        "n, slow_k, slow_d",
        NNN,
        Build::Indicator(Kind::Stoch),
        "stochastic oscillator of TA-Lib, lines k, d",
    ),
    function(
        "willr",
        "n",
        N,
        Build::Indicator(Kind::Willr),
        "Williams' %R",
    ),
    function(
        "cci",
        "n",
        N2,
        Build::Indicator(Kind::Cci),
        "commodity channel index",
    ),
    function(
        "true_range",
        "profile",
        &[Profile],
        Build::Indicator(Kind::TrueRange),
        "true range",
    ),
    function(
        "atr",
        "n, profile",
        &[Bars(1), Profile],
        Build::Indicator(Kind::Atr),
        "average true range",
    ),
    function(
        "di",
        "n, profile",
        &[Bars(2), Profile],
        Build::Indicator(Kind::Di),
        "directional indicators, lines plus_di, minus_di",
    ),
    function(
        "adx",
        "n, m, profile",
        &[Bars(2), Bars(1), Profile],
        Build::Indicator(Kind::Adx),
        "average directional index, lines adx, plus_di, minus_di",
    ),
    function(
        "obv",
        "profile",
        &[Profile],
        Build::Indicator(Kind::Obv),
        "on-balance volume; only its differences have a meaning",
    ),
    function(
        "mfi",
        "n",
        N2,
        Build::Indicator(Kind::Mfi),
        "money flow index",
    ),
    function(
        "ad",
        "",
        &[],
        Build::Indicator(Kind::Ad),
        "accumulation and distribution; only its differences have a meaning",
    ),
    function(
        "rank",
        "x",
        X,
        Build::Cross(CrossOp::Rank),
        "rank among the instruments of the day over their number, equal ones share their mean rank",
    ),
    function(
        "z",
        "x",
        X,
        Build::Cross(CrossOp::Z),
        "distance from the day's mean in its deviations, divisor n − 1",
    ),
    function(
        "demean",
        "x",
        X,
        Build::Cross(CrossOp::Demean),
        "distance from the day's mean",
    ),
    function(
        "scale",
        "x",
        X,
        Build::Cross(CrossOp::Scale),
        "x over the day's sum of |x|",
    ),
    function(
        "neutral",
        "x, group",
        XY,
        Build::Neutral,
        "distance from the day's mean of the instruments with the same value of group",
    ),
];

/// Words that are no names of definitions.
pub(crate) const WORDS: [&str; 5] = ["and", "or", "not", "cn", "talib"];

pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Names of other languages for functions of this one.
const FOREIGN: [(&str, &str); 22] = [
    ("delay", "ref"),
    ("lag", "ref"),
    ("shift", "ref"),
    ("ts_mean", "mean"),
    ("ts_sum", "sum"),
    ("stddev", "std"),
    ("ts_std", "std"),
    ("decay_linear", "wma"),
    ("correlation", "corr"),
    ("covariance", "cov"),
    ("ts_max", "max"),
    ("ts_min", "min"),
    ("ts_argmax", "argmax"),
    ("ts_argmin", "argmin"),
    ("idxmax", "argmax"),
    ("idxmin", "argmin"),
    ("greater", "larger"),
    ("less", "smaller"),
    ("ln", "log"),
    ("rsqr", "rsquare"),
    ("zscore", "z"),
    ("sma", "ma"),
];

/// Returns the name that a user who wrote `name` probably meant.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let lower = FOREIGN
        .iter()
        .find(|(foreign, _)| *foreign == lower)
        .map_or(lower.as_str(), |(_, own)| own);
    names
        .into_iter()
        .map(|other| {
            (
                strsim::damerau_levenshtein(lower, &other.to_ascii_lowercase()),
                other,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= lower.len().div_ceil(3))
        .map(|(_, other)| other)
}

/// Returns every function of the language: its call, such as `mean(x, n)`, and its meaning.
pub fn functions() -> impl Iterator<Item = (String, &'static str)> {
    FUNCTIONS.iter().map(|function| {
        (
            format!("{}({})", function.name, function.form),
            function.about,
        )
    })
}
