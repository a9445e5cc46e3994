//! The commands that the page may start: their fields, taken from the definition of the command line, and the conversion of
//! an order into arguments.
//!
//! No part of an order reaches a shell, an option is joined to its value, and a path stays below the directory that the
//! page was started in. Options that would send the vendor's token elsewhere are not offered.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, Args as _, Command};
use heqis_dashboard::jobs::{Field, FieldKind, JobKind, JobOrder, Rejected};
use heqis_fetch::FetchArgs;
use serde_json::Value;

use crate::backtest::BacktestArgs;
use crate::prepare::PrepareArgs;
use crate::train::TrainArgs;

/// Options that the page does not offer: `json`, which the page sets itself, and those that send the token elsewhere.
const WITHHELD: [&str; 3] = ["json", "base_url", "token_file"];
/// Value names of paths.
const PATHS: [&str; 7] = ["BARS", "CSV", "DIR", "FILE", "INPUT", "JSON", "TOML"];
/// Value name of several paths, separated by commas.
const SOURCE: &str = "SOURCE";
/// Most values of one order.
const MAX_VALUES: usize = 200;
/// Longest value, in bytes.
const MAX_VALUE_BYTES: usize = 1_000;

/// The commands by name.
fn commands() -> [Command; 4] {
    [
        FetchArgs::augment_args(Command::new("fetch")),
        PrepareArgs::augment_args(Command::new("prepare")),
        TrainArgs::augment_args(Command::new("train")),
        BacktestArgs::augment_args(Command::new("backtest")),
    ]
}

fn offered(command: &Command) -> impl Iterator<Item = &Arg> {
    let withheld = |arg: &&Arg| WITHHELD.contains(&arg.get_id().as_str());
    command.get_arguments().filter(move |arg| !withheld(arg))
}

fn kind(arg: &Arg) -> FieldKind {
    let names = arg.get_value_names().unwrap_or_default();
    match arg.get_action() {
        ArgAction::SetTrue => FieldKind::Flag,
        _ if !arg.get_possible_values().is_empty() => FieldKind::Choice,
        _ if names
            .iter()
            .any(|name| PATHS.contains(&name.as_str()) || *name == SOURCE) =>
        {
            FieldKind::Path
        }
        _ => FieldKind::Text,
    }
}

fn is_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_value_delimiter().is_some()
        || arg
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1)
}

/// Returns the commands that may be started, with their fields.
pub(super) fn kinds() -> Vec<JobKind> {
    let field = |arg: &Arg| Field {
        name: arg.get_id().to_string(),
        about: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        kind: kind(arg),
        required: arg.is_required_set(),
        many: is_many(arg),
        choices: match arg.get_action() {
            ArgAction::SetTrue => Vec::new(),
            _ => arg
                .get_possible_values()
                .iter()
                .map(|value| value.get_name().to_owned())
                .collect(),
        },
        default: match arg.get_action() {
            ArgAction::SetTrue => None,
            _ => arg
                .get_default_values()
                .first()
                .map(|value| value.to_string_lossy().into_owned()),
        },
    };
    commands()
        .iter()
        .map(|command| JobKind {
            command: command.get_name().to_owned(),
            about: command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
            fields: offered(command).map(field).collect(),
        })
        .collect()
}

/// Returns the arguments, without the program's name, of an order.
///
/// # Errors
/// [`Rejected::Invalid`] naming the field and the rule, or with the command line's message.
pub(super) fn arguments(order: &JobOrder) -> Result<Vec<String>, Rejected> {
    let commands = commands();
    let command = commands
        .iter()
        .find(|command| command.get_name() == order.command)
        .ok_or_else(|| Rejected::Invalid(format!("there is no command {}", order.command)))?;
    let known: BTreeMap<&str, &Arg> = offered(command)
        .map(|arg| (arg.get_id().as_str(), arg))
        .collect();
    let mut options = vec![order.command.clone()];
    let mut positional = Vec::new();
    for (name, value) in &order.values {
        let arg = known
            .get(name.as_str())
            .ok_or_else(|| Rejected::Invalid(format!("{} takes no {name}", order.command)))?;
        for text in texts(name, value, arg)? {
            match (arg.get_long(), arg.get_action()) {
                (Some(long), ArgAction::SetTrue) => options.push(format!("--{long}")),
                (Some(long), _) => options.push(format!("--{long}={text}")),
                (None, _) => positional.push(text),
            }
        }
    }
    if order.command == "train" {
        // Progress as lines of JSON.
        options.push("--json".to_owned());
    }
    if !positional.is_empty() {
        options.push("--".to_owned());
        options.append(&mut positional);
    }
    // The command line checks the rest: types, conflicts and missing arguments.
    let judged = command
        .clone()
        .no_binary_name(true)
        .try_get_matches_from(&options[1..]);
    match judged {
        Ok(_) => Ok(options),
        Err(error) => {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            Err(Rejected::Invalid(
                first.trim_start_matches("error: ").to_owned(),
            ))
        }
    }
}

/// Returns the values of a field as text; empty for a flag that is not set.
fn texts(name: &str, value: &Value, arg: &Arg) -> Result<Vec<String>, Rejected> {
    let wrong = |rule: &str| Err(Rejected::Invalid(format!("{name} {rule}")));
    let kind = kind(arg);
    let values = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Bool(false) if kind == FieldKind::Flag => return Ok(Vec::new()),
        Value::Bool(true) if kind == FieldKind::Flag => return Ok(vec![String::new()]),
        _ if kind == FieldKind::Flag => return wrong("must be true or false"),
        Value::Array(values) if is_many(arg) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    if values.len() > MAX_VALUES {
        return wrong("has too many values");
    }
    let mut texts = Vec::new();
    for value in values {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return wrong("must be text or a number"),
        };
        if text.is_empty() {
            continue;
        }
        if text.len() > MAX_VALUE_BYTES || text.chars().any(char::is_control) {
            return wrong("is too long or holds a control character");
        }
        if kind == FieldKind::Path && !text.split(',').all(is_below) {
            return wrong(
                "must be a path below the directory that the page was started in, without '..'",
            );
        }
        texts.push(text);
    }
    Ok(texts)
}

/// Returns whether a path stays below its start and cannot be parsed as an option.
fn is_below(path: &str) -> bool {
    use std::path::Component;
    !path.is_empty()
        && !path.starts_with('-')
        && std::path::Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn order(command: &str, values: Value) -> Result<Vec<String>, Rejected> {
        arguments(&serde_json::from_value(json!({ "command": command, "values": values })).unwrap())
    }

    #[test]
    fn an_order_becomes_the_equivalent_command_line() {
        let made = order(
            "backtest",
            json!({
                "bars": ["data/ashare/002032.SZ.csv"],
                "strategy": ["models/a,models/b"],
                "mode": ["return", "class"],
                "portfolio": true,
                "no_pages": false,
                "out": "out/x",
            }),
        );
        let expected = [
            "backtest",
            "--mode=return",
            "--mode=class",
            "--out=out/x",
            "--portfolio",
            "--strategy=models/a,models/b",
            "--",
            "data/ashare/002032.SZ.csv",
        ];
        assert_eq!(made.unwrap(), expected);
        assert_eq!(
            order("train", json!({"config": "a.toml", "out": "b"}))
                .unwrap()
                .last()
                .unwrap(),
            "--json"
        );
    }

    #[test]
    fn an_order_that_breaks_a_rule_is_rejected_by_name() {
        let bars = |path: &str| json!({"bars": [path], "strategy": ["m"], "out": "o"});
        for (command, values, expected) in [
            ("serve", json!({}), "no command serve"),
            ("rm", json!({}), "no command rm"),
            ("backtest", bars("/etc/passwd"), "bars must be a path below"),
            ("backtest", bars("../x.csv"), "bars must be a path below"),
            (
                "backtest",
                bars("a/../../x.csv"),
                "bars must be a path below",
            ),
            ("backtest", bars("--out=/etc"), "bars must be a path below"),
            (
                "backtest",
                json!({"bars": ["a"], "strategy": ["m,/etc"], "out": "o"}),
                "strategy must be",
            ),
            (
                "backtest",
                json!({"bars": ["a"], "strategy": ["m"], "out": "o\nx"}),
                "out is too long",
            ),
            (
                "backtest",
                json!({"bars": ["a"], "strategy": ["m"], "out": "o", "mode": "steal"}),
                "steal",
            ),
            (
                "backtest",
                json!({"bars": ["a"], "strategy": ["m"]}),
                "required arguments",
            ),
            (
                "backtest",
                json!({"bars": ["a"], "strategy": ["m"], "out": ["o", "p"]}),
                "out must be text",
            ),
            (
                "prepare",
                json!({"inputs": ["a"], "out": "o", "train_to": "2012-02-31"}),
                "2012-02-31",
            ),
            (
                "prepare",
                json!({"inputs": ["a"], "out": "o", "full": "yes"}),
                "full must be true or false",
            ),
            (
                "prepare",
                json!({"inputs": ["a"], "out": "o", "json": true}),
                "takes no json",
            ),
            (
                "fetch",
                json!({"from": "2015-01-01", "to": "2015-01-02", "cache": "c", "out": "o", "base_url": "http://evil.example"}),
                "takes no base_url",
            ),
            (
                "fetch",
                json!({"from": "2015-01-01", "to": "2015-01-02", "cache": "c", "out": "o", "token_file": "x"}),
                "takes no token_file",
            ),
        ] {
            let Err(Rejected::Invalid(rule)) = order(command, values.clone()) else {
                panic!("{command} {values}");
            };
            assert!(rule.contains(expected), "{command} {values}: {rule}");
        }
    }

    #[test]
    fn every_field_is_described() {
        let kinds = kinds();
        let names: Vec<&str> = kinds.iter().map(|kind| kind.command.as_str()).collect();
        assert_eq!(names, ["fetch", "prepare", "train", "backtest"]);
        for field in kinds.iter().flat_map(|kind| &kind.fields) {
            assert!(
                !field.about.is_empty() || field.name == "seed",
                "{}",
                field.name
            );
        }
        let field = |command: &str, name: &str| {
            let kind = kinds.iter().find(|kind| kind.command == command).unwrap();
            kind.fields
                .iter()
                .find(|field| field.name == name)
                .unwrap()
                .clone()
        };
        assert_eq!(field("backtest", "bars").kind, FieldKind::Path);
        assert!(field("backtest", "bars").required && field("backtest", "bars").many);
        assert_eq!(
            field("backtest", "mode").choices,
            ["return", "class", "both"]
        );
        assert_eq!(field("prepare", "full").kind, FieldKind::Flag);
        assert_eq!(field("prepare", "window").default.as_deref(), Some("16"));
    }
}
