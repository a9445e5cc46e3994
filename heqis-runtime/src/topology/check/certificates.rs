//! Certificates of the nodes whose edges or servers use TLS, and servers that do without.

use std::path::Path;

use heqis_tls::Loaded;

use super::Resolved;
use super::transport::is_open;
use crate::topology::document::{EdgeSpec, NodeSpec, Scheme};
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
    let accepted = topology
        .header
        .as_ref()
        .is_some_and(|header| header.insecure);
    for (index, node) in topology.nodes.iter().enumerate() {
        let open = open_servers(node);
        let insecure = accepted || node.spec.as_ref().is_some_and(|spec| spec.insecure);
        if insecure {
            faults.extend(open.iter().map(|server| {
                let message = format!(
                    "node `{}` serves {} on {} as plain HTTP: anyone on its network can read it, and a token too",
                    node.name, server.what, server.address
                );
                Fault::new(Code::InsecureServer, node.at(server.key), message)
                    .help("without `insecure` it is served over HTTPS, with the certificate of the node")
            }));
        }
        let edge = tls_edge(resolved, index).map(|edge| edge.at(&["transport", "scheme"]));
        let server = open.first().filter(|_| !insecure);
        let Some(place) = edge.or_else(|| server.map(|server| node.at(server.key))) else {
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
            faults.push(Fault::new(Code::UnusableCertificate, place, message));
        }
    }
}

/// A server of a node that other machines reach.
struct OpenServer<'a> {
    what: &'static str,
    key: &'static [&'static str],
    address: &'a str,
}

/// The servers of a node that other machines reach and that have no certificate of their own.
fn open_servers(node: &Spanned<NodeSpec>) -> Vec<OpenServer<'_>> {
    let Some(spec) = &node.spec else {
        return Vec::new();
    };
    let metrics = spec.metrics.as_deref().map(|address| OpenServer {
        what: "metrics",
        key: &["metrics"],
        address,
    });
    let page = spec
        .dashboard
        .as_ref()
        .filter(|page| page.certificate.is_none());
    let page = page.map(|page| OpenServer {
        what: "its page",
        key: &["dashboard", "address"],
        address: &page.address,
    });
    metrics
        .into_iter()
        .chain(page)
        .filter(|server| is_open(server.address))
        .collect()
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
