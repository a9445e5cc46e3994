//! The same bars through the `heqis-runtime` binary.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use heqis_backtest::strategy::BundleModel;
use heqis_quant::Strategy;
use heqis_quant::pipeline::Model as _;
use toml::{Table, Value};

use super::portfolios::PortfolioPlan;
use super::{ParityArgs, journal};
use crate::error::LabError;

/// Shown lines of a failed run's log.
const LOG_LINES: usize = 12;

/// What decides.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'a> {
    /// A `signal` stage.
    Signal(&'a Strategy),
    /// The stages `rank` and `portfolio`.
    Portfolio(&'a PortfolioPlan),
}

/// A runtime with its inputs.
#[derive(Clone, Debug)]
pub struct Runtime {
    binary: PathBuf,
    work: PathBuf,
    data: Vec<String>,
    factors: String,
    direction: String,
    /// Rows that the direction model reads.
    rows: usize,
}

impl Runtime {
    /// Finds the binary and makes the directory to work in.
    ///
    /// # Errors
    ///
    /// [`LabError::Data`] when a path does not exist or cannot be made, and the errors of [`BundleModel::load`].
    pub fn new(args: &ParityArgs) -> Result<Self, LabError> {
        let binary = match &args.runtime {
            Some(path) => path.clone(),
            None => next_to_this_program()?,
        };
        std::fs::create_dir_all(&args.work).map_err(|source| LabError::file(&args.work, source))?;
        let (model, _) = BundleModel::load(Some(&args.factors), &args.direction)?;
        Ok(Self {
            binary: absolute(&binary)?.into(),
            work: absolute(&args.work)?.into(),
            data: args
                .data
                .iter()
                .map(|path| absolute(path))
                .collect::<Result<_, _>>()?,
            factors: absolute(&args.factors)?,
            direction: absolute(&args.direction)?,
            rows: model.input_rows(),
        })
    }

    /// Runs all stages in one process and returns the path of its journal.
    ///
    /// # Errors
    ///
    /// [`LabError`] when the runtime cannot be started or fails.
    pub fn single_host(&self, name: &str, rule: Rule<'_>) -> Result<PathBuf, LabError> {
        self.run(&format!("{name}-single-host"), rule, ["host", "host"], None)
    }

    /// Runs gateway and compute node as two processes over NNG and returns the path of the journal.
    ///
    /// # Errors
    ///
    /// As [`Runtime::single_host`], and [`LabError::Data`] when no port is free.
    pub fn two_nodes(&self, name: &str, rule: Rule<'_>) -> Result<PathBuf, LabError> {
        // Both ports are held until both are known, so that they differ.
        let held = [free_port(&self.work)?, free_port(&self.work)?];
        let ports = [held[0].1, held[1].1];
        drop(held);
        self.run(
            &format!("{name}-two-nodes"),
            rule,
            ["gateway", "compute"],
            Some(ports),
        )
    }

    fn run(
        &self,
        name: &str,
        rule: Rule<'_>,
        nodes: [&str; 2],
        ports: Option<[u16; 2]>,
    ) -> Result<PathBuf, LabError> {
        let file = |suffix: &str| self.work.join(format!("{name}{suffix}"));
        let (topology, journal) = (file(".toml"), file(".jsonl"));
        // The runtime resumes an existing journal, so an unfinished one of an earlier run must be removed.
        journal::remove(&journal)?;
        let text = self.topology(name, rule, nodes, ports, &journal)?;
        std::fs::write(&topology, text).map_err(|source| LabError::file(&topology, source))?;
        let output = Command::new(&self.binary)
            .arg("--topology")
            .arg(&topology)
            .env_remove("HEQIS_SET")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| LabError::file(&self.binary, source))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            let rule = format!("heqis-runtime ended with {}:\n{tail}", output.status);
            return Err(LabError::rule(topology.display(), rule));
        }
        Ok(journal)
    }

    /// Returns the topology of the main pipeline on one node or two.
    fn topology(
        &self,
        name: &str,
        rule: Rule<'_>,
        [front, back]: [&str; 2],
        ports: Option<[u16; 2]>,
        journal: &Path,
    ) -> Result<String, LabError> {
        let refuse = |error: toml::ser::Error| LabError::rule(journal.display(), error.to_string());
        let (indicators, deciding) = match rule {
            Rule::Signal(strategy) => {
                let signal = Value::try_from(strategy).map_err(refuse)?;
                let filter_indicators =
                    Value::try_from(strategy.filter_indicators()).map_err(refuse)?;
                let indicators = match strategy.needs_market() {
                    true => table([("market", table([("filter_indicators", filter_indicators)]))]),
                    false => table([]),
                };
                (indicators, vec![("signal", signal)])
            }
            Rule::Portfolio(plan) => {
                let section = Value::try_from(&plan.section).map_err(refuse)?;
                let rule = Value::try_from(&plan.rule).map_err(refuse)?;
                (
                    table([("market", table([]))]),
                    vec![("rank", section), ("portfolio", table([("rule", rule)]))],
                )
            }
        };
        let is_sorted = matches!(rule, Rule::Portfolio(_));
        let bundle =
            |dir: &str| table([("bundle", text(dir)), ("backends", list(&["cpu".into()]))]);
        let mut features = bundle(&self.factors);
        if let Value::Table(params) = &mut features {
            let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
            params.insert("rows".into(), Value::Integer(rows));
        }
        let stages = [
            (
                "market",
                "csv-replay",
                front,
                table([
                    ("paths", list(&self.data)),
                    ("sort", Value::Boolean(is_sorted)),
                ]),
            ),
            ("cleaner", "cleaner", front, table([])),
            ("indicators", "indicators", front, indicators),
            ("features", "npu-feature", front, features),
            (
                "ring",
                "ring-buffer",
                front,
                table([
                    ("capacity", Value::Integer(4096)),
                    ("policy", text("block")),
                ]),
            ),
            ("feedback", "feedback", front, table([])),
            ("engine", "trt-engine", back, bundle(&self.direction)),
            (
                "journal",
                "journal",
                back,
                table([("path", text(&journal.display().to_string()))]),
            ),
        ];
        let deciders = deciding
            .iter()
            .map(|(kind, params)| (*kind, *kind, back, params.clone()));
        let stages = stages.into_iter().chain(deciders);
        let stages = stages.map(|(name, kind, node, params)| {
            let mut stage = Table::new();
            stage.insert("kind".into(), text(kind));
            stage.insert("node".into(), text(node));
            stage.insert("params".into(), params);
            if name == "engine" {
                stage.insert("batch".into(), table([("max", Value::Integer(8))]));
            }
            (name, Value::Table(stage))
        });
        let bridged = |port: u16| {
            table([
                ("kind", text("nng")),
                ("scheme", text("tcp")),
                ("port", Value::Integer(port.into())),
            ])
        };
        let mut edges = vec![
            ("market", "cleaner", None),
            ("cleaner", "indicators", None),
            ("indicators", "features", None),
            ("features", "ring", None),
            ("ring", "engine", ports.map(|ports| ports[0])),
        ];
        let mut last = "engine";
        for (kind, _) in &deciding {
            edges.push((last, kind, None));
            last = kind;
        }
        edges.push((last, "journal", None));
        edges.push((last, "feedback", ports.map(|ports| ports[1])));
        let edges = edges.into_iter().map(|(from, to, port)| {
            let mut edge = Table::new();
            edge.insert("from".into(), text(from));
            edge.insert("to".into(), text(to));
            if let Some(port) = port {
                edge.insert("transport".into(), bridged(port));
            }
            Value::Table(edge)
        });
        let node = || table([("board", text("host"))]);
        let document = table([
            ("heqis", Value::Integer(1)),
            ("topology", table([("name", text(name))])),
            (
                "defaults",
                table([("edge", table([("policy", text("block"))]))]),
            ),
            ("nodes", table([(front, node()), (back, node())])),
            ("stages", table(stages)),
            ("edges", Value::Array(edges.collect())),
        ]);
        toml::to_string(&document).map_err(refuse)
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn list(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|one| text(one)).collect())
}

fn table<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    Value::Table(entries.collect())
}

/// Returns a free port with its listener, which reserves it while held.
fn free_port(place: &Path) -> Result<(TcpListener, u16), LabError> {
    let port = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    port().map_err(|source| LabError::file(place, source))
}

fn next_to_this_program() -> Result<PathBuf, LabError> {
    let name = format!("heqis-runtime{}", std::env::consts::EXE_SUFFIX);
    let program =
        std::env::current_exe().map_err(|source| LabError::file(Path::new(&name), source))?;
    Ok(program.with_file_name(name))
}

/// Returns the absolute path, since a topology's relative paths start at its own directory.
fn absolute(path: &Path) -> Result<String, LabError> {
    let path = std::fs::canonicalize(path).map_err(|source| LabError::file(path, source))?;
    Ok(path.display().to_string())
}
