//! A data set, or tables of bars, and the decisions of a journal, as a page for the browser.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use heqis_dashboard::market::Listing;
use heqis_dashboard::{
    DashboardError, Decisions, Desk, Journal, Market, Series, Settings, Tables, Token,
};
use heqis_quant::Symbol;

use crate::error::LabError;
use crate::store::DataSet;
use crate::store::dataset::Columns;

/// The variable that holds a token which outlives a restart.
const TOKEN_VARIABLE: &str = "HEQIS_DASHBOARD_TOKEN";

/// Show bars and decisions on a page for the browser, until ctrl-c.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// A data set that `prepare` wrote.
    #[arg(
        value_name = "DIR",
        required_unless_present = "csv",
        conflicts_with = "csv"
    )]
    pub dir: Option<PathBuf>,
    /// Tables of daily bars instead, such as 600000.SH.csv; a file without a column of symbols holds the one that it is
    /// named after.
    #[arg(long, value_name = "CSV", num_args = 1..)]
    pub csv: Vec<PathBuf>,
    /// The journal whose decisions are shown.
    #[arg(long, value_name = "JSONL")]
    pub journal: Option<PathBuf>,
    /// Where to listen. An address that other machines reach asks for a token: the one in the variable
    /// HEQIS_DASHBOARD_TOKEN, or one that is drawn and printed as a login link.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9181")]
    pub address: SocketAddr,
    /// A name beside the address under which browsers may ask for the page. Repeatable.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
}

/// Serves until ctrl-c or SIGTERM; says on standard error where.
///
/// # Errors
///
/// [`LabError`] when the data cannot be read, and [`LabError::Dashboard`] when the page cannot be served.
pub fn run(args: &ServeArgs) -> Result<Vec<String>, LabError> {
    let (source, market): (String, Arc<dyn Market>) = match &args.dir {
        Some(dir) => (
            dir.display().to_string(),
            Arc::new(Stored::new(DataSet::open(dir)?)),
        ),
        None => {
            let names: Vec<String> = args
                .csv
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            (names.join(", "), Arc::new(Tables::read(&args.csv)?))
        }
    };
    let journal = args.journal.as_deref().map(Journal::read).transpose()?;
    let listed = journal.map(|journal| journal.decisions).unwrap_or_default();
    // What is reviewed does not change: pages that were open before a restart go on.
    let decisions = Decisions::new(listed.len(), 0);
    for decision in listed {
        decisions.push(decision);
    }
    let mut settings = Settings::new(args.address);
    settings.hosts = args.hosts.clone();
    settings.token = match std::env::var(TOKEN_VARIABLE) {
        Ok(token) => Some(Token::parse(&token)?),
        Err(_) if settings.is_exposed() => Some(Token::draw()?),
        Err(_) => None,
    };
    let desk = Desk {
        source,
        market,
        decisions: Arc::new(decisions),
        live: None,
    };
    heqis_dashboard::serve(settings, desk, |dashboard| {
        eprintln!("dashboard on {}", dashboard.url());
        if let Some(link) = dashboard.login_url() {
            eprintln!("log in to the dashboard with {link}");
        }
    })?;
    Ok(Vec::new())
}

/// The bars of a data set. The chart pages through one series after another, so the last one is kept.
struct Stored {
    data: DataSet,
    last: Mutex<Option<(Symbol, Arc<Series>)>>,
}

impl Stored {
    fn new(data: DataSet) -> Self {
        Self {
            data,
            last: Mutex::new(None),
        }
    }

    fn read(&self, symbol: Symbol) -> Result<Series, LabError> {
        let rows = self.data.symbol(symbol, Columns::All)?;
        let mut series = Series::new()?;
        for (row, bar) in rows.bars().iter().enumerate() {
            series.push(*bar, rows.features(row).map(Into::into));
        }
        Ok(series)
    }
}

impl Market for Stored {
    fn listings(&self) -> Result<Vec<Listing>, DashboardError> {
        let listing = |entry: &crate::store::manifest::SymbolEntry| Listing {
            symbol: entry.symbol,
            bars: entry.bars,
            from: entry.span.map(|span| span.from),
            to: entry.span.map(|span| span.to),
        };
        let entries = self.data.manifest().symbols.iter();
        Ok(entries
            .filter(|entry| entry.bars > 0)
            .map(listing)
            .collect())
    }

    fn series(&self, symbol: Symbol) -> Result<Option<Arc<Series>>, DashboardError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, series)) = &*last
            && *of == symbol
        {
            return Ok(Some(series.clone()));
        }
        let series = self
            .read(symbol)
            .map_err(|error| DashboardError::Market(error.to_string()))?;
        if series.bars().is_empty() {
            return Ok(None);
        }
        let series = Arc::new(series);
        *last = Some((symbol, series.clone()));
        Ok(Some(series))
    }

    fn feature_names(&self) -> Vec<String> {
        self.data.manifest().settings.features.clone()
    }
}
