//! A file of definitions → its names with the places of their expressions.
//!
//! A definition is `name = expression`; it continues on the next line while a bracket is open. `#` begins a comment. An
//! expression may stand in double quotes, and a line `[title]` is skipped, so that a table of TOML is such a file too.

use super::lexer::name_len;
use crate::fault::{Broken, Span};

/// One definition as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) expression: Span,
}

/// Cuts a text into definitions.
pub(crate) fn lines(text: &str) -> Result<Vec<Line>, Broken> {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = statement_end(text, at);
        let body = without_comment(&text[at..end]);
        let start = at + (body.len() - body.trim_start().len());
        let body = body.trim();
        let title = body.starts_with('[') && body.ends_with(']');
        if !body.is_empty() && !title {
            lines.push(definition(text, start..start + body.len())?);
        }
        at = end + 1;
    }
    Ok(lines)
}

/// Returns the end of the line at `at`, or of a later one that closes its brackets.
fn statement_end(text: &str, at: usize) -> usize {
    let (mut open, mut comment) = (0usize, false);
    for (i, byte) in text.bytes().enumerate().skip(at) {
        match byte {
            b'\n' if open == 0 => return i,
            b'\n' => comment = false,
            b'#' => comment = true,
            b'(' if !comment => open += 1,
            b')' if !comment => open = open.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// A statement of one line ends before its comment; the lexer skips those within.
fn without_comment(text: &str) -> &str {
    match (text.find('#'), text.find('\n')) {
        (Some(comment), Some(line)) if comment > line => text,
        (Some(comment), None) => &text[..comment],
        (Some(_), Some(_)) | (None, _) => text,
    }
}

fn definition(text: &str, span: Span) -> Result<Line, Broken> {
    let body = &text[span.clone()];
    let rule = "must be a definition: name = expression";
    let Some(len) = name_len(body).filter(|_| !body.starts_with('$')) else {
        return Err(Broken::new(&span, rule));
    };
    let rest = body[len..].trim_start();
    let sign = span.end - rest.len();
    let expression = match rest.strip_prefix('=') {
        Some(expression) if !expression.starts_with('=') => expression,
        _ => return Err(Broken::new(&span, rule)),
    };
    let quoted = expression.trim();
    let quoted = quoted
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'));
    let expression = match quoted {
        Some(inner) => {
            let start = span.end - expression.len() + expression.find('"').unwrap_or(0) + 1;
            start..start + inner.len()
        }
        None => sign + 1..span.end,
    };
    Ok(Line {
        name: body[..len].to_owned(),
        name_span: span.start..span.start + len,
        expression,
    })
}
