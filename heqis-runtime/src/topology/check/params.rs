//! Parameters: what the kind's schema allows, then what the stage itself accepts.

use std::path::Path;

use heqis_actors::Prepared;

use super::Resolved;
use crate::topology::fault::{Code, Fault};
use crate::topology::place::Place;
use crate::topology::schema::validate;
use crate::topology::tree::{Tree, Value};

pub(super) fn check(
    resolved: &Resolved<'_>,
    base: &Path,
    only: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Vec<Option<Prepared>> {
    let stages = resolved.topology.stages.iter().zip(&resolved.kinds);
    stages
        .map(|(stage, kind)| {
            let kind = (*kind)?;
            let entry = stage.tree.entry("params");
            let none = Tree {
                place: stage.place,
                value: Value::Table(Vec::new()),
            };
            let (tree, anchor) =
                entry.map_or((&none, stage.place), |entry| (&entry.tree, entry.place));
            if !matches!(tree.value, Value::Table(_)) {
                return None; // Reported by the format's own schema.
            }
            let prefix = ["stages", &stage.name, "params"];
            let findings = validate(tree, &kind.schema, &prefix, anchor, Code::UnknownParameter);
            if !findings.is_empty() {
                faults.extend(findings.into_iter().map(|finding| finding.fault));
                return None;
            }
            let spec = stage.spec.as_ref()?;
            if only.is_some_and(|only| only != spec.node) {
                return None;
            }
            match kind.prepare(tree.to_json(), base) {
                Ok(prepared) => Some(prepared),
                Err(reasons) => {
                    for reason in reasons {
                        let message = format!("stage `{}` ({}): {reason}", stage.name, kind.name);
                        let place = culprit(tree, &reason).unwrap_or(anchor);
                        faults.push(Fault::new(Code::UnusableParameters, place, message));
                    }
                    None
                }
            }
        })
        .collect()
}

/// Place of the longest text among the parameters that `reason` quotes, such as a path: a stage says what is wrong in
/// words, not where.
fn culprit(tree: &Tree, reason: &str) -> Option<Place> {
    let mut open = vec![tree];
    let mut best: Option<(usize, Place)> = None;
    while let Some(tree) = open.pop() {
        open.extend(tree.entries().iter().map(|entry| &entry.tree));
        open.extend(tree.items());
        let quoted = tree
            .text()
            .filter(|text| text.len() > 2 && reason.contains(text));
        if let Some(text) = quoted.filter(|text| best.is_none_or(|(length, _)| length < text.len()))
        {
            best = Some((text.len(), tree.place));
        }
    }
    best.map(|(_, place)| place)
}
