//! Transport: what crosses between nodes, and what listens where.

use std::net::IpAddr;
use std::path::Path;

use heqis_actors::sp::{Endpoint, SpError, is_loopback};
use heqis_tls::is_readable;

use super::{Resolved, ResolvedEdge};
use crate::topology::document::{EdgeSpec, NodeSpec, Scheme, TransportSpec};
use crate::topology::fault::{Code, Fault};
use crate::topology::parsed::Spanned;
use crate::topology::place::Place;

/// Where a node is reached when the file does not say.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1";

/// Something that listens: on which machine, at which address, written where.
struct Listener {
    machine: String,
    endpoint: Endpoint,
    place: Place,
    what: String,
}

pub(super) fn check(resolved: &Resolved<'_>, base: &Path, faults: &mut Vec<Fault>) {
    let mut listeners = Vec::new();
    for node in &resolved.topology.nodes {
        let Some(spec) = &node.spec else { continue };
        if let Err(rule) = rule(
            &Endpoint::Tcp {
                host: address(spec).to_owned(),
                port: 1,
            }
            .to_string(),
        ) {
            let message = format!(
                "node `{}` has no usable address \"{}\": {rule}",
                node.name,
                address(spec)
            );
            faults.push(Fault::new(Code::BadAddress, node.at(&["address"]), message));
        }
        let webhook = spec
            .dashboard
            .as_ref()
            .and_then(|page| page.webhook.as_ref());
        let accepted = spec.insecure
            || resolved
                .topology
                .header
                .as_ref()
                .is_some_and(|header| header.insecure);
        if let Some(rule) = webhook.and_then(|url| webhook_rule(url, accepted)) {
            // The rest of the address may hold a secret.
            let message = format!(
                "node `{}` cannot send alarms to its webhook: {rule}",
                node.name
            );
            let place = node.at(&["dashboard", "webhook"]);
            faults.push(Fault::new(Code::BadAddress, place, message));
        }
        let dashboard = spec.dashboard.as_ref().map(|page| &page.address);
        let servers = [
            (&["metrics"][..], spec.metrics.as_ref(), "metrics", 9101),
            (&["dashboard", "address"], dashboard, "dashboard", 9180),
        ];
        for (key, address, server, port) in servers {
            let Some(address) = address else { continue };
            match rule(&format!("tcp://{address}")) {
                Ok(endpoint) => listeners.push(Listener {
                    machine: machine(spec),
                    endpoint,
                    place: node.at(key),
                    what: format!("the {server} server of node `{}`", node.name),
                }),
                Err(rule) => {
                    let message = format!(
                        "node `{}` cannot serve {server} at \"{address}\": {rule}",
                        node.name
                    );
                    faults.push(
                        Fault::new(Code::BadAddress, node.at(key), message)
                            .help(format!("write it like 127.0.0.1:{port}")),
                    );
                }
            }
        }
    }
    for &link in &resolved.edges {
        let edge = resolved.edge(link);
        let Some(spec) = &edge.spec else { continue };
        match resolved.crossing(link) {
            Some(_) => crossing(resolved, link, edge, spec, base, &mut listeners, faults),
            None if resolved.stage_nodes[link.from].is_some()
                && resolved.stage_nodes[link.to].is_some() =>
            {
                local(resolved, link, edge, faults)
            }
            None => {}
        }
    }
    clashes(&listeners, faults);
}

fn local(
    resolved: &Resolved<'_>,
    link: ResolvedEdge,
    edge: &Spanned<EdgeSpec>,
    faults: &mut Vec<Fault>,
) {
    let node =
        resolved.stage_nodes[link.from].map_or("", |node| &resolved.topology.nodes[node].name);
    for key in ["transport", "delivery"]
        .into_iter()
        .filter(|key| edge.tree.entry(key).is_some())
    {
        let message = format!("`{key}` on an edge that stays on node `{node}`");
        faults.push(Fault::new(
            Code::NeedlessTransport,
            edge.key_at(key),
            message,
        ));
    }
}

fn crossing(
    resolved: &Resolved<'_>,
    link: ResolvedEdge,
    edge: &Spanned<EdgeSpec>,
    spec: &EdgeSpec,
    base: &Path,
    listeners: &mut Vec<Listener>,
    faults: &mut Vec<Fault>,
) {
    let Some((from, to)) = resolved.crossing(link) else {
        return;
    };
    let nodes = &resolved.topology.nodes;
    let Some(transport) = &spec.transport else {
        if edge.tree.entry("transport").is_none() {
            let (from, to) = (&nodes[from].name, &nodes[to].name);
            let message = format!(
                "the edge `{}` leads from node `{from}` to node `{to}` without a transport",
                edge.name
            );
            let help = "add transport = { kind = \"nng\", scheme = \"tcp\", port = 5555 }";
            faults.push(Fault::new(Code::MissingTransport, edge.place, message).help(help));
        }
        return;
    };
    let at = |key: &str| edge.at(&["transport", key]);
    let mut incomplete = |given: bool, key: &str, scheme: &str, wanted: bool| {
        if given != wanted {
            let verb = if wanted { "needs" } else { "has no" };
            let message = format!("a transport with the scheme `{scheme}` {verb} `{key}`");
            faults.push(Fault::new(
                Code::IncompleteTransport,
                if given {
                    at(key)
                } else {
                    edge.key_at("transport")
                },
                message,
            ));
        }
    };
    // A key that is there but faulty was reported already and is not missing.
    let written = |key: &str| {
        edge.tree
            .get("transport")
            .is_some_and(|tree| tree.entry(key).is_some())
    };
    match transport.scheme {
        Scheme::Tcp | Scheme::Tls => {
            let scheme = match transport.scheme {
                Scheme::Tls => "tls+tcp",
                _ => "tcp",
            };
            incomplete(written("port"), "port", scheme, true);
            incomplete(written("path"), "path", scheme, false);
        }
        Scheme::Ipc => {
            incomplete(written("path"), "path", "ipc", true);
            incomplete(written("port"), "port", "ipc", false);
            if let (Some(from), Some(to)) = (&nodes[from].spec, &nodes[to].spec)
                && machine(from) != machine(to)
            {
                let (one, other) = (address(from), address(to));
                let message = format!("the scheme `ipc` joins two machines, {one} and {other}");
                faults.push(
                    Fault::new(Code::IpcAcrossMachines, at("scheme"), message)
                        .help("use `tls+tcp`"),
                );
            }
        }
    }
    let Some(receiver) = &nodes[to].spec else {
        return;
    };
    let Some(endpoint) = endpoint(transport, receiver, base) else {
        return;
    };
    match rule(&endpoint.to_string()) {
        Ok(endpoint) => listeners.push(Listener {
            machine: machine(receiver),
            endpoint,
            place: at(if transport.scheme == Scheme::Ipc {
                "path"
            } else {
                "port"
            }),
            what: format!("the edge `{}`", edge.name),
        }),
        // The host of a tcp endpoint was checked with its node.
        Err(rule) if transport.scheme == Scheme::Ipc => {
            let message = format!(
                "the edge `{}` cannot listen at {endpoint}: {rule}",
                edge.name
            );
            faults.push(Fault::new(Code::BadAddress, at("path"), message));
        }
        Err(_) => {}
    }
}

/// Where the receiving `node` listens; `None` when the transport does not say.
pub(crate) fn endpoint(
    transport: &TransportSpec,
    node: &NodeSpec,
    base: &Path,
) -> Option<Endpoint> {
    match transport.scheme {
        Scheme::Tcp => Some(Endpoint::Tcp {
            host: address(node).to_owned(),
            port: transport.port?,
        }),
        Scheme::Ipc => Some(Endpoint::Ipc {
            path: base.join(transport.path.as_ref()?),
        }),
        Scheme::Tls => Some(Endpoint::Tls {
            host: address(node).to_owned(),
            port: transport.port?,
        }),
    }
}

/// Where the other nodes reach `node`.
pub(crate) fn address(node: &NodeSpec) -> &str {
    node.address.as_deref().unwrap_or(DEFAULT_ADDRESS)
}

/// Whether other machines reach a server at `address`, `host:port`.
pub(crate) fn is_open(address: &str) -> bool {
    let endpoint = format!("tcp://{address}").parse::<Endpoint>();
    endpoint.is_ok_and(|endpoint| endpoint.is_open())
}

/// Parses an endpoint, or says which rule it breaks.
fn rule(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error| match error {
        SpError::InvalidEndpoint { rule, .. } => rule.to_owned(),
        other => other.to_string(),
    })
}

fn clashes(listeners: &[Listener], faults: &mut Vec<Fault>) {
    for (index, listener) in listeners.iter().enumerate() {
        if let Some(first) = listeners[..index]
            .iter()
            .find(|first| clash(first, listener))
        {
            let message = format!(
                "{} listens at {}, where {} already does",
                listener.what, listener.endpoint, first.what
            );
            let fault = Fault::new(Code::AddressInUse, listener.place, message);
            faults.push(fault.related(first.place, "first used here"));
        }
    }
}

/// Whether two listeners need the same address. Equal texts on two machines, such as `0.0.0.0:9101`, are two addresses.
fn clash(one: &Listener, other: &Listener) -> bool {
    let together = one.machine == other.machine;
    match (one.endpoint.host_port(), other.endpoint.host_port()) {
        // Port 0 lets the system choose a free one.
        (Some((_, 0)), _) => false,
        (Some((host, port)), Some((other_host, other_port))) => {
            let everywhere = is_everywhere(host) || is_everywhere(other_host);
            let equal = host.eq_ignore_ascii_case(other_host);
            let own = is_everywhere(host) || is_loopback(host);
            port == other_port && ((together && (equal || everywhere)) || (equal && !own))
        }
        _ => together && one.endpoint == other.endpoint,
    }
}

fn is_everywhere(host: &str) -> bool {
    host.parse::<IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
}

/// Why alarms are not sent to `url`.
fn webhook_rule(url: &str, accepts_plain: bool) -> Option<&'static str> {
    let Some(readable) = is_readable(url) else {
        return Some("its address begins with https://");
    };
    (readable && !accepts_plain).then_some(
        "its address begins with http://, which anyone on the way can read: use https://, or accept it with `insecure = true`",
    )
}

/// What identifies a machine: nodes at one address, or at any loopback address, share one.
fn machine(node: &NodeSpec) -> String {
    match address(node) {
        address if is_loopback(address) => "localhost".to_owned(),
        address => address.to_ascii_lowercase(),
    }
}
