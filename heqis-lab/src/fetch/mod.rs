//! Fetching market data from Tushare Pro.
//!
//! [`api`] lists the interfaces, [`client`] calls them, with [`cache`], [`pace`] and [`token`]; [`reply`] turns replies
//! into typed rows, [`watch`] names into codes. Settings enter here, tables leave as CSV.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use heqis_quant::Date;

use self::api::Api;
use self::client::{Client, Counts, Http};
use self::reply::{Cell, compact};
use self::token::Token;
use crate::error::LabError;

pub mod api;
pub mod cache;
pub mod client;
mod error;
pub mod pace;
pub mod reply;
pub mod token;
pub mod watch;

pub use error::FetchError;

/// Fetch market data from Tushare Pro into CSV tables.
#[derive(Args, Clone, Debug)]
pub struct FetchArgs {
    /// First day.
    #[arg(long, value_name = "DATE")]
    pub from: Date,
    /// Last day.
    #[arg(long, value_name = "DATE")]
    pub to: Date,
    /// Watch list (TOML); without it, all stocks of the market.
    #[arg(long, value_name = "FILE")]
    pub watch: Option<PathBuf>,
    /// Directory of raw replies; what is in it is not fetched again.
    #[arg(long, value_name = "DIR")]
    pub cache: PathBuf,
    /// Directory of the tables.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The vendor's address; also HEQIS_TUSHARE_URL [default: `http://api.tushare.pro`].
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// File with the token; otherwise HEQIS_TUSHARE_TOKEN.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The account's limit; less than 80 % of it is used.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=100_000))]
    pub calls_per_minute: Option<u32>,
    /// The account's points, from which the limit follows: 50 calls a minute, from 2000 points 200, from 5000 points 500.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        conflicts_with = "calls_per_minute"
    )]
    pub points: u32,
    /// Attempts of one call.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,
    /// Longest wait for one reply.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout_s: u64,
    /// Seed of the waits' jitter.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command and returns its summary.
///
/// # Errors
///
/// [`LabError`] for wrong settings, failed calls and files that cannot be written.
pub fn run(args: &FetchArgs) -> Result<Vec<String>, LabError> {
    let note = |text: &str| eprintln!("{text}");
    let url = args
        .base_url
        .clone()
        .or_else(|| std::env::var("HEQIS_TUSHARE_URL").ok())
        .unwrap_or_else(|| "http://api.tushare.pro".to_owned());
    if !url.starts_with("http://") {
        return Err(setting(
            "base URL",
            format!("must begin with http://, got {url}"),
        ));
    }
    if args.to < args.from {
        let rule = format!("must not lie before {}, got {}", args.from, args.to);
        return Err(setting("--to", rule));
    }
    note("warning: plain HTTP, the token can be read on the wire");
    let token = match &args.token_file {
        Some(path) => Some(read(path)?),
        None => std::env::var("HEQIS_TUSHARE_TOKEN").ok(),
    };
    let limit = args.calls_per_minute.unwrap_or(match args.points {
        0..2000 => 50,
        2000..5000 => 200,
        _ => 500,
    });
    let http = Http::new(&url, args.timeout_s);
    let mut client = Client {
        transport: &http,
        clock: &pace::SystemClock,
        note: &note,
        token: token.as_deref().and_then(Token::new),
        cache: cache::Cache::new(&args.cache),
        pace: pace::Pace::new(limit),
        backoff: pace::Backoff::new(args.seed),
        attempts: args.attempts,
        counts: Counts::default(),
    };
    let counts = fetch(&mut client, args)?;
    Ok(vec![match args.json {
        true => serde_json::json!(counts).to_string(),
        false => format!(
            "{} requests, {} cached, {} rows, {} duplicates, {} retries, {} rate-limit waits, {} corrupt entries",
            counts.requests,
            counts.cached,
            counts.rows,
            counts.duplicates,
            counts.retries,
            counts.rate_waits,
            counts.corrupt
        ),
    }])
}

/// A call to come: interface, parameters, and the last day that its rows may belong to.
type Call = (&'static Api, Vec<(&'static str, String)>, Option<Date>);

/// Fetches everything with a client of the caller's making and writes the tables.
///
/// # Errors
///
/// As [`run`].
pub fn fetch(client: &mut Client<'_>, args: &FetchArgs) -> Result<Counts, LabError> {
    let (from, to) = (compact(args.from), compact(args.to));
    let mut calendar = Table::create(&args.out, &api::TRADE_CAL)?;
    let mut days = BTreeSet::new();
    for year in args.from.year()..=args.to.year() {
        let start = from.clone().max(format!("{year}0101"));
        let end = to.clone().min(format!("{year}1231"));
        let params = [
            ("exchange", "SSE".to_owned()),
            ("start_date", start),
            ("end_date", end),
        ];
        let rows = client.fetch(&api::TRADE_CAL, &params, None)?;
        calendar.add(&rows)?;
        days.extend(rows.iter().filter_map(|row| match (&row[1], &row[2]) {
            (Cell::Day(day), Cell::Number(open)) if *open == 1.0 => Some(*day),
            _ => None,
        }));
    }
    calendar.finish()?;
    let mut stocks = Vec::new();
    for status in ["L", "D", "P"] {
        let params = [("list_status", status.to_owned())];
        stocks.extend(client.fetch(&api::STOCK_BASIC, &params, None)?);
    }
    let mut list = Table::create(&args.out, &api::STOCK_BASIC)?;
    list.add(&stocks)?;
    list.finish()?;

    let mut calls: Vec<Call> = Vec::new();
    if let Some(path) = &args.watch {
        let watch: watch::WatchList = toml::from_str(&read(path)?)
            .map_err(|error| setting(&path.display().to_string(), error.to_string()))?;
        let mut wanted = BTreeSet::new();
        for sector in &watch.sector {
            for text in &sector.stocks {
                let code = watch::resolve(text, &sector.name, &stocks)?;
                for (rank, _) in STOCK_APIS.iter().enumerate() {
                    wanted.insert((rank, code));
                }
            }
            wanted.extend(sector.indices.iter().map(|code| (STOCK_APIS.len(), *code)));
            wanted.extend(
                sector
                    .funds
                    .iter()
                    .map(|code| (STOCK_APIS.len() + 1, *code)),
            );
        }
        for (rank, code) in wanted {
            let other = [&api::INDEX_DAILY, &api::FUND_DAILY];
            let api = STOCK_APIS.iter().chain(&other).nth(rank).copied();
            let Some(api) = api else { continue };
            let params = vec![
                ("ts_code", code.to_string()),
                ("start_date", from.clone()),
                ("end_date", to.clone()),
            ];
            calls.push((api, params, Some(args.to)));
        }
    } else {
        for api in &STOCK_APIS[..STOCK_APIS.len() - 1] {
            for day in &days {
                calls.push((api, vec![("trade_date", compact(*day))], Some(*day)));
            }
        }
        let params = vec![("start_date", from.clone()), ("end_date", to.clone())];
        calls.push((&api::NAMECHANGE, params, Some(args.to)));
    }

    let shown = std::io::stderr().is_terminal();
    let (begun_ns, total) = (client.clock.now_ns(), calls.len());
    let mut table: Option<Table> = None;
    for (done, (api, params, last_day)) in calls.into_iter().enumerate() {
        if table.as_ref().is_none_or(|table| table.api != api) {
            if let Some(full) = table.take() {
                full.finish()?;
            }
            table = Some(Table::create(&args.out, api)?);
        }
        let rows = client.fetch(api, &params, last_day)?;
        if rows.is_empty() && api.name == "daily" && args.watch.is_none() {
            (client.note)(&format!("daily: no rows on the open day {}", params[0].1));
        }
        if let Some(table) = &mut table {
            table.add(&rows)?;
        }
        if shown {
            let spent = client.clock.now_ns().saturating_sub(begun_ns) / pace::SECOND_NS;
            let left = spent * (total - done - 1) as u64 / (done as u64 + 1);
            eprint!("\r{} {}/{total}, {left} s left   ", api.name, done + 1);
        }
    }
    if shown {
        eprintln!();
    }
    if let Some(full) = table {
        full.finish()?;
    }
    Ok(client.counts)
}

/// The interfaces asked for stocks; the last one has no days of its own.
static STOCK_APIS: [&Api; 6] = [
    &api::DAILY,
    &api::DAILY_BASIC,
    &api::ADJ_FACTOR,
    &api::STK_LIMIT,
    &api::SUSPEND_D,
    &api::NAMECHANGE,
];

/// A CSV table that takes its name when it is whole.
struct Table {
    api: &'static Api,
    path: PathBuf,
    file: std::io::BufWriter<std::fs::File>,
}

impl Table {
    fn create(dir: &Path, api: &'static Api) -> Result<Self, LabError> {
        let path = dir.join(format!("{}.csv", api.name));
        let part = path.with_extension("csv.part");
        let file = std::fs::create_dir_all(dir)
            .and_then(|()| std::fs::File::create(&part))
            .map_err(|error| LabError::file(&part, error))?;
        let names: Vec<&str> = api.fields.iter().map(|(name, _)| *name).collect();
        let mut file = std::io::BufWriter::new(file);
        writeln!(file, "{}", names.join(",")).map_err(|error| LabError::file(&part, error))?;
        Ok(Self { api, path, file })
    }

    fn add(&mut self, rows: &[Vec<Cell>]) -> Result<(), LabError> {
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| quote(&cell.to_text())).collect();
            writeln!(self.file, "{}", cells.join(","))
                .map_err(|error| LabError::file(&self.path, error))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), LabError> {
        self.file
            .flush()
            .and_then(|()| std::fs::rename(self.path.with_extension("csv.part"), &self.path))
            .map_err(|error| LabError::file(&self.path, error))
    }
}

fn quote(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn read(path: &Path) -> Result<String, LabError> {
    std::fs::read_to_string(path).map_err(|error| LabError::file(path, error))
}

fn setting(place: &str, rule: String) -> LabError {
    FetchError::Setting {
        place: place.to_owned(),
        rule,
    }
    .into()
}
