//! Fetching market data from Tushare Pro.
//!
//! - [`api`]: the interfaces, their fields and caps; [`call`]: one request, and the check of its rows.
//! - [`client`]: sends requests and retries them, with [`http`], [`token`], [`pace`] and [`progress`]; [`cache`]: raw
//!   replies.
//! - [`reply`]: JSON → typed rows.
//! - [`plan`]: the calls of a run; [`listing`]: names → codes; `table`: rows → CSV.
//!
//! Settings enter here, and tables leave as CSV. Not here: the interpretation of the rows (`prepare`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use heqis_quant::Date;
use heqis_tls::is_readable;
use serde::Serialize;

use crate::client::{Client, Counts};
use crate::progress::Progress;
use crate::token::Token;

pub mod api;
pub mod cache;
pub mod call;
pub mod client;
mod error;
pub mod http;
pub mod listing;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod reply;
mod table;
pub mod token;

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
    /// Directory of raw replies; those that can no longer change are not fetched again.
    #[arg(long, value_name = "DIR")]
    pub cache: PathBuf,
    /// Directory of the tables.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Fetch everything again, even if cached; the cache keeps the older replies.
    #[arg(long)]
    pub refresh: bool,
    /// The vendor's address; also HEQIS_TUSHARE_URL [default: `https://api.tushare.pro`].
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Accept plain HTTP to an address that is not this machine's own.
    #[arg(long)]
    pub insecure: bool,
    /// File with the token; otherwise HEQIS_TUSHARE_TOKEN.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Rate limit of the account; at most 80 % of it is used.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=100_000))]
    pub calls_per_minute: Option<u32>,
    /// Points of the account, which determine the rate limit: 50 calls a minute, from 2000 points 200, from 5000 points 500.
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
    /// Seed of the jitter of waits.
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
/// [`FetchError`] for wrong settings, failed calls and files that cannot be written.
#[expect(
    clippy::disallowed_methods,
    reason = "the vendor's address and token are settings of the user's environment"
)]
pub fn run(args: &FetchArgs) -> Result<Vec<String>, FetchError> {
    let url = args
        .base_url
        .clone()
        .or_else(|| std::env::var("HEQIS_TUSHARE_URL").ok())
        .unwrap_or_else(|| "https://api.tushare.pro".to_owned());
    let plain = is_readable(&url).ok_or_else(|| {
        let rule = format!("must begin with https:// or http://, got {url}");
        setting("base URL", rule)
    })?;
    if plain && !args.insecure {
        let rule = "begins with http://, and everyone on the way could read the token: use https://, or accept it with --insecure";
        return Err(setting("base URL", rule.to_owned()));
    }
    let clock = pace::SystemClock;
    let progress = Progress::to_stderr(&clock);
    if plain {
        progress.note("warning: plain HTTP, the token can be read on the wire");
    }
    let token = match &args.token_file {
        Some(path) => {
            let (token, warning) = Token::read(path)?;
            warning.iter().for_each(|warning| progress.note(warning));
            Some(token)
        }
        None => std::env::var("HEQIS_TUSHARE_TOKEN")
            .ok()
            .filter(|text| !text.is_empty())
            .map(|text| Token::parse(&text, "HEQIS_TUSHARE_TOKEN"))
            .transpose()?,
    };
    let limit = args
        .calls_per_minute
        .unwrap_or_else(|| pace::calls_per_minute(args.points));
    let http = http::Http::new(&url, Duration::from_secs(args.timeout_s))
        .map_err(|error| setting("TLS", error.to_string()))?;
    let mut client = Client {
        transport: &http,
        clock: &clock,
        progress: &progress,
        token,
        cache: cache::Cache::new(&args.cache),
        refresh: args.refresh,
        pace: pace::Pace::new(limit),
        backoff: pace::Backoff::new(args.seed),
        attempts: args.attempts,
        counts: Counts::default(),
        late: Vec::new(),
    };
    let summary = plan::fetch(&mut client, args)?;
    Ok(vec![match args.json {
        true => serde_json::json!(summary).to_string(),
        false => summary.to_string(),
    }])
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Counts of requests, rows and faults.
    #[serde(flatten)]
    pub counts: Counts,
    /// Calls whose reply has no rows of a day that must have some; the next run repeats them.
    pub late: Vec<String>,
    /// Open days in the future, which are not requested.
    pub days_ahead: usize,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.counts;
        write!(
            f,
            "{} requests, {} cached, {} rows, {} duplicates, {} splits, {} retries, {} rate-limit waits, \
             {} corrupt entries, {} late, {} days ahead",
            counts.requests,
            counts.cached,
            counts.rows,
            counts.duplicates,
            counts.splits,
            counts.retries,
            counts.rate_waits,
            counts.corrupt,
            self.late.len(),
            self.days_ahead
        )
    }
}

fn setting(place: &str, rule: String) -> FetchError {
    FetchError::Setting {
        place: place.to_owned(),
        rule,
    }
}
