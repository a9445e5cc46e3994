//! One run: decisions, orders, money, figures and files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use heqis_data::ImportReport;
use heqis_data::predictions::Coverage;
use heqis_data::table::{Table, Values};
use heqis_quant::decision::{Filters, Side, SignalMode, Strategy};
use heqis_quant::rules::{Days, Listing};
use heqis_quant::{Calendar, Date, DecisionRule, Markets, Span, Symbol};
use serde::{Deserialize, Serialize};

use super::allocation::{Allocation, Want, simulate};
use super::alternatives::Alternatives;
use super::broker::{BrokerConfig, Ledger};
use super::caveats::{self, Caveats, Unexplained};
use super::inputs::{Benchmark, Facts, LeftOut};
use super::market::{Market, Stock};
use super::metrics::{Basis, CrossSection, Metrics, daily_returns, returns_of};
use super::report::books;
use super::report::html::Page;
use super::strategy::{KillChange, Said, Told};
use crate::error::BacktestError;

/// What was agreed with a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// Ten-millionths of the amount: 2,500 is 0.025 percent.
    pub rate_e7: i64,
    /// The least commission of an order in cents.
    pub min_cents: i64,
}

/// Everything that a backtest can be told, as a TOML file; what is left out has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// When to enter and when to leave.
    #[serde(deserialize_with = "RuleFields::deserialize")]
    pub rule: DecisionRule,
    /// Whether the file that this was read from has a rule, which then goes before that of a bundle.
    #[serde(skip)]
    pub names_rule: bool,
    /// What may refuse a signal.
    pub filters: Filters,
    /// How far may be traded, day by day; everything before the first. What waits with the broker is not taken back.
    pub kill: Vec<KillChange>,
    /// The account and its habits.
    pub broker: BrokerConfig,
    /// How the account is divided.
    pub allocation: Allocation,
    /// What was agreed with the broker; the default of the fee table when left out.
    pub commission: Option<Commission>,
    /// What figures refer to. Without days of a year in a settings file, those of the market count.
    pub basis: Basis,
    /// Whether the file says how many days a year has.
    #[serde(skip)]
    pub names_year: bool,
    /// The rules of all markets; those that are shipped when left out. Not part of a settings file.
    #[serde(skip)]
    pub markets: Option<Markets>,
}

/// A rule of which any field may be left out: it is that of the default rule then.
#[derive(Deserialize)]
#[serde(remote = "DecisionRule", deny_unknown_fields, default = "default_rule")]
struct RuleFields {
    enter: f64,
    exit: f64,
    min_confidence: f64,
    min_exit_confidence: f64,
}

fn default_rule() -> DecisionRule {
    DecisionRule {
        enter: 0.002,
        exit: 0.0012,
        min_confidence: 0.4,
        min_exit_confidence: 0.0,
    }
}

impl Default for Settings {
    /// The rule of `topologies/baseline.toml`, no filter, and the defaults of all the rest.
    fn default() -> Self {
        Self {
            rule: default_rule(),
            names_rule: false,
            filters: Filters::default(),
            kill: Vec::new(),
            broker: BrokerConfig::default(),
            allocation: Allocation::default(),
            commission: None,
            basis: Basis::default(),
            names_year: false,
            markets: None,
        }
    }
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`BacktestError::Data`] when it cannot be read, [`BacktestError::Rule`] when a field is unknown or of the wrong kind, and
    /// what [`Settings::validate`] returns.
    pub fn read(path: &Path) -> Result<Self, BacktestError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| BacktestError::file(path, source))?;
        let refuse = |error: toml::de::Error| {
            let place = path.display().to_string();
            BacktestError::rule_got(place, "must be settings of a backtest", error.message())
        };
        let table: toml::Table = toml::from_str(&text).map_err(refuse)?;
        let basis = table.get("basis").and_then(|basis| basis.as_table());
        let settings = Self {
            names_rule: table.contains_key("rule"),
            names_year: basis.is_some_and(|basis| basis.contains_key("days_per_year")),
            ..toml::from_str(&text).map_err(refuse)?
        };
        settings.validate()?;
        Ok(settings)
    }

    /// Returns an error when a number is out of bounds.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] and [`BacktestError::Quant`] with the field.
    pub fn validate(&self) -> Result<(), BacktestError> {
        self.strategy(SignalMode::Return).validate()?;
        self.broker.validate()?;
        self.allocation.validate()?;
        self.basis.validate()?;
        if let Some(pair) = self
            .kill
            .windows(2)
            .find(|pair| pair[0].from >= pair[1].from)
        {
            let (rule, got) = ("must lie behind the one before it", pair[1].from);
            return Err(BacktestError::rule_got("kill".to_owned(), rule, got));
        }
        self.rules().map(|_| ())
    }

    /// Returns the strategy of one signal mode.
    #[must_use]
    pub fn strategy(&self, mode: SignalMode) -> Strategy {
        Strategy {
            mode,
            rule: self.rule,
            filters: self.filters,
        }
    }

    /// Returns what the figures of a market refer to: with the days of its year, where nothing else was asked for. Of
    /// several markets the one with the most days counts, since an account has a close on all of them.
    #[must_use]
    pub fn basis_of(&self, market: &Market) -> Basis {
        let days = market
            .stocks()
            .iter()
            .map(|stock| stock.market().days_per_year);
        match days.max() {
            Some(days)
                if !self.names_year
                    && self.basis.days_per_year == Basis::default().days_per_year =>
            {
                Basis {
                    days_per_year: days.into(),
                    ..self.basis
                }
            }
            _ => self.basis,
        }
    }

    /// Returns the rules of all markets with the commission agreed.
    ///
    /// # Errors
    /// [`BacktestError::Quant`] when the commission is out of bounds.
    pub fn rules(&self) -> Result<Markets, BacktestError> {
        let markets = match &self.markets {
            Some(markets) => markets.clone(),
            None => Markets::shipped()?,
        };
        Ok(match self.commission {
            Some(agreed) => markets.with_commission(agreed.rate_e7, agreed.min_cents)?,
            None => markets,
        })
    }
}

/// The place of a bar that something is said of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position of the stock in the market.
    pub stock: u32,
    /// The position among what is said of the stock.
    pub at: u32,
}

/// What a run is made of: stocks with their predictions, over one span.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The market of the span.
    pub market: Market,
    /// What was said and decided of each stock, in the order of the market.
    pub said: Vec<Vec<Said>>,
    /// All of it, in the order of days, times and stocks.
    pub order: Vec<Place>,
    /// One return of the benchmark for each day of the market.
    pub benchmark: Option<Vec<f64>>,
    /// Bars on another price level than the ones before, with no event to bridge it: holdings cross them as a loss.
    pub unbridged: usize,
    /// What was not to be traded.
    pub left_out: Vec<LeftOut>,
    /// What became of the rows of its instruments.
    pub import: ImportReport,
    /// Ex-rights of each stock that no event tells of, in the order of the market.
    pub unexplained: Vec<Unexplained>,
    /// What is known before the run to be wrong or unclear, in words.
    pub warnings: Vec<String>,
}

impl Scene {
    /// Cuts series to a span and joins them. The bars of each stock are freed once the market has read them.
    ///
    /// # Errors
    /// [`BacktestError::Rule`] when no bar lies in the span, bars lie outside the calendar or are of two currencies, and what
    /// [`Stock::in_markets`], [`Market::new`] and [`Benchmark::returns`] return.
    pub fn new(
        mut series: Vec<Told>,
        facts: &Facts,
        span: Span,
        benchmark: Option<&Benchmark>,
    ) -> Result<Self, BacktestError> {
        let symbols: Vec<Symbol> = series.iter().map(|told| told.symbol).collect();
        let (stock_facts, of_bars): (Vec<_>, Vec<_>) = series
            .iter()
            .map(|told| caveats::of_bars(told.symbol, &told.bars, span, facts))
            .unzip();
        for told in &mut series {
            told.bars.retain(|bar| span.contains(bar.date));
        }
        let days = || {
            series
                .iter()
                .flat_map(|told| &told.bars)
                .map(|bar| bar.date)
        };
        let (Some(first), Some(last)) = (days().min(), days().max()) else {
            let rule = "must hold at least one bar";
            let span = format!("{} to {}", span.from, span.to);
            return Err(BacktestError::rule_got("span", rule, span));
        };
        let listings = || {
            symbols
                .iter()
                .filter_map(|symbol| facts.markets.of(*symbol))
        };
        if let Some(first) = listings().next()
            && let Some(other) = listings().find(|l| l.market.currency != first.market.currency)
        {
            let told = |listing: &Listing<'_>| {
                format!("{} in {}", listing.symbol, listing.market.currency)
            };
            let got = format!("{} and {}", told(&first), told(&other));
            return Err(BacktestError::rule_got(
                "portfolio",
                "must be of one currency",
                got,
            ));
        }
        // A table of trading days is that of an exchange with holidays.
        let has_holidays = listings().all(|listing| listing.market.days == Days::Weekdays);
        // From the first to the last bar, since a calendar of decades would dilute the figures, or to a delisting behind it:
        // what is held then is lost, which an account that ends before it would hide.
        let gone = stock_facts.iter().filter_map(|facts| facts.delisted);
        let gone: Vec<Date> = gone
            .filter(|day| first < *day && span.contains(*day))
            .collect();
        let end = gone.iter().copied().fold(last, Date::max);
        let mut days: Vec<Date> = match facts.calendar.as_ref().filter(|_| has_holidays) {
            Some(given) => given.within(Span::new(first, end)?).to_vec(),
            None => days().collect::<BTreeSet<_>>().into_iter().collect(),
        };
        days.extend(gone.iter().filter(|day| last < **day));
        days.sort_unstable();
        days.dedup();
        let calendar = Calendar::new(days)?;
        let mut unbridged = 0;
        let mut stocks = Vec::with_capacity(series.len());
        let mut said = Vec::with_capacity(series.len());
        let mut unexplained = Vec::with_capacity(series.len());
        let mut warnings = caveats::of_findings(&facts.findings, &symbols, Span::new(first, end)?);
        warnings.extend(of_bars.into_iter().flatten());
        warnings.extend(caveats::of_adjusted(
            series.iter().map(|told| &told.bars[..]),
        ));
        for (told, mut known) in series.into_iter().zip(stock_facts) {
            let (symbol, bars) = (told.symbol, &told.bars);
            said.push(told.said);
            warnings.extend(caveats::unfit_events(bars, &known.events));
            warnings.extend(caveats::special_days_of_bars(
                bars,
                &mut known,
                facts.names_given,
            ));
            unexplained.push(Unexplained::of(symbol, bars, &known, facts));
            unbridged += bars
                .windows(2)
                .filter(|pair| {
                    let due = |date: Date| pair[0].date < date && date <= pair[1].date;
                    pair[1].marks.breaks_level()
                        && !known.events.iter().any(|event| due(event.ex_date))
                })
                .count();
            stocks.push(Stock::in_markets(
                symbol,
                bars,
                known,
                &calendar,
                &facts.markets,
            )?);
        }
        let market = Market::new(calendar, stocks)?;
        let benchmark = benchmark
            .map(|benchmark| benchmark.returns(market.days()))
            .transpose()?;
        Ok(Self {
            market,
            order: order(&said),
            said,
            benchmark,
            unbridged,
            left_out: Vec::new(),
            import: ImportReport::default(),
            unexplained,
            warnings,
        })
    }

    /// Returns what is said at a place.
    #[must_use]
    pub fn at(&self, place: Place) -> &Said {
        &self.said[place.stock as usize][place.at as usize]
    }

    /// Returns what is wanted in a signal mode, in the order of time; a hold wants nothing.
    #[must_use]
    pub fn wants(&self, mode: SignalMode) -> Vec<Want> {
        let want = |place: &Place| {
            let said = self.at(*place);
            let (side, _) = said.decided(mode);
            if side == Side::Hold {
                return None;
            }
            Some(Want {
                step: self.market.step_at(said.date, said.time_ns)?,
                stock: place.stock as usize,
                side,
                score: said.prediction.predicted_return,
            })
        };
        self.order.iter().filter_map(want).collect()
    }

    /// Returns, timestamp by timestamp, each predicted return with the return to the next bar of the same stock in the span.
    #[must_use]
    pub fn scores(&self) -> Vec<CrossSection> {
        let mut times: BTreeMap<i64, CrossSection> = BTreeMap::new();
        for said in &self.said {
            for said in said.split_last().map_or(&[][..], |(_, followed)| followed) {
                let time = times.entry(said.time_ns).or_default();
                time.push((said.prediction.predicted_return, said.followed));
            }
        }
        times.into_values().collect()
    }
}

/// The places of all that is said, in the order of days, times and stocks.
fn order(said: &[Vec<Said>]) -> Vec<Place> {
    let mut order = Vec::with_capacity(said.iter().map(Vec::len).sum());
    for (stock, said) in (0..).zip(said) {
        order.extend((0..).zip(said).map(|(at, _)| Place { stock, at }));
    }
    if said.len() > 1 {
        order.sort_by_key(|place| {
            let said = &said[place.stock as usize][place.at as usize];
            (said.date, said.time_ns, place.stock)
        });
    }
    order
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The books.
    pub ledger: Ledger,
    /// One return a day.
    pub returns: Vec<f64>,
    /// The figures.
    pub metrics: Metrics,
    /// What they do not say.
    pub caveats: Caveats,
}

/// Trades what was decided in a signal mode, and sums up.
///
/// # Errors
/// What [`simulate`] and [`Metrics::of`] return.
pub fn run(scene: &Scene, settings: &Settings, mode: SignalMode) -> Result<Outcome, BacktestError> {
    let book = settings.rules()?;
    let wants = scene.wants(mode);
    let config = settings.broker;
    let ledger = simulate(&scene.market, &book, &wants, config, &settings.allocation)?;
    let metrics = Metrics::of(
        &ledger,
        config.cash_cents,
        scene.benchmark.as_deref(),
        &scene.scores(),
        settings.basis_of(&scene.market),
    )?;
    Ok(Outcome {
        caveats: Caveats::of(
            &scene.market,
            &scene.unexplained,
            &scene.warnings,
            &ledger,
            settings.basis.days_per_year,
        ),
        returns: daily_returns(&ledger, config.cash_cents)?,
        ledger,
        metrics,
    })
}

/// What identifies a run, beside its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The name of the strategy.
    pub strategy: String,
    /// The signal mode.
    pub mode: SignalMode,
    /// The stock, or `portfolio`.
    pub symbol: String,
}

/// Where the decisions of a run come from, beside its settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// The origin of the rule.
    pub rule_from: String,
    /// Which bars a table of predictions speaks of; `None` for bundles.
    pub predictions: Option<Coverage>,
}

impl Outcome {
    /// Writes the run into a directory: all tables as CSV and Parquet, `summary.json` and, if wished, `report.html`.
    ///
    /// # Errors
    /// [`BacktestError::Data`], [`BacktestError::Data`] and [`BacktestError::Data`] when a file cannot be written.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one part of what a run leaves, and there is one caller"
    )]
    pub fn save(
        &self,
        dir: &Path,
        label: &Label,
        scene: &Scene,
        alternatives: &Alternatives,
        settings: &Settings,
        origin: &Origin,
        with_page: bool,
    ) -> Result<(), BacktestError> {
        std::fs::create_dir_all(dir).map_err(|source| BacktestError::file(dir, source))?;
        let returns = returns_of(&self.ledger.days, settings.broker.cash_cents)?;
        signals(scene, label.mode).save(dir, "signals")?;
        for (name, table) in books::tables(&scene.market, &self.ledger, &returns) {
            table.save(dir, name)?;
        }
        figures(&flat(&self.metrics)).save(dir, "metrics")?;
        let days = scene.market.days();
        let mut summary = serde_json::json!({
            "run": label,
            "from": days.first(),
            "to": days.last(),
            "settings": settings,
            "rule_from": origin.rule_from,
            "predictions": origin.predictions,
            "metrics": self.metrics,
            "hold": alternatives.hold,
            "cash": alternatives.cash,
            "orders": self.ledger.orders.len(),
            "fills": self.ledger.fills.len(),
            "reasons": self.reasons(),
            "unbridged_price_levels": scene.unbridged,
            "missing_dividends": self.caveats.missing_dividends,
            "delisted_holdings": self.caveats.delisted_holdings,
            "warnings": self.caveats.told(),
        });
        if !scene.import.series.is_empty() {
            summary["import"] = serde_json::json!(scene.import);
        }
        if !scene.left_out.is_empty() {
            summary["left_out"] = serde_json::json!(scene.left_out);
        }
        let json = serde_json::to_string_pretty(&summary)
            .map_err(|source| BacktestError::json(dir, source))?;
        write(&dir.join("summary.json"), &(json + "\n"))?;
        if with_page {
            let settings = [
                ("strategy", label.strategy.clone()),
                ("mode", text(&label.mode)),
                (
                    "rule",
                    format!("{} from {}", text(&settings.rule), origin.rule_from),
                ),
                ("filters", text(&settings.filters)),
                ("kill", text(&settings.kill)),
                ("broker", text(&settings.broker)),
                ("allocation", text(&settings.allocation)),
                ("commission", text(&settings.commission)),
            ]
            .map(|(name, value)| (name.to_owned(), value));
            let warnings = self.caveats.told();
            let page = Page {
                title: &format!("{} on {}", label.strategy, label.symbol),
                settings: &settings,
                market: &scene.market,
                ledger: &self.ledger,
                returns: &self.returns,
                benchmark: scene.benchmark.as_deref(),
                metrics: &self.metrics,
                left_out: &scene.left_out,
                import: &scene.import,
                alternatives,
                warnings: &warnings,
            };
            write(&dir.join("report.html"), &page.html())?;
        }
        Ok(())
    }

    /// Returns how many orders each reason touched.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for order in &self.ledger.orders {
            for note in &order.notes {
                *counts.entry(note.reason.name()).or_default() += 1;
            }
        }
        counts
    }
}

/// Settings as one line of text.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), BacktestError> {
    std::fs::write(path, text).map_err(|source| BacktestError::file(path, source))
}

fn signals(scene: &Scene, mode: SignalMode) -> Table<'_> {
    let (market, rows) = (&scene.market, &scene.order);
    let number =
        |value: fn(&Said) -> f64| Values::numbers(rows, move |place| Some(value(scene.at(*place))));
    // What a table of predictions does not have is an empty cell.
    let odds = |value: fn(&Said, Side) -> f64| {
        Values::numbers(rows, move |place| {
            let said = scene.at(*place);
            said.has_probabilities
                .then(|| value(said, said.decided(mode).0))
        })
    };
    let stock = |place: &Place| &market.stocks()[place.stock as usize];
    let mut table =
        Table::new(rows.len()).with("date", Values::days(rows, |place| scene.at(*place).date));
    if market.is_intraday() {
        let time = move |place: &Place| {
            let rules = stock(place).market();
            rules.local_time(scene.at(*place).time_ns)
        };
        table = table.with("time", Values::text(rows, time));
    }
    table
        .with(
            "symbol",
            Values::text(rows, move |place| stock(place).symbol().to_string()),
        )
        .with("close", number(|said| said.close))
        .with(
            "predicted_return",
            number(|said| said.prediction.predicted_return),
        )
        .with("down", odds(|said, _| said.prediction.probabilities[0]))
        .with("flat", odds(|said, _| said.prediction.probabilities[1]))
        .with("up", odds(|said, _| said.prediction.probabilities[2]))
        .with(
            "side",
            Values::text(rows, move |place| {
                scene.at(*place).decided(mode).0.to_string()
            }),
        )
        .with(
            "confidence",
            odds(|said, side| said.prediction.confidence(side)),
        )
        .with(
            "reason",
            Values::text(rows, move |place| {
                scene.at(*place).decided(mode).1.to_string()
            }),
        )
}

/// Every figure by its name; one that is not defined has no value.
fn figures(rows: &[(String, Option<f64>)]) -> Table<'_> {
    Table::new(rows.len())
        .with("figure", Values::text(rows, |row| row.0.clone()))
        .with("value", Values::numbers(rows, |row| row.1))
}

/// Returns the figures as names and numbers, such as `curve.sharpe`.
#[must_use]
pub fn flat(metrics: &Metrics) -> Vec<(String, Option<f64>)> {
    fn walk(prefix: &str, value: &serde_json::Value, out: &mut Vec<(String, Option<f64>)>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if prefix.is_empty() { "" } else { "." };
                    walk(&format!("{prefix}{dot}{name}"), value, out);
                }
            }
            other => out.push((prefix.to_owned(), other.as_f64())),
        }
    }
    let mut out = Vec::new();
    if let Ok(value) = serde_json::to_value(metrics) {
        walk("", &value, &mut out);
    }
    out
}
