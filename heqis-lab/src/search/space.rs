//! The space of settings that is searched, a TOML file.
//!
//! ```toml
//! [space]
//! "rule.enter" = { from = 0.0, to = 0.004 }
//! "filters.stop_loss" = { from = 0.02, to = 0.2, log = true }
//! "broker.buy_days" = { from = 1, to = 10 }                      # whole numbers
//! mode = { choices = ["return", "class"] }
//!
//! [settings]                                                     # those that every trial has
//! "rule.min_confidence" = 0.4
//! ```
//!
//! A key is the path of a setting of a [backtest](Settings), or `mode` or `candidate`.

use std::collections::BTreeMap;
use std::path::Path;

use heqis_backtest::settings::Settings;
use heqis_quant::SignalMode;
use serde::Deserialize;
use toml::{Table, Value};

use crate::error::LabError;

/// Keys that are no settings of a backtest.
const MODE: &str = "mode";
const CANDIDATE: &str = "candidate";

/// The values that a setting may have. A point of it is a number from 0 to below 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Dimension {
    /// Any number from one to the other.
    Range {
        /// The least.
        from: f64,
        /// The greatest.
        to: f64,
        /// Whether small ones are as frequent as large ones.
        log: bool,
    },
    /// Whole numbers.
    Whole {
        /// The least.
        from: i64,
        /// The greatest.
        to: i64,
    },
    /// One of these.
    Choices(Vec<Value>),
}

impl Dimension {
    /// The value at a point.
    #[must_use]
    pub fn value(&self, point: f64) -> Value {
        match self {
            Self::Range {
                from,
                to,
                log: false,
            } => Value::Float(from + (to - from) * point),
            Self::Range {
                from,
                to,
                log: true,
            } => Value::Float(
                (from.ln() + (to.ln() - from.ln()) * point)
                    .exp()
                    .clamp(*from, *to),
            ),
            Self::Whole { from, to } => {
                let steps = (to - from + 1) as f64;
                Value::Integer((from + (point * steps) as i64).min(*to))
            }
            Self::Choices(choices) => {
                let at = (point * choices.len() as f64) as usize;
                choices[at.min(choices.len() - 1)].clone()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    space: BTreeMap<String, DimensionTable>,
    #[serde(default)]
    settings: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DimensionTable {
    from: Option<Value>,
    to: Option<Value>,
    #[serde(default)]
    log: bool,
    choices: Option<Vec<Value>>,
}

/// One trial's settings.
#[derive(Clone, Debug)]
pub struct Point {
    /// The value of each key of the space.
    pub values: BTreeMap<String, Value>,
    /// Name of the candidate.
    pub candidate: String,
    /// The signal mode.
    pub mode: SignalMode,
    /// The settings of the backtest.
    pub settings: Settings,
}

/// The space.
#[derive(Clone, Debug)]
pub struct Space {
    place: String,
    /// By key, in their order.
    pub dimensions: BTreeMap<String, Dimension>,
    fixed: BTreeMap<String, Value>,
    /// Settings before any key is set.
    base: Table,
}

impl Space {
    /// Reads a space over the candidates of these names, and the settings that all trials share.
    ///
    /// # Errors
    /// [`LabError`] with the key whose range, value or name breaks a rule.
    pub fn read(path: &Path, candidates: &[String], base: Table) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path).map_err(|source| LabError::file(path, source))?;
        Self::parse(&text, &path.display().to_string(), candidates, base)
    }

    /// Parses it; messages name it `place`.
    ///
    /// # Errors
    /// As [`Space::read`].
    pub fn parse(
        text: &str,
        place: &str,
        candidates: &[String],
        base: Table,
    ) -> Result<Self, LabError> {
        let file: File = toml::from_str(text)
            .map_err(|error| LabError::rule_got(place, "must be a space of settings", error))?;
        let mut dimensions = BTreeMap::new();
        for (key, table) in file.space {
            let dimension = dimension(&table)
                .map_err(|rule| LabError::rule(format!("{place}: {key}"), rule))?;
            if file.settings.contains_key(&key) {
                let rule = "must be searched or set, not both";
                return Err(LabError::rule(format!("{place}: {key}"), rule));
            }
            dimensions.insert(key, dimension);
        }
        if candidates.len() > 1 {
            let choices = candidates.iter().cloned().map(Value::String).collect();
            dimensions
                .entry(CANDIDATE.to_owned())
                .or_insert(Dimension::Choices(choices));
        }
        if dimensions.is_empty() {
            return Err(LabError::rule(place, "must have a key to search"));
        }
        let space = Self {
            place: place.to_owned(),
            dimensions,
            fixed: file.settings,
            base,
        };
        // Both ends of each dimension, and every choice, so that no trial fails on a key hours later.
        for (key, dimension) in &space.dimensions {
            let steps = match dimension {
                Dimension::Choices(choices) => choices.len(),
                Dimension::Range { .. } | Dimension::Whole { .. } => 2,
            };
            for step in 0..steps {
                let last = 1.0 - f64::EPSILON;
                let at = match dimension {
                    Dimension::Choices(choices) => (step as f64 + 0.5) / choices.len() as f64,
                    _ => [0.0, last][step],
                };
                let middle = space.dimensions.keys().map(|other| match other == key {
                    true => at,
                    false => 0.5,
                });
                space.point(&middle.collect::<Vec<_>>(), candidates)?;
            }
        }
        Ok(space)
    }

    fn at(&self, key: &str) -> String {
        format!("{}: {key}", self.place)
    }

    /// What the trials depend on.
    #[must_use]
    pub(super) fn identity(&self) -> serde_json::Value {
        serde_json::json!([format!("{:?}", self.dimensions), self.fixed, self.base])
    }

    fn values(&self, place: &[f64]) -> BTreeMap<String, Value> {
        let searched = self.dimensions.iter().zip(place);
        searched
            .map(|((key, dimension), point)| (key.clone(), dimension.value(*point)))
            .collect()
    }

    /// The settings of the backtest at a place, as TOML.
    ///
    /// # Errors
    /// [`LabError`] where a key has no place in settings.
    pub fn settings_at(&self, place: &[f64]) -> Result<String, LabError> {
        let mut table = self.base.clone();
        for (key, value) in self.fixed.iter().chain(&self.values(place)) {
            if ![MODE, CANDIDATE].contains(&key.as_str()) {
                set(&mut table, key, value.clone())
                    .map_err(|rule| LabError::rule(self.at(key), rule))?;
            }
        }
        Ok(table.to_string())
    }

    /// The trial at a place: a point of each dimension, in the order of the keys.
    ///
    /// # Errors
    /// [`LabError`] where a value is not valid for its key.
    pub fn point(&self, place: &[f64], candidates: &[String]) -> Result<Point, LabError> {
        let values = self.values(place);
        let chosen = |key: &str| values.get(key).or_else(|| self.fixed.get(key));
        let mode = match chosen(MODE) {
            None => SignalMode::Return,
            Some(mode) => mode.clone().try_into().map_err(|error| {
                LabError::rule_got(self.at(MODE), "must be a signal mode", error)
            })?,
        };
        let candidate = match chosen(CANDIDATE) {
            None => candidates.first().cloned().unwrap_or_default(),
            Some(name) => name.as_str().unwrap_or_default().to_owned(),
        };
        if !candidates.contains(&candidate) {
            let rule = format!("must be one of {}", candidates.join(", "));
            return Err(LabError::rule_got(self.at(CANDIDATE), rule, candidate));
        }
        Ok(Point {
            settings: Settings::parse(&self.settings_at(place)?, &self.place)?,
            values,
            candidate,
            mode,
        })
    }
}

fn dimension(table: &DimensionTable) -> Result<Dimension, String> {
    match (&table.from, &table.to, &table.choices) {
        (None, None, Some(choices)) if !table.log && choices.len() > 1 => {
            Ok(Dimension::Choices(choices.clone()))
        }
        (Some(Value::Integer(from)), Some(Value::Integer(to)), None) if !table.log => {
            match from < to {
                true => Ok(Dimension::Whole {
                    from: *from,
                    to: *to,
                }),
                false => Err(format!("must have from below to, got {from} and {to}")),
            }
        }
        (Some(from), Some(to), None) => {
            let number = |value: &Value| {
                let whole = value.as_integer().map(|whole| whole as f64);
                whole
                    .or(value.as_float())
                    .filter(|number| number.is_finite())
            };
            let (Some(from), Some(to)) = (number(from), number(to)) else {
                return Err(format!("must have numbers, got {from} and {to}"));
            };
            let valid = from < to && (!table.log || from > 0.0) && (to - from).is_finite();
            valid
                .then_some(Dimension::Range {
                    from,
                    to,
                    log: table.log,
                })
                .ok_or_else(|| {
                    let above = if table.log { ", above 0 with log" } else { "" };
                    format!("must have from below to{above}, got {from} and {to}")
                })
        }
        _ => Err("must have from and to, or at least two choices".into()),
    }
}

/// Sets the value at a path such as `rule.enter`.
fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let (parents, name) = match key.rsplit_once('.') {
        Some((parents, name)) => (parents.split('.').collect(), name),
        None => (Vec::new(), key),
    };
    let mut at = table;
    for parent in parents {
        let next = at
            .entry(parent)
            .or_insert_with(|| Value::Table(Table::new()));
        at = next
            .as_table_mut()
            .ok_or_else(|| format!("{parent} must hold keys"))?;
    }
    at.insert(name.to_owned(), value);
    Ok(())
}
