//! The one public error of this crate. Each message names the place, the rule and the value that broke it.

/// Everything that can be wrong with what a caller, a file or a configuration hands to this crate.
///
/// A bar that breaks a market rule is not an error but an expected outcome: see [`crate::clean::Reject`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A text is no symbol.
    #[error("symbol {got:?}: {rule}")]
    Symbol {
        /// The text as given.
        got: String,
        /// What a symbol must be, with the nearest right spelling where there is one.
        rule: String,
    },
    /// A text is no date, or the date lies outside the supported years.
    #[error("date {got:?}: {rule}")]
    Date {
        /// The text as given.
        got: String,
        /// What a date must be.
        rule: &'static str,
    },
    /// The first line of a table cannot be understood.
    #[error("{source_name} header: {rule}, got {got:?}")]
    Header {
        /// The name of the table, usually its file name.
        source_name: String,
        /// What the header must satisfy.
        rule: String,
        /// The header, or the part of it that breaks the rule.
        got: String,
    },
    /// One cell of a table is wrong. The rows after it can still be read.
    #[error("{source_name} line {line}, column {column}: {rule}, got {value:?}")]
    Row {
        /// The name of the table, usually its file name.
        source_name: String,
        /// The line in the file, counted from 1.
        line: u64,
        /// The column as the header spells it.
        column: String,
        /// What the cell must satisfy.
        rule: String,
        /// The cell as written.
        value: String,
    },
    /// The bytes of a table cannot be read.
    #[error("{source_name}: reading failed: {source}")]
    Io {
        /// The name of the table, usually its file name.
        source_name: String,
        /// What the reader said.
        source: std::io::Error,
    },
    /// A parameter, a configuration value or an argument breaks a rule.
    #[error("{place}: {field}: {rule}, got {value}")]
    Value {
        /// The module or document that holds the field.
        place: &'static str,
        /// The field.
        field: String,
        /// What the field must satisfy.
        rule: String,
        /// The value as given.
        value: String,
    },
    /// A line of a journal breaks its format: the file was changed, or the disk lies.
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
        /// What the parser said, with line and column.
        source: serde_json::Error,
    },
}

impl QuantError {
    pub(crate) fn value(
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

/// Returns `value` when it is finite, and otherwise an error that names `place` and `field`.
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
