//! Answers as tables for other programs: CSV with the columns of the JSON answer.

use actix_web::HttpResponse;
use actix_web::http::header;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// As JSON.
    #[default]
    Json,
    /// As CSV, to be kept as a file.
    Csv,
}

/// A column: its name, and where its cells are found, as a JSON pointer without the first slash.
pub(crate) type Column = (&'static str, &'static str);

/// Writes rows.
pub(crate) fn rows(
    name: &str,
    columns: &[Column],
    rows: &[impl Serialize],
) -> Result<HttpResponse, Fault> {
    let rows: Vec<Value> = rows.iter().map(value).collect::<Result<_, _>>()?;
    let cells = rows.iter().map(|row| {
        columns
            .iter()
            .map(|(_, pointer)| cell(row.pointer(&format!("/{pointer}"))))
    });
    Ok(sheet(name, columns, cells))
}

/// Writes an answer that has a list for each column.
pub(crate) fn columns(
    name: &str,
    columns: &[Column],
    length: usize,
    answer: &impl Serialize,
) -> Result<HttpResponse, Fault> {
    let answer = value(answer)?;
    let lists: Vec<Option<&Vec<Value>>> = columns
        .iter()
        .map(|(_, pointer)| {
            answer
                .pointer(&format!("/{pointer}"))
                .and_then(Value::as_array)
        })
        .collect();
    let lists = &lists;
    let cells = (0..length).map(|row| {
        lists
            .iter()
            .map(move |list| cell(list.and_then(|list| list.get(row))))
    });
    Ok(sheet(name, columns, cells))
}

fn value(row: &impl Serialize) -> Result<Value, Fault> {
    serde_json::to_value(row).map_err(|error| Fault::Broken(error.to_string()))
}

fn sheet(
    name: &str,
    columns: &[Column],
    rows: impl Iterator<Item = impl Iterator<Item = String>>,
) -> HttpResponse {
    let mut text = columns
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(",");
    text.push('\n');
    for row in rows {
        for (at, cell) in row.enumerate() {
            if at > 0 {
                text.push(',');
            }
            text += &cell;
        }
        text.push('\n');
    }
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.csv\""),
        ))
        .body(text)
}

/// One cell, quoted where it has to be; lists of notes are joined.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(notes)) => {
            let note = |note: &Value| match note.as_object() {
                Some(fields) => fields.values().map(plain).collect::<Vec<_>>().join(" "),
                None => plain(note),
            };
            notes.iter().map(note).collect::<Vec<_>>().join("; ")
        }
        Some(other) => return other.to_string(),
    };
    // A spreadsheet takes text that begins so for a formula.
    let text = match text.starts_with(['=', '+', '-', '@', '\t']) {
        true => format!("'{text}"),
        false => text,
    };
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_keep_numbers_and_quote_what_would_break_a_row() {
        assert_eq!(cell(Some(&json!(0.1))), "0.1");
        assert_eq!(cell(Some(&json!(-3))), "-3");
        assert_eq!(cell(Some(&Value::Null)), "");
        assert_eq!(cell(Some(&json!("a,\"b\""))), "\"a,\"\"b\"\"\"");
        assert_eq!(cell(Some(&json!("=1+1"))), "'=1+1");
        let notes =
            json!([{"date": "2015-03-03", "reason": "limit_up"}, {"date": null, "reason": "x"}]);
        assert_eq!(cell(Some(&notes)), "2015-03-03 limit_up;  x");
    }
}
