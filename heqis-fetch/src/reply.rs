//! Replies: JSON → typed rows, strictly checked.

use heqis_quant::{Date, Symbol};
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, Kind};
use crate::error::FetchError;

/// A reply in JSON.
#[derive(Debug, Deserialize)]
pub struct Reply {
    /// 0 for success.
    pub code: i64,
    /// The vendor's message.
    #[serde(default)]
    pub msg: Option<String>,
    /// The table, absent in failures.
    #[serde(default)]
    pub data: Option<Data>,
}

/// The table of a reply.
#[derive(Debug, Deserialize)]
pub struct Data {
    /// Names of the columns.
    pub fields: Vec<String>,
    /// Rows.
    pub items: Vec<Vec<Value>>,
    /// Whether more rows follow.
    #[serde(default)]
    pub has_more: bool,
}

/// One typed cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Null or empty.
    None,
    /// Text.
    Text(String),
    /// An instrument.
    Code(Symbol),
    /// A day.
    Day(Date),
    /// A finite number.
    Number(f64),
}

impl Cell {
    /// Returns the text of the cell, days as `YYYYMMDD`, numbers with every digit.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => text.clone(),
            Self::Code(code) => code.to_string(),
            Self::Day(day) => compact(*day),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Formats a day as `YYYYMMDD`.
#[must_use]
pub fn compact(day: Date) -> String {
    day.to_string().replace('-', "")
}

/// Turns the table of a reply into rows in the order of the interface's fields.
///
/// # Errors
///
/// [`FetchError::Reply`] naming interface, row, field and value of the first cell that breaks a rule.
pub fn rows(api: &'static Api, data: &Data) -> Result<Vec<Vec<Cell>>, FetchError> {
    let fault = |row, field: &str, rule, value: String| FetchError::Reply {
        api: api.name,
        row,
        field: field.to_owned(),
        rule,
        value: value.chars().take(80).collect(),
    };
    let mut places = Vec::new();
    for (name, _) in api.fields {
        match data.fields.iter().position(|field| field == name) {
            Some(place) => places.push(place),
            None => {
                return Err(fault(
                    0,
                    name,
                    "must be in the reply",
                    data.fields.join(","),
                ));
            }
        }
    }
    let mut rows = Vec::with_capacity(data.items.len());
    for (number, item) in data.items.iter().enumerate() {
        if item.len() != data.fields.len() {
            let got = format!("{} cells", item.len());
            return Err(fault(
                number,
                "*",
                "a row must have a cell for each field",
                got,
            ));
        }
        let mut row = Vec::with_capacity(places.len());
        for ((name, kind), place) in api.fields.iter().zip(&places) {
            let value = &item[*place];
            let cell = cell(*kind, value);
            row.push(cell.map_err(|rule| fault(number, name, rule, value.to_string()))?);
        }
        rows.push(row);
    }
    Ok(rows)
}

fn cell(kind: Kind, value: &Value) -> Result<Cell, &'static str> {
    match (kind, value) {
        (Kind::Text | Kind::DayOrNone | Kind::NumberOrNone, Value::Null) => Ok(Cell::None),
        (Kind::DayOrNone | Kind::NumberOrNone, Value::String(text)) if text.trim().is_empty() => {
            Ok(Cell::None)
        }
        (Kind::Text, Value::String(text)) => Ok(Cell::Text(text.clone())),
        (Kind::Code, Value::String(text)) => Symbol::parse(text)
            .map(Cell::Code)
            .map_err(|_| "must be a code"),
        (Kind::Day | Kind::DayOrNone, Value::String(text)) if text.len() == 8 => Date::parse(text)
            .map(Cell::Day)
            .map_err(|_| "must be a day"),
        (Kind::Number | Kind::NumberOrNone, Value::Number(number)) => number
            .as_f64()
            .filter(|number| number.is_finite())
            .map(Cell::Number)
            .ok_or("must be finite"),
        (Kind::Text, _) => Err("must be text or null"),
        (Kind::Code, _) => Err("must be a code"),
        (Kind::Day, _) => Err("must be a day YYYYMMDD"),
        (Kind::DayOrNone, _) => Err("must be a day YYYYMMDD or null"),
        (Kind::Number, _) => Err("must be a number"),
        (Kind::NumberOrNone, _) => Err("must be a number or null"),
    }
}
