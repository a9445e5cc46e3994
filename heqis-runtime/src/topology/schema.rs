//! Checks a [`Tree`] against a JSON schema as schemars writes it, finding every fault with its place.
//!
//! One mechanism for the format itself and for the parameters of every stage kind: the schema that an editor uses is
//! the schema that `check` uses. Only the subset that schemars emits is understood; anything else is passed over, and
//! serde has the last word when the value is read.

use serde_json::{Map, Value as Json};

use super::fault::{Code, Fault};
use super::place::Place;
use super::tree::{Entry, Tree, Value};
use heqis_actors::units::{TIME_FORMAT, parse_time};

/// A fault and the keys that lead to it from the root of the checked tree.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) path: Vec<String>,
    pub(crate) fault: Fault,
}

/// Checks `tree` against `schema`. `prefix` is the dotted path of `tree`, `anchor` the place of its key, and `unknown`
/// the code of a key that the schema does not have.
pub(crate) fn validate(
    tree: &Tree,
    schema: &Json,
    prefix: &[&str],
    anchor: Place,
    unknown: Code,
) -> Vec<Finding> {
    let path = prefix.iter().map(|&key| key.to_owned()).collect();
    let mut walk = Walk {
        root: schema,
        unknown,
        path,
        findings: Vec::new(),
    };
    walk.value(tree, schema, anchor);
    walk.findings
}

struct Walk<'a> {
    root: &'a Json,
    unknown: Code,
    path: Vec<String>,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn report(&mut self, fault: Fault) {
        self.findings.push(Finding {
            path: self.path.clone(),
            fault,
        });
    }

    /// The dotted path, as messages quote it.
    fn here(&self) -> String {
        self.path.join(".")
    }

    fn resolve(&self, schema: &'a Json) -> &'a Json {
        let target = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|target| target.strip_prefix('#'));
        target
            .and_then(|pointer| self.root.pointer(pointer))
            .unwrap_or(schema)
    }

    fn value(&mut self, tree: &Tree, schema: &'a Json, anchor: Place) {
        let Some(schema) = self.resolve(schema).as_object() else {
            return;
        };
        for part in list(schema, "allOf") {
            self.value(tree, part, anchor);
        }
        let alternatives = if schema.contains_key("oneOf") {
            "oneOf"
        } else {
            "anyOf"
        };
        if schema.contains_key(alternatives) {
            return self.alternatives(tree, list(schema, alternatives), anchor);
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| has_type(tree, name)) {
            let is_time = schema.get("format").and_then(Json::as_str) == Some(TIME_FORMAT);
            let wanted = if is_time {
                "a duration such as \"5s\"".to_owned()
            } else {
                describe_types(&types)
            };
            return self.wrong_type(tree, &wanted);
        }
        if let Some(choices) = choices(schema) {
            return self.choose(tree, &choices);
        }
        match &tree.value {
            Value::Integer(number) => self.number(tree, schema, *number as f64),
            Value::Float(number) => self.number(tree, schema, *number),
            Value::Text(text) => self.text(tree, schema, text),
            Value::Array(items) => self.array(tree, schema, items, anchor),
            Value::Table(entries) => self.table(schema, entries, anchor),
            Value::Bool(_) => {}
        }
    }

    fn wrong_type(&mut self, tree: &Tree, wanted: &str) {
        let message = format!("`{}` must be {wanted}, not {tree}", self.here());
        self.report(Fault::new(Code::WrongType, tree.place, message));
    }

    fn out_of_range(&mut self, tree: &Tree, rule: &str) {
        let message = format!("`{}` must {rule}, not {tree}", self.here());
        self.report(Fault::new(Code::OutOfRange, tree.place, message));
    }

    fn choose(&mut self, tree: &Tree, choices: &[&'a Json]) {
        let json = tree.to_json();
        if choices.contains(&&json) {
            return;
        }
        let known: Vec<&str> = choices
            .iter()
            .filter_map(|choice| choice.as_str())
            .collect();
        match tree.text() {
            Some(text) => {
                let message = format!("`{}` does not know the value {tree}", self.here());
                self.report(
                    Fault::new(Code::UnknownValue, tree.place, message).nearest(text, known),
                );
            }
            None => {
                let wanted: Vec<String> = choices.iter().map(|choice| choice.to_string()).collect();
                self.wrong_type(tree, &one_of(&wanted));
            }
        }
    }

    fn number(&mut self, tree: &Tree, schema: &Map<String, Json>, number: f64) {
        if !number.is_finite() {
            return self.out_of_range(tree, "be finite");
        }
        let bound = |key| schema.get(key).and_then(Json::as_f64);
        let low = bound("minimum");
        let high = bound("maximum").or(match schema.get("format").and_then(Json::as_str) {
            // schemars states no maximum for these, and serde would refuse what does not fit.
            Some("uint32") => Some(f64::from(u32::MAX)),
            Some("int32") => Some(f64::from(i32::MAX)),
            _ => None,
        });
        let outside = low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high);
        let above = bound("exclusiveMinimum").filter(|&limit| number <= limit);
        let below = bound("exclusiveMaximum").filter(|&limit| number >= limit);
        match (outside, low, high) {
            (true, Some(low), Some(high)) => {
                self.out_of_range(tree, &format!("lie between {low} and {high}"))
            }
            (true, Some(low), None) => self.out_of_range(tree, &format!("be at least {low}")),
            (true, None, Some(high)) => self.out_of_range(tree, &format!("be at most {high}")),
            _ => {}
        }
        if let Some(limit) = above {
            self.out_of_range(tree, &format!("be above {limit}"));
        }
        if let Some(limit) = below {
            self.out_of_range(tree, &format!("be below {limit}"));
        }
    }

    fn text(&mut self, tree: &Tree, schema: &Map<String, Json>, text: &str) {
        if schema.get("format").and_then(Json::as_str) == Some(TIME_FORMAT)
            && let Err(rule) = parse_time(text)
        {
            let message = format!("`{}` must be a duration: {rule}, got {tree}", self.here());
            self.report(
                Fault::new(Code::BadTime, tree.place, message)
                    .help("write it like \"200us\", \"1.5s\" or \"5m\""),
            );
        }
        let limit = |key| schema.get(key).and_then(Json::as_u64);
        let chars = text.chars().count() as u64;
        if let Some(least) = limit("minLength").filter(|&least| chars < least) {
            self.out_of_range(tree, &length_rule("have at least", least, "character"));
        }
        if let Some(most) = limit("maxLength").filter(|&most| chars > most) {
            self.out_of_range(tree, &length_rule("have at most", most, "character"));
        }
    }

    fn array(&mut self, tree: &Tree, schema: &'a Map<String, Json>, items: &[Tree], anchor: Place) {
        let limit = |key| schema.get(key).and_then(Json::as_u64);
        let count = items.len() as u64;
        if let Some(least) = limit("minItems").filter(|&least| count < least) {
            self.out_of_range(tree, &length_rule("have at least", least, "item"));
        }
        if let Some(most) = limit("maxItems").filter(|&most| count > most) {
            self.out_of_range(tree, &length_rule("have at most", most, "item"));
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true)) {
            let values: Vec<Json> = items.iter().map(Tree::to_json).collect();
            if let Some(index) =
                (1..values.len()).find(|&index| values[..index].contains(&values[index]))
            {
                let message = format!("`{}` names {} twice", self.here(), items[index]);
                self.report(Fault::new(Code::OutOfRange, items[index].place, message));
            }
        }
        let first: Vec<&Json> = list(schema, "prefixItems").collect();
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(index).copied().or_else(|| schema.get("items")) {
                let place = if item.place.len() == 0 {
                    anchor
                } else {
                    item.place
                };
                self.path.push(index.to_string());
                self.value(item, schema, place);
                self.path.pop();
            }
        }
    }

    fn table(&mut self, schema: &'a Map<String, Json>, entries: &[Entry], anchor: Place) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema
            .get("additionalProperties")
            .or_else(|| schema.get("unevaluatedProperties"));
        for entry in entries {
            let known = properties.and_then(|properties| properties.get(&entry.key));
            self.path.push(entry.key.clone());
            match (known, others) {
                (Some(schema), _) | (None, Some(schema @ Json::Object(_))) => {
                    self.value(&entry.tree, schema, entry.place);
                }
                (None, Some(Json::Bool(false))) => {
                    let names = properties
                        .into_iter()
                        .flatten()
                        .map(|(name, _)| name.as_str());
                    let what = if self.unknown == Code::UnknownParameter {
                        "parameter"
                    } else {
                        "key"
                    };
                    let message = format!("there is no {what} `{}`", self.here());
                    self.report(
                        Fault::new(self.unknown, entry.place, message).nearest(&entry.key, names),
                    );
                }
                _ => {}
            }
            self.path.pop();
        }
        for name in list(schema, "required").filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == name) {
                let what = if self.unknown == Code::UnknownParameter {
                    "parameter"
                } else {
                    "key"
                };
                let message = match self.here() {
                    here if here.is_empty() => format!("the {what} `{name}` is missing"),
                    here => format!("`{here}` lacks the {what} `{name}`"),
                };
                let about = properties
                    .and_then(|properties| properties.get(name))
                    .and_then(|it| it.get("description"));
                let mut fault = Fault::new(Code::MissingKey, anchor, message);
                fault.help = about
                    .and_then(Json::as_str)
                    .map(|about| format!("`{name}`: {}", first_line(about)));
                self.report(fault);
            }
        }
    }

    /// Accepts `tree` when one alternative does; otherwise reports the faults of the one that was probably meant.
    fn alternatives(
        &mut self,
        tree: &Tree,
        alternatives: impl Iterator<Item = &'a Json>,
        anchor: Place,
    ) {
        let mut open: Vec<&'a Json> = Vec::new();
        for schema in alternatives {
            self.flatten(schema, &mut open);
        }
        if let [only] = open.as_slice() {
            return self.value(tree, only, anchor);
        }
        let all_choices: Option<Vec<_>> = open
            .iter()
            .map(|schema| schema.as_object().and_then(choices))
            .collect();
        if let Some(choices) = all_choices {
            return self.choose(tree, &choices.concat());
        }
        let mut meant = Vec::new();
        for schema in &open {
            let mut walk = Walk {
                root: self.root,
                unknown: self.unknown,
                path: self.path.clone(),
                findings: Vec::new(),
            };
            walk.value(tree, schema, anchor);
            if walk.findings.is_empty() {
                return;
            }
            if self.suits(tree, schema) {
                meant.push(walk.findings);
            }
        }
        let wanted: Vec<String> = open.iter().map(|schema| self.describe(schema)).collect();
        match meant.as_mut_slice() {
            [findings] => {
                for finding in findings
                    .iter_mut()
                    .filter(|finding| finding.path == self.path)
                {
                    if finding.fault.code == Code::UnknownValue {
                        // One alternative's values are not all that is allowed here.
                        finding.fault.message =
                            format!("`{}` must be {}, not {tree}", self.here(), one_of(&wanted));
                        finding.fault.help = None;
                    }
                }
                self.findings.append(findings);
            }
            _ => self.wrong_type(tree, &one_of(&wanted)),
        }
    }

    /// Adds the alternatives that `schema` stands for: itself, or those nested in it. TOML has no null: leaving the
    /// key out says the same.
    fn flatten(&self, schema: &'a Json, open: &mut Vec<&'a Json>) {
        let schema = self.resolve(schema);
        let nested = ["oneOf", "anyOf"]
            .into_iter()
            .find_map(|key| schema.get(key)?.as_array());
        match nested {
            Some(nested) => nested.iter().for_each(|schema| self.flatten(schema, open)),
            None if is_null(schema) => {}
            None => open.push(schema),
        }
    }

    /// Whether `schema` is probably what the author of `tree` meant: the type fits, and so does a tag if there is one.
    fn suits(&self, tree: &Tree, schema: &'a Json) -> bool {
        let Some(schema) = self.resolve(schema).as_object() else {
            return true;
        };
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| has_type(tree, name)) {
            return false;
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let mut tagged = false;
        for (name, property) in properties.into_iter().flatten() {
            if let Some(tag) = property.get("const") {
                tagged = true;
                if tree.get(name).is_some_and(|value| value.to_json() == *tag) {
                    return true;
                }
            }
        }
        !tagged
    }

    fn describe(&self, schema: &'a Json) -> String {
        let Some(schema) = self.resolve(schema).as_object() else {
            return "anything".into();
        };
        if let Some(choices) = choices(schema) {
            let choices: Vec<String> = choices.iter().map(|choice| choice.to_string()).collect();
            return one_of(&choices);
        }
        match types(schema) {
            types if types.is_empty() => "another value".into(),
            types => describe_types(&types),
        }
    }
}

fn list<'a>(schema: &'a Map<String, Json>, key: &str) -> impl Iterator<Item = &'a Json> {
    schema
        .get(key)
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
}

/// The values of a schema that lists them, as `const` or `enum`.
fn choices(schema: &Map<String, Json>) -> Option<Vec<&Json>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Json::Array(all))) => {
            Some(all.iter().filter(|value| !value.is_null()).collect())
        }
        _ => None,
    }
}

fn types(schema: &Map<String, Json>) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names
            .iter()
            .filter_map(Json::as_str)
            .filter(|&name| name != "null")
            .collect(),
        _ => Vec::new(),
    }
}

fn is_null(schema: &Json) -> bool {
    schema.get("type").and_then(Json::as_str) == Some("null")
}

fn has_type(tree: &Tree, name: &str) -> bool {
    match &tree.value {
        Value::Bool(_) => name == "boolean",
        Value::Integer(_) => matches!(name, "integer" | "number"),
        Value::Float(_) => name == "number",
        Value::Text(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Table(_) => name == "object",
    }
}

fn describe_types(types: &[&str]) -> String {
    let names: Vec<String> = types
        .iter()
        .map(|name| match *name {
            "boolean" => "true or false".into(),
            "integer" => "an integer".into(),
            "number" => "a number".into(),
            "string" => "a string".into(),
            "array" => "an array".into(),
            "object" => "a table".into(),
            other => other.to_owned(),
        })
        .collect();
    one_of(&names)
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn length_rule(rule: &str, count: u64, unit: &str) -> String {
    format!("{rule} {count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The first sentence or line of a description.
pub(crate) fn first_line(text: &str) -> &str {
    text.split("\n\n").next().unwrap_or(text).trim()
}
