//! The operations on numbers of one bar. A result that is not finite is missing, and so is one of a missing operand.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UnaryOp {
    Minus,
    Not,
    Abs,
    Sign,
    Log,
    Log1p,
    Exp,
    Sqrt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Larger,
    Smaller,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
    Fill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WindowOp {
    Mean,
    PlainMean,
    Sum,
    WeightedMean,
    Std,
    Max,
    Min,
    ArgMax,
    ArgMin,
    Rank,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PairOp {
    Correlation,
    Covariance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CrossOp {
    Rank,
    Z,
    Demean,
    Scale,
}

/// Conditions are 1 and 0.
fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// Returns the value, or NaN, always the same one, for a value that is not finite.
#[inline]
pub(crate) fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

#[inline]
pub(crate) fn unary(op: UnaryOp, x: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    finite(match op {
        UnaryOp::Minus => -x,
        UnaryOp::Not => 1.0 - x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign if x == 0.0 => 0.0,
        UnaryOp::Sign => x.signum(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Sqrt => x.sqrt(),
    })
}

#[inline]
pub(crate) fn binary(op: BinaryOp, x: f64, y: f64) -> f64 {
    if op == BinaryOp::Fill {
        return if x.is_nan() { y } else { x };
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    finite(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Subtract => x - y,
        BinaryOp::Multiply => x * y,
        BinaryOp::Divide => x / y,
        BinaryOp::Power => x.powf(y),
        BinaryOp::Larger if y > x => y,
        BinaryOp::Smaller if y < x => y,
        BinaryOp::Larger | BinaryOp::Smaller | BinaryOp::Fill => x,
        BinaryOp::Less => truth(x < y),
        BinaryOp::LessOrEqual => truth(x <= y),
        BinaryOp::Equal => truth(x == y),
        BinaryOp::NotEqual => truth(x != y),
        BinaryOp::And => x * y,
        BinaryOp::Or => truth(x + y > 0.0),
    })
}
