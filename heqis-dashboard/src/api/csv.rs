//! Responses as CSV, for other programs.

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_error::ApiError;

/// Format of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// JSON.
    #[default]
    Json,
    /// CSV, as a download.
    Csv,
}

/// A column: its name, and a JSON pointer to its cells, without the first slash.
pub(crate) type Column = (&'static str, &'static str);

/// Returns a response with one line per row.
pub(crate) fn rows(
    name: &str,
    columns: &[Column],
    rows: &[impl Serialize],
) -> Result<HttpResponse, ApiError> {
    let rows: Vec<Value> = rows.iter().map(value).collect::<Result<_, _>>()?;
    let cells = rows.iter().map(|row| {
        columns
            .iter()
            .map(|(_, pointer)| cell(row.pointer(&format!("/{pointer}"))))
    });
    respond(name, columns, cells)
}

/// Returns a response of data that holds a list per column.
pub(crate) fn columns(
    name: &str,
    columns: &[Column],
    length: usize,
    data: &impl Serialize,
) -> Result<HttpResponse, ApiError> {
    let data = value(data)?;
    let lists: Vec<Option<&Vec<Value>>> = columns
        .iter()
        .map(|(_, pointer)| {
            data.pointer(&format!("/{pointer}"))
                .and_then(Value::as_array)
        })
        .collect();
    let lists = &lists;
    let cells = (0..length).map(|row| {
        lists
            .iter()
            .map(move |list| cell(list.and_then(|list| list.get(row))))
    });
    respond(name, columns, cells)
}

/// Returns a response that sends `chunks`, which [`chunk`] makes, as they come.
pub(crate) fn streamed(
    name: &str,
    columns: &[Column],
    chunks: impl Stream<Item = Result<Bytes, ApiError>> + 'static,
) -> Result<HttpResponse, ApiError> {
    let head = encoded([columns.iter().map(|(name, _)| (*name).to_owned())].into_iter())?;
    let head = stream::once(std::future::ready(Ok(head)));
    Ok(download(name).streaming(head.chain(chunks)))
}

/// Returns the lines of some rows.
pub(crate) fn chunk(columns: &[Column], rows: &[impl Serialize]) -> Result<Bytes, ApiError> {
    let rows: Vec<Value> = rows.iter().map(value).collect::<Result<_, _>>()?;
    encoded(rows.iter().map(|row| {
        columns
            .iter()
            .map(|(_, pointer)| cell(row.pointer(&format!("/{pointer}"))))
    }))
}

fn encoded(rows: impl Iterator<Item = impl Iterator<Item = String>>) -> Result<Bytes, ApiError> {
    let mut table = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        table.write_record(row).map_err(internal)?;
    }
    table.into_inner().map(Bytes::from).map_err(internal)
}

fn download(name: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.csv\""),
        ));
    response
}

fn value(row: &impl Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(row).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::Internal(error.to_string())
}

fn respond(
    name: &str,
    columns: &[Column],
    rows: impl Iterator<Item = impl Iterator<Item = String>>,
) -> Result<HttpResponse, ApiError> {
    let mut content =
        encoded([columns.iter().map(|(name, _)| (*name).to_owned())].into_iter())?.to_vec();
    content.extend_from_slice(&encoded(rows)?);
    Ok(download(name).body(content))
}

/// Returns the text of a cell; lists of notes are joined.
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
    // Spreadsheets would evaluate such text as a formula.
    match text.starts_with(['=', '+', '-', '@', '\t']) {
        true => format!("'{text}"),
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
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn cells_keep_numbers_and_escape_formulas() {
        assert_eq!(cell(Some(&json!(0.1))), "0.1");
        assert_eq!(cell(Some(&json!(-3))), "-3");
        assert_eq!(cell(Some(&Value::Null)), "");
        assert_eq!(cell(Some(&json!("=1+1"))), "'=1+1");
        let notes =
            json!([{"date": "2015-03-03", "reason": "limit_up"}, {"date": null, "reason": "x"}]);
        assert_eq!(cell(Some(&notes)), "2015-03-03 limit_up;  x");
    }

    #[test]
    fn separators_and_quotes_in_a_cell_do_not_break_a_row() {
        let row = json!({"a": "x,\"y\"", "b": 1});
        let response = rows("t", &[("a", "a"), ("b", "b")], &[row]).unwrap();
        let body =
            actix_rt::System::new().block_on(actix_web::body::to_bytes(response.into_body()));
        assert_eq!(body.ok().unwrap(), "a,b\n\"x,\"\"y\"\"\",1\n");
    }
}
