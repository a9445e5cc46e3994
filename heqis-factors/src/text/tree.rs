//! The tree of one expression, and its canonical text.

use std::fmt::Write as _;

use crate::fault::Span;

/// An expression with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// Levels below this one; every walk over a tree recurses that often.
    pub(crate) depth: usize,
}

impl Tree {
    pub(crate) fn new(kind: Kind, span: Span) -> Self {
        let depth = match &kind {
            Kind::Number(_) | Kind::Name(_) | Kind::Second(..) => 0,
            Kind::Call(_, _, arguments) => {
                1 + arguments.iter().map(|tree| tree.depth).max().unwrap_or(0)
            }
            Kind::Line(of, _) | Kind::Unary(_, of) => 1 + of.depth,
            Kind::Binary(_, left, right) => 1 + left.depth.max(right.depth),
        };
        Self { kind, span, depth }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(f64),
    /// A column, a definition or a word such as `talib`.
    Name(String),
    /// A column of a second series, such as `index.close`.
    Second(String, String),
    Call(String, Span, Vec<Tree>),
    /// A line of an indicator, such as `.dif`.
    Line(Box<Tree>, String),
    Unary(Unary, Box<Tree>),
    Binary(Binary, Box<Tree>, Box<Tree>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Minus,
    Not,
}

/// The operators, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Or,
    And,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Binary {
    pub(crate) const COMPARISONS: [Self; 6] = [
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Equal,
        Self::NotEqual,
    ];

    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            comparison if Self::COMPARISONS.contains(&comparison) => 4,
            Self::Add | Self::Subtract => 5,
            _ => 6,
        }
    }
}

/// How strongly a text holds together: an operand that is weaker than its operator needs brackets.
const NOT: u8 = 3;
const MINUS: u8 = 7;
pub(crate) const WHOLE: u8 = 8;

/// A canonical text with its strength.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Canonical {
    pub(crate) text: String,
    pub(crate) strength: u8,
}

impl Canonical {
    fn at_least(self, strength: u8) -> String {
        match self.strength >= strength {
            true => self.text,
            false => format!("({})", self.text),
        }
    }
}

/// Writes a tree with single spaces and the fewest brackets. `definition` gives the text of a name that stands for an
/// expression. `None` when the text becomes longer than `longest`, which definitions of definitions soon are.
pub(crate) fn canonical(
    tree: &Tree,
    definition: &dyn Fn(&str) -> Option<Canonical>,
    longest: usize,
) -> Option<Canonical> {
    let write = |tree: &Tree| canonical(tree, definition, longest);
    let written = match &tree.kind {
        Kind::Number(value) => Canonical {
            text: format!("{value:?}").trim_end_matches(".0").to_owned(),
            strength: WHOLE,
        },
        Kind::Name(name) => definition(name).unwrap_or_else(|| Canonical {
            text: name.clone(),
            strength: WHOLE,
        }),
        Kind::Second(series, column) => Canonical {
            text: format!("{series}.{column}"),
            strength: WHOLE,
        },
        Kind::Call(name, _, arguments) => {
            let mut text = format!("{name}(");
            for (i, argument) in arguments.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                let _ = write!(text, "{comma}{}", write(argument)?.text);
                if text.len() > longest {
                    return None;
                }
            }
            text.push(')');
            Canonical {
                text,
                strength: WHOLE,
            }
        }
        Kind::Line(of, line) => Canonical {
            text: format!("{}.{line}", write(of)?.at_least(WHOLE)),
            strength: WHOLE,
        },
        Kind::Unary(Unary::Minus, of) => Canonical {
            text: format!("-{}", write(of)?.at_least(MINUS)),
            strength: MINUS,
        },
        Kind::Unary(Unary::Not, of) => Canonical {
            text: format!("not {}", write(of)?.at_least(NOT)),
            strength: NOT,
        },
        Kind::Binary(binary, left, right) => {
            let strength = binary.strength();
            // Operators of one strength are taken from the left; comparisons do not chain.
            let left_least = strength + u8::from(strength == 4);
            let left = write(left)?.at_least(left_least);
            let right = write(right)?.at_least(strength + 1);
            Canonical {
                text: format!("{left} {} {right}", binary.sign()),
                strength,
            }
        }
    };
    (written.text.len() <= longest).then_some(written)
}
