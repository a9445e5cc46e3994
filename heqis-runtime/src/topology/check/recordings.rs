//! Recordings: which sources may have one, and what a recording needs.

use super::Resolved;
use crate::topology::fault::{Code, Fault};

pub(super) fn check(resolved: &Resolved<'_>, faults: &mut Vec<Fault>) {
    for (index, stage) in resolved.topology.stages.iter().enumerate() {
        let (Some(spec), Some(kind)) = (&stage.spec, resolved.kinds[index]) else {
            continue;
        };
        if spec.record.is_none() {
            continue;
        }
        let place = stage.at(&["record"]);
        let name = &stage.name;
        if kind.input.is_some() || kind.replayable {
            let why = match kind.input.is_some() {
                true => "it is no source",
                false => "it gives the same items again by itself",
            };
            let message = format!("stage `{name}` ({}) is not recorded: {why}", kind.name);
            faults.push(Fault::new(Code::NotRecordable, place, message));
            continue;
        }
        let node = resolved.stage_nodes[index].and_then(|node| resolved.topology.nodes.get(node));
        if let Some(node) = node
            && node.spec.as_ref().is_some_and(|spec| spec.state.is_none())
        {
            let message = format!(
                "stage `{name}` is recorded, but node `{}` saves no state",
                node.name
            );
            let help = format!(
                "add `state = {{ path = \"…\" }}` to `[nodes.{}]`",
                node.name
            );
            faults.push(Fault::new(Code::RecordWithoutState, place, message).help(help));
        }
    }
}
