//! Certificates of the nodes whose edges use TLS.

use std::path::Path;

use heqis_tls::Loaded;

use super::Resolved;
use crate::topology::document::{EdgeSpec, Scheme};
use crate::topology::fault::{Code, Fault};
use crate::topology::parsed::Spanned;

/// Checks the certificate of the node `only`. Without one, those that are there: the files of a node may be on its machine
/// alone. Messages have their paths as seen from `directory`.
pub(super) fn check(
    resolved: &Resolved<'_>,
    [home, directory]: [&Path; 2],
    only: Option<&str>,
    faults: &mut Vec<Fault>,
) {
    let topology = resolved.topology;
    for (index, node) in topology.nodes.iter().enumerate() {
        let Some(edge) = tls_edge(resolved, index) else {
            continue;
        };
        let own = node.spec.as_ref().and_then(|spec| spec.tls.as_ref());
        let files = topology.tls.files(own, home, &node.name);
        let is_wanted = match only {
            Some(only) => only == node.name,
            None => files.certificate.exists() && files.key.exists(),
        };
        if !is_wanted {
            continue;
        }
        if let Err(error) = Loaded::read(&files, Some(&node.name)) {
            let here = format!("{}/", directory.display());
            let error = error.to_string().replace(&here, "");
            let message = format!("node `{}` cannot prove its name: {error}", node.name);
            let place = edge.at(&["transport", "scheme"]);
            faults.push(Fault::new(Code::UnusableCertificate, place, message));
        }
    }
}

/// The first edge with TLS that begins or ends on the node with this index.
fn tls_edge<'a>(resolved: &Resolved<'a>, node: usize) -> Option<&'a Spanned<EdgeSpec>> {
    let mut edges = resolved.edges.iter().filter(|link| {
        let ends = resolved.crossing(**link);
        ends.is_some_and(|(from, to)| from == node || to == node)
    });
    edges.find_map(|link| {
        let edge = resolved.edge(*link);
        let transport = edge.spec.as_ref()?.transport.as_ref()?;
        (transport.scheme == Scheme::Tls).then_some(edge)
    })
}
