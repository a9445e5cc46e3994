//! The state of a portfolio from one cross-section to the next.

use std::collections::{BTreeMap, BTreeSet};

use heqis_quant::decision::{
    DecisionReason, Moments, PortfolioOrder, Position, Ranked, RiskState, TradingState,
};
use heqis_quant::{Decision, QuantError, Symbol};
use serde::{Deserialize, Serialize};

use crate::choose::{Candidate, Held, Holding, choose, ranks};
use crate::config::PortfolioConfig;
use crate::fills::{filled, gains_of, is_blocked, return_of};
use crate::section::{Row, Section};
use crate::weigh::weigh;

/// Returns before volatility and beta are known.
const WARM_UP: u32 = 20;
/// Weights closer than this are equal.
const EPSILON: f64 = 1e-9;

/// What a broker really holds, in any unit of money. Without one, orders are assumed to be filled by the next bar of their
/// instrument, at its open, unless that is at the limit against them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actual {
    /// Cash.
    pub cash: f64,
    /// The value of what is held, by instrument.
    pub values: BTreeMap<Symbol, f64>,
    /// The instruments whose last order has bought or sold nothing, or not everything of a sale.
    pub unfilled: BTreeSet<Symbol>,
}

/// What is kept of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Series {
    /// The last cross-section with it.
    section: u64,
    value: f64,
    order: Option<PortfolioOrder>,
    /// The order before the last decision, where that replaced it.
    unfilled: Option<PortfolioOrder>,
    moments: Moments,
}

impl Series {
    fn is_empty(&self) -> bool {
        self.value == 0.0 && self.order.is_none() && self.moments.count == 0
    }
}

/// The serialised state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    section: u64,
    time_ns: i64,
    cash: f64,
    market: f64,
    series: BTreeMap<Symbol, Series>,
}

/// A portfolio: cross-section in, a decision for each of its rows out.
///
/// ```
/// use heqis_portfolio::{Portfolio, PortfolioConfig, Row, Section};
/// use heqis_quant::bar::BarRef;
/// use heqis_quant::decision::TradingState;
/// use heqis_quant::{Date, MarketSnapshot, Prediction, Symbol};
///
/// let date = Date::parse("2024-01-02")?;
/// let row = |name: &str, score: f64| {
///     let bar = BarRef { symbol: Symbol::parse(name).unwrap(), date, time_ns: date.close_time_ns(), close: 7.0 };
///     let prediction = Prediction { predicted_return: score, probabilities: [0.3, 0.4, 0.3] };
///     Row { bar, snapshot: MarketSnapshot::of_close(date, 7.0), prediction, score }
/// };
/// let rows = vec![row("000001.SZ", 0.01), row("600000.SH", 0.03), row("600036.SH", 0.02)];
/// let section = Section { number: 1, time_ns: date.close_time_ns(), rows, missing: Vec::new(), is_late: false };
/// let mut portfolio = Portfolio::new(PortfolioConfig::of(1))?;
/// let decisions = portfolio.step(&section, TradingState::Active, None);
/// let reasons: Vec<&str> = decisions.iter().map(|one| one.reason.name()).collect();
/// assert_eq!(reasons, ["outranked", "top_ranked", "outranked"]);
/// let ranked = decisions[1].ranked.unwrap();
/// assert_eq!((ranked.rank, ranked.weight, ranked.value), (Some(1), 1.0, 0.0));
/// # Ok::<(), heqis_quant::QuantError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Portfolio {
    config: PortfolioConfig,
    sector_of: BTreeMap<Symbol, usize>,
    state: State,
}

/// One row of a cross-section while it is decided.
struct Seat {
    /// The order that waited before this bar, if the bar has not filled it.
    waiting: Option<PortfolioOrder>,
    /// Whether it has had all its bars.
    is_given_up: bool,
    reason: DecisionReason,
    order: Option<PortfolioOrder>,
}

impl Portfolio {
    /// Makes a portfolio that holds nothing.
    ///
    /// # Errors
    /// As [`PortfolioConfig::validate`].
    pub fn new(config: PortfolioConfig) -> Result<Self, QuantError> {
        config.validate()?;
        Ok(Self {
            sector_of: config.sector_of(),
            config,
            state: State {
                section: 0,
                time_ns: i64::MIN,
                cash: 1.0,
                market: 0.0,
                series: BTreeMap::new(),
            },
        })
    }

    /// Decides on a cross-section, at its close; one decision for each row, in their order.
    ///
    /// First the bars fill the orders that wait, or `actual` says what a broker did. Orders that have had all their bars are given
    /// up. Every `every`-th cross-section then chooses and weighs. Where the trading state is not active, orders to buy are given
    /// up and nothing is chosen; halted, orders to sell are too.
    ///
    /// The same cross-section again gives the same decisions: a journal can hold a part of them after a kill.
    pub fn step(
        &mut self,
        section: &Section,
        trading: TradingState,
        actual: Option<&Actual>,
    ) -> Vec<Decision> {
        if section.is_late {
            let seats = section.rows.iter().map(|row| {
                let series = self.state.series.entry(row.bar.symbol).or_default();
                series.section = section.number;
                Seat {
                    waiting: None,
                    is_given_up: false,
                    reason: DecisionReason::Late,
                    order: series.order,
                }
            });
            let seats: Vec<Seat> = seats.collect();
            return self.decisions(section, &vec![None; seats.len()], 0, &seats);
        }
        self.move_to(section);
        let mut seats = self.fill(section, actual);
        self.state.section = section.number;
        self.state.time_ns = section.time_ns;
        let candidates = self.candidates(section, &seats);
        let ranks = ranks(&candidates);
        let of = ranks.iter().flatten().count();
        let is_due = (section.number.max(1) - 1).is_multiple_of(u64::from(self.config.every));
        match trading {
            TradingState::Active if is_due => self.rebalance(section, &candidates, &mut seats),
            TradingState::Active => {}
            _ => refuse(&mut seats, trading),
        }
        for (row, seat) in section.rows.iter().zip(&seats) {
            let series = self.state.series.entry(row.bar.symbol).or_default();
            series.section = section.number;
            series.order = seat.order;
            series.unfilled = seat.waiting.filter(|order| seat.order != Some(*order));
        }
        let decisions = self.decisions(section, &ranks, of, &seats);
        self.state.series.retain(|_, series| !series.is_empty());
        decisions
    }

    /// Restores what a recorded decision implies. Records come in any order, the last one of each instrument.
    pub fn recover(&mut self, decision: &Decision) {
        let Some(ranked) = decision.ranked else {
            return;
        };
        let moments = ranked.moments.unwrap_or_default();
        if ranked.section >= self.state.section {
            self.state.section = ranked.section;
            self.state.cash = ranked.cash;
            self.state.market = moments.market;
            if decision.reason != DecisionReason::Late {
                self.state.time_ns = decision.time_ns;
            }
        }
        let series = Series {
            section: ranked.section,
            value: ranked.value,
            order: ranked.order,
            unfilled: ranked.unfilled,
            moments,
        };
        self.state.series.insert(decision.symbol, series);
    }

    /// Returns the state as bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        // Numbers and symbols always serialise.
        serde_json::to_vec(&self.state).unwrap_or_default()
    }

    /// Restores a state of [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// [`QuantError::Value`] when the bytes are no state.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), QuantError> {
        self.state = serde_json::from_slice(bytes)
            .map_err(|error| QuantError::value("portfolio", "state", error.to_string(), ""))?;
        Ok(())
    }

    /// Returns the value of what is held, by instrument, and the cash; an account without a broker begins with 1.
    #[must_use]
    pub fn account(&self) -> (BTreeMap<Symbol, f64>, f64) {
        let held = self.state.series.iter().filter(|(_, one)| one.value > 0.0);
        (
            held.map(|(symbol, one)| (*symbol, one.value)).collect(),
            self.state.cash,
        )
    }

    /// Updates the moments by the returns of a cross-section.
    fn move_to(&mut self, section: &Section) {
        if !self.config.needs_moments() {
            return;
        }
        let returns: Vec<Option<f64>> = section
            .rows
            .iter()
            .map(|row| return_of(&row.snapshot))
            .collect();
        let known: Vec<f64> = returns.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let memory = f64::from(self.config.memory);
        let again = self.is_again(section);
        if !again {
            let count = section.number.max(1) as f64;
            self.state.market += (mean * mean - self.state.market) / count.min(memory);
        }
        for (row, of_bar) in section.rows.iter().zip(returns) {
            let series = self.state.series.entry(row.bar.symbol).or_default();
            let moments = &mut series.moments;
            if again && series.section == section.number {
                continue;
            }
            if let Some(of_bar) = of_bar {
                moments.count = moments.count.saturating_add(1);
                let part = 1.0 / f64::from(moments.count).min(memory);
                moments.variance += (of_bar * of_bar - moments.variance) * part;
                moments.covariance += (of_bar * mean - moments.covariance) * part;
            }
        }
    }

    /// Whether a part of the decisions of this cross-section were recovered.
    fn is_again(&self, section: &Section) -> bool {
        section.number == self.state.section && section.time_ns == self.state.time_ns
    }

    /// Fills the orders that wait, and values what is held at the close.
    fn fill(&mut self, section: &Section, actual: Option<&Actual>) -> Vec<Seat> {
        let again = self.is_again(section);
        if let Some(actual) = actual {
            self.state.cash = actual.cash;
            for (symbol, series) in &mut self.state.series {
                series.value = actual.values.get(symbol).copied().unwrap_or(0.0);
            }
        }
        let mut seats = Vec::with_capacity(section.rows.len());
        for row in &section.rows {
            let symbol = row.bar.symbol;
            let series = self.state.series.entry(symbol).or_default();
            let is_known = again && series.section == section.number;
            let before = match is_known {
                // The decision replaced it, or it waits on.
                true => series
                    .unfilled
                    .or(series.order.filter(|order| order.since < section.number)),
                false => series.order,
            };
            let tries = before.map(|order| self.config.tries(&order));
            let bars = before.map_or(0, |order| section.number.saturating_sub(order.since));
            let is_in_time = tries.flatten().is_none_or(|tries| bars <= tries);
            let is_given_up = tries.flatten().is_some_and(|tries| bars >= tries);
            let mut waiting = before;
            if let Some(actual) = actual {
                series.value = actual.values.get(&symbol).copied().unwrap_or(0.0);
                waiting = before.filter(|_| actual.unfilled.contains(&symbol));
            } else if !is_known {
                let (open, close) = gains_of(&row.snapshot);
                let fills =
                    |order: &PortfolioOrder| is_in_time && !is_blocked(order, &row.snapshot);
                if let Some(order) = before.filter(fills) {
                    let (value, cash) = filled(&order, series.value, open, close);
                    series.value = value;
                    // A recovered record has the cash after all of them.
                    if !again {
                        self.state.cash += cash;
                    }
                    waiting = None;
                } else {
                    series.value *= close;
                }
            }
            let reason = match (waiting, is_given_up) {
                (None, _) if row.score.is_finite() => DecisionReason::NotRebalanced,
                (None, _) => DecisionReason::InvalidPrediction,
                (Some(_), true) => DecisionReason::GivenUp,
                (Some(_), false) => DecisionReason::Waiting,
            };
            seats.push(Seat {
                waiting,
                is_given_up: waiting.is_some() && is_given_up,
                reason,
                order: waiting.filter(|_| !is_given_up),
            });
        }
        seats
    }

    /// What was given up is not ordered again at once.
    fn candidates(&self, section: &Section, seats: &[Seat]) -> Vec<Candidate> {
        let of = |(row, seat): (&Row, &Seat)| {
            let symbol = row.bar.symbol;
            let series = self.state.series.get(&symbol).copied().unwrap_or_default();
            let moments = series.moments;
            let is_known = moments.count >= WARM_UP;
            let avoid = self.config.avoid_limits;
            Candidate {
                symbol,
                score: row.score.is_finite().then_some(row.score),
                can_buy: !(seat.is_given_up || avoid && row.snapshot.closed_at_upper_limit()),
                can_sell: !(seat.is_given_up || avoid && row.snapshot.closed_at_lower_limit()),
                sector: self.sector_of.get(&symbol).copied(),
                beta: (is_known && self.state.market > 0.0)
                    .then(|| moments.covariance / self.state.market),
                volatility: (is_known && moments.variance > 0.0).then(|| moments.variance.sqrt()),
            }
        };
        section.rows.iter().zip(seats).map(of).collect()
    }

    /// The value of the whole account.
    fn equity(&self) -> f64 {
        let values = self.state.series.values().map(|series| series.value);
        self.state.cash + values.sum::<f64>()
    }

    /// What is in the portfolio, by symbol. `seats` are those of the rows.
    fn portfolio(&self, section: &Section, seats: &[Seat]) -> Vec<Held> {
        let orders: BTreeMap<Symbol, Option<PortfolioOrder>> = section
            .rows
            .iter()
            .zip(seats)
            .map(|(row, seat)| (row.bar.symbol, seat.order))
            .collect();
        let equity = self.equity();
        let of = |(symbol, series): (&Symbol, &Series)| {
            let order = match orders.get(symbol) {
                Some(order) => *order,
                // It did not come: its order waits as long as a later bar may fill it.
                None => series.order.filter(|order| {
                    let bars = section.number.saturating_sub(order.since);
                    self.config.tries(order).is_none_or(|tries| bars < tries)
                }),
            };
            let weight = series.value / equity;
            let (holding, weight) = match order {
                Some(order) if order.weight == 0.0 => (Holding::Leaving, weight),
                Some(order) if series.value <= 0.0 => (Holding::Reserved, order.weight),
                _ if series.value > 0.0 => (Holding::Settled, weight),
                _ => return None,
            };
            Some(Held {
                symbol: *symbol,
                weight,
                holding,
            })
        };
        self.state.series.iter().filter_map(of).collect()
    }

    /// Chooses and weighs.
    fn rebalance(&self, section: &Section, candidates: &[Candidate], seats: &mut [Seat]) {
        let config = &self.config;
        let portfolio = self.portfolio(section, seats);
        let held: BTreeMap<Symbol, &Held> = portfolio.iter().map(|one| (one.symbol, one)).collect();
        let equity = self.equity();
        let since = section.number;
        let reasons = choose(config, candidates, &portfolio);
        let dropped: BTreeSet<Symbol> = candidates
            .iter()
            .zip(&reasons)
            .filter(|(_, reason)| **reason == DecisionReason::Dropped)
            .map(|(one, _)| one.symbol)
            .collect();
        // What stays: what did not come keeps its weight, everything else is weighed.
        let stays = |one: &&Held| one.holding != Holding::Leaving && !dropped.contains(&one.symbol);
        let row_of: BTreeMap<Symbol, usize> = candidates
            .iter()
            .enumerate()
            .map(|(at, one)| (one.symbol, at))
            .collect();
        let bought = |at: &usize| reasons[*at] == DecisionReason::TopRanked;
        let mut chosen: Vec<usize> = (0..candidates.len()).filter(bought).collect();
        let mut absent = 0.0;
        let mut count = chosen.len();
        for one in portfolio.iter().filter(stays) {
            count += 1;
            match row_of.get(&one.symbol) {
                Some(at) => chosen.push(*at),
                None => absent += one.weight,
            }
        }
        chosen.sort_unstable();
        let total = (count as f64 / f64::from(config.hold)).min(1.0) - absent;
        let weights = weigh(config, candidates, &chosen, total);
        let targets: BTreeMap<usize, f64> = chosen.iter().copied().zip(weights).collect();

        for (at, seat) in seats.iter_mut().enumerate() {
            let reason = reasons[at];
            let series = self.state.series.get(&candidates[at].symbol);
            let value = series.map_or(0.0, |series| series.value);
            match reason {
                DecisionReason::Dropped if value > 0.0 => {
                    seat.reason = reason;
                    seat.order = Some(PortfolioOrder {
                        since,
                        weight: 0.0,
                        amount: -value,
                    });
                }
                // The order to buy was not filled, so that there is nothing to sell.
                DecisionReason::Dropped => {
                    seat.reason = DecisionReason::Outranked;
                    seat.order = None;
                }
                DecisionReason::TopRanked => {}
                _ if seat.order.is_some() || seat.is_given_up => {}
                _ => seat.reason = reason,
            }
        }

        // Buys, the best first, as far as cash and turnover last; parts of what stays come after them.
        let leaving = |one: &&Held| one.holding == Holding::Leaving || stays(one);
        let taken: f64 = portfolio.iter().filter(leaving).map(|one| one.weight).sum();
        let mut cash = 1.0 - taken;
        let mut turnover = config.max_turnover.unwrap_or(f64::INFINITY);
        let ranks = ranks(candidates);
        let mut order: Vec<usize> = chosen;
        order.sort_by_key(|at| (!bought(at), ranks[*at].unwrap_or(u32::MAX)));
        let wanted: f64 = order
            .iter()
            .filter(|at| bought(at))
            .map(|at| targets[at])
            .sum();
        let part = if wanted > cash {
            (cash / wanted).max(0.0)
        } else {
            1.0
        };
        for at in order {
            let one = &candidates[at];
            let seat = &mut seats[at];
            if bought(&at) {
                let weight = (targets[&at] * part).min(turnover);
                if weight <= EPSILON {
                    seat.reason = match turnover <= EPSILON {
                        true => DecisionReason::TurnoverLimit,
                        false => DecisionReason::NoCash,
                    };
                    continue;
                }
                turnover -= weight;
                cash -= weight;
                seat.reason = DecisionReason::TopRanked;
                seat.order = Some(PortfolioOrder {
                    since,
                    weight,
                    amount: weight * equity,
                });
                continue;
            }
            let (Some(drift), Some(held)) = (config.drift, held.get(&one.symbol)) else {
                continue;
            };
            if held.holding != Holding::Settled || seat.order.is_some() || seat.is_given_up {
                continue;
            }
            let change = targets[&at] - held.weight;
            if change.abs() <= drift {
                continue;
            }
            let room = if change > 0.0 {
                cash.min(turnover).max(0.0)
            } else {
                f64::INFINITY
            };
            let change = change.min(room);
            let (reason, is_possible) = match change > 0.0 {
                true => (DecisionReason::Increased, one.can_buy),
                false => (DecisionReason::Reduced, one.can_sell),
            };
            if !is_possible || change.abs() <= EPSILON {
                continue;
            }
            if change > 0.0 {
                turnover -= change;
                cash -= change;
            }
            seat.reason = reason;
            seat.order = Some(PortfolioOrder {
                since,
                weight: held.weight + change,
                amount: change * equity,
            });
        }
    }

    fn decisions(
        &self,
        section: &Section,
        ranks: &[Option<u32>],
        of: usize,
        seats: &[Seat],
    ) -> Vec<Decision> {
        let equity = self.equity();
        let of_row = |((row, rank), seat): ((&Row, &Option<u32>), &Seat)| {
            let symbol = row.bar.symbol;
            let series = self.state.series.get(&symbol).copied().unwrap_or_default();
            let side = seat.reason.side();
            let weight = seat
                .order
                .map_or(series.value / equity, |order| order.weight);
            Decision {
                symbol,
                date: row.bar.date,
                time_ns: row.bar.time_ns,
                close: row.bar.close,
                side,
                confidence: row.prediction.confidence(side),
                reason: seat.reason,
                position: match weight > 0.0 {
                    true => Position::Long,
                    false => Position::Flat,
                },
                risk: RiskState::default(),
                predicted_return: row.prediction.predicted_return,
                probabilities: row.prediction.probabilities,
                ranked: Some(Ranked {
                    section: section.number,
                    rank: *rank,
                    of: u32::try_from(of).unwrap_or(u32::MAX),
                    missing: u32::try_from(section.missing.len()).unwrap_or(u32::MAX),
                    score: row.score,
                    weight,
                    value: series.value,
                    cash: self.state.cash,
                    order: seat.order,
                    unfilled: seat.waiting.filter(|order| seat.order != Some(*order)),
                    moments: self.config.needs_moments().then_some(Moments {
                        market: self.state.market,
                        ..series.moments
                    }),
                }),
            }
        };
        let rows = section.rows.iter().zip(ranks).zip(seats);
        rows.map(of_row).collect()
    }
}

impl PortfolioConfig {
    /// How many bars may fill an order; `None` without a limit.
    fn tries(&self, order: &PortfolioOrder) -> Option<u64> {
        match order.amount > 0.0 {
            true => Some(self.buy_tries.into()),
            false => self.sell_tries.map(u64::from),
        }
    }
}

/// Gives up what the trading state does not allow.
fn refuse(seats: &mut [Seat], trading: TradingState) {
    for seat in seats {
        let Some(order) = seat.order else { continue };
        let reason = match trading {
            TradingState::Halted => DecisionReason::Halted,
            _ if order.amount > 0.0 => DecisionReason::Reducing,
            _ => continue,
        };
        seat.reason = reason;
        seat.order = None;
    }
}
