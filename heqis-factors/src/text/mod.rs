//! Text → trees of expressions: [`lexer`], [`tree`], [`parser`], and [`file`] for the lines of a file.

pub(crate) mod file;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod tree;
