//! Profiles and overrides: what changes a topology without editing its file.
//!
//! Later wins: the file, the profile, `HEQIS_SET`, `--set` from left to right. None of them adds a node, stage or
//! edge, so that a misspelt name is a fault and not a silent addition.

use super::fault::{Code, Fault};
use super::place::{Place, Sources};
use super::renamed::Renamer;
use super::tree::{Entry, Tree, Value};
use heqis_actors::nearest_name;

/// One `dotted.path=value` and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What faults call the place: `--set` or `HEQIS_SET`.
    pub origin: String,
    /// The override as it was written.
    pub text: String,
}

impl Override {
    /// An override from the command line.
    #[must_use]
    pub fn set(text: impl Into<String>) -> Self {
        Self {
            origin: "--set".into(),
            text: text.into(),
        }
    }

    /// The overrides in the value of the environment variable `HEQIS_SET`, which separates them by semicolons.
    #[must_use]
    pub fn from_environment(value: &str) -> Vec<Self> {
        let parts = value
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| Self {
                origin: "HEQIS_SET".into(),
                text: part.to_owned(),
            })
            .collect()
    }
}

/// Lays the profile called `name` over `root` and takes all profiles out of it.
pub(crate) fn apply_profile(
    root: &mut Tree,
    name: Option<&str>,
    renamer: &Renamer<'_>,
    faults: &mut Vec<Fault>,
) {
    let profiles = root.entry("profiles").cloned();
    *root = root.without(|key| key == "profiles");
    let Some(name) = name else { return };
    let known = profiles
        .as_ref()
        .map_or(&[][..], |profiles| profiles.tree.entries());
    let Some(profile) = known.iter().find(|entry| entry.key == name) else {
        let names = known.iter().map(|entry| entry.key.as_str());
        let place = profiles
            .as_ref()
            .map_or(Place::START, |profiles| profiles.place);
        faults.push(
            Fault::new(
                Code::UnknownProfile,
                place,
                format!("there is no profile `{name}`"),
            )
            .nearest(name, names),
        );
        return;
    };
    for entry in profile.tree.entries() {
        lay(root, entry.clone(), renamer, faults);
    }
}

/// Lays each override over `root`.
pub(crate) fn apply_overrides(
    root: &mut Tree,
    overrides: &[Override],
    renamer: &Renamer<'_>,
    sources: &mut Sources,
    faults: &mut Vec<Fault>,
) {
    for one in overrides {
        let source = sources.add(&one.origin, one.text.clone());
        let whole = Place::new(source, 0..one.text.len());
        let Some((path, value)) = one.text.split_once('=') else {
            faults.push(
                Fault::new(
                    Code::OverrideSyntax,
                    whole,
                    "an override needs an equals sign",
                )
                .help(EXAMPLE),
            );
            continue;
        };
        let value_place = Place::new(source, path.len() + 1..one.text.len());
        let mut keys = Vec::new();
        let mut start = 0;
        // A key in quotes may have dots, as the name of an edge that leads to a port.
        let mut is_quoted = false;
        let parts = path.split(|char| {
            is_quoted ^= char == '"';
            char == '.' && !is_quoted
        });
        for key in parts {
            let place = Place::new(source, start..start + key.len());
            keys.push((key.trim().trim_matches('"'), place));
            start += key.len() + 1;
        }
        if let Some((_, place)) = keys.iter().find(|(key, _)| key.is_empty()) {
            faults.push(
                Fault::new(Code::OverrideSyntax, *place, "a key of the path is empty")
                    .help(EXAMPLE),
            );
            continue;
        }
        let leaf = Tree::parse_value(value.trim(), value_place);
        let nested = keys
            .into_iter()
            .rev()
            .fold(leaf, |tree, (key, place)| Tree {
                place,
                value: Value::Table(vec![Entry {
                    key: key.to_owned(),
                    place,
                    tree,
                }]),
            });
        for entry in nested.entries() {
            lay(root, entry.clone(), renamer, faults);
        }
    }
}

const EXAMPLE: &str = "write it like nodes.compute.address=10.0.0.2";

/// Lays one top-level entry over `root`.
fn lay(root: &mut Tree, mut entry: Entry, renamer: &Renamer<'_>, faults: &mut Vec<Fault>) {
    renamer.rename(&mut entry, root, faults);
    match entry.key.as_str() {
        "edges" if matches!(entry.tree.value, Value::Table(_)) => {
            return lay_edges(root, &entry.tree, faults);
        }
        "edges" => {
            let message = "an overlay changes edges by name, it does not replace them";
            let help = "write it like edges.\"ring->engine\".max_age = \"20ms\"";
            faults.push(Fault::new(Code::NothingToOverride, entry.place, message).help(help));
            return;
        }
        "nodes" | "stages" => {
            let known: Vec<String> = root
                .get(&entry.key)
                .map_or(&[][..], Tree::entries)
                .iter()
                .map(|entry| entry.key.clone())
                .collect();
            let what = entry.key.trim_end_matches('s');
            for stray in entry
                .tree
                .entries()
                .iter()
                .filter(|entry| !known.contains(&entry.key))
            {
                faults.push(nothing_there(what, &stray.key, stray.place, &known));
            }
            entry.tree = entry
                .tree
                .without(|key| !known.iter().any(|name| name == key));
        }
        "profiles" => {
            let message = "an override cannot change a profile; choose one with --profile";
            faults.push(Fault::new(Code::NothingToOverride, entry.place, message));
            return;
        }
        _ => {}
    }
    let place = entry.tree.place;
    root.overlay(Tree {
        place,
        value: Value::Table(vec![entry]),
    });
}

/// Edges are a list in the file, so an overlay addresses them by name.
fn lay_edges(root: &mut Tree, over: &Tree, faults: &mut Vec<Fault>) {
    let mut none = Vec::new();
    let edges = root
        .entries_mut()
        .iter_mut()
        .find(|entry| entry.key == "edges");
    let edges = match edges.map(|entry| &mut entry.tree.value) {
        Some(Value::Array(edges)) => edges,
        _ => &mut none,
    };
    let names: Vec<String> = edges.iter().map(edge_name).collect();
    for entry in over.entries() {
        match names.iter().position(|name| *name == entry.key) {
            Some(index) => edges[index].overlay(entry.tree.clone()),
            None => faults.push(nothing_there("edge", &entry.key, entry.place, &names)),
        }
    }
}

fn nothing_there(what: &str, name: &str, place: Place, known: &[String]) -> Fault {
    let mut fault = Fault::new(
        Code::NothingToOverride,
        place,
        format!("the file has no {what} `{name}` to change"),
    );
    fault.help = nearest_name(name, known.iter().map(String::as_str));
    fault
}

/// Name of the edge that `tree` declares, as `from->to`.
pub(crate) fn edge_name(tree: &Tree) -> String {
    let end = |key| tree.get(key).and_then(Tree::text).unwrap_or("?");
    format!("{}->{}", end("from"), end("to"))
}
