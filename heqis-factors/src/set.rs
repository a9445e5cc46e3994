//! A set of factors: definitions, checked, and what is known about each of them before any bar.

use std::collections::HashMap;
use std::sync::Arc;

use heqis_quant::features::id_of;

use crate::check::Checker;
use crate::columns::Columns;
use crate::fault::{Broken, FactorError, Fault};
use crate::graph::Slot;
use crate::program::Program;
use crate::text::file::{Line, lines};
use crate::text::parser::parse;
use crate::text::tree::{Canonical, canonical};

/// Longest text of a set.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Longest canonical text of one factor.
pub(crate) const MAX_DEFINITION_BYTES: usize = 4096;
/// Largest number of definitions of a set.
const MAX_DEFINITIONS: usize = 4096;

/// Factors that are computed together, in the order of their definitions.
///
/// ```
/// use heqis_factors::{Columns, FactorSet};
///
/// let set = FactorSet::parse("
///     _change = close / ref(close, 1) - 1        # begins with _: used below, and no factor itself
///     roc5    = close/ref( close,5 )
///     up10    = count(_change > 0, 10) / 10
/// ", &Columns::bars())?;
/// assert_eq!(set.names().collect::<Vec<_>>(), ["roc5", "up10"]);
/// assert_eq!(set.definitions()[0], "roc5 = close / ref(close, 5)");
/// assert_eq!(set.definitions()[1], "up10 = count(close / ref(close, 1) - 1 > 0, 10) / 10");
/// assert_eq!((set.look_back(0), set.look_back(1)), (5, 10));
/// # Ok::<(), heqis_factors::FactorError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FactorSet {
    factors: Arc<[Factor]>,
    definitions: Arc<[String]>,
    pub(crate) program: Arc<Program>,
    columns: usize,
}

#[derive(Clone, Debug)]
struct Factor {
    name: String,
    slot: Slot,
    look_back: usize,
}

impl PartialEq for FactorSet {
    fn eq(&self, other: &Self) -> bool {
        self.definitions == other.definitions && self.columns == other.columns
    }
}

impl Eq for FactorSet {}

impl FactorSet {
    /// Reads a file of definitions; `docs/factors.md` describes the language.
    ///
    /// # Errors
    /// Returns [`FactorError::Text`] with the first place that breaks a rule, and [`FactorError::Value`] when the text has no factor,
    /// or the set is too large.
    pub fn parse(text: &str, columns: &Columns) -> Result<Self, FactorError> {
        Self::with(text, columns, false)
    }

    /// As [`FactorSet::parse`]; with `keep_copies` every common subexpression is computed where it is written.
    pub(crate) fn with(
        text: &str,
        columns: &Columns,
        keep_copies: bool,
    ) -> Result<Self, FactorError> {
        if text.len() > MAX_TEXT_BYTES {
            let rule = format!("must have at most {MAX_TEXT_BYTES} bytes");
            return Err(FactorError::value("text of factors", rule, text.len()));
        }
        let fault = |broken: Broken| -> Fault { broken.within(text) };
        let lines = lines(text).map_err(fault)?;
        if lines.len() > MAX_DEFINITIONS {
            let rule = format!("must be at most {MAX_DEFINITIONS}");
            return Err(FactorError::value("definitions", rule, lines.len()));
        }
        let mut checker = Checker::new(text, columns, keep_copies);
        let mut texts = HashMap::new();
        let (mut factors, mut definitions) = (Vec::new(), Vec::new());
        for line in &lines {
            let tree = parse(text, line.expression.clone()).map_err(fault)?;
            let value = checker
                .define(&line.name, &line.name_span, &tree)
                .map_err(fault)?;
            let definition = |name: &str| texts.get(name).cloned();
            let written = canonical(&tree, &definition, MAX_DEFINITION_BYTES);
            let written = written.filter(|written| fits(&written.text));
            let written: Canonical = written.ok_or_else(|| fault(too_long(line)))?;
            if !line.name.starts_with('_') {
                definitions.push(format!("{} = {}", line.name, written.text));
                factors.push(Factor {
                    name: line.name.clone(),
                    slot: value.slot,
                    look_back: checker.graph.fact(value.slot).settled,
                });
            }
            texts.insert(line.name.clone(), written);
        }
        if factors.is_empty() {
            let rule = "must define at least one factor: name = expression";
            return Err(FactorError::value("text of factors", rule, "none"));
        }
        let outputs: Vec<Slot> = factors.iter().map(|factor| factor.slot).collect();
        Ok(Self {
            program: Arc::new(Program::new(&checker.graph, &outputs)?),
            factors: factors.into(),
            definitions: definitions.into(),
            columns: columns.len(),
        })
    }

    /// Returns the names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factors.iter().map(|factor| factor.name.as_str())
    }

    /// Returns each factor as `name = expression`, in canonical form, with the definitions that it uses written out. Equal texts are equal
    /// factors, and each can be read again by itself.
    #[must_use]
    pub fn definitions(&self) -> &[String] {
        &self.definitions
    }

    /// Returns the number of factors, at least 1.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.factors.len()
    }

    /// Returns a number that identifies the definitions and their order: [`heqis_quant::features::id_of`] of them.
    #[must_use]
    pub fn id(&self) -> u32 {
        id_of(&self.definitions)
    }

    /// Returns the number of bars before the one of a value that the value depends on: where it comes from a recursion such as `ema`, the
    /// bars after which the effect of the start has faded to [`heqis_quant::indicators::SETTLED`]. The factor is missing
    /// on that many first bars of a series.
    ///
    /// # Panics
    /// When there is no such factor.
    #[must_use]
    pub fn look_back(&self, factor: usize) -> usize {
        self.factors[factor].look_back
    }

    /// Returns the largest look-back of the set.
    #[must_use]
    pub fn warmup_bars(&self) -> usize {
        let bars = self.factors.iter().map(|factor| factor.look_back);
        bars.max().unwrap_or(0)
    }

    /// Returns whether a factor compares the instruments of a day; such a set needs a [`Panel`](crate::Panel).
    #[must_use]
    pub fn compares(&self) -> bool {
        self.program.compares()
    }

    /// Returns the number of operations of one bar, common subexpressions counted once.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.program.stages.iter().map(Vec::len).sum()
    }

    /// Returns the number of columns that each bar must have values for.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes the factors of a bar, the `bars`-th of its series, into `out`; returns whether none is missing.
    pub(crate) fn read(&self, bars: u64, values: &[f64], out: &mut [f64]) -> bool {
        let mut complete = true;
        for (factor, out) in self.factors.iter().zip(out) {
            *out = match bars > factor.look_back as u64 {
                true => values[factor.slot as usize],
                false => f64::NAN,
            };
            complete &= !out.is_nan();
        }
        complete
    }

    pub(crate) fn check_len(&self, field: &'static str, got: usize) -> Result<(), FactorError> {
        let expected = match field {
            "out" => self.len(),
            _ => self.columns,
        };
        match got == expected {
            true => Ok(()),
            false => Err(FactorError::value(
                field,
                format!("must have {expected} places"),
                got,
            )),
        }
    }
}

/// Whether a canonical text can be read again: written out, it is deeper than the text that it stands for.
fn fits(text: &str) -> bool {
    parse(text, 0..text.len()).is_ok()
}

fn too_long(line: &Line) -> Broken {
    Broken::new(
        &line.name_span,
        format!(
            "{} must be shorter: with the definitions that it uses written out, it has more than {MAX_DEFINITION_BYTES} characters or is nested too deep",
            line.name
        ),
    )
}
