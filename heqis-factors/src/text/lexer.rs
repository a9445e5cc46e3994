//! Characters → tokens.

use crate::fault::{Broken, Span};

/// A token with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A number without a sign, finite.
    Number(f64),
    /// A name, or one with `$` before it.
    Name(String),
    /// Brackets, commas and operators.
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 16] = [
    "<=", ">=", "==", "!=", "&&", "||", "<", ">", "(", ")", ",", ".", "+", "-", "*", "/",
];

/// Cuts `text[span]` into tokens; the last one is `End`.
pub(crate) fn tokens(text: &str, span: Span) -> Result<Vec<Token>, Broken> {
    let end = span.end;
    let mut at = span.start;
    let mut tokens = Vec::new();
    while at < end {
        let rest = &text[at..end];
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (kind, len) = if first.is_ascii_digit() {
            number(rest, at)?
        } else if let Some(len) = name_len(rest) {
            (TokenKind::Name(rest[..len].to_owned()), len)
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (TokenKind::Symbol(symbol), symbol.len())
        } else {
            let place = at..at + first.len_utf8();
            return Err(Broken::new(
                &place,
                format!("{first:?} is no part of an expression"),
            ));
        };
        tokens.push(Token {
            kind,
            span: at..at + len,
        });
        at += len;
    }
    tokens.push(Token {
        kind: TokenKind::End,
        span: end..end,
    });
    Ok(tokens)
}

/// Returns the length of a name at the start of the text: letters, digits and `_`, with one `$` allowed before them.
pub(crate) fn name_len(text: &str) -> Option<usize> {
    let body = text.strip_prefix('$').unwrap_or(text);
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !body.starts_with(|c: char| letter(c) && !c.is_ascii_digit()) {
        return None;
    }
    let len = body.find(|c| !letter(c)).unwrap_or(body.len());
    Some(text.len() - body.len() + len)
}

fn number(rest: &str, at: usize) -> Result<(TokenKind, usize), Broken> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| {
        let tail = bytes.get(from..).unwrap_or_default();
        from + tail.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut len = digits(0);
    if bytes.get(len) == Some(&b'.') {
        len = digits(len + 1);
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let end = digits(len + 1 + sign);
        if end > len + 1 + sign {
            len = end;
        }
    }
    match rest[..len].parse::<f64>() {
        Ok(value) if value.is_finite() => Ok((TokenKind::Number(value), len)),
        _ => Err(Broken::new(
            &(at..at + len),
            format!("a number must fit into 64 bits, got {}", &rest[..len]),
        )),
    }
}
