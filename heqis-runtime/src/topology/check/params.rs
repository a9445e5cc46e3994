//! Parameters: what the kind's schema allows, then what the stage itself accepts.

use std::path::Path;

use heqis_actors::Prepared;

use super::Scene;
use crate::topology::fault::{Code, Fault};
use crate::topology::schema::validate;
use crate::topology::tree::{Tree, Value};

pub(super) fn check(
    scene: &Scene<'_>,
    base: &Path,
    only: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Vec<Option<Prepared>> {
    let stages = scene.topology.stages.iter().zip(&scene.kinds);
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
                        faults.push(Fault::new(Code::UnusableParameters, anchor, message));
                    }
                    None
                }
            }
        })
        .collect()
}
