//! The public error of this crate: the place in a text, the rule that it breaks, and what was found there.

use std::fmt;
use std::ops::Range;

use heqis_quant::QuantError;

/// Longest part of a line that a fault shows.
const SHOWN_CHARS: usize = 120;

/// A text, a setting or an input that breaks a rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// A place in a text of expressions.
    #[error("{0}")]
    Text(Fault),
    /// An argument of a function of this crate.
    #[error("{field}: {rule}, got {got}")]
    Value {
        /// The argument.
        field: &'static str,
        /// The rule that it breaks.
        rule: String,
        /// The value as given.
        got: String,
    },
    /// A rule of heqis-quant.
    #[error(transparent)]
    Quant(#[from] QuantError),
}

impl FactorError {
    pub(crate) fn value(field: &'static str, rule: impl Into<String>, got: impl ToString) -> Self {
        Self::Value {
            field,
            rule: rule.into(),
            got: got.to_string(),
        }
    }
}

impl From<Fault> for FactorError {
    fn from(fault: Fault) -> Self {
        Self::Text(fault)
    }
}

/// A place in a text that breaks a rule. It is displayed with the line and a caret below the place.
///
/// ```
/// use heqis_factors::{Columns, FactorSet};
///
/// let fault = FactorSet::parse("x = close / ref(close, -5)", &Columns::bars()).unwrap_err();
/// assert_eq!(fault.to_string(), "\
/// line 1, column 13: refused: ref(close, -5) reads the future
///     x = close / ref(close, -5)
///                 ^^^^^^^^^^^^^^");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The number of characters that the caret marks, at least 1.
    pub width: usize,
    /// The rule, with the value that breaks it.
    pub rule: String,
    /// The line of the text.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, .. } = self;
        // A window of a long line that begins a little before the place.
        let from = match self.column > SHOWN_CHARS {
            true => self.column - SHOWN_CHARS / 2,
            false => 1,
        };
        let shown = self.text.chars().skip(from - 1).take(SHOWN_CHARS);
        let shown: String = shown.map(|c| if c == '\t' { ' ' } else { c }).collect();
        let blanks = " ".repeat(self.column - from);
        let room = (SHOWN_CHARS + from).saturating_sub(self.column).max(1);
        let carets = "^".repeat(self.width.min(room));
        writeln!(f, "line {line}, column {column}: {}", self.rule)?;
        writeln!(f, "    {}", shown.trim_end())?;
        write!(f, "    {blanks}{carets}")
    }
}

/// A place in bytes of the whole text.
pub(crate) type Span = Range<usize>;

/// A fault before its line is known.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) span: Span,
    pub(crate) rule: String,
}

impl Broken {
    pub(crate) fn new(span: &Span, rule: impl Into<String>) -> Self {
        Self {
            span: span.clone(),
            rule: rule.into(),
        }
    }

    /// Finds the line of the place in the text that the span belongs to.
    pub(crate) fn within(self, text: &str) -> Fault {
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let marked = &text[start..end.min(line_end)];
        Fault {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: marked.chars().count().max(1),
            rule: self.rule,
            text: text[line_start..line_end].trim_end().to_owned(),
        }
    }
}

/// Returns the last boundary of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
