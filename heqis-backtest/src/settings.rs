//! The settings of a backtest: a TOML file in which every key has a default.

use std::path::Path;

use heqis_data::Rule;
use heqis_data::renamed::{RenamedKey, warnings, without_former};
use heqis_portfolio::PortfolioConfig;
use heqis_quant::decision::{Filters, SignalMode, Strategy, TradingState};
use heqis_quant::{Date, DecisionRule, Markets};
use serde::{Deserialize, Serialize};

use crate::allocation::Allocation;
use crate::broker::BrokerConfig;
use crate::error::BacktestError;
use crate::market::MarketHistory;
use crate::metrics::Basis;

/// A commission agreed with a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// Ten-millionths of the amount: 2,500 is 0.025 percent.
    pub rate_e7: i64,
    /// The minimum commission of an order in cents.
    pub min_cents: i64,
}

/// A change of the trading state, as an operator would make it on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TradingStateChange {
    /// The first day whose decisions it applies to.
    pub from: Date,
    /// The trading state.
    pub state: TradingState,
}

/// The settings of a backtest, as a TOML file. Missing keys have their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The thresholds of entry and exit.
    #[serde(deserialize_with = "RuleFields::deserialize")]
    pub rule: DecisionRule,
    /// Whether the settings file has a rule, which takes precedence over that of a bundle.
    #[serde(skip)]
    pub names_rule: bool,
    /// The filters of signals.
    pub filters: Filters,
    /// The trading state by day; active before the first entry. Pending orders are not cancelled.
    #[serde(
        rename(serialize = "kill", deserialize = "trading_state"),
        alias = "kill"
    )]
    pub trading_states: Vec<TradingStateChange>,
    /// The account and its order handling.
    pub broker: BrokerConfig,
    /// The division of the account among stocks.
    pub allocation: Allocation,
    /// What a portfolio holds; without it, what the keys of `allocation` describe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portfolio: Option<PortfolioConfig>,
    /// The agreed commission; by default that of the fee table.
    pub commission: Option<Commission>,
    /// The basis of the metrics. The days of a year are those of the market unless the settings file sets them.
    pub basis: Basis,
    /// Whether the settings file sets the days of a year.
    #[serde(skip)]
    pub names_year: bool,
    /// The rules of all markets; by default the shipped ones. Not part of a settings file.
    #[serde(skip)]
    pub markets: Option<Markets>,
}

/// A rule whose missing fields are those of the default rule.
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
    /// The rule of `topologies/baseline.toml`, no filter, and the defaults of everything else.
    fn default() -> Self {
        Self {
            rule: default_rule(),
            names_rule: false,
            filters: Filters::default(),
            trading_states: Vec::new(),
            broker: BrokerConfig::default(),
            allocation: Allocation::default(),
            portfolio: None,
            commission: None,
            basis: Basis::default(),
            names_year: false,
            markets: None,
        }
    }
}

/// Renamed keys of a settings file.
const RENAMED: [RenamedKey<'static>; 3] = [
    ("", "kill", "trading_state"),
    ("filters", Filters::RENAMED[0].0, Filters::RENAMED[0].1),
    ("filters", Filters::RENAMED[1].0, Filters::RENAMED[1].1),
];

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`BacktestError::Data`] when it cannot be read, [`BacktestError::Rule`] when a field is unknown or of the wrong type, and
    /// the errors of [`Settings::validate`].
    pub fn read(path: &Path) -> Result<Self, BacktestError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| BacktestError::file(path, source))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses TOML text; messages name it `place`.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn parse(text: &str, place: &str) -> Result<Self, BacktestError> {
        let refuse = |error: toml::de::Error| {
            let message = without_former(error.message(), &RENAMED);
            BacktestError::rule_got(place, "must be settings of a backtest", message)
        };
        let table: toml::Table = toml::from_str(text).map_err(refuse)?;
        let renamed = warnings(&table, &RENAMED);
        for warning in renamed.map_err(|both| Rule::new(place, both))? {
            eprintln!("warning: {place}: {warning}");
        }
        let basis = table.get("basis").and_then(|basis| basis.as_table());
        let settings = Self {
            names_rule: table.contains_key("rule"),
            names_year: basis.is_some_and(|basis| basis.contains_key("days_per_year")),
            ..toml::from_str(text).map_err(refuse)?
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
        if let Some(portfolio) = &self.portfolio {
            portfolio.validate()?;
        }
        self.basis.validate()?;
        if let Some(pair) = self
            .trading_states
            .windows(2)
            .find(|pair| pair[0].from >= pair[1].from)
        {
            let (rule, got) = ("must be later than the one before it", pair[1].from);
            return Err(BacktestError::rule_got("trading_state", rule, got));
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

    /// Returns the basis of the metrics on a market, with the days of its year unless the settings set them. Of several
    /// markets the one with the most days counts, since an account has a close on all of them.
    #[must_use]
    pub(crate) fn basis_of(&self, market: &MarketHistory) -> Basis {
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

    /// Returns the rules of all markets with the agreed commission.
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
