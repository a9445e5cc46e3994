//! `heqis-runtime certs`: the authority of a topology and the certificates of its nodes.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use heqis_actors::{Clock, Registry, nearest_name};
use heqis_tls::{
    Authority, Certificate, IdentityFiles, TlsError, check_host, check_node_name, read_certificate,
};

use super::{FAILED, FAULTY, OK, TopologyArgs, World, draw};
use crate::topology::{Outline, outline};

/// Days for which an authority is valid where the command line does not say.
const AUTHORITY_DAYS: u32 = 3650;

/// Days for which a node's certificate is valid where the command line does not say.
const NODE_DAYS: u32 = 365;

/// Arguments of `certs`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  heqis-runtime certs init topologies/dual-board.toml
  heqis-runtime certs issue topologies/dual-board.toml --profile boards
  heqis-runtime certs renew topologies/dual-board.toml gateway
  heqis-runtime certs revoke topologies/dual-board.toml gateway
  heqis-runtime certs show topologies/dual-board.toml

The files are in the directory `certs` next to the topology, or where its `[tls]` says. ca.key stays on this machine; each
node gets ca.pem, revoked.txt, and its own NODE.pem and NODE.key. A node reads new files without a restart.
Exit codes: 0 done, 1 a file is missing or cannot be used, 2 a faulty topology or command line.")]
pub struct CertsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertsCommand,
}

/// What to do with certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum CertsCommand {
    /// Make the authority that issues the certificates of the nodes.
    Init(InitArgs),
    /// Issue certificates to the nodes that have none.
    Issue(IssueArgs),
    /// Issue new certificates, with new keys, to nodes that have one.
    Renew(IssueArgs),
    /// Revoke every certificate that a node has had.
    Revoke(RevokeArgs),
    /// List the certificates.
    Show(ShowArgs),
}

/// Arguments of `certs init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// Days for which it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = AUTHORITY_DAYS, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: u32,
}

/// Arguments of `certs issue` and `certs renew`.
#[derive(Clone, Debug, Args)]
pub struct IssueArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// The nodes; all of the topology where none is named.
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Days for which the certificates are valid.
    #[arg(long, value_name = "DAYS", default_value_t = NODE_DAYS, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub days: u32,
    /// An address or a host name by which browsers reach the page of the nodes, in addition to those in the topology.
    /// Repeatable. A renewed certificate keeps those of the former one.
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
}

/// Arguments of `certs revoke`.
#[derive(Clone, Debug, Args)]
pub struct RevokeArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
    /// The nodes, which may have left the topology.
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
}

/// Arguments of `certs show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// The topology.
    #[command(flatten)]
    pub topology: TopologyArgs,
}

impl CertsCommand {
    const fn topology(&self) -> &TopologyArgs {
        match self {
            Self::Init(args) => &args.topology,
            Self::Issue(args) | Self::Renew(args) => &args.topology,
            Self::Revoke(args) => &args.topology,
            Self::Show(args) => &args.topology,
        }
    }
}

/// Why a command has ended early.
enum Failure {
    Tls(TlsError),
    Usage(String),
    Io(io::Error),
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs a command about certificates. Returns the exit code.
///
/// # Errors
/// When `out` or `err` cannot be written to.
pub fn certs(
    args: &CertsArgs,
    world: &World,
    registry: &Registry,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let request = args.command.topology().request(world);
    let topology = match outline(&request, registry) {
        Ok(topology) => topology,
        Err(faults) => return draw(&faults, world, err).map(|()| FAULTY),
    };
    let done = match &args.command {
        CertsCommand::Init(args) => init(&topology, args.days, out),
        CertsCommand::Issue(args) => issue(&topology, args, false, out),
        CertsCommand::Renew(args) => issue(&topology, args, true, out),
        CertsCommand::Revoke(args) => revoke(&topology, &args.nodes, out),
        CertsCommand::Show(_) => show(&topology, out),
    };
    match done {
        Ok(()) => Ok(OK),
        Err(Failure::Io(error)) => Err(error),
        Err(Failure::Tls(error)) => writeln!(err, "heqis-runtime: {error}").map(|()| FAILED),
        Err(Failure::Usage(error)) => writeln!(err, "heqis-runtime: {error}").map(|()| FAULTY),
    }
}

fn init(topology: &Outline, days: u32, out: &mut dyn Write) -> Result<(), Failure> {
    let authority = Authority::create(&topology.directory, &topology.name, days)?;
    let directory = topology.directory.display();
    let last_day = authority.certificate.last_day();
    writeln!(
        out,
        "authority of `{}` in {directory}, valid to {last_day}",
        topology.name
    )?;
    writeln!(
        out,
        "keep ca.key on this machine: who has it can name itself as any node"
    )?;
    Ok(())
}

fn issue(
    topology: &Outline,
    args: &IssueArgs,
    renew: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let authority = Authority::open(&topology.directory)?;
    let known = || topology.nodes.iter().map(|(name, _)| name.as_str());
    for node in &args.nodes {
        if !known().any(|name| name == node) {
            let hint = nearest_name(node, known()).unwrap_or_default();
            let message = format!("the topology has no node `{node}`: {hint}");
            return Err(Failure::Usage(message));
        }
    }
    let asked = |name: &str| args.nodes.is_empty() || args.nodes.iter().any(|node| node == name);
    let nodes: Vec<_> = (topology.nodes.iter())
        .filter(|(name, _)| asked(name))
        .collect();
    if !args.hosts.is_empty() && nodes.len() != 1 {
        let message = "`--host` is that of one node: name the node";
        return Err(Failure::Usage(message.to_owned()));
    }
    // Before the first one, so that none is left out half way.
    for (node, hosts) in &nodes {
        check_node_name(node).map_err(|error| Failure::Usage(error.to_string()))?;
        for host in hosts.iter().chain(&args.hosts) {
            check_host(host).map_err(|error| Failure::Usage(error.to_string()))?;
            // Programs that are not ours may take any name in a certificate for that of the node.
            if known().any(|name| name == host && name != node) {
                let message = format!("host `{host}` of node `{node}` is the name of another node");
                return Err(Failure::Usage(message));
            }
        }
    }
    for (node, hosts) in nodes {
        let path = IdentityFiles::in_directory(&topology.directory, node).certificate;
        match (renew, path.exists()) {
            (false, true) => {
                let certificate = read_certificate(&path)?;
                let revoked = authority.is_revoked(&certificate.serial)?;
                let state = match revoked {
                    true => "is revoked".to_owned(),
                    false => format!("is valid to {}", certificate.last_day()),
                };
                writeln!(
                    out,
                    "{node}: its certificate {state}; `certs renew` replaces it"
                )?;
            }
            (true, false) => {
                let message = format!("node `{node}` has no certificate: `certs issue` makes one");
                return Err(Failure::Usage(message));
            }
            (_, there) => {
                let mut hosts = [hosts.as_slice(), &args.hosts].concat();
                // A damaged one is replaced.
                if there && let Ok(former) = read_certificate(&path) {
                    hosts.extend(
                        former
                            .hosts()
                            .filter(|host| !known().any(|name| name == host)),
                    );
                }
                let certificate = authority.issue_with(node, &hosts, args.days)?;
                let (serial, last_day) = (&certificate.serial, certificate.last_day());
                let hosts = certificate.hosts().collect::<Vec<_>>().join(", ");
                let hosts = if hosts.is_empty() {
                    String::new()
                } else {
                    format!(", for {hosts}")
                };
                writeln!(
                    out,
                    "{node}: certificate {serial}, valid to {last_day}{hosts}"
                )?;
            }
        }
    }
    Ok(())
}

fn revoke(topology: &Outline, nodes: &[String], out: &mut dyn Write) -> Result<(), Failure> {
    let authority = Authority::open(&topology.directory)?;
    for node in nodes {
        let revoked = authority.revoke(node)?;
        for issued in &revoked {
            let (serial, last_day) = (&issued.serial, &issued.last_day);
            writeln!(out, "{node}: revoked {serial}, valid to {last_day}")?;
        }
        if revoked.is_empty() {
            writeln!(out, "{node}: nothing to revoke")?;
        }
    }
    writeln!(
        out,
        "copy revoked.txt to every node: each refuses by its own list"
    )?;
    Ok(())
}

fn show(topology: &Outline, out: &mut dyn Write) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "name",
        "days left",
        "valid to",
        "state",
        "hosts",
        "serial",
        "SHA-256",
    ]);
    let files = IdentityFiles::in_directory(&topology.directory, "");
    let now = Clock::real().now_ns().div_euclid(1_000_000_000);
    let revoked = heqis_tls::revoked_serials(&files.revoked)?;
    let mut add = |name: &str, certificate: &Certificate| {
        let left = certificate.days_left(now);
        let state = match () {
            () if revoked.contains(&certificate.serial) => "revoked",
            () if left < 0 => "expired",
            () if now < certificate.not_before => "not yet valid",
            () => "valid",
        };
        let left = left.to_string();
        let last_day = certificate.last_day();
        let hosts = certificate.hosts().collect::<Vec<_>>().join(", ");
        let (serial, print) = (&certificate.serial, &certificate.fingerprint);
        table.add_row([name, &left, &last_day, state, &hosts, serial, print]);
    };
    add("(authority)", &read_certificate(&files.ca)?);
    let mut missing = Vec::new();
    for (node, _) in &topology.nodes {
        let files = IdentityFiles::in_directory(&topology.directory, node);
        match read_certificate(&files.certificate) {
            Ok(certificate) => add(node, &certificate),
            Err(TlsError::Missing { .. }) => missing.push(node.as_str()),
            Err(error) => return Err(error.into()),
        }
    }
    writeln!(out, "{}", table.trim_fmt())?;
    if !missing.is_empty() {
        writeln!(out, "without a certificate: {}", missing.join(", "))?;
    }
    Ok(())
}
