//! A page for the browser: bars, decisions of journals and backtests, and results of runs.
//!
//! ```text
//! data set or tables ▸ bars    ┐
//! journals, results ▸ archive  ├ Sources ▸ heqis_dashboard ▸ browser
//! list of stocks ▸ names       │
//! orders ▸ jobs ▸ child processes ┘
//! ```
//!
//! - `bars`: a data set's bars.
//! - `jobs`: commands as child processes; `commands`: the offered ones, and their arguments; `watch`: the watch list.
//! - `results`: the runs in a directory. `tables`: the tables of backtests. `archive`: both in the form that the page
//!   requests.
//!
//! What is *not* here: the page itself, its rules and its routes (`heqis_dashboard`).

mod archive;
mod bars;
mod commands;
mod jobs;
mod results;
mod tables;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use heqis_backtest::inputs::Benchmark;
use heqis_dashboard::{
    BarFiles, BarStore, Decisions, Journal, Names, Settings, Sources, Token, Training,
};
use heqis_data::store::DataSet;
use heqis_tls::{OwnCertificate, WebCertificate};

use crate::error::LabError;
use crate::output::CommandOutput;
use archive::{NamedJournal, ResultArchive};
use bars::DataSetBars;
use jobs::JobRunner;
pub use jobs::end_with_parent;
use results::Root;

/// The list of stocks, which may lie next to tables of bars.
const STOCKS: &str = "stock_basic.csv";

/// The environment variable for a token that stays valid across restarts.
const TOKEN_VARIABLE: &str = "HEQIS_DASHBOARD_TOKEN";

/// Show bars, decisions and results on a page for the browser, until ctrl-c.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// A data set that `prepare` wrote.
    #[arg(
        value_name = "DIR",
        required_unless_present_any = ["csv", "results"],
        conflicts_with = "csv"
    )]
    pub dir: Option<PathBuf>,
    /// Tables of daily bars instead, such as 600000.SH.csv, or directories of them; a file without a column of symbols holds the one that it is
    /// named after.
    #[arg(long, value_name = "CSV", num_args = 1..)]
    pub csv: Vec<PathBuf>,
    /// A journal whose decisions are shown, under the name of its file or as NAME=FILE. Repeatable.
    #[arg(long, value_name = "JSONL")]
    pub journal: Vec<String>,
    /// A directory with results: backtests, trainings, selections, bundles, data sets, at most five levels down.
    /// Repeatable.
    #[arg(long, value_name = "DIR")]
    pub results: Vec<PathBuf>,
    /// Table of bars, usually of an index, that accounts are compared with.
    #[arg(long, value_name = "CSV")]
    pub benchmark: Option<PathBuf>,
    /// List of stocks with their names, such as fetch's stock_basic.csv [default: that of the data set, or one of this name
    /// next to the tables or in the directory above].
    #[arg(long, value_name = "CSV")]
    pub names: Option<PathBuf>,
    /// The scaler whose training span inputs are compared with [default: that of the data set].
    #[arg(long, value_name = "JSON")]
    pub scaler: Option<PathBuf>,
    /// The watch list that the page shows and, with --control, adds to; a missing one is created.
    #[arg(long, value_name = "TOML")]
    pub watch: Option<PathBuf>,
    /// Let the page start and end `fetch`, `prepare`, `train` and `backtest` in this directory, and add to the watch list.
    /// Requires a token.
    #[arg(long)]
    pub control: bool,
    /// Jobs that may run at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// Address to listen on. One that other machines reach requires a token: that in the variable HEQIS_DASHBOARD_TOKEN,
    /// or a random one that is printed as a login link.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9181")]
    pub address: SocketAddr,
    /// Certificate chain of the server, PEM: the page is served over HTTPS. An address that other machines reach requires it.
    #[arg(long, value_name = "PEM", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Key of the certificate, PEM, which only its owner may read.
    #[arg(long, value_name = "PEM", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Accept plain HTTP on an address that other machines reach.
    #[arg(long)]
    pub insecure: bool,
    /// A host name, in addition to the address, by which browsers may request the page. Repeatable.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}

/// Serves until ctrl-c or SIGTERM; prints the address to standard error.
///
/// # Errors
///
/// [`LabError`] when the data cannot be read, and [`LabError::Dashboard`] when the page cannot be served.
#[expect(
    clippy::disallowed_methods,
    reason = "jobs run in the directory in which the user started the command"
)]
pub fn run(args: &ServeArgs) -> Result<CommandOutput, LabError> {
    let program = std::env::current_exe()
        .map_err(|source| LabError::file(Path::new("/proc/self/exe"), source))?;
    let dir = std::env::current_dir().map_err(|source| LabError::file(Path::new("."), source))?;
    let runner = Arc::new(JobRunner::new(
        program,
        &dir,
        args.watch.clone(),
        args.jobs.into(),
    ));
    let mut sources = sources(args)?;
    sources.jobs = Some(runner.clone());
    let served = heqis_dashboard::serve(settings(args)?, sources, |dashboard| {
        eprintln!("dashboard on {}", dashboard.url());
        if let Some(link) = dashboard.login_url() {
            eprintln!("log in to the dashboard with {link}");
        }
    });
    runner.end();
    served?;
    Ok(Vec::new().into())
}

fn settings(args: &ServeArgs) -> Result<Settings, LabError> {
    let mut settings = Settings::new(args.address);
    settings.hosts = args.hosts.clone();
    settings.control = args.control;
    settings.insecure = args.insecure;
    settings.tls = (args.certificate.clone().zip(args.key.clone()))
        .map(|(certificate, key)| WebCertificate::Own(OwnCertificate::new(certificate, key)));
    settings.token = match Token::from_environment(TOKEN_VARIABLE)? {
        None if settings.is_exposed() || args.control => Some(Token::draw()?),
        token => token,
    };
    Ok(settings)
}

/// Returns everything that the page shows.
fn sources(args: &ServeArgs) -> Result<Sources, LabError> {
    let data = args.dir.as_deref().map(DataSet::open).transpose()?;
    let journals = args
        .journal
        .iter()
        .map(|text| journal(text))
        .collect::<Result<Vec<_>, _>>()?;
    let first = journals.first().map(|named| named.decisions.clone());
    let listed = args.names.clone().or_else(|| listed(data.as_ref(), args));
    let names = match listed {
        Some(path) => Names::read(&path)?,
        None => Names::default(),
    };
    let training = match (&args.scaler, &data, &args.dir) {
        (Some(path), ..) => Some(Training::read(path)?),
        (None, Some(data), Some(dir)) => {
            Some(Training::new(dir.display().to_string(), data.scaler()?))
        }
        _ => None,
    };
    let benchmark = args.benchmark.as_deref().map(named_benchmark).transpose()?;
    let archive = ResultArchive::new(journals, Root::of(&args.results)?, benchmark);
    let flat_band = data.as_ref().map(|data| data.manifest().settings.flat_band);
    let market: Arc<dyn BarStore> = match data {
        Some(data) => Arc::new(DataSetBars::new(data)),
        None => {
            let tables = BarFiles::read(&tables(&args.csv)?)?;
            heqis_data::import_args::print_report(tables.report());
            Arc::new(tables)
        }
    };
    let shown: Vec<String> = args
        .dir
        .iter()
        .chain(&args.csv)
        .chain(&args.results)
        .map(|path| path.display().to_string())
        .collect();
    let decisions = first.unwrap_or_else(|| Arc::new(Decisions::new(1, 0)));
    let mut sources = Sources::new(shown.join(", "), market, decisions);
    sources.names = names;
    sources.training = training.map(Arc::new);
    sources.flat_band = flat_band.unwrap_or(sources.flat_band);
    sources.archive = Some(Arc::new(archive));
    Ok(sources)
}

/// Returns the tables of bars, with those in each directory instead of the directory.
///
/// # Errors
/// When a directory cannot be read or holds no table of bars.
fn tables(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LabError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|source| LabError::file(path, source))?;
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "csv"))
            .filter(|path| path.file_name().is_some_and(|name| name != STOCKS))
            .collect();
        if inside.is_empty() {
            let none = std::io::Error::other("the directory holds no table of bars, *.csv");
            return Err(LabError::file(path, none));
        }
        inside.sort();
        found.append(&mut inside);
    }
    Ok(found)
}

/// Reads `FILE` or `NAME=FILE`.
fn journal(text: &str) -> Result<NamedJournal, LabError> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name.to_owned(), Path::new(path)),
        None => {
            let path = Path::new(text);
            let name = path.file_stem().unwrap_or(path.as_os_str());
            (name.to_string_lossy().into_owned(), path)
        }
    };
    let listed = Journal::read(path)?.decisions;
    // A reviewed journal does not change, so pages that were open before a restart stay valid.
    let decisions = Decisions::new(listed.len(), 0);
    for decision in listed {
        decisions.push(decision);
    }
    Ok(NamedJournal {
        name,
        decisions: Arc::new(decisions),
    })
}

/// Returns the list of stocks that a data set was prepared with, or one next to the tables of bars.
fn listed(data: Option<&DataSet>, args: &ServeArgs) -> Option<PathBuf> {
    let manifest = data.map(DataSet::manifest);
    let tables = manifest.into_iter().flat_map(|manifest| &manifest.tables);
    let made_with = tables
        .filter(|table| table.role == "stock_basic")
        .map(|table| PathBuf::from(&table.path));
    let inputs = manifest.into_iter().flat_map(|manifest| &manifest.inputs);
    let bars = inputs
        .map(|input| Path::new(&input.path))
        .chain(args.csv.iter().map(PathBuf::as_path));
    let nearby = bars.flat_map(|path| {
        let above = path.ancestors().skip(usize::from(!path.is_dir())).take(2);
        above.map(|dir| dir.join(STOCKS))
    });
    made_with.chain(nearby).find(|path| path.is_file())
}

fn named_benchmark(path: &Path) -> Result<(String, Benchmark), LabError> {
    let name = path.file_stem().unwrap_or(path.as_os_str());
    Ok((name.to_string_lossy().into_owned(), Benchmark::read(path)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_directory_stands_for_its_tables_and_one_without_any_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", STOCKS, "notes.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let file = PathBuf::from("x.csv");
        let found = tables(&[file.clone(), dir.path().to_owned()]).unwrap();
        assert_eq!(
            found,
            [file, dir.path().join("a.csv"), dir.path().join("b.csv")]
        );
        let empty = tempfile::tempdir().unwrap();
        let error = tables(&[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains(&empty.path().display().to_string()),
            "{error}"
        );
    }
}
