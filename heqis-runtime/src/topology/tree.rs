//! A TOML value in which every key and value knows its place.
//!
//! The file, the chosen profile and the overrides are merged here, before anything is interpreted, so that the rest
//! of the module sees one tree and a fault in an override still points at the override.

use std::fmt;

use toml_edit::{Item, TableLike};

use super::place::Place;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What TOML can hold. Dates are kept as text: no key of a topology has a use for more.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Array(Vec<Tree>),
    Table(Vec<Entry>),
}

/// One key of a table with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands; for `[stages.market]` the word `market`.
    pub(crate) place: Place,
    pub(crate) tree: Tree,
}

impl Tree {
    /// Reads a whole document.
    ///
    /// # Errors
    /// The first syntax fault with its place.
    pub(crate) fn parse(text: &str, source: usize) -> Result<Self, (String, Place)> {
        match toml_edit::Document::parse(text) {
            Ok(document) => Ok(Self::table(
                document.as_table(),
                Place::new(source, 0..0),
                source,
            )),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                Err((error.message().to_owned(), Place::new(source, span)))
            }
        }
    }

    /// Reads one value as it may stand right of an equals sign; the text itself when it is no TOML value. `place` is
    /// where the text stands.
    pub(crate) fn parse_value(text: &str, place: Place) -> Self {
        let Ok(value) = text.parse::<toml_edit::Value>() else {
            return Self {
                place,
                value: Value::Text(text.to_owned()),
            };
        };
        let mut tree = Self::item(&Item::Value(value), place, place.source);
        tree.settle(place);
        tree
    }

    /// Moves the whole tree to one place.
    fn settle(&mut self, place: Place) {
        self.place = place;
        match &mut self.value {
            Value::Array(items) => items.iter_mut().for_each(|item| item.settle(place)),
            Value::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.place = place;
                entry.tree.settle(place);
            }),
            _ => {}
        }
    }

    fn table(table: &dyn TableLike, place: Place, source: usize) -> Self {
        let entries = table
            .iter()
            .filter(|(_, item)| !item.is_none())
            .map(|(name, item)| {
                let key = table.key(name).and_then(toml_edit::Key::span);
                let place = key.map_or(place, |span| Place::new(source, span));
                Entry {
                    key: name.to_owned(),
                    place,
                    tree: Self::item(item, place, source),
                }
            })
            .collect();
        Self {
            place,
            value: Value::Table(entries),
        }
    }

    fn item(item: &Item, outer: Place, source: usize) -> Self {
        let place = item.span().map_or(outer, |span| Place::new(source, span));
        if let Some(array) = item.as_array_of_tables() {
            let items = array.iter().map(|table| {
                let place = table.span().map_or(outer, |span| Place::new(source, span));
                Self::table(table, place, source)
            });
            return Self {
                place: outer,
                value: Value::Array(items.collect()),
            };
        }
        if let Some(table) = item.as_table() {
            // A header spans its brackets; the caret under the name alone reads better.
            return Self::table(table, outer, source);
        }
        match item.as_value() {
            Some(value) => Self::value(value, place, source),
            None => Self {
                place,
                value: Value::Table(Vec::new()),
            },
        }
    }

    fn value(value: &toml_edit::Value, place: Place, source: usize) -> Self {
        let read = match value {
            toml_edit::Value::String(text) => Value::Text(text.value().clone()),
            toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
            toml_edit::Value::Float(number) => Value::Float(*number.value()),
            toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
            toml_edit::Value::Datetime(date) => Value::Text(date.value().to_string()),
            toml_edit::Value::Array(items) => {
                let items = items.iter().map(|item| {
                    let place = item.span().map_or(place, |span| Place::new(source, span));
                    Self::value(item, place, source)
                });
                Value::Array(items.collect())
            }
            toml_edit::Value::InlineTable(table) => return Self::table(table, place, source),
        };
        Self { place, value: read }
    }

    /// The entries of a table in the order of the file; none for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.value {
            Value::Table(entries) => entries,
            _ => &mut [],
        }
    }

    /// The items of an array; none for anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.tree)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The place of the value at `path` below this tree, or of as much of the path as exists.
    pub(crate) fn find(&self, path: &[&str]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let next = match &self.value {
            Value::Array(items) => items.get(first.parse::<usize>().ok()?)?,
            _ => self.get(first)?,
        };
        Some(next.find(rest).unwrap_or(next.place))
    }

    /// Merges `over` into this tree: tables are merged key by key, anything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(entries), Value::Table(over)) => {
                for entry in over {
                    match entries
                        .iter_mut()
                        .find(|existing| existing.key == entry.key)
                    {
                        Some(existing) => existing.tree.overlay(entry.tree),
                        None => entries.push(entry),
                    }
                }
            }
            (_, value) => {
                *self = Self {
                    place: over.place,
                    value,
                }
            }
        }
    }

    /// Drops a key of a table.
    pub(crate) fn without(&self, drop: impl Fn(&str) -> bool) -> Self {
        match &self.value {
            Value::Table(entries) => {
                let kept = entries
                    .iter()
                    .filter(|entry| !drop(&entry.key))
                    .cloned()
                    .collect();
                Self {
                    place: self.place,
                    value: Value::Table(kept),
                }
            }
            _ => self.clone(),
        }
    }

    /// The value as JSON. A number that JSON cannot hold becomes `null`; the schema check has refused it before.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Bool(flag) => (*flag).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.as_str().into(),
            Value::Array(items) => items.iter().map(Self::to_json).collect(),
            Value::Table(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.tree.to_json()))
                .collect(),
        }
    }
}

/// The value as a message quotes it: short, and saying "a table" rather than printing one.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number:?}"),
            Value::Text(text) if text.chars().count() > 48 => {
                let start: String = text.chars().take(45).collect();
                write!(f, "\"{}…\"", start.escape_debug())
            }
            Value::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Value::Array(items) => write!(f, "an array of {}", items.len()),
            Value::Table(_) => f.write_str("a table"),
        }
    }
}
