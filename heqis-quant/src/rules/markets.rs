//! All markets together, and the rules of one instrument.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::fees::{Fee, FeeRule, Fees, MAX_AMOUNT_CENTS, PER_ONE};
use super::limits::{LimitRule, Limits, check_reference, references};
use super::market::{Class, MarketRules};
use super::orders::OrderRule;
use super::pattern::Pattern;
use super::{DayRules, PLACE};
use crate::date::Date;
use crate::error::QuantError;
use crate::symbol::Symbol;

const SHIPPED: [(&str, &str); 6] = [
    ("ashare.toml", include_str!("../../markets/ashare.toml")),
    (
        "ashare-funds.toml",
        include_str!("../../markets/ashare-funds.toml"),
    ),
    (
        "convertible-bonds.toml",
        include_str!("../../markets/convertible-bonds.toml"),
    ),
    ("indices.toml", include_str!("../../markets/indices.toml")),
    ("us.toml", include_str!("../../markets/us.toml")),
    ("crypto.toml", include_str!("../../markets/crypto.toml")),
];

/// The rules of all known markets: the shipped ones, and those that a user adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markets {
    /// The user's markets come first. Shared, so that a copy is cheap.
    markets: Vec<Arc<MarketRules>>,
    /// The number of the user's markets.
    own: usize,
    /// All patterns as market, class and pattern, in order of precedence.
    order: Vec<(usize, usize, usize)>,
}

/// One instrument in its market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// The instrument.
    pub symbol: Symbol,
    /// The market, shared so that a caller can keep it.
    pub market: &'a Arc<MarketRules>,
    /// The class.
    pub class: &'a Class,
}

impl Markets {
    /// Returns the shipped markets with their default commissions: see
    /// [`Markets::with_commission`].
    ///
    /// # Errors
    /// Returns what [`MarketRules::parse`] returns. Tests keep the shipped files valid.
    pub fn shipped() -> Result<Self, QuantError> {
        // Parsed once: every cleaner and every broker uses them.
        static MARKETS: OnceLock<Markets> = OnceLock::new();
        if let Some(markets) = MARKETS.get() {
            return Ok(markets.clone());
        }
        let parse = |(name, text)| MarketRules::parse(text, name).map(Arc::new);
        let markets = Self::join(SHIPPED.into_iter().map(parse).collect::<Result<_, _>>()?, 0)?;
        Ok(MARKETS.get_or_init(|| markets).clone())
    }

    /// Adds a market of a user, whose patterns take precedence over those of the shipped markets. It replaces a shipped
    /// market of the same name.
    ///
    /// # Errors
    /// Returns what [`MarketRules::parse`] returns, and [`QuantError::Value`] if another added market has the same name, or
    /// a pattern of the same precedence for one symbol.
    pub fn with(self, text: &str, source_name: &str) -> Result<Self, QuantError> {
        let market = MarketRules::parse(text, source_name)?;
        let Self {
            mut markets,
            mut own,
            ..
        } = self;
        if markets[..own].iter().any(|known| known.name == market.name) {
            let field = format!("{source_name}: name");
            let rule = "must not be the name of a market that was added before";
            return Err(QuantError::value(PLACE, field, rule, market.name));
        }
        markets.retain(|known| known.name != market.name);
        markets.insert(own, Arc::new(market));
        own += 1;
        Self::join(markets, own)
    }

    fn join(markets: Vec<Arc<MarketRules>>, own: usize) -> Result<Self, QuantError> {
        refuse_ambiguous(&markets[..own])?;
        refuse_ambiguous(&markets[own..])?;
        let mut order = Vec::new();
        for (m, market) in markets.iter().enumerate() {
            for (c, class) in market.classes.iter().enumerate() {
                order.extend((0..class.symbols.len()).map(|p| (m, c, p)));
            }
        }
        let pattern = |&(m, c, p): &(usize, usize, usize)| &markets[m].classes[c].symbols[p];
        order.sort_by_key(|at| (at.0 >= own, std::cmp::Reverse(pattern(at).literals())));
        Ok(Self {
            markets,
            own,
            order,
        })
    }

    /// Replaces the commission of all markets and all days by the one agreed with a broker.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the rate is not in 0..=10,000,000 or the minimum is negative.
    pub fn with_commission(mut self, rate_e7: i64, min_cents: i64) -> Result<Self, QuantError> {
        for (field, value, most) in [
            ("rate_e7", rate_e7, PER_ONE),
            ("min_cents", min_cents, MAX_AMOUNT_CENTS),
        ] {
            if !(0..=most).contains(&value) {
                let rule = format!("must be in 0..={most}");
                return Err(QuantError::value("commission", field, rule, value));
            }
        }
        let markets = self.markets.iter_mut().map(Arc::make_mut);
        for rule in markets.flat_map(|market| &mut market.fees) {
            if rule.fee == Fee::Commission {
                rule.rate_e7 = rate_e7;
                rule.min_cents = min_cents;
                rule.max_cents = None;
                "Agreed with the broker.".clone_into(&mut rule.source);
            }
        }
        Ok(self)
    }

    /// Returns all markets, the user's first.
    pub fn all(&self) -> impl Iterator<Item = &MarketRules> {
        self.markets.iter().map(|market| &**market)
    }

    /// Returns an instrument in its market, or `None` if no pattern matches its symbol. Of several patterns, a user's takes
    /// precedence, then the one with more literal characters.
    #[must_use]
    pub fn of(&self, symbol: Symbol) -> Option<Listing<'_>> {
        self.order.iter().find_map(|&(m, c, p)| {
            let market = &self.markets[m];
            let class = &market.classes[c];
            class.symbols[p].matches(symbol).then_some(Listing {
                symbol,
                market,
                class,
            })
        })
    }

    /// Returns why an instrument cannot be traded, or `None` when it can.
    #[must_use]
    pub fn untradable(&self, symbol: Symbol) -> Option<String> {
        match self.of(symbol) {
            None => Some("no market file knows the symbol, so its rules are unknown".to_owned()),
            Some(listing) => listing.class.untradable.clone(),
        }
    }

    /// Returns the price limits of an instrument on a day around its ex-right reference price, in price units of its
    /// market. An instrument of no known market has none. `st` is whether a stock is under special treatment.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the reference price is not between one unit and 100,000,000 of the currency.
    pub fn limits(
        &self,
        symbol: Symbol,
        date: Date,
        st: bool,
        reference: i64,
    ) -> Result<Limits, QuantError> {
        match self.of(symbol) {
            Some(listing) => listing.limits(date, st, reference),
            None => Ok(Limits::NoLimit),
        }
    }

    /// Returns the rules of an instrument on a day; `st` is whether a stock is under special treatment.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if the instrument cannot be traded, or if its market has no order sizes or fees for the
    /// day. Days without a price limit are no error: see [`DayRules::limit`].
    pub fn on(&self, symbol: Symbol, date: Date, st: bool) -> Result<DayRules<'_>, QuantError> {
        let refuse = |rule: &str, value: &dyn ToString| {
            QuantError::value(PLACE, format!("{symbol}"), rule, value.to_string())
        };
        let listing = self
            .of(symbol)
            .ok_or_else(|| refuse("must be a symbol of a market file", &"none"))?;
        if let Some(reason) = &listing.class.untradable {
            return Err(refuse("must be tradable", reason));
        }
        let order = listing
            .order(date)
            .ok_or_else(|| refuse("must have an order rule in force on the day", &date))?;
        Ok(DayRules {
            listing,
            date,
            limit: listing.limit(date, st),
            order,
            fees: listing.fees(date)?,
        })
    }
}

impl<'a> Listing<'a> {
    /// Returns whether prices are in hundredths of the currency.
    #[must_use]
    pub fn is_in_cents(&self) -> bool {
        self.market.price_decimals == 2
    }

    /// Returns the price limit in force, if any.
    #[must_use]
    pub fn limit(&self, date: Date, st: bool) -> Option<&'a LimitRule> {
        self.class.limits.iter().find(|rule| rule.applies(date, st))
    }

    /// Returns the order rule in force, if any.
    #[must_use]
    pub fn order(&self, date: Date) -> Option<&'a OrderRule> {
        let holds = |rule: &&OrderRule| rule.force().holds(date);
        self.class.orders.iter().find(holds)
    }

    /// Returns the fees in force. A kind without any rule in the market is not charged.
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] if the market has rules of a kind of fee, and none of them is in force.
    pub fn fees(&self, date: Date) -> Result<Fees<'a>, QuantError> {
        let rule = |fee: Fee| {
            let mut kind = self.market.fees.iter().filter(|rule| rule.fee == fee);
            let in_force = |rule: &&FeeRule| rule.is_of(self.symbol) && rule.force().holds(date);
            match kind.clone().find(in_force) {
                Some(rule) => Ok(Some(rule)),
                None if kind.next().is_none() => Ok(None),
                None => Err(QuantError::value(
                    PLACE,
                    format!("fee {} of {}", fee.name(), self.symbol),
                    "must have a rule in force on the day",
                    date,
                )),
            }
        };
        Ok(Fees {
            stamp_duty: rule(Fee::StampDuty)?,
            transfer: rule(Fee::Transfer)?,
            commission: rule(Fee::Commission)?,
            units_per_share: self.market.units_per_share(),
        })
    }

    /// Returns the price limits of a day around the ex-right reference price, in price units. The caller handles the
    /// days after an IPO: see [`LimitRule::ipo_free_days`].
    ///
    /// # Errors
    /// Returns [`QuantError::Value`] when the reference price is not between one unit and 100,000,000 of the currency.
    pub fn limits(&self, date: Date, st: bool, reference: i64) -> Result<Limits, QuantError> {
        check_reference(reference, self.market.max_price(), || {
            format!("reference price of {} on {date}", self.symbol)
        })?;
        let rule = self.limit(date, st);
        Ok(rule.map_or(Limits::NoLimit, |rule| {
            rule.around(reference, self.tick(date))
        }))
    }

    /// Returns the lowest and highest reference price whose limits contain a bar from `low` to `high`, all in price
    /// units, or `None` when the day has no limits or no single reference does.
    #[must_use]
    pub fn references(&self, date: Date, st: bool, low: i64, high: i64) -> Option<(i64, i64)> {
        references(low, high, self.limit(date, st)?.percent, self.tick(date))
    }

    /// Returns the tick of a day in price units, which is one unit without an order rule.
    #[must_use]
    pub fn tick(&self, date: Date) -> i64 {
        self.order(date).map_or(1, |rule| rule.tick)
    }
}

/// Returns an error if two patterns of different classes with the same number of literal characters match one symbol.
fn refuse_ambiguous(markets: &[Arc<MarketRules>]) -> Result<(), QuantError> {
    let mut seen: BTreeMap<usize, Vec<(usize, &Class, &Pattern)>> = BTreeMap::new();
    for (i, market) in markets.iter().enumerate() {
        for class in &market.classes {
            for pattern in &class.symbols {
                let alike = seen.entry(pattern.literals()).or_default();
                let clash = alike.iter().find(|(of, other, theirs)| {
                    (*of != i || other.name != class.name) && theirs.meets(pattern)
                });
                if let Some((of, other, theirs)) = clash {
                    let field = format!("{}: class {}: symbols", market.name, class.name);
                    let rule = format!(
                        "must not match symbols that {} of class {} in {} matches as well",
                        theirs.as_str(),
                        other.name,
                        markets[*of].name,
                    );
                    return Err(QuantError::value(PLACE, field, rule, pattern.as_str()));
                }
                alike.push((i, class, pattern));
            }
        }
    }
    Ok(())
}
