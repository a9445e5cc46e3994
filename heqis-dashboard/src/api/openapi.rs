//! The OpenAPI document, generated from the types of the responses.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::graph::{EventsQuery, TradingStateOrder};
use super::responses::{
    About, BarsResponse, DecisionResponse, DecisionsResponse, EventsResponse, OrdersResponse,
    QualityResponse, SymbolRow, TradesResponse,
};
use super::review::{
    BarsQuery, DecisionQuery, DecisionsQuery, DriftQuery, QualityQuery, SymbolsQuery,
};
use super::runs::{ArtefactQuery, EquityQuery, JobQuery, OrdersQuery, RunQuery, TradesQuery};
use crate::api_error::ErrorBody;
use crate::archive::{Equity, Run, RunDetail, Strategy};
use crate::drift::Drift;
use crate::jobs::{JobKind, JobList, JobLog, JobOrder, WatchList, WatchOrder};
use crate::live::{State, Topology};

/// Collects paths and the schemas that they refer to.
struct Writer {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Writer {
    /// Describes a GET path that returns a `T`.
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

    /// Describes a control action.
    fn control(
        &mut self,
        path: &str,
        summary: &str,
        parameters: Vec<Value>,
        status: &str,
        body: Option<Value>,
    ) {
        let summary =
            format!("{summary} Needs the control flag, the token, and this page's own Origin.");
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
        let error = self.schemas.subschema_for::<ErrorBody>();
        self.paths.insert(
            path.to_owned(),
            json!({ method: {
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    status: { "description": "Success.", "content": content },
                    "default": {
                        "description": "Error.",
                        "content": { "application/json": { "schema": error } },
                    },
                },
            }}),
        );
    }

    /// Returns the parameters described by a query type.
    fn query<Q: JsonSchema>(&mut self) -> Vec<Value> {
        // A generator of its own: query types need no named schema in the document.
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

/// Returns the document, OpenAPI 3.1.
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
    let jobs = "404 when this page has no jobs.";
    writer.read::<About>("/api/about", "What this server provides.", Vec::new());
    let query = writer.query::<SymbolsQuery>();
    writer.read::<Vec<SymbolRow>>("/api/symbols", "The instruments that have bars.", query);
    let query = writer.query::<BarsQuery>();
    writer.read::<BarsResponse>(
        "/api/bars",
        "The last bars, or those around a moment, with the indicators of the chart.",
        query,
    );
    writer.read::<Vec<Strategy>>(
        "/api/strategies",
        "The named lists of decisions; the first one is the default.",
        Vec::new(),
    );
    let query = writer.query::<DecisionsQuery>();
    writer.read::<DecisionsResponse>(
        "/api/decisions",
        "The newest decisions, newest first.",
        query,
    );
    let query = [path(), writer.query::<DecisionQuery>()].concat();
    writer.read::<DecisionResponse>("/api/decisions/{n}", "Details of one decision.", query);
    let query = writer.query::<QualityQuery>();
    writer.read::<QualityResponse>(
        "/api/quality",
        "Predictions compared with realised returns.",
        query,
    );
    let query = writer.query::<DriftQuery>();
    writer.read::<Drift>(
        "/api/drift",
        "Inputs compared with the span that the models were fitted on; 404 without a scaler.",
        query,
    );
    writer.read::<Vec<Run>>("/api/runs", &format!("Finished runs. {lab}"), Vec::new());
    let query = writer.query::<RunQuery>();
    writer.read::<RunDetail>("/api/run", &format!("Details of a run. {lab}"), query);
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
    writer.read::<TradesResponse>("/api/trades", &format!("Its round trips. {lab}"), query);
    let query = writer.query::<OrdersQuery>();
    writer.read::<OrdersResponse>("/api/orders", &format!("Its orders. {lab}"), query);
    writer.read::<JobList>(
        "/api/jobs",
        &format!("Jobs, newest first. {jobs}"),
        Vec::new(),
    );
    writer.read::<Vec<JobKind>>(
        "/api/job-kinds",
        &format!("The commands that may be started. {jobs}"),
        Vec::new(),
    );
    let query = [path(), writer.query::<JobQuery>()].concat();
    writer.read::<JobLog>(
        "/api/jobs/{n}",
        &format!("A job and its log. {jobs}"),
        query,
    );
    writer.read::<WatchList>("/api/watch", "The watch list; 404 without one.", Vec::new());
    writer.read::<Topology>(
        "/api/topology",
        &format!("The topology; {review}"),
        Vec::new(),
    );
    writer.read::<State>(
        "/api/live",
        &format!("Current books and metrics; {review}"),
        Vec::new(),
    );
    let query = writer.query::<EventsQuery>();
    writer.read::<EventsResponse>(
        "/api/events",
        &format!("Events of the graph, newest first; {review}"),
        query,
    );
    let events = "Server-sent events: `live` with the response of /api/live, `decisions` with new rows, `jobs` with the response of \
                  /api/jobs, and `resync` when too many events were missed and the lists must be reloaded.";
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
        "Starts to drain the graph.",
        Vec::new(),
        "202",
        None,
    );
    let order = writer.schemas.subschema_for::<TradingStateOrder>();
    let order = Value::from(order);
    for path in ["/api/control/trading-state", "/api/control/kill"] {
        writer.control(
            path,
            "Sets the trading state of the stages of this node, and asks other nodes to (202).",
            Vec::new(),
            "200",
            Some(order.clone()),
        );
    }
    writer.paths["/api/control/kill"]["post"]["deprecated"] = true.into();
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
        "Cancels a job.",
        path(),
        "202",
        None,
    );
    let order = writer.schemas.subschema_for::<WatchOrder>();
    writer.control(
        "/api/control/watch",
        "Adds an instrument to the watch list.",
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
        // No authentication, or the token, depending on the server's settings.
        "security": [{}, { "token": [] }],
    })
}
