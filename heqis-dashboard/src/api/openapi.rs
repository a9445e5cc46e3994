//! The OpenAPI document, made from the very types that are sent.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::answers::{
    About, BarsAnswer, DecisionAnswer, DecisionsAnswer, EventsAnswer, OrdersAnswer, QualityAnswer,
    SymbolRow, TradesAnswer,
};
use super::fault::Trouble;
use super::graph::{EventsQuery, KillOrder};
use super::review::{
    BarsQuery, DecisionQuery, DecisionsQuery, DriftQuery, QualityQuery, SymbolsQuery,
};
use super::runs::{ArtefactQuery, EquityQuery, JobQuery, OrdersQuery, RunQuery, TradesQuery};
use crate::archive::{Equity, Run, RunDetail, Strategy};
use crate::drift::Drift;
use crate::jobs::{JobKind, JobList, JobLog, JobOrder, WatchList, WatchOrder};
use crate::live::{State, Topology};

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

    /// Describes an action.
    fn control(
        &mut self,
        path: &str,
        summary: &str,
        parameters: Vec<Value>,
        status: &str,
        body: Option<Value>,
    ) {
        let summary = format!(
            "{summary} Takes the control flag, the token, and an Origin that is this page's own."
        );
        let content = json!({ "application/json": {} });
        self.add(path, "post", &summary, parameters, status, content);
        if let Some(body) = body {
            let content = json!({ "application/json": { "schema": body } });
            self.paths[path]["post"]["requestBody"] =
                json!({ "required": true, "content": content });
        }
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
    let number = json!({ "name": "n", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1 } });
    let path = || vec![number.clone()];
    let review = "404 when this page is for review.";
    let lab = "404 when this page has no runs.";
    let work = "404 when this page has no jobs.";
    writer.read::<About>("/api/about", "What the page is about.", Vec::new());
    let query = writer.query::<SymbolsQuery>();
    writer.read::<Vec<SymbolRow>>("/api/symbols", "The instruments there are bars of.", query);
    let query = writer.query::<BarsQuery>();
    writer.read::<BarsAnswer>(
        "/api/bars",
        "The last bars, or those about a moment, with every line of the chart.",
        query,
    );
    writer.read::<Vec<Strategy>>(
        "/api/strategies",
        "The lists of decisions by name, first the one that is meant when none is named.",
        Vec::new(),
    );
    let query = writer.query::<DecisionsQuery>();
    writer.read::<DecisionsAnswer>(
        "/api/decisions",
        "The newest decisions, newest first.",
        query,
    );
    let query = [path(), writer.query::<DecisionQuery>()].concat();
    writer.read::<DecisionAnswer>(
        "/api/decisions/{n}",
        "Everything that is known of one decision.",
        query,
    );
    let query = writer.query::<QualityQuery>();
    writer.read::<QualityAnswer>("/api/quality", "Predictions against what followed.", query);
    let query = writer.query::<DriftQuery>();
    writer.read::<Drift>(
        "/api/drift",
        "Inputs against the span that the models were fitted on; 404 when no scaler tells it.",
        query,
    );
    writer.read::<Vec<Run>>("/api/runs", &format!("Finished runs. {lab}"), Vec::new());
    let query = writer.query::<RunQuery>();
    writer.read::<RunDetail>("/api/run", &format!("Everything about a run. {lab}"), query);
    let query = writer.query::<ArtefactQuery>();
    let file = json!({ "*/*": {} });
    writer.add(
        "/api/artefact",
        "get",
        &format!("A file of a run. {lab}"),
        query,
        "200",
        file,
    );
    let query = writer.query::<EquityQuery>();
    writer.read::<Equity>(
        "/api/equity",
        &format!("The account of a backtest. {lab}"),
        query,
    );
    let query = writer.query::<TradesQuery>();
    writer.read::<TradesAnswer>("/api/trades", &format!("Its round trips. {lab}"), query);
    let query = writer.query::<OrdersQuery>();
    writer.read::<OrdersAnswer>("/api/orders", &format!("Its orders. {lab}"), query);
    writer.read::<JobList>(
        "/api/jobs",
        &format!("Jobs, newest first. {work}"),
        Vec::new(),
    );
    writer.read::<Vec<JobKind>>(
        "/api/job-kinds",
        &format!("The commands that may be started. {work}"),
        Vec::new(),
    );
    let query = [path(), writer.query::<JobQuery>()].concat();
    writer.read::<JobLog>(
        "/api/jobs/{n}",
        &format!("A job and its log. {work}"),
        query,
    );
    writer.read::<WatchList>(
        "/api/watch",
        "The watch list; 404 where there is none.",
        Vec::new(),
    );
    writer.read::<Topology>("/api/topology", &format!("What runs; {review}"), Vec::new());
    writer.read::<State>(
        "/api/live",
        &format!("Books and figures of this moment; {review}"),
        Vec::new(),
    );
    let query = writer.query::<EventsQuery>();
    writer.read::<EventsAnswer>(
        "/api/events",
        &format!("What happened to the graph, newest first; {review}"),
        query,
    );
    let events = "Server-sent events: `live` with what /api/live answers, `decisions` with new rows, `jobs` with what \
                  /api/jobs answers, and `resync` when too many were missed and the lists must be read anew.";
    writer.add(
        "/api/stream",
        "get",
        events,
        Vec::new(),
        "200",
        json!({ "text/event-stream": {} }),
    );
    writer.control(
        "/api/control/drain",
        "Begins to drain the graph.",
        Vec::new(),
        "202",
        None,
    );
    let order = writer.schemas.subschema_for::<KillOrder>();
    writer.control(
        "/api/control/kill",
        "Sets how far the stages of this node may trade.",
        Vec::new(),
        "200",
        Some(order.into()),
    );
    let order = writer.schemas.subschema_for::<JobOrder>();
    writer.control(
        "/api/control/jobs",
        "Starts a job.",
        Vec::new(),
        "201",
        Some(order.into()),
    );
    writer.control(
        "/api/control/jobs/{n}/cancel",
        "Ends a job.",
        path(),
        "202",
        None,
    );
    let order = writer.schemas.subschema_for::<WatchOrder>();
    writer.control(
        "/api/control/watch",
        "Puts an instrument on the watch list.",
        Vec::new(),
        "200",
        Some(order.into()),
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
