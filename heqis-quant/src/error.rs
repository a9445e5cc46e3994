//! The public error of this crate. Each message names the place, the rule and the value that breaks it.

/// An invalid argument, file or configuration.
///
/// A bar that breaks a market rule is not an error but an expected outcome: see [`crate::clean::Reject`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A text is no valid symbol.
    #[error("symbol {got:?}: {rule}")]
    Symbol {
        /// The text as given.
        got: String,
        /// The rule that it breaks, with the nearest valid spelling, if any.
        rule: String,
    },
    /// A text is no date, or a date outside the supported years.
    #[error("date {got:?}: {rule}")]
    Date {
        /// The text as given.
        got: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// The header of a table cannot be understood.
    #[error("{source_name} header: {rule}, got {got:?}")]
    Header {
        /// The name of the table, usually its file name.
        source_name: String,
        /// The rule that the header breaks.
        rule: String,
        /// The header, or its part that breaks the rule.
        got: String,
    },
    /// One cell of a table is invalid. The rows after it can still be read.
    #[error("{source_name} line {line}, column {column}: {rule}, got {value:?}")]
    Row {
        /// The name of the table, usually its file name.
        source_name: String,
        /// The line in the file, counted from 1.
        line: u64,
        /// The column as the header spells it.
        column: String,
        /// The rule that the cell breaks.
        rule: String,
        /// The cell as written.
        value: String,
    },
    /// The bytes of a table cannot be read.
    #[error("{source_name}: reading failed: {source}")]
    Io {
        /// The name of the table, usually its file name.
        source_name: String,
        /// The error of the reader.
        source: std::io::Error,
    },
    /// A parameter, a configuration value or an argument breaks a rule.
    #[error("{place}: {field}: {rule}, got {value}")]
    Value {
        /// The module or document of the field.
        place: &'static str,
        /// The field.
        field: String,
        /// The rule that the field breaks.
        rule: String,
        /// The value as given.
        value: String,
    },
    /// A line of a journal breaks its format: the file was modified or damaged.
    #[error("journal {source_name}, line {line}: {rule}")]
    Journal {
        /// The journal, usually its path.
        source_name: String,
        /// The line, from 1.
        line: usize,
        /// The rule that it breaks.
        rule: String,
    },
    /// A JSON document has the wrong syntax or shape.
    #[error("{place}: {source}")]
    Json {
        /// The kind of document.
        place: &'static str,
        /// The error of the parser, with line and column.
        source: serde_json::Error,
    },
}

impl QuantError {
    /// Makes a [`QuantError::Value`].
    pub fn value(
        place: &'static str,
        field: impl Into<String>,
        rule: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        Self::Value {
            place,
            field: field.into(),
            rule: rule.into(),
            value: value.to_string(),
        }
    }
}

/// Returns `value` if it is finite, and otherwise an error with `place` and `field`.
pub(crate) fn finite(place: &'static str, field: &str, value: f64) -> Result<f64, QuantError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(QuantError::value(
            place,
            field,
            "must be a finite number",
            value,
        ))
    }
}
