//! The parameters of a portfolio.

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::{QuantError, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PLACE: &str = "portfolio";
/// Instruments and cross-sections are counted up to here.
const MOST: u32 = 100_000;

/// How the account is divided among what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Every instrument gets the same part.
    #[default]
    Equal,
    /// In proportion to the score above the lowest one of the cross-section.
    Score,
    /// In proportion to 1 / volatility. An instrument whose volatility is not known yet gets the mean of the known ones.
    InverseVolatility,
}

/// What a replacement has to gain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The cost of selling one instrument and buying another, as a fraction: 0.003 is 0.3 %.
    pub rate: f64,
    /// The return that is expected of the best rank above that of the worst one. Without it the scores themselves are expected
    /// returns.
    #[serde(default)]
    pub per_rank: Option<f64>,
}

/// Limits of sectors. An instrument without a sector has no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sectors {
    /// The instruments of each sector.
    pub members: BTreeMap<String, Vec<Symbol>>,
    /// The greatest part of the account in one sector.
    #[serde(default)]
    pub max_share: Option<f64>,
    /// Whether sectors have the weights that they have in the cross-section, by number of instruments: exact among the sectors
    /// that are held, and to one instrument where `hold` is too small for all of them.
    #[serde(default)]
    pub neutral: bool,
}

/// A limit of the portfolio's beta to the mean of the cross-section. Without short positions a beta of 0 needs an empty account:
/// weights are tilted towards low betas first, and cash does the rest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Beta {
    /// The greatest beta.
    pub max: f64,
    /// How far a tilt may move a weight, as a fraction of it: 0.5 leaves it between half and one and a half.
    #[serde(default = "half")]
    pub tilt: f64,
}

/// Which instruments a portfolio holds, and how much of each.
///
/// ```
/// use heqis_portfolio::PortfolioConfig;
///
/// let config: PortfolioConfig = toml::from_str("hold = 10\nreplace = 2\nevery = 5")?;
/// config.validate()?;
/// assert_eq!((config.buy_tries, config.max_weight), (3, 1.0));
/// assert!(PortfolioConfig { replace: 11, ..config }.validate().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortfolioConfig {
    /// How many instruments are held.
    #[schemars(range(min = 1, max = 100_000))]
    pub hold: u32,
    /// How many of them one rebalancing replaces at most.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub replace: u32,
    /// Cross-sections from one rebalancing to the next: with daily bars, trading days.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub every: u32,
    /// How the account is divided.
    #[serde(default)]
    pub weights: Weights,
    /// The greatest weight of an instrument when it is bought.
    #[serde(default = "whole")]
    pub max_weight: f64,
    /// A held instrument is traded to its target when its weight is this far from it. Without it, it keeps what it has until it is
    /// sold.
    #[serde(default)]
    pub drift: Option<f64>,
    /// The greatest part of the account that one rebalancing buys; of replacements the best ones come first.
    #[serde(default)]
    pub max_turnover: Option<f64>,
    /// What a replacement has to gain; without it, a better rank is enough.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Limits of sectors.
    #[serde(default)]
    pub sectors: Option<Sectors>,
    /// A limit of beta.
    #[serde(default)]
    pub beta: Option<Beta>,
    /// Returns that volatility and beta remember: the weight of a return falls by 1 / `memory` with each one after it.
    #[serde(default = "sixty")]
    #[schemars(range(min = 2, max = 100_000))]
    pub memory: u32,
    /// How many bars may fill an order to buy. One that none of them filled is given up, and its place is free again.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100_000))]
    pub buy_tries: u32,
    /// How many bars may fill an order to sell; by default all that come. One that none of them filled is given up, and the
    /// instrument is held as before.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub sell_tries: Option<u32>,
    /// Whether an instrument is not bought that closed at its upper limit, and not sold that closed at its lower one.
    #[serde(default = "yes")]
    pub avoid_limits: bool,
}

fn one() -> u32 {
    1
}

fn three() -> u32 {
    3
}

fn sixty() -> u32 {
    60
}

fn half() -> f64 {
    0.5
}

fn whole() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl PortfolioConfig {
    /// Returns the defaults with `hold` instruments.
    #[must_use]
    pub fn of(hold: u32) -> Self {
        Self {
            hold,
            replace: one(),
            every: one(),
            weights: Weights::default(),
            max_weight: whole(),
            drift: None,
            max_turnover: None,
            cost: None,
            sectors: None,
            beta: None,
            memory: sixty(),
            buy_tries: three(),
            sell_tries: None,
            avoid_limits: yes(),
        }
    }

    /// Returns an error when a parameter is out of its range.
    ///
    /// # Errors
    /// [`QuantError::Value`] with the first parameter.
    pub fn validate(&self) -> Result<(), QuantError> {
        let count = |field: &str, value: u32, least: u32, most: u32| match value {
            value if (least..=most).contains(&value) => Ok(()),
            _ => Err(QuantError::value(
                PLACE,
                field,
                format!("must be in {least}..={most}"),
                value,
            )),
        };
        // NaN compares false, so it is refused as well.
        let part = |field: &str, value: Option<f64>, most: f64| match value {
            Some(value) if !(value > 0.0 && value <= most) => {
                let rule = format!("must be above 0 and at most {most}");
                Err(QuantError::value(PLACE, field, rule, value))
            }
            _ => Ok(()),
        };
        count("hold", self.hold, 1, MOST)?;
        count("replace", self.replace, 1, self.hold)?;
        count("every", self.every, 1, MOST)?;
        count("memory", self.memory, 2, MOST)?;
        count("buy_tries", self.buy_tries, 1, MOST)?;
        count("sell_tries", self.sell_tries.unwrap_or(1), 1, MOST)?;
        part("max_weight", Some(self.max_weight), 1.0)?;
        part("drift", self.drift, 1.0)?;
        part("max_turnover", self.max_turnover, 1.0)?;
        if let Some(limit) = self.max_turnover
            && limit * f64::from(self.hold) < 1.0
        {
            let rule = format!("must be at least 1 / hold = {}", 1.0 / f64::from(self.hold));
            return Err(QuantError::value(PLACE, "max_turnover", rule, limit));
        }
        if let Some(cost) = self.cost {
            part("cost.rate", Some(cost.rate), 1.0)?;
            part("cost.per_rank", cost.per_rank, 100.0)?;
        }
        if let Some(beta) = self.beta {
            part("beta.max", Some(beta.max), 100.0)?;
            part("beta.tilt", Some(beta.tilt), 1.0)?;
        }
        if let Some(sectors) = &self.sectors {
            part("sectors.max_share", sectors.max_share, 1.0)?;
            if sectors.max_share.is_none() && !sectors.neutral {
                let rule = "must have max_share or neutral = true";
                return Err(QuantError::value(PLACE, "sectors", rule, "neither"));
            }
            let mut seen = BTreeSet::new();
            let members = sectors.members.values().flatten();
            if let Some(twice) = members.clone().find(|symbol| !seen.insert(**symbol)) {
                let rule = "must be in one sector only";
                return Err(QuantError::value(PLACE, "sectors.members", rule, twice));
            }
        }
        Ok(())
    }

    /// Returns whether volatility or beta are used.
    #[must_use]
    pub fn needs_moments(&self) -> bool {
        self.weights == Weights::InverseVolatility || self.beta.is_some()
    }

    /// Returns the index of each instrument's sector.
    pub(crate) fn sector_of(&self) -> BTreeMap<Symbol, usize> {
        let sectors = self.sectors.iter().flat_map(|sectors| &sectors.members);
        let of_sector = |(at, (_, members)): (usize, (&String, &Vec<Symbol>))| {
            let members = members.clone();
            members.into_iter().map(move |symbol| (symbol, at))
        };
        sectors.enumerate().flat_map(of_sector).collect()
    }
}
