//! Renamed parameters.
//!
//! A field that has been renamed says its former name in its schema:
//!
//! ```
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Config {
//!     /// Most frames that wait.
//!     #[schemars(extend("x-formerly" = "size"))]
//!     capacity: usize,
//! }
//! # use heqis_actors::renamed::former_names;
//! # let schema = schemars::schema_for!(Config).to_value();
//! let params = serde_json::json!({ "capacity": 64 });
//! assert_eq!(former_names(params, &schema), serde_json::json!({ "size": 64 }));
//! ```
//!
//! The reader of a topology accepts the former name for one version, with a warning. What is identified by a hash of its
//! parameters, such as a saved state, hashes them under their former names, so that a renamed key changes no identity.

use serde_json::{Map, Value};

/// The keyword of a property's schema that holds the former name of the property.
pub const FORMERLY: &str = "x-formerly";

/// Returns the former name in a property's schema.
#[must_use]
pub fn former_name(property: &Value) -> Option<&str> {
    property.get(FORMERLY)?.as_str()
}

/// Returns the schemas that a value of `schema` may follow, with references resolved in `root`: `schema` itself, or
/// the parts that it is composed of.
#[must_use]
pub fn parts<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a Map<String, Value>> {
    let target = schema.get("$ref").and_then(Value::as_str);
    let target = target.and_then(|target| root.pointer(target.strip_prefix('#')?));
    let schema = target.unwrap_or(schema);
    let composed = ["allOf", "anyOf", "oneOf"].into_iter();
    let composed = composed.filter_map(|key| schema.get(key)?.as_array());
    let mut parts: Vec<_> = schema.as_object().into_iter().collect();
    parts.extend(composed.flatten().flat_map(|part| self::parts(part, root)));
    parts
}

/// Returns `value` with every renamed key under its former name, as `schema` says.
#[must_use]
pub fn former_names(value: Value, schema: &Value) -> Value {
    rename(value, &[schema], schema)
}

fn rename(value: Value, schemas: &[&Value], root: &Value) -> Value {
    let parts: Vec<_> = schemas
        .iter()
        .flat_map(|schema| parts(schema, root))
        .collect();
    let below =
        |key: &str| -> Vec<&Value> { parts.iter().filter_map(|part| part.get(key)).collect() };
    match value {
        Value::Object(entries) => {
            let others = below("additionalProperties");
            let properties = below("properties");
            let renamed = entries.into_iter().map(|(key, value)| {
                let known: Vec<_> = properties.iter().filter_map(|p| p.get(&key)).collect();
                let former = known.iter().find_map(|property| former_name(property));
                let former = former.map(str::to_owned);
                let schemas = if known.is_empty() { &others } else { &known };
                let value = rename(value, schemas, root);
                (former.unwrap_or(key), value)
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => {
            let schemas = below("items");
            let items = items.into_iter();
            items.map(|item| rename(item, &schemas, root)).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_renamed_below_references_lists_tables_and_options() {
        let schema = json!({
            "properties": {
                "inner": { "anyOf": [{ "$ref": "#/$defs/Inner" }, { "type": "null" }] },
                "list": { "items": { "$ref": "#/$defs/Inner" } },
                "table": { "additionalProperties": { "$ref": "#/$defs/Inner" } },
            },
            "$defs": { "Inner": { "properties": { "new": { "x-formerly": "old" }, "same": {} } } },
        });
        let new = json!({ "new": 1, "same": 2 });
        let old = json!({ "old": 1, "same": 2 });
        let with =
            |inner: &Value| json!({ "inner": inner, "list": [inner], "table": { "a": inner } });
        assert_eq!(former_names(with(&new), &schema), with(&old));
        assert_eq!(former_names(with(&old), &schema), with(&old));
    }
}
