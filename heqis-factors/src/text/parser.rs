//! Tokens → trees, by recursive descent with a bound on the depth.
//!
//! ```text
//! or      = and { ("or" | "||") and }
//! and     = not { ("and" | "&&") not }
//! not     = "not" not | compare
//! compare = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum     = product { ("+" | "-") product }
//! product = minus { ("*" | "/") minus }
//! minus   = "-" minus | dotted
//! dotted  = atom { "." name }
//! atom    = number | name | name "(" [ or { "," or } ] ")" | "(" or ")"
//! ```

use super::lexer::{Token, TokenKind, tokens};
use super::tree::{Binary, Kind, Tree, Unary};
use crate::fault::{Broken, Span};

/// Largest depth of brackets, calls and signs.
pub(crate) const MAX_DEPTH: usize = 48;
/// Largest depth of a tree, whose operators in a row are levels too.
pub(crate) const MAX_LEVELS: usize = 160;
/// Largest number of arguments that is read.
const MAX_ARGUMENTS: usize = 16;

/// Reads the expression at `span` of a text.
pub(crate) fn parse(text: &str, span: Span) -> Result<Tree, Broken> {
    let mut parser = Parser {
        tokens: tokens(text, span)?,
        at: 0,
        depth: 0,
    };
    let tree = parser.or()?;
    match &parser.peek().kind {
        TokenKind::End => Ok(tree),
        _ => Err(parser.expected("an operator or the end of the expression")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

type Rule = fn(&mut Parser) -> Result<Tree, Broken>;

impl Parser {
    /// The next token; the last one is `End` and is never passed.
    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn expected(&self, what: &str) -> Broken {
        let Token { kind, span } = self.peek();
        let got = match kind {
            TokenKind::End => "the end".to_owned(),
            TokenKind::Number(value) => value.to_string(),
            TokenKind::Name(name) => name.clone(),
            TokenKind::Symbol(symbol) => format!("{symbol:?}"),
        };
        Broken::new(span, format!("must be {what}, got {got}"))
    }

    /// Takes the next token if it is this symbol or this word.
    fn take(&mut self, text: &str) -> Option<Span> {
        let token = self.peek();
        let fits = match &token.kind {
            TokenKind::Symbol(symbol) => *symbol == text,
            TokenKind::Name(name) => name == text,
            _ => false,
        };
        let span = fits.then(|| token.span.clone());
        self.at += usize::from(fits);
        span
    }

    fn deeper(&mut self, rule: Rule) -> Result<Tree, Broken> {
        if self.depth >= MAX_DEPTH {
            let rule = format!("must be nested at most {MAX_DEPTH} levels deep");
            return Err(Broken::new(&self.peek().span.clone(), rule));
        }
        self.depth += 1;
        let tree = rule(self);
        self.depth -= 1;
        tree
    }

    /// Operators of one strength, taken from the left.
    fn chain(&mut self, signs: &[(&str, Binary)], operand: Rule) -> Result<Tree, Broken> {
        let mut left = operand(self)?;
        loop {
            let mut found = signs.iter();
            let Some((_, binary)) = found.find(|(sign, _)| self.take(sign).is_some()) else {
                return Ok(left);
            };
            let right = operand(self)?;
            left = Self::binary(*binary, left, right)?;
        }
    }

    fn binary(binary: Binary, left: Tree, right: Tree) -> Result<Tree, Broken> {
        let span = left.span.start..right.span.end;
        let kind = Kind::Binary(binary, Box::new(left), Box::new(right));
        Self::made(kind, span)
    }

    fn made(kind: Kind, span: Span) -> Result<Tree, Broken> {
        let tree = Tree::new(kind, span);
        if tree.depth > MAX_LEVELS {
            let rule =
                format!("must be at most {MAX_LEVELS} operators and calls deep: name parts of it");
            return Err(Broken::new(&tree.span, rule));
        }
        Ok(tree)
    }

    fn or(&mut self) -> Result<Tree, Broken> {
        self.chain(&[("or", Binary::Or), ("||", Binary::Or)], Self::and)
    }

    fn and(&mut self) -> Result<Tree, Broken> {
        self.chain(&[("and", Binary::And), ("&&", Binary::And)], Self::not)
    }

    fn not(&mut self) -> Result<Tree, Broken> {
        let Some(span) = self.take("not") else {
            return self.compare();
        };
        let of = self.deeper(Self::not)?;
        let span = span.start..of.span.end;
        Self::made(Kind::Unary(Unary::Not, Box::new(of)), span)
    }

    fn compare(&mut self) -> Result<Tree, Broken> {
        let left = self.sum()?;
        let mut signs = Binary::COMPARISONS.into_iter();
        let Some(binary) = signs.find(|binary| self.take(binary.sign()).is_some()) else {
            return Ok(left);
        };
        let right = self.sum()?;
        let mut more = Binary::COMPARISONS.into_iter();
        if let Some(span) = more.find_map(|binary| self.take(binary.sign())) {
            let rule = "comparisons do not chain: write (a < b) and (b < c)";
            return Err(Broken::new(&span, rule));
        }
        Self::binary(binary, left, right)
    }

    fn sum(&mut self) -> Result<Tree, Broken> {
        let signs = [("+", Binary::Add), ("-", Binary::Subtract)];
        self.chain(&signs, Self::product)
    }

    fn product(&mut self) -> Result<Tree, Broken> {
        let signs = [("*", Binary::Multiply), ("/", Binary::Divide)];
        self.chain(&signs, Self::minus)
    }

    fn minus(&mut self) -> Result<Tree, Broken> {
        let Some(span) = self.take("-") else {
            return self.dotted();
        };
        let of = self.deeper(Self::minus)?;
        let span = span.start..of.span.end;
        Self::made(Kind::Unary(Unary::Minus, Box::new(of)), span)
    }

    fn dotted(&mut self) -> Result<Tree, Broken> {
        let mut tree = self.atom()?;
        for length in 0.. {
            if self.take(".").is_none() {
                break;
            }
            let token = self.peek().clone();
            let TokenKind::Name(name) = token.kind else {
                return Err(self.expected("the name of a line or a column"));
            };
            if length > 0 {
                let rule = "a line or a column has no parts";
                return Err(Broken::new(&token.span, rule));
            }
            self.at += 1;
            let span = tree.span.start..token.span.end;
            let kind = match tree.kind {
                Kind::Name(series) => Kind::Second(series, name),
                kind => Kind::Line(Box::new(Tree::new(kind, tree.span)), name),
            };
            tree = Self::made(kind, span)?;
        }
        Ok(tree)
    }

    fn atom(&mut self) -> Result<Tree, Broken> {
        let Token { kind, span } = self.peek().clone();
        match kind {
            TokenKind::Number(value) => {
                self.at += 1;
                Self::made(Kind::Number(value), span)
            }
            TokenKind::Name(name) => {
                self.at += 1;
                if self.take("(").is_none() {
                    return Self::made(Kind::Name(name), span);
                }
                let arguments = self.arguments()?;
                let Some(end) = self.take(")") else {
                    return Err(self.expected("a comma or a closing bracket"));
                };
                let whole = span.start..end.end;
                Self::made(Kind::Call(name, span, arguments), whole)
            }
            TokenKind::Symbol("(") => {
                self.at += 1;
                let inner = self.deeper(Self::or)?;
                match self.take(")") {
                    Some(end) => Self::made(inner.kind, span.start..end.end),
                    None => Err(self.expected("a closing bracket")),
                }
            }
            _ => Err(self.expected("a number, a name or an opening bracket")),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Tree>, Broken> {
        let mut arguments = Vec::new();
        if matches!(self.peek().kind, TokenKind::Symbol(")")) {
            return Ok(arguments);
        }
        loop {
            if arguments.len() == MAX_ARGUMENTS {
                let rule = format!("must have at most {MAX_ARGUMENTS} arguments");
                return Err(Broken::new(&self.peek().span.clone(), rule));
            }
            arguments.push(self.deeper(Self::or)?);
            if self.take(",").is_none() {
                return Ok(arguments);
            }
        }
    }
}
