//! Expressions as a graph of operations: each distinct operation once, so that common parts are computed once.

use std::collections::HashMap;

use heqis_quant::QuantError;
use heqis_quant::indicators::Profile;

use crate::columns::Level;
use crate::ops::{BinaryOp, CrossOp, PairOp, UnaryOp, WindowOp, binary, unary};
use crate::recursion::{Kind, Lines, Reads, Recursion};

/// A place of a value of one bar. An operation with several lines has neighbouring ones.
pub(crate) type Slot = u32;

/// An operation on slots. Numbers are bits, so that equal operations are equal keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Constant(u64),
    Input(u32),
    Unary(UnaryOp, Slot),
    Binary(BinaryOp, Slot, Slot),
    If(Slot, Slot, Slot),
    After(Slot, usize),
    Ref(Slot, usize),
    Window(WindowOp, Slot, usize),
    Quantile(Slot, usize, u64),
    /// Slope, R² and residual.
    Line(Slot, usize),
    Pair(PairOp, Slot, Slot, usize),
    Indicator(Recipe),
    Cross(CrossOp, Slot),
    Neutral(Slot, Slot),
}

/// An indicator with its parameters and the slots of what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    pub(crate) kind: Kind,
    pub(crate) lengths: [usize; 3],
    pub(crate) number: u64,
    pub(crate) profile: Profile,
    pub(crate) inputs: [Slot; 4],
}

impl Op {
    /// Whether earlier values cannot be computed again from earlier inputs of the same series.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(
            self,
            Self::Input(_) | Self::Indicator(_) | Self::Cross(..) | Self::Neutral(..)
        )
    }

    /// Calls `f` with each slot that is read, and the number of bars that are remembered of it.
    pub(crate) fn reads(&self, mut f: impl FnMut(Slot, usize)) {
        match *self {
            Self::Constant(_) | Self::Input(_) => {}
            Self::Unary(_, x) | Self::After(x, _) | Self::Cross(_, x) => f(x, 0),
            Self::Binary(_, x, y) | Self::Neutral(x, y) => {
                f(x, 0);
                f(y, 0);
            }
            Self::If(c, x, y) => [c, x, y].into_iter().for_each(|slot| f(slot, 0)),
            Self::Ref(x, n) => f(x, n + 1),
            Self::Window(_, x, n) | Self::Quantile(x, n, _) | Self::Line(x, n) => f(x, n),
            Self::Pair(_, x, y, n) => {
                f(x, n);
                f(y, n);
            }
            Self::Indicator(recipe) => recipe.inputs.into_iter().for_each(|slot| f(slot, 0)),
        }
    }
}

/// How a value changes when prices move to another level by a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// It is 0 and fits any.
    Any,
    /// Multiplied by this power of the factor.
    Power(i8),
    /// In another way.
    Mixed,
}

impl Scale {
    pub(crate) fn of(level: Level) -> Self {
        match level {
            Level::Price => Self::Power(1),
            Level::Volume => Self::Power(-1),
            Level::Fixed => Self::Power(0),
        }
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, other) | (other, Self::Any) => other,
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }

    fn times(self, other: Self, sign: i8) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Power(a), Self::Power(b)) => {
                let power = b.checked_mul(sign).and_then(|b| a.checked_add(b));
                power.map_or(Self::Mixed, Self::Power)
            }
            _ => Self::Mixed,
        }
    }

    /// Of a function that keeps nothing but the absence of a level.
    fn free(self) -> Self {
        match self {
            Self::Any | Self::Power(0) => Self::Power(0),
            _ => Self::Mixed,
        }
    }

    /// Of a function whose result is the same at every level.
    fn without(self) -> Self {
        match self {
            Self::Mixed => Self::Mixed,
            _ => Self::Power(0),
        }
    }
}

/// What is known about a slot before any bar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) is_condition: bool,
    pub(crate) scale: Scale,
    /// Bars before the first value.
    pub(crate) first: usize,
    /// Bars before values no longer depend on where the series began.
    pub(crate) settled: usize,
    /// Bars before this one that a value needs of inputs, indicators and the day's comparisons.
    pub(crate) reach: usize,
    /// Number of comparisons across the day, one within another.
    pub(crate) stage: usize,
    pub(crate) constant: Option<f64>,
}

/// An operation with the first of its slots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) op: Op,
    pub(crate) slot: Slot,
    pub(crate) width: usize,
}

/// The graph. Nodes stand after those that they read.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) facts: Vec<Facts>,
    known: HashMap<Op, Slot>,
    /// Without this, every operation is a node of its own; for tests.
    keep_copies: bool,
}

impl Graph {
    pub(crate) fn new(keep_copies: bool) -> Self {
        Self {
            keep_copies,
            ..Self::default()
        }
    }

    pub(crate) fn fact(&self, slot: Slot) -> &Facts {
        &self.facts[slot as usize]
    }

    /// Adds an operation unless it is there, and returns its first slot.
    ///
    /// Operations of constants become constants, and the operands of sums and products get an order, in which the result has the same
    /// bits.
    pub(crate) fn add(&mut self, op: Op, level: Option<Level>) -> Result<Slot, QuantError> {
        let op = match op {
            Op::Binary(
                binary @ (BinaryOp::Add | BinaryOp::Multiply | BinaryOp::And | BinaryOp::Or),
                x,
                y,
            ) if y < x => Op::Binary(binary, y, x),
            op => op,
        };
        if let (Some(slot), false) = (self.known.get(&op), self.keep_copies) {
            return Ok(*slot);
        }
        let mut facts = self.facts_of(&op, level)?;
        // A constant is a number: conditions stay operations.
        if let (Some(value), false) = (self.folded(&op), facts.is_condition) {
            let constant = Op::Constant(value.to_bits());
            if op != constant {
                return self.add(constant, None);
            }
            facts.constant = Some(value);
        }
        let width = match op {
            Op::Line(..) => 3,
            Op::Indicator(recipe) => recipe.kind.lines().len().max(1),
            _ => 1,
        };
        let slot = self.facts.len() as Slot;
        self.nodes.push(Node { op, slot, width });
        self.facts.extend(std::iter::repeat_n(facts, width));
        if let Op::Line(..) = op {
            self.facts[slot as usize + 1].scale = facts.scale.without();
        }
        self.known.insert(op, slot);
        Ok(slot)
    }

    /// The value of an operation of nothing but constants.
    fn folded(&self, op: &Op) -> Option<f64> {
        let constant = |slot: Slot| self.fact(slot).constant;
        Some(match *op {
            Op::Constant(bits) => f64::from_bits(bits),
            Op::Unary(op, x) => unary(op, constant(x)?),
            Op::Binary(op, x, y) => binary(op, constant(x)?, constant(y)?),
            _ => return None,
        })
    }

    fn facts_of(&self, op: &Op, level: Option<Level>) -> Result<Facts, QuantError> {
        let mut facts = Facts {
            is_condition: false,
            scale: Scale::Power(0),
            first: 0,
            settled: 0,
            reach: 0,
            stage: 0,
            constant: None,
        };
        op.reads(|slot, _| {
            let read = self.fact(slot);
            facts.first = facts.first.max(read.first);
            facts.settled = facts.settled.max(read.settled);
            facts.reach = facts.reach.max(read.reach);
            facts.stage = facts.stage.max(read.stage);
        });
        let scale = |slot: Slot| self.fact(slot).scale;
        let mut wait = |bars: usize| {
            facts.first = facts.first.saturating_add(bars);
            facts.settled = facts.settled.saturating_add(bars);
            facts.reach = facts.reach.saturating_add(bars);
        };
        match *op {
            Op::Constant(bits) => {
                if f64::from_bits(bits) == 0.0 {
                    facts.scale = Scale::Any;
                }
            }
            Op::Input(_) => facts.scale = level.map_or(Scale::Mixed, Scale::of),
            Op::Unary(unary, x) => {
                facts.is_condition = unary == UnaryOp::Not;
                facts.scale = match unary {
                    UnaryOp::Minus | UnaryOp::Abs | UnaryOp::Not => scale(x),
                    UnaryOp::Sign => scale(x).without(),
                    UnaryOp::Log | UnaryOp::Log1p | UnaryOp::Exp | UnaryOp::Sqrt => scale(x).free(),
                };
            }
            Op::Binary(binary, x, y) => {
                let joined = scale(x).join(scale(y));
                (facts.is_condition, facts.scale) = match binary {
                    BinaryOp::Add
                    | BinaryOp::Subtract
                    | BinaryOp::Larger
                    | BinaryOp::Smaller
                    | BinaryOp::Fill => (false, joined),
                    BinaryOp::Multiply => (false, scale(x).times(scale(y), 1)),
                    BinaryOp::Divide => (false, scale(x).times(scale(y), -1)),
                    BinaryOp::Power => (false, scale(x).free().join(scale(y).free())),
                    BinaryOp::Less
                    | BinaryOp::LessOrEqual
                    | BinaryOp::Equal
                    | BinaryOp::NotEqual
                    | BinaryOp::And
                    | BinaryOp::Or => (true, joined.without()),
                };
            }
            Op::If(c, x, y) => {
                facts.scale = match scale(c) {
                    Scale::Mixed => Scale::Mixed,
                    _ => scale(x).join(scale(y)),
                };
            }
            Op::After(x, n) => {
                facts.scale = scale(x);
                facts.first = facts.first.max(n);
                facts.settled = facts.first;
            }
            Op::Ref(x, n) => {
                wait(n);
                facts.scale = scale(x);
                facts.is_condition = self.fact(x).is_condition;
            }
            Op::Window(window, x, n) => {
                wait(n - 1);
                facts.scale = match window {
                    WindowOp::ArgMax | WindowOp::ArgMin | WindowOp::Rank => scale(x).without(),
                    _ => scale(x),
                };
            }
            Op::Quantile(x, n, _) | Op::Line(x, n) => {
                wait(n - 1);
                facts.scale = scale(x);
            }
            Op::Pair(pair, x, y, n) => {
                wait(n - 1);
                facts.scale = match pair {
                    PairOp::Covariance => scale(x).times(scale(y), 1),
                    PairOp::Correlation => scale(x).without().join(scale(y).without()),
                };
            }
            Op::Indicator(recipe) => {
                let indicator = recipe.make()?;
                facts.first = facts.first.saturating_add(indicator.warmup_bars());
                facts.settled = facts.settled.saturating_add(indicator.settled_bars());
                facts.reach = 0;
                facts.scale = match recipe.kind.level() {
                    Lines::Same => scale(recipe.inputs[0]),
                    Lines::Price => Scale::Power(1),
                    Lines::Volume => Scale::Power(-1),
                    Lines::Fixed => Scale::Power(0),
                };
            }
            Op::Cross(cross, x) => {
                facts.stage += 1;
                facts.reach = 0;
                facts.scale = match cross {
                    CrossOp::Demean => scale(x),
                    _ => Scale::Power(0),
                };
            }
            Op::Neutral(x, _) => {
                facts.stage += 1;
                facts.reach = 0;
                facts.scale = scale(x);
            }
        }
        Ok(facts)
    }
}

impl Recipe {
    pub(crate) fn make(&self) -> Result<Recursion, QuantError> {
        let number = f64::from_bits(self.number);
        self.kind.make(self.lengths, number, self.profile)
    }

    /// Whether its state moves with the price level of one value of its own, and not with that of the bar.
    pub(crate) fn reads_one(&self) -> bool {
        matches!(self.kind.reads(), Reads::Price | Reads::Volume)
    }
}
