//! Renamed keys: a former name is accepted for one version, with a warning that gives the place and both names.
//!
//! A key's schema holds its former name ([`heqis_actors::renamed`]). Keys are renamed in the file, in the profile and in
//! each override before they are merged, so that an old name in one of them and the new name in another do not clash.

use heqis_actors::Registry;
use heqis_actors::renamed::{former_name, parts};
use serde_json::Value as Json;

use super::fault::{Code, Fault};
use super::tree::{Entry, Tree, Value};

/// Renames former keys to current ones, for the format and for the parameters of every kind.
pub(crate) struct Renamer<'a> {
    format: &'a Json,
    registry: &'a Registry,
}

impl<'a> Renamer<'a> {
    pub(crate) fn new(format: &'a Json, registry: &'a Registry) -> Self {
        Self { format, registry }
    }

    /// Renames the keys below one top-level key. `file` is consulted for the kinds of stages that `entry` does not state.
    pub(crate) fn rename(&self, entry: &mut Entry, file: &Tree, faults: &mut Vec<Fault>) {
        let key = entry.key.clone();
        let properties = &self.format["properties"];
        let Some(schema) = properties.get(&key) else {
            return;
        };
        let mut walk = Walk {
            root: self.format,
            path: vec![key.clone()],
            faults,
        };
        match &mut entry.tree.value {
            // An overlay names the edges that the file lists.
            Value::Table(edges) if key == "edges" => {
                let items: Vec<&Json> = schema.get("items").into_iter().collect();
                for edge in edges {
                    walk.below(edge.key.clone(), &mut edge.tree, &items);
                }
            }
            _ => walk.tree(&mut entry.tree, &[schema]),
        }
        if key != "stages" {
            return;
        }
        for stage in entry.tree.entries_mut() {
            let kind = |tree: &Tree| tree.get("kind").and_then(Tree::text).map(str::to_owned);
            let in_file = || file.get("stages")?.get(&stage.key).and_then(kind);
            let kind = kind(&stage.tree).or_else(in_file);
            let Some(kind) = kind.and_then(|kind| self.registry.kind(&kind)) else {
                continue;
            };
            let mut entries = stage.tree.entries_mut().iter_mut();
            if let Some(params) = entries.find(|entry| entry.key == "params") {
                let mut walk = Walk {
                    root: &kind.schema,
                    path: vec![key.clone(), stage.key.clone(), params.key.clone()],
                    faults,
                };
                walk.tree(&mut params.tree, &[&kind.schema]);
            }
        }
    }
}

struct Walk<'a, 'f> {
    root: &'a Json,
    path: Vec<String>,
    faults: &'f mut Vec<Fault>,
}

impl<'a> Walk<'a, '_> {
    fn tree(&mut self, tree: &mut Tree, schemas: &[&'a Json]) {
        let parts: Vec<_> = schemas
            .iter()
            .flat_map(|schema| parts(schema, self.root))
            .collect();
        let of = |key: &str| -> Vec<&'a Json> {
            let parts = parts.iter();
            parts.filter_map(|part| part.get(key)).collect()
        };
        match &mut tree.value {
            Value::Table(entries) => {
                let (properties, others) = (of("properties"), of("additionalProperties"));
                self.table(entries, &properties);
                for entry in entries {
                    let known = properties.iter().filter_map(|p| p.get(&entry.key));
                    let known: Vec<&Json> = known.collect();
                    let schemas = if known.is_empty() { &others } else { &known };
                    self.below(entry.key.clone(), &mut entry.tree, schemas);
                }
            }
            Value::Array(items) => {
                let schemas = of("items");
                for (index, item) in items.iter_mut().enumerate() {
                    self.below(index.to_string(), item, &schemas);
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, key: String, tree: &mut Tree, schemas: &[&'a Json]) {
        self.path.push(key);
        self.tree(tree, schemas);
        self.path.pop();
    }

    /// Renames the keys of one table. Where a key is given under both names, the former one is a fault and left out.
    fn table(&mut self, entries: &mut Vec<Entry>, properties: &[&'a Json]) {
        let known = properties.iter().filter_map(|known| known.as_object());
        for (new, property) in known.flatten() {
            let Some(old) = former_name(property) else {
                continue;
            };
            let Some(at) = entries.iter().position(|entry| entry.key == old) else {
                continue;
            };
            let place = entries[at].place;
            let path = self.path.join(".");
            if let Some(given) = entries.iter().find(|entry| entry.key == *new) {
                let message = format!("`{path}` holds `{new}` and `{old}`, its former name");
                let fault = Fault::new(Code::BothNames, place, message);
                let fault = fault.related(given.place, "the current name");
                self.faults.push(fault.help(format!("remove `{old}`")));
                entries.remove(at);
            } else {
                let message = format!("`{path}.{old}` is now called `{new}`");
                let help = format!("write `{new}`; the next version does not know `{old}`");
                self.faults
                    .push(Fault::new(Code::RenamedKey, place, message).help(help));
                entries[at].key.clone_from(new);
            }
        }
    }
}
