//! A parsed topology: every declaration with its place, as far as it could be read.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::document::{
    BudgetSpec, Defaults, Document, EdgeSpec, Header, NodeSpec, StageSpec, TlsSpec,
};
use super::fault::{Code, Fault};
use super::overlay::edge_name;
use super::place::Place;
use super::schema::{Finding, validate};
use super::tree::Tree;

/// A topology as parsed, after profile and overrides were applied.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    /// Properties of the whole graph; absent when they could not be read.
    pub(crate) header: Option<Header>,
    /// Defaults of edges.
    pub(crate) defaults: Defaults,
    /// Where the certificates are.
    pub(crate) tls: TlsSpec,
    /// Machines in the order of the file.
    pub(crate) nodes: Vec<Spanned<NodeSpec>>,
    /// Actors in the order of the file.
    pub(crate) stages: Vec<Spanned<StageSpec>>,
    /// Edges in the order of the file, named `from->to`.
    pub(crate) edges: Vec<Spanned<EdgeSpec>>,
    /// Latency promises in the order of the file.
    pub(crate) budgets: Vec<Spanned<BudgetSpec>>,
    pub(crate) root: Tree,
}

/// One declaration of the file.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    /// Its name in the file.
    pub(crate) name: String,
    /// Place of its name.
    pub(crate) place: Place,
    /// Its contents; absent when too much of it is faulty. Keys that are faulty by themselves are left out, so that one
    /// fault does not hide others.
    pub(crate) spec: Option<T>,
    pub(crate) tree: Tree,
}

impl<T> Spanned<T> {
    /// The place of the value at `path` within the declaration, of as much of it as there is, or of the name.
    pub(crate) fn at(&self, path: &[&str]) -> Place {
        self.tree.find(path).unwrap_or(self.place)
    }

    /// The place of the key at the end of `path`, or as [`Self::at`].
    pub(crate) fn key_at(&self, key: &str) -> Place {
        self.tree.entry(key).map_or(self.place, |entry| entry.place)
    }
}

/// JSON schema of the format, without the parameters of the kinds.
pub(crate) fn format_schema() -> Json {
    schemars::schema_for!(Document).to_value()
}

impl Topology {
    /// Reads a merged tree, reporting everything that the format does not allow.
    pub(crate) fn read(root: Tree, schema: &Json, faults: &mut Vec<Fault>) -> Self {
        let findings = validate(&root, schema, &[], Place::START, Code::UnknownKey);
        faults.extend(findings.iter().map(|finding| finding.fault.clone()));
        let reader = Reader {
            root: &root,
            findings: &findings,
        };
        Self {
            header: root
                .get("topology")
                .and_then(|tree| reader.parse(tree, &["topology"])),
            defaults: root
                .get("defaults")
                .and_then(|tree| reader.parse(tree, &["defaults"]))
                .unwrap_or_default(),
            tls: root
                .get("tls")
                .and_then(|tree| reader.parse(tree, &["tls"]))
                .unwrap_or_default(),
            nodes: reader.table("nodes"),
            stages: reader.table("stages"),
            edges: reader.list("edges"),
            budgets: reader.list("budgets"),
            root,
        }
    }
}

struct Reader<'a> {
    root: &'a Tree,
    findings: &'a [Finding],
}

impl Reader<'_> {
    fn table<T: DeserializeOwned>(&self, key: &str) -> Vec<Spanned<T>> {
        let entries = self.root.get(key).map_or(&[][..], Tree::entries);
        let declare = |entry: &super::tree::Entry| Spanned {
            name: entry.key.clone(),
            place: entry.place,
            spec: self.parse(&entry.tree, &[key, &entry.key]),
            tree: entry.tree.clone(),
        };
        entries.iter().map(declare).collect()
    }

    fn list<T: DeserializeOwned>(&self, key: &str) -> Vec<Spanned<T>> {
        let items = self.root.get(key).map_or(&[][..], Tree::items);
        let declare = |(index, tree): (usize, &Tree)| Spanned {
            name: edge_name(tree),
            place: tree.place,
            spec: self.parse(tree, &[key, &index.to_string()]),
            tree: tree.clone(),
        };
        items.iter().enumerate().map(declare).collect()
    }

    /// Reads what is not faulty of the table at `path`.
    fn parse<T: DeserializeOwned>(&self, tree: &Tree, path: &[&str]) -> Option<T> {
        let faulty = |key: &str| {
            self.findings.iter().any(|finding| {
                finding.path.len() > path.len()
                    && finding
                        .path
                        .iter()
                        .zip(path)
                        .all(|(found, wanted)| found == wanted)
                    && finding.path[path.len()] == key
            })
        };
        // A missing key was reported by the schema check; then there is nothing to add here.
        serde_json::from_value(tree.without(faulty).to_json()).ok()
    }
}
