//! Port contracts: rules that two stages must agree on beyond the payload, such as the features of a model.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use heqis_actors::{ANY, PortSchema, Prepared, mismatch};

use super::Resolved;
use crate::topology::fault::{Code, Fault};

/// Compares every stage with those that feed it, ring buffers between them or not, and with those farther up whose word
/// goes through to it. Stages that could not be prepared, or whose files are on another machine, are not compared.
pub(super) fn check(
    resolved: &Resolved<'_>,
    prepared: &[Option<Prepared>],
    faults: &mut Vec<Fault>,
) {
    for &link in &resolved.edges {
        let (Some(stage), Some(kind)) = (&prepared[link.to], resolved.kinds[link.to]) else {
            continue;
        };
        for (from, makes) in said(resolved, prepared, link.from) {
            if let Some(found) = mismatch(&makes, &stage.contract().requires) {
                let (from, to) = (resolved.stage_name(from), resolved.stage_name(link.to));
                let message = format!(
                    "stage `{to}` ({}) takes {subject} = {}, but `{from}` makes {subject} = {}",
                    kind.name,
                    found.required,
                    found.provided,
                    subject = found.subject,
                );
                let place = resolved.edge(link).at(&["to"]);
                faults.push(Fault::new(Code::TermsMismatch, place, message));
            }
        }
    }
}

/// What holds of the frames that leave `stage`, by the stage that says so.
fn said(
    resolved: &Resolved<'_>,
    prepared: &[Option<Prepared>],
    stage: usize,
) -> Vec<(usize, PortSchema)> {
    let mut said: Vec<(usize, PortSchema)> = Vec::new();
    let mut seen = HashSet::new();
    // The subjects that are still asked for; all of them next to the stage that takes the frames.
    let mut open: Vec<(usize, Option<BTreeSet<&str>>)> = vec![(stage, None)];
    while let Some((stage, asked)) = open.pop() {
        for from in makers(resolved, stage) {
            if !seen.insert((from, asked.clone())) {
                continue;
            }
            let Some(maker) = &prepared[from] else {
                continue;
            };
            let is_asked = |subject: &str| asked.as_ref().is_none_or(|a| a.contains(subject));
            let terms = maker.contract();
            let mut makes = terms.provides.clone();
            makes.retain(|subject, _| is_asked(subject));
            said.push((from, makes));
            let passed = terms.passthrough.iter().copied();
            let passed: BTreeSet<&str> = passed.filter(|subject| is_asked(subject)).collect();
            if !passed.is_empty() {
                let feeding = resolved.edges.iter().filter(|link| link.to == from);
                open.extend(feeding.map(|link| (link.from, Some(passed.clone()))));
            }
        }
    }
    said.sort_by_key(|(from, _)| *from);
    said
}

/// What holds of the frames that leave `stage`, by subject; what is nearest to the edge counts.
pub(in crate::topology) fn made(
    resolved: &Resolved<'_>,
    prepared: &[Option<Prepared>],
    stage: usize,
) -> BTreeMap<String, String> {
    let mut made = BTreeMap::new();
    for (_, facts) in said(resolved, prepared, stage).into_iter().rev() {
        for (subject, fact) in &facts {
            made.entry((*subject).to_owned())
                .or_insert_with(|| fact.to_string());
        }
    }
    made
}

/// What `stage` and those that it passes things on to take, by subject.
pub(in crate::topology) fn taken(
    resolved: &Resolved<'_>,
    prepared: &[Option<Prepared>],
    stage: usize,
) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    let mut seen = HashSet::new();
    // Stages, and the subjects that reach them; all of them next to the edge.
    let mut open: Vec<(usize, Option<BTreeSet<&str>>)> = vec![(stage, None)];
    while let Some((stage, reaches)) = open.pop() {
        if !seen.insert((stage, reaches.clone())) {
            continue;
        }
        let following = || resolved.edges.iter().filter(move |link| link.from == stage);
        if resolved.kinds[stage].is_some_and(|kind| kind.output == Some(ANY)) {
            open.extend(following().map(|link| (link.to, reaches.clone())));
            continue;
        }
        let Some(taker) = &prepared[stage] else {
            continue;
        };
        let is_reached = |subject: &str| reaches.as_ref().is_none_or(|r| r.contains(subject));
        for (subject, fact) in &taker.contract().requires {
            if is_reached(subject) {
                taken
                    .entry((*subject).to_owned())
                    .or_insert_with(|| fact.to_string());
            }
        }
        let passed: BTreeSet<&str> = (taker.contract().passthrough.iter().copied())
            .filter(|subject| is_reached(subject))
            .collect();
        if !passed.is_empty() {
            open.extend(following().map(|link| (link.to, Some(passed.clone()))));
        }
    }
    taken
}

/// The stages whose frames leave `stage`: itself, or whatever feeds a ring buffer.
pub(super) fn makers(resolved: &Resolved<'_>, stage: usize) -> Vec<usize> {
    let (mut open, mut seen, mut makers) = (vec![stage], HashSet::from([stage]), Vec::new());
    while let Some(stage) = open.pop() {
        if resolved.kinds[stage].is_some_and(|kind| kind.output == Some(ANY)) {
            let feeding = resolved.edges.iter().filter(|link| link.to == stage);
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
