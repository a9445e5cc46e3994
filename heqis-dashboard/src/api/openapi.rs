//! The OpenAPI document, made from the very types that are sent.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::answers::{About, BarsAnswer, DecisionAnswer, DecisionsAnswer};
use super::{BarsQuery, DecisionsQuery, Trouble};
use crate::live::{State, Topology};
use crate::market::Listing;

/// Collects paths and the schemas that they name.
struct Writer {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Writer {
    /// Describes a path that is read and answers with a `T`.
    fn read<T: JsonSchema>(&mut self, path: &str, summary: &str, parameters: Vec<Value>) {
        let schema = self.schemas.subschema_for::<T>();
        self.add(
            path,
            "get",
            summary,
            parameters,
            "200",
            json!({ "application/json": { "schema": schema } }),
        );
    }

    fn add(
        &mut self,
        path: &str,
        method: &str,
        summary: &str,
        parameters: Vec<Value>,
        status: &str,
        content: Value,
    ) {
        let trouble = self.schemas.subschema_for::<Trouble>();
        self.paths.insert(
            path.to_owned(),
            json!({ method: {
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    status: { "description": "As asked.", "content": content },
                    "default": {
                        "description": "What is wrong.",
                        "content": { "application/json": { "schema": trouble } },
                    },
                },
            }}),
        );
    }

    /// The parameters that a query type stands for.
    fn query<Q: JsonSchema>(&mut self) -> Vec<Value> {
        // A generator of its own: what is asked needs no name of its own in the document.
        let mut inline = SchemaSettings::draft2020_12()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        let schema = inline.subschema_for::<Q>();
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
            return Vec::new();
        };
        let parameter = |(name, schema): (&String, &Value)| json!({ "name": name, "in": "query", "required": required.contains(&name.as_str()), "schema": schema });
        fields.iter().map(parameter).collect()
    }
}

/// The document, OpenAPI 3.1.
pub(crate) fn document() -> Value {
    let mut writer = Writer {
        schemas: SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into())
            .for_serialize()
            .into_generator(),
        paths: Map::new(),
    };
    writer.read::<About>("/api/about", "What the page is about.", Vec::new());
    writer.read::<Vec<Listing>>(
        "/api/symbols",
        "The instruments there are bars of.",
        Vec::new(),
    );
    let query = writer.query::<BarsQuery>();
    writer.read::<BarsAnswer>(
        "/api/bars",
        "The last bars before a moment, with every line of the chart.",
        query,
    );
    let query = writer.query::<DecisionsQuery>();
    writer.read::<DecisionsAnswer>(
        "/api/decisions",
        "The newest decisions, newest first.",
        query,
    );
    let number = json!({ "name": "n", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1 } });
    writer.read::<DecisionAnswer>(
        "/api/decisions/{n}",
        "Everything that is known of one decision.",
        vec![number],
    );
    writer.read::<Topology>(
        "/api/topology",
        "What runs; 404 when this page is for review.",
        Vec::new(),
    );
    writer.read::<State>(
        "/api/live",
        "Books and figures of this moment; 404 when this page is for review.",
        Vec::new(),
    );
    let events = "Server-sent events: `live` with what /api/live answers, `decisions` with new rows, and `resync` when \
                  too many were missed and the lists must be read anew.";
    writer.add(
        "/api/stream",
        "get",
        events,
        Vec::new(),
        "200",
        json!({ "text/event-stream": {} }),
    );
    let drain = "Begins to drain the graph. Takes the control flag, the token, and an Origin that is this page's own.";
    writer.add(
        "/api/control/drain",
        "post",
        drain,
        Vec::new(),
        "202",
        json!({ "application/json": {} }),
    );
    let schemas = writer.schemas.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "HEQIS dashboard", "version": env!("CARGO_PKG_VERSION") },
        "paths": writer.paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Nothing at all, or the token, as the server was started.
        "security": [{}, { "token": [] }],
    })
}
