//! What a backtest is told: a TOML file in which everything has a default.

use std::path::Path;

use heqis_quant::decision::{Filters, SignalMode, Strategy, TradingState};
use heqis_quant::{Date, DecisionRule, Markets};
use serde::{Deserialize, Serialize};

use crate::allocation::Allocation;
use crate::broker::BrokerConfig;
use crate::error::BacktestError;
use crate::market::Market;
use crate::metrics::Basis;

/// What was agreed with a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// Ten-millionths of the amount: 2,500 is 0.025 percent.
    pub rate_e7: i64,
    /// The least commission of an order in cents.
    pub min_cents: i64,
}

/// How far may be traded from a day on, as somebody at the board's switch would set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillChange {
    /// The first day whose decisions it binds.
    pub from: Date,
    /// How far may be traded.
    pub state: TradingState,
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
    pub(crate) fn basis_of(&self, market: &Market) -> Basis {
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
