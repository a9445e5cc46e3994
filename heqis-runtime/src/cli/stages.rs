//! `heqis-runtime stages`: the stage kinds that this binary knows, and their parameters.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use heqis_actors::{Port, Registry, StageKind};
use serde_json::{Value, json};

use super::{FAULTY, OK, World};
use crate::topology::nearest_name;

/// Format of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table.
    #[default]
    Text,
    /// A JSON array with the schema of each kind's parameters.
    Json,
}

/// Arguments of `stages`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  heqis-runtime stages
  heqis-runtime stages ring-buffer
  heqis-runtime stages --format json")]
pub struct StagesArgs {
    /// Show the parameters of this kind.
    pub kind: Option<String>,
    /// Select the format of the list.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Lists kinds onto `out`. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written to.
pub fn stages(
    args: &StagesArgs,
    world: &World,
    registry: &Registry,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let chosen: Vec<&StageKind> = match &args.kind {
        None => registry.kinds().collect(),
        Some(name) => match registry.kind(name) {
            Some(kind) => vec![kind],
            None => {
                let hint =
                    nearest_name(name, registry.kinds().map(|kind| kind.name)).unwrap_or_default();
                writeln!(
                    err,
                    "heqis-runtime: there is no stage kind `{name}`; {hint}"
                )?;
                return Ok(FAULTY);
            }
        },
    };
    let text = match (args.format, &args.kind, chosen.as_slice()) {
        (Format::Json, _, kinds) => format!(
            "{:#}\n",
            kinds.iter().map(|kind| listed(kind)).collect::<Value>()
        ),
        (Format::Text, Some(_), [kind]) => described(kind, world.width),
        (Format::Text, _, kinds) => overview(kinds, world.width),
    };
    out.write_all(text.as_bytes()).map(|()| OK)
}

fn listed(kind: &StageKind) -> Value {
    json!({
        "name": kind.name,
        "about": kind.about,
        "input": listed_ports(kind.inputs),
        "output": listed_ports(kind.outputs),
        "blocking": kind.blocking,
        "replayable": kind.is_source() && kind.replayable,
        "params": kind.schema,
    })
}

/// The payload of the only port of a side, or those of each port by name.
fn listed_ports(ports: &[Port]) -> Value {
    match ports {
        [] => Value::Null,
        [
            Port {
                name: "", payload, ..
            },
        ] => json!(payload),
        ports => ports
            .iter()
            .map(|port| (port.name, json!(port.payload)))
            .collect(),
    }
}

fn in_words(ports: &[Port]) -> String {
    let words = ports.iter().map(|port| match port.name {
        "" => port.payload.to_owned(),
        name => format!("{name}: {}", port.payload),
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(super) fn table(header: &[&str], width: usize) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(header);
    table
}

fn overview(kinds: &[&StageKind], width: usize) -> String {
    let mut table = table(&["kind", "input", "output", "what it does"], width);
    for kind in kinds {
        let [input, output] = [kind.inputs, kind.outputs].map(|ports| match ports {
            [] => "-".to_owned(),
            ports => in_words(ports),
        });
        table.add_row([kind.name, &input, &output, kind.about]);
    }
    format!("{}\n", table.trim_fmt())
}

fn described(kind: &StageKind, width: usize) -> String {
    let side = |ports: &[Port], side, none: &str| match ports {
        [] => vec![none.to_owned()],
        [
            Port {
                name: "", payload, ..
            },
        ] => vec![format!("{side} `{payload}`")],
        ports => {
            let port = |port: &Port| {
                let optional = if port.optional {
                    ", which may be without an edge"
                } else {
                    ""
                };
                format!("{side} port `{}`: `{}`{optional}", port.name, port.payload)
            };
            ports.iter().map(port).collect()
        }
    };
    let mut remarks = side(kind.inputs, "input", "a source");
    remarks.extend(side(kind.outputs, "output", "a sink"));
    if kind.blocking {
        remarks.push("runs on an arbiter of its own unless the topology names another".to_owned());
    }
    if kind.is_source() && kind.replayable {
        remarks.push("replayable".to_owned());
    }
    let mut text = format!("{}: {}\n{}\n\n", kind.name, kind.about, remarks.join("; "));
    let mut rows = Vec::new();
    parameters(&kind.schema, &kind.schema, "", &mut rows);
    if rows.is_empty() {
        text.push_str("no parameters\n");
        return text;
    }
    let mut table = table(&["parameter", "type", "default", "what it means"], width);
    for row in rows {
        table.add_row(row);
    }
    text + &table.trim_fmt() + "\n"
}

/// One row for each parameter; those of a nested table follow it under a dotted name.
fn parameters(schema: &Value, root: &Value, prefix: &str, rows: &mut Vec<[String; 4]>) {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        let resolved = resolve(property, root);
        let about = property["description"]
            .as_str()
            .or(resolved["description"].as_str())
            .unwrap_or_default();
        let default = match &property["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => "none".to_owned(),
            value => value.to_string(),
        };
        rows.push([
            path.clone(),
            describe(property, root),
            default,
            about.replace('\n', " "),
        ]);
        // A parameter's table nests a few levels at most; a schema that refers to itself must not unroll for ever.
        if resolved["properties"].is_object() && path.matches('.').count() < 3 {
            parameters(resolved, root, &format!("{path}."), rows);
        }
    }
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|target| target.strip_prefix('#'));
    let schema = target
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema);
    // `Option<T>` of a named type is an alternative of it and null.
    let open: Vec<&Value> = alternatives(schema)
        .filter(|schema| schema["type"] != "null")
        .collect();
    match open.as_slice() {
        [only] => resolve(only, root),
        _ => schema,
    }
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"]
        .into_iter()
        .flat_map(|key| schema[key].as_array().into_iter().flatten())
}

/// The type of a parameter in few words.
fn describe(schema: &Value, root: &Value) -> String {
    let schema = resolve(schema, root);
    let open: Vec<String> = alternatives(schema)
        .map(|schema| describe(schema, root))
        .collect();
    if !open.is_empty() {
        return open.join(" | ");
    }
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    if let Some(choices) = schema["enum"].as_array() {
        return choices
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(" | ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|&name| name != "null")
            .unwrap_or(""),
        _ => "",
    };
    let range = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(low), Some(high)) => format!(" {low}..{high}"),
        (Some(low), None) => format!(" >= {low}"),
        (None, Some(high)) => format!(" <= {high}"),
        (None, None) => {
            let exclusive = [("exclusiveMinimum", ">"), ("exclusiveMaximum", "<")];
            let limits = exclusive.iter().filter_map(|(key, sign)| {
                let limit = schema[*key].as_f64()?;
                Some(format!(" {sign} {limit}"))
            });
            limits.collect::<Vec<_>>().join(",")
        }
    };
    match name {
        "" => "any".to_owned(),
        "object" => "table".to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("array of {}", describe(items, root)),
            None => "array".to_owned(),
        },
        name => format!("{name}{range}"),
    }
}
