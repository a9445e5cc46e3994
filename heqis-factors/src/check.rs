//! Trees → operations: names, types, lengths, and no look-ahead.

use std::collections::HashMap;

use heqis_quant::QuantError;
use heqis_quant::indicators::Profile;

use crate::columns::{CLOSE, Columns, HIGH, LOW, VOLUME};
use crate::fault::{Broken, Span};
use crate::functions::{self, Build, FUNCTIONS, Function, Parameter, WORDS};
use crate::graph::{Graph, Op, Recipe, Scale, Slot};
use crate::ops::{BinaryOp, UnaryOp};
use crate::recursion::{Kind, Reads};
use crate::text::tree::{Binary, Kind as TreeKind, Tree, Unary};

/// Longest window and longest distance to an earlier bar.
pub(crate) const MAX_BARS: usize = 10_000;
/// Largest number of operations of a set.
const MAX_NODES: usize = 50_000;
/// Longest text of a call in a message.
const SHOWN_CHARS: usize = 60;

/// The value of an expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) slot: Slot,
    /// The indicator, when one of its lines has yet to be chosen.
    lines: Option<Kind>,
}

/// Checks expressions into one graph.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    pub(crate) graph: Graph,
    text: &'a str,
    columns: &'a Columns,
    definitions: HashMap<String, Value>,
}

/// The arguments of a call, by kind.
#[derive(Default)]
struct Arguments {
    slots: Vec<Slot>,
    bars: Vec<usize>,
    number: f64,
    profile: Option<Profile>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(text: &'a str, columns: &'a Columns, keep_copies: bool) -> Self {
        Self {
            graph: Graph::new(keep_copies),
            text,
            columns,
            definitions: HashMap::new(),
        }
    }

    /// Checks a definition, which later ones may then use by its name.
    pub(crate) fn define(
        &mut self,
        name: &str,
        name_span: &Span,
        tree: &Tree,
    ) -> Result<Value, Broken> {
        let taken = if self.definitions.contains_key(name) {
            Some("a definition")
        } else if functions::find(name).is_some() {
            Some("a function")
        } else if WORDS.contains(&name) {
            Some("a word of the language")
        } else if self.columns.find(name).is_some() {
            Some("a column")
        } else {
            None
        };
        if let Some(taken) = taken {
            let rule = format!("must be a new name: {name} is {taken}");
            return Err(Broken::new(name_span, rule));
        }
        let value = self.number(tree)?;
        self.definitions.insert(name.to_owned(), value);
        Ok(value)
    }

    /// Checks an expression that must be a number.
    fn number(&mut self, tree: &Tree) -> Result<Value, Broken> {
        let value = self.value(tree)?;
        if let Some(kind) = value.lines {
            let lines = kind.lines().join(", .");
            return Err(Broken::new(
                &tree.span,
                format!("must name one of its lines: .{lines}"),
            ));
        }
        match self.graph.fact(value.slot).is_condition {
            false => Ok(value),
            true => Err(Broken::new(
                &tree.span,
                "must be a number, got a condition: if(c, 1, 0) is a number",
            )),
        }
    }

    fn condition(&mut self, tree: &Tree) -> Result<Slot, Broken> {
        let value = self.value(tree)?;
        match self.graph.fact(value.slot).is_condition {
            true => Ok(value.slot),
            false => Err(Broken::new(
                &tree.span,
                "must be a condition, such as close > open, got a number",
            )),
        }
    }

    fn add(&mut self, span: &Span, op: Op) -> Result<Value, Broken> {
        let level = match op {
            Op::Input(column) => self.columns.level(column as usize),
            _ => None,
        };
        if self.graph.nodes.len() >= MAX_NODES {
            let rule = format!("a set must have at most {MAX_NODES} operations");
            return Err(Broken::new(span, rule));
        }
        let slot = self.graph.add(op, level);
        let slot = slot.map_err(|error| Broken::new(span, rule_of(&error)))?;
        Ok(Value { slot, lines: None })
    }

    fn value(&mut self, tree: &Tree) -> Result<Value, Broken> {
        let span = &tree.span;
        match &tree.kind {
            TreeKind::Number(value) => self.add(span, Op::Constant(value.to_bits())),
            TreeKind::Name(name) => self.name(span, name),
            TreeKind::Second(series, column) => self.name(span, &format!("{series}.{column}")),
            TreeKind::Call(name, name_span, arguments) => {
                self.call(span, name, name_span, arguments)
            }
            TreeKind::Line(of, line) => self.line(span, of, line),
            TreeKind::Unary(Unary::Minus, of) => {
                let of = self.number(of)?.slot;
                self.add(span, Op::Unary(UnaryOp::Minus, of))
            }
            TreeKind::Unary(Unary::Not, of) => {
                let of = self.condition(of)?;
                self.add(span, Op::Unary(UnaryOp::Not, of))
            }
            TreeKind::Binary(binary @ (Binary::Or | Binary::And), left, right) => {
                let (left, right) = (self.condition(left)?, self.condition(right)?);
                let op = match binary {
                    Binary::Or => BinaryOp::Or,
                    _ => BinaryOp::And,
                };
                self.add(span, Op::Binary(op, left, right))
            }
            TreeKind::Binary(binary, left, right) => {
                let (left, right) = (self.number(left)?.slot, self.number(right)?.slot);
                let (op, left, right) = match binary {
                    Binary::Add => (BinaryOp::Add, left, right),
                    Binary::Subtract => (BinaryOp::Subtract, left, right),
                    Binary::Multiply => (BinaryOp::Multiply, left, right),
                    Binary::Less => (BinaryOp::Less, left, right),
                    Binary::Greater => (BinaryOp::Less, right, left),
                    Binary::LessOrEqual => (BinaryOp::LessOrEqual, left, right),
                    Binary::GreaterOrEqual => (BinaryOp::LessOrEqual, right, left),
                    Binary::Equal => (BinaryOp::Equal, left, right),
                    Binary::NotEqual => (BinaryOp::NotEqual, left, right),
                    _ => (BinaryOp::Divide, left, right),
                };
                self.add(span, Op::Binary(op, left, right))
            }
        }
    }

    fn name(&mut self, span: &Span, name: &str) -> Result<Value, Broken> {
        if let Some(value) = self.definitions.get(name) {
            return Ok(*value);
        }
        if let Some((column, _)) = self.columns.find(name) {
            return self.add(span, Op::Input(column as u32));
        }
        if functions::find(name).is_some() {
            let rule = format!("{name} is a function: its arguments must follow in brackets");
            return Err(Broken::new(span, rule));
        }
        let known = self.definitions.keys().map(String::as_str);
        let known: Vec<&str> = known.chain(self.columns.names()).collect();
        let hint = match functions::nearest(name, known) {
            Some(nearest) => format!("the nearest is {nearest}"),
            None => format!(
                "the columns are {}",
                self.columns.names().collect::<Vec<_>>().join(", ")
            ),
        };
        Err(Broken::new(
            span,
            format!("unknown column or definition {name}: {hint}"),
        ))
    }

    fn line(&mut self, span: &Span, of: &Tree, line: &str) -> Result<Value, Broken> {
        let value = self.value(of)?;
        let Some(kind) = value.lines else {
            return Err(Broken::new(span, format!("has one line, and no .{line}")));
        };
        let lines = kind.lines();
        match lines.iter().position(|name| *name == line) {
            Some(at) => Ok(Value {
                slot: value.slot + at as Slot,
                lines: None,
            }),
            None => Err(Broken::new(
                span,
                format!("unknown line .{line}: the lines are .{}", lines.join(", .")),
            )),
        }
    }

    fn call(
        &mut self,
        span: &Span,
        name: &str,
        name_span: &Span,
        trees: &[Tree],
    ) -> Result<Value, Broken> {
        let Some(function) = functions::find(name) else {
            let nearest = functions::nearest(name, FUNCTIONS.iter().map(|f| f.name));
            let hint = nearest.and_then(functions::find).map_or_else(
                || "docs/factors.md lists the functions".to_owned(),
                |f| format!("the nearest is {}({})", f.name, f.form),
            );
            return Err(Broken::new(
                name_span,
                format!("unknown function {name}: {hint}"),
            ));
        };
        let all = function.parameters.len();
        let least = all - usize::from(function.parameters.last() == Some(&Parameter::Profile));
        if !(least..=all).contains(&trees.len()) {
            let number = match least == all {
                true => format!("{all}"),
                false => format!("{least} or {all}"),
            };
            return Err(Broken::new(
                span,
                format!(
                    "{}({}) must have {number} arguments, got {}",
                    function.name,
                    function.form,
                    trees.len()
                ),
            ));
        }
        let mut arguments = Arguments::default();
        let names = function.form.split(", ");
        for ((parameter, tree), name) in function.parameters.iter().zip(trees).zip(names) {
            self.argument(function, *parameter, name, span, tree, &mut arguments)?;
        }
        self.build(function, span, &arguments)
    }

    fn argument(
        &mut self,
        function: &Function,
        parameter: Parameter,
        name: &str,
        call: &Span,
        tree: &Tree,
        arguments: &mut Arguments,
    ) -> Result<(), Broken> {
        match parameter {
            Parameter::Number => arguments.slots.push(self.number(tree)?.slot),
            Parameter::Condition => arguments.slots.push(self.condition(tree)?),
            Parameter::Bars(least) => {
                let bars = self.bars(function, least, name, call, tree)?;
                arguments.bars.push(bars);
            }
            Parameter::Share | Parameter::Positive => {
                let (fits, range): (fn(f64) -> bool, _) = match parameter {
                    Parameter::Share => (|x| (0.0..=1.0).contains(&x), "in 0..=1"),
                    _ => (|x| x > 0.0, "above 0"),
                };
                arguments.number = match self.constant(tree)? {
                    Some(number) if fits(number) => number,
                    got => {
                        let got = got.map_or_else(|| self.shown(&tree.span), |x| x.to_string());
                        let rule = format!("{name} must be a constant {range}, got {got}");
                        return Err(Broken::new(&tree.span, rule));
                    }
                };
            }
            Parameter::Profile => {
                arguments.profile = Some(match &tree.kind {
                    TreeKind::Name(name) if name == "cn" => Profile::Cn,
                    TreeKind::Name(name) if name == "talib" => Profile::Talib,
                    _ => {
                        let got = self.shown(&tree.span);
                        let rule = format!("the profile must be cn or talib, got {got}");
                        return Err(Broken::new(&tree.span, rule));
                    }
                });
            }
        }
        Ok(())
    }

    fn constant(&mut self, tree: &Tree) -> Result<Option<f64>, Broken> {
        let value = self.number(tree)?;
        Ok(self.graph.fact(value.slot).constant)
    }

    fn bars(
        &mut self,
        function: &Function,
        least: usize,
        name: &str,
        call: &Span,
        tree: &Tree,
    ) -> Result<usize, Broken> {
        let constant = self.constant(tree)?;
        if let (Build::Ref | Build::Delta, Some(bars)) = (function.build, constant)
            && bars < 0.0
        {
            let call_text = self.shown(call);
            let rule = format!("refused: {call_text} reads the future");
            return Err(Broken::new(call, rule));
        }
        match constant {
            // `as` keeps whole numbers of this range.
            Some(bars)
                if bars.fract() == 0.0
                    && (least..=MAX_BARS).contains(&(bars as usize))
                    && bars > 0.0 =>
            {
                Ok(bars as usize)
            }
            _ => {
                let got = constant.map_or_else(|| self.shown(&tree.span), |x| x.to_string());
                let hint = match function.name {
                    "max" => "; larger(x, y) is the larger of two values",
                    "min" => "; smaller(x, y) is the smaller of two values",
                    _ => "",
                };
                let rule = format!(
                    "{name} of {} must be a whole number of bars in {least}..={MAX_BARS} that does not change, got {got}{hint}",
                    function.name
                );
                Err(Broken::new(&tree.span, rule))
            }
        }
    }

    /// The text at a place, in one line and not too long.
    fn shown(&self, span: &Span) -> String {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn build(
        &mut self,
        function: &Function,
        span: &Span,
        arguments: &Arguments,
    ) -> Result<Value, Broken> {
        let slot = |at: usize| arguments.slots.get(at).copied().unwrap_or(0);
        let bars = |at: usize| arguments.bars.get(at).copied().unwrap_or(0);
        let (x, y, n) = (slot(0), slot(1), bars(0));
        let op = match function.build {
            Build::Unary(unary) => Op::Unary(unary, x),
            Build::Larger => Op::Binary(BinaryOp::Larger, x, y),
            Build::Smaller => Op::Binary(BinaryOp::Smaller, x, y),
            Build::Power => Op::Binary(BinaryOp::Power, x, y),
            Build::Fill => Op::Binary(BinaryOp::Fill, x, y),
            Build::If => Op::If(x, y, slot(2)),
            Build::After => Op::After(x, n),
            Build::Ref => Op::Ref(x, n),
            Build::Delta => {
                let before = self.add(span, Op::Ref(x, n))?.slot;
                Op::Binary(BinaryOp::Subtract, x, before)
            }
            Build::Window(window) => Op::Window(window, x, n),
            Build::Quantile => Op::Quantile(x, n, arguments.number.to_bits()),
            Build::Line(part) => {
                let line = self.add(span, Op::Line(x, n))?;
                return Ok(Value {
                    slot: line.slot + part,
                    lines: None,
                });
            }
            Build::Pair(pair) => Op::Pair(pair, x, y, n),
            Build::Indicator(kind) => return self.indicator(kind, span, arguments),
            Build::Cross(cross) => Op::Cross(cross, x),
            Build::Neutral => Op::Neutral(x, y),
        };
        self.add(span, op)
    }

    fn indicator(
        &mut self,
        kind: Kind,
        span: &Span,
        arguments: &Arguments,
    ) -> Result<Value, Broken> {
        let bar: &[u32] = match kind.reads() {
            Reads::Price | Reads::Volume => &[],
            Reads::Hlc => &[HIGH, LOW, CLOSE],
            Reads::CloseVolume => &[CLOSE, VOLUME],
            Reads::Hlcv => &[HIGH, LOW, CLOSE, VOLUME],
        };
        let mut slots = arguments.slots.clone();
        for column in bar {
            slots.push(self.add(span, Op::Input(*column))?.slot);
        }
        let first = slots.first().copied().unwrap_or(0);
        let mut inputs = [first; 4];
        inputs
            .iter_mut()
            .zip(&slots)
            .for_each(|(to, from)| *to = *from);
        let mut lengths = [0; 3];
        lengths
            .iter_mut()
            .zip(&arguments.bars)
            .for_each(|(to, from)| *to = *from);
        let recipe = Recipe {
            kind,
            lengths,
            number: arguments.number.to_bits(),
            profile: arguments.profile.unwrap_or(Profile::Cn),
            inputs,
        };
        if recipe.reads_one() && self.graph.fact(first).scale == Scale::Mixed {
            let rule = "its argument must be a price, a volume, or a ratio of them: what it remembers of the whole series must be moved to \
                        another price level after an ex-right";
            return Err(Broken::new(span, rule));
        }
        let value = self.add(span, Op::Indicator(recipe))?;
        let lines = (!kind.lines().is_empty()).then_some(kind);
        Ok(Value { lines, ..value })
    }
}

/// The rule of an error of an indicator, without the name of its module.
fn rule_of(error: &QuantError) -> String {
    match error {
        QuantError::Value {
            field, rule, value, ..
        } => format!("{field} {rule}, got {value}"),
        other => other.to_string(),
    }
}
