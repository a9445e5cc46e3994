//! Terms: what two stages must agree on beyond the payload, such as the features of a model.

use std::collections::HashSet;

use heqis_actors::{ANY, Prepared, disagreement};

use super::Scene;
use crate::topology::fault::{Code, Fault};

/// Compares every stage with those that feed it, ring buffers between them or not. Stages that could not be prepared,
/// or whose files are on another machine, are not compared.
pub(super) fn check(scene: &Scene<'_>, prepared: &[Option<Prepared>], faults: &mut Vec<Fault>) {
    for &link in &scene.links {
        let (Some(stage), Some(kind)) = (&prepared[link.to], scene.kinds[link.to]) else {
            continue;
        };
        for from in makers(scene, link.from) {
            let Some(maker) = &prepared[from] else {
                continue;
            };
            if let Some(found) = disagreement(&maker.terms().makes, &stage.terms().takes) {
                let (from, to) = (scene.stage_name(from), scene.stage_name(link.to));
                let message = format!(
                    "stage `{to}` ({}) takes {subject} = {}, but `{from}` makes {subject} = {}",
                    kind.name,
                    found.wanted,
                    found.made,
                    subject = found.subject,
                );
                let place = scene.edge(link).at(&["to"]);
                faults.push(Fault::new(Code::TermsMismatch, place, message));
            }
        }
    }
}

/// The stages whose frames leave `stage`: itself, or whatever feeds a ring buffer.
fn makers(scene: &Scene<'_>, stage: usize) -> Vec<usize> {
    let (mut open, mut seen, mut makers) = (vec![stage], HashSet::from([stage]), Vec::new());
    while let Some(stage) = open.pop() {
        if scene.kinds[stage].is_some_and(|kind| kind.output == Some(ANY)) {
            let feeding = scene.links.iter().filter(|link| link.to == stage);
            open.extend(
                feeding
                    .map(|link| link.from)
                    .filter(|&from| seen.insert(from)),
            );
        } else {
            makers.push(stage);
        }
    }
    makers.sort_unstable();
    makers
}
