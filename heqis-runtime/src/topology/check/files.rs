//! Files that a node reads itself, apart from those of its stages.

use std::path::Path;

use super::Resolved;
use crate::topology::fault::{Code, Fault};

/// Longest list of names that is read, bytes: some hundred times all stocks of a market.
const MAX_NAMES_BYTES: u64 = 64 * 1024 * 1024;

/// A list of names that is not there is no fault: the page shows codes, and a list may come with the next fetch.
pub(super) fn check(
    resolved: &Resolved<'_>,
    base: &Path,
    only: Option<&str>,
    faults: &mut Vec<Fault>,
) {
    let nodes = resolved.topology.nodes.iter();
    for node in nodes.filter(|node| only.is_none_or(|only| only == node.name)) {
        let page = node.spec.as_ref().and_then(|spec| spec.dashboard.as_ref());
        let Some(names) = page.and_then(|page| page.names.as_ref()) else {
            continue;
        };
        let Ok(file) = std::fs::metadata(base.join(names)) else {
            continue;
        };
        let rule = if !file.is_file() {
            "must be a regular file".to_owned()
        } else if file.len() > MAX_NAMES_BYTES {
            format!(
                "must hold at most {MAX_NAMES_BYTES} bytes, it holds {}",
                file.len()
            )
        } else {
            continue;
        };
        let message = format!(
            "the names of node `{}`, {}, {rule}",
            node.name,
            names.display()
        );
        let place = node.at(&["dashboard", "names"]);
        faults.push(Fault::new(Code::UnusableFile, place, message));
    }
}
