//! Reading and checking a topology file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use heqis_actors::{Registry, read_small_file};

use super::check::{self, Resolved};
use super::document::NodeSpec;
use super::fault::{Code, Fault, Faults};
use super::overlay::{Override, apply_overrides, apply_profile};
use super::parsed::{Topology, format_schema};
use super::place::{Place, Sources};
use super::plan::Plan;
use super::renamed::Renamer;
use super::tree::{Tree, Value};

/// Longest topology file that is read, bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Version of the format that this binary reads.
const VERSION: i64 = 1;

/// Which file to read, and how to look at it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The topology file.
    pub file: PathBuf,
    /// The working directory, where relative paths start unless the file states a `base`.
    pub directory: PathBuf,
    /// The profile to lay over the file.
    pub profile: Option<String>,
    /// Overrides, the later the stronger.
    pub overrides: Vec<Override>,
    /// Lets only the stages of this node check their files: those of other nodes may be on other machines.
    pub node: Option<String>,
    /// Checks every profile of the file too, when none is chosen.
    pub every_profile: bool,
}

impl Request {
    /// A request for `file` as it is, with `directory` as the working directory.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, directory: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            directory: directory.into(),
            profile: None,
            overrides: Vec::new(),
            node: None,
            every_profile: false,
        }
    }
}

/// Reads a topology and checks it completely. Nothing is started.
///
/// # Errors
/// Every fault of the file, its profile and the overrides.
pub fn load(request: &Request, registry: &Registry) -> Result<Plan, Faults> {
    load_text(&read(request)?, request, registry)
}

fn read(request: &Request) -> Result<String, Faults> {
    let name = request.file.display().to_string();
    let path = request.directory.join(&request.file);
    match read_small_file(&path, MAX_BYTES).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            Err(unreadable(name, &format!("is not UTF-8 at byte {at}")))
        }
        Err(error) => Err(unreadable(name, &format!("cannot be read: {error}"))),
    }
}

/// What commands about certificates need of a topology: names, and where the files are.
#[derive(Clone, Debug)]
pub struct Outline {
    /// Name of the graph.
    pub name: String,
    /// Directory of the certificates.
    pub directory: PathBuf,
    /// Names of the nodes, in the order of the file, each with the hosts at which others reach it.
    pub nodes: Vec<(String, Vec<String>)>,
}

/// The addresses and host names of a node in the topology: where its edges listen, and its metrics and its page.
fn hosts(node: &NodeSpec) -> Vec<String> {
    let page = node.dashboard.as_ref();
    let servers = (node.metrics.iter()).chain(page.map(|page| &page.address));
    let servers = servers.filter_map(|address| address.rsplit_once(':'));
    let served = servers.map(|(host, _)| host.trim_matches(['[', ']']));
    let own = node.address.as_deref().into_iter().chain(served);
    let is_everywhere = |host: &str| (host.parse::<IpAddr>()).is_ok_and(|ip| ip.is_unspecified());
    let mut hosts: Vec<String> = own
        .filter(|host| !is_everywhere(host))
        .map(str::to_owned)
        .chain(page.into_iter().flat_map(|page| page.hosts.clone()))
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Reads a topology without the files of its stages, which may be on other machines.
///
/// # Errors
/// What is wrong with the file, its profile and the overrides as far as their format goes.
pub fn outline(request: &Request, registry: &Registry) -> Result<Outline, Faults> {
    let (text, name) = (read(request)?, request.file.display().to_string());
    let mut sources = Sources::default();
    let file = sources.add(name, &text);
    let mut faults = Vec::new();
    let format = format_schema();
    let renamer = Renamer::new(&format, registry);
    let topology = match Tree::parse(&text, file) {
        Err((message, place)) => {
            let fault = syntax_fault(&text, &message, place);
            return Err(Faults::new(sources, vec![fault]));
        }
        Ok(root) => {
            let profile = request.profile.as_deref();
            let root = overlaid(&root, profile, &renamer, &mut sources, request, &mut faults);
            Topology::read(root, &format, &mut faults)
        }
    };
    match &topology.header {
        Some(header) if faults.iter().all(|fault| fault.code.is_warning()) => Ok(Outline {
            name: header.name.clone(),
            directory: topology.tls.directory(&home(request)),
            nodes: topology
                .nodes
                .iter()
                .map(|node| {
                    (
                        node.name.clone(),
                        node.spec.as_ref().map_or_else(Vec::new, hosts),
                    )
                })
                .collect(),
        }),
        _ => Err(Faults::new(sources, faults)),
    }
}

/// The file with the profile and the overrides laid over it.
fn overlaid(
    file: &Tree,
    profile: Option<&str>,
    renamer: &Renamer<'_>,
    sources: &mut Sources,
    request: &Request,
    faults: &mut Vec<Fault>,
) -> Tree {
    let mut root = file.clone();
    for entry in root.entries_mut() {
        renamer.rename(entry, file, faults);
    }
    apply_profile(&mut root, profile, renamer, faults);
    apply_overrides(&mut root, &request.overrides, renamer, sources, faults);
    root
}

fn unreadable(name: String, reason: &str) -> Faults {
    let mut sources = Sources::default();
    sources.add(&name, "");
    let fault = Fault::new(
        Code::UnreadableFile,
        Place::START,
        format!("the file {name} {reason}"),
    );
    Faults::new(sources, vec![fault])
}

/// As [`load`], for a text that is already in memory; [`Request::file`] gives its name.
///
/// # Errors
/// As [`load`].
pub fn load_text(text: &str, request: &Request, registry: &Registry) -> Result<Plan, Faults> {
    let mut sources = Sources::default();
    let file = sources.add(request.file.display().to_string(), text);
    let root = match Tree::parse(text, file) {
        Ok(root) => root,
        Err((message, place)) => {
            return Err(Faults::new(
                sources,
                vec![syntax_fault(text, &message, place)],
            ));
        }
    };
    if let Some(fault) = version_fault(&root) {
        return Err(Faults::new(sources, vec![fault]));
    }
    let (plan, mut faults) = assess(
        &root,
        request.profile.as_deref(),
        &mut sources,
        request,
        registry,
    );
    if request.every_profile && request.profile.is_none() {
        for profile in root.get("profiles").map_or(&[][..], Tree::entries) {
            // Each round adds the overrides' texts again under the same indices; one copy is enough.
            let mut again = Sources::default();
            again.add(request.file.display().to_string(), text);
            for fault in assess(&root, Some(&profile.key), &mut again, request, registry).1 {
                if !faults
                    .iter()
                    .any(|known| known.place == fault.place && known.code == fault.code)
                {
                    let message = format!("with --profile {}: {}", profile.key, fault.message);
                    faults.push(Fault { message, ..fault });
                }
            }
        }
    }
    let is_sound = faults.iter().all(|fault| fault.code.is_warning());
    let faults = Faults::new(sources, faults);
    match plan {
        Some(plan) if is_sound => Ok(Plan {
            warnings: faults,
            ..plan
        }),
        _ => Err(faults),
    }
}

/// Looks at the file through one profile.
fn assess(
    root: &Tree,
    profile: Option<&str>,
    sources: &mut Sources,
    request: &Request,
    registry: &Registry,
) -> (Option<Plan>, Vec<Fault>) {
    let mut faults = Vec::new();
    let format = format_schema();
    let renamer = Renamer::new(&format, registry);
    let root = overlaid(root, profile, &renamer, sources, request, &mut faults);
    let topology = Topology::read(root, &format, &mut faults);
    let base = base(&topology, request);
    let resolved = Resolved::new(&topology, registry);
    if let Some(node) = &request.node
        && !topology.nodes.iter().any(|known| known.name == *node)
    {
        let names = topology.nodes.iter().map(|node| node.name.as_str());
        let fault = Fault::new(
            Code::UnknownNode,
            Place::START,
            format!("the file has no node `{node}`"),
        );
        faults.push(fault.nearest(node, names));
    }
    let home = home(request);
    let only = request.node.as_deref();
    let prepared = check::run(
        &resolved,
        [&base, &home, &request.directory],
        only,
        &mut faults,
    );
    if faults.iter().any(|fault| !fault.code.is_warning()) {
        return (None, faults);
    }
    let plan = Plan::resolve(&resolved, prepared, request.file.clone(), base, &home);
    if plan.is_none() {
        // Serde refused what the schema allowed. Rare, but it must not pass for a success.
        let message = "the file could not be resolved, though no rule names the reason";
        faults.push(Fault::new(Code::WrongType, Place::START, message));
    }
    (plan, faults)
}

/// Relative paths start in the working directory, or where the file's `base` says, seen from the file.
fn base(topology: &Topology, request: &Request) -> PathBuf {
    match topology
        .header
        .as_ref()
        .and_then(|header| header.base.as_ref())
    {
        Some(base) => {
            let base = home(request).join(base);
            // Messages read better without `topologies/..` in every path.
            base.canonicalize().unwrap_or(base)
        }
        None => request.directory.clone(),
    }
}

/// The directory of the file.
fn home(request: &Request) -> PathBuf {
    let home = request.file.parent().unwrap_or(Path::new(""));
    request.directory.join(home)
}

fn syntax_fault(text: &str, message: &str, place: Place) -> Fault {
    if message.contains("duplicate key") {
        let name = text.get(place.start..place.end).unwrap_or("");
        return Fault::new(
            Code::DuplicateName,
            place,
            format!("`{name}` is given twice"),
        );
    }
    Fault::new(Code::TomlSyntax, place, message)
}

fn version_fault(root: &Tree) -> Option<Fault> {
    match root.get("heqis") {
        Some(Tree {
            value: Value::Integer(VERSION),
            ..
        }) => None,
        Some(tree) => {
            let message = format!("the format version is {tree}; this binary reads {VERSION}");
            Some(Fault::new(Code::SchemaVersion, tree.place, message))
        }
        None => {
            let fault = Fault::new(
                Code::SchemaVersion,
                Place::START,
                "the file does not state its format version",
            );
            Some(fault.help("begin it with `heqis = 1`"))
        }
    }
}
