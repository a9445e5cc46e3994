//! The JSON schema that editors use to complete and check topology files.

use heqis_actors::Registry;
use heqis_actors::renamed::{FORMERLY, former_name};
use serde_json::{Map, Value, json};

use super::parsed::format_schema;

/// JSON schema of a whole topology file, with the parameters of every kind of `registry`.
#[must_use]
pub fn editor_schema(registry: &Registry) -> Value {
    let mut schema = format_schema();
    let mut names = Vec::new();
    let mut rules = Vec::new();
    let mut kinds = Map::new();
    for kind in registry.kinds() {
        names.push(json!({ "const": kind.name, "description": kind.about }));
        rules.push(json!({
            "if": { "properties": { "kind": { "const": kind.name } } },
            "then": { "properties": { "params": { "$ref": format!("#/$defs/kinds/{}", kind.name) } } },
        }));
        let mut params = kind.schema.clone();
        move_references(&mut params, &format!("#/$defs/kinds/{}", kind.name));
        if let Some(params) = params.as_object_mut() {
            params.remove("$schema");
        }
        kinds.insert(kind.name.to_owned(), params);
    }
    if let Some(stage) = schema
        .pointer_mut("/$defs/StageSpec")
        .and_then(Value::as_object_mut)
    {
        stage.insert("allOf".into(), Value::Array(rules));
    }
    if let Some(kind) = schema
        .pointer_mut("/$defs/StageSpec/properties/kind")
        .and_then(Value::as_object_mut)
    {
        kind.insert("oneOf".into(), Value::Array(names));
    }
    if let Some(definitions) = schema.pointer_mut("/$defs").and_then(Value::as_object_mut) {
        definitions.insert("kinds".into(), Value::Object(kinds));
    }
    add_former_names(&mut schema);
    schema
}

/// Adds the former name of each renamed property, which is read for one version, as a deprecated property.
fn add_former_names(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
                let former = properties.iter().filter_map(|(name, property)| {
                    let former = former_name(property)?.to_owned();
                    let mut property = property.as_object()?.clone();
                    property.remove(FORMERLY);
                    property.remove("default");
                    property.insert("deprecated".into(), true.into());
                    let description = format!("Former name of `{name}`, read for one version.");
                    property.insert("description".into(), description.into());
                    Some((former, Value::Object(property)))
                });
                let former: Vec<(String, Value)> = former.collect();
                properties.extend(former);
            }
            object.values_mut().for_each(add_former_names);
        }
        Value::Array(items) => items.iter_mut().for_each(add_former_names),
        _ => {}
    }
}

/// A kind's schema refers to its own root; inside the file's schema that root lies at `home`.
fn move_references(schema: &mut Value, home: &str) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(target) if key == "$ref" && target.starts_with("#/") => {
                        *target = format!("{home}{}", &target[1..]);
                    }
                    other => move_references(other, home),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| move_references(item, home)),
        _ => {}
    }
}
