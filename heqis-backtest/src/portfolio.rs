//! Ranks of a shared account: each cross-section of predictions → decisions of [`heqis_portfolio`] → orders, whose fills the next
//! decision knows.
//!
//! The decisions are those of the stages `rank` and `portfolio`, with one difference: a board assumes that the next bar fills an
//! order, and here the broker says what it did. So what was not filled is never held: it is tried again, or given up by rule.

use std::collections::{BTreeMap, BTreeSet};

use heqis_portfolio::section::SectionConfig;
use heqis_portfolio::{Actual, Portfolio, PortfolioConfig, Row, ScoreKind, SectionCollector};
use heqis_quant::decision::{DecisionReason, PortfolioOrder, Side, SignalMode, TradingState};
use heqis_quant::rules::Trade;
use heqis_quant::{BarRef, Decision, Markets, Symbol};

use crate::allocation::{Allocation, Weighting, average_volume, last_close};
use crate::backtest_input::{BacktestInput, BarIndex};
use crate::broker::{Broker, Ledger, OrderRequest, Reason, Size, Status};
use crate::error::BacktestError;
use crate::market::MarketHistory;
use crate::settings::{Settings, TradingStateChange};

/// The decision on one predicted bar. It is small, since a market of years has millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedBar {
    /// The bar.
    pub index: BarIndex,
    /// The rank, 1 is the best; 0 without a score.
    pub rank: u32,
    /// The weight that the portfolio wants.
    pub weight: f64,
    /// What is done.
    pub side: Side,
    /// Why.
    pub reason: DecisionReason,
}

/// Returns the score of a signal mode.
///
/// # Errors
/// [`BacktestError::Rule`] for both outputs, which are not one score.
pub fn score_of(mode: SignalMode) -> Result<ScoreKind, BacktestError> {
    match mode {
        SignalMode::Return => Ok(ScoreKind::Return),
        SignalMode::Class => Ok(ScoreKind::Class),
        other => {
            let rule = "must be return or class, which give a score";
            Err(BacktestError::rule_got(
                "mode of a portfolio",
                rule,
                other.name(),
            ))
        }
    }
}

/// Returns the rule of a portfolio: that of the settings, or the one that the former keys of `allocation` describe.
#[must_use]
pub fn rule_of(settings: &Settings) -> PortfolioConfig {
    if let Some(rule) = &settings.portfolio {
        return rule.clone();
    }
    let Allocation {
        max_positions,
        max_weight_e4,
        weighting,
        turnover_cap_e4,
        ..
    } = settings.allocation;
    let part = |e4: u32| f64::from(e4) / 10_000.0;
    // Fewer than one instrument a day cannot be bought.
    let least = 1.0 / f64::from(max_positions);
    PortfolioConfig {
        weights: match weighting {
            Weighting::Equal => heqis_portfolio::config::Weights::Equal,
            Weighting::Score => heqis_portfolio::config::Weights::Score,
        },
        max_weight: part(max_weight_e4),
        max_turnover: (turnover_cap_e4 < 10_000).then(|| part(turnover_cap_e4).max(least)),
        ..PortfolioConfig::of(max_positions)
    }
}

/// Runs an account through a whole history of cross-sections, and returns its ledger and the decision on each predicted bar, in
/// the order of the input.
///
/// # Errors
/// [`BacktestError::Quant`] when the rule is out of its range, and the errors of [`Broker`] and [`score_of`].
pub fn trade(
    input: &BacktestInput,
    markets: &Markets,
    settings: &Settings,
    mode: SignalMode,
) -> Result<(Ledger, Vec<RankedBar>), BacktestError> {
    let rule = rule_of(settings);
    let score = score_of(mode)?;
    let hold = rule.hold;
    let mut account = PortfolioAccount {
        input,
        markets,
        allocation: &settings.allocation,
        portfolio: Portfolio::new(rule)?,
        broker: Broker::new(&input.market, markets, settings.broker)?,
        orders: BTreeMap::new(),
    };
    account.broker.limit_positions(hold);
    let mut sections = SectionCollector::new(SectionConfig::default())?;
    let mut ranked = Vec::with_capacity(input.order.len());
    let mut left = &input.order[..];
    loop {
        let step = account.broker.next_step();
        if account.broker.advance()?.is_none() {
            return Ok((account.broker.finish(), ranked));
        }
        let of_step = |index: &&BarIndex| {
            let bar = input.bar(**index);
            input.market.step_at(bar.date, bar.time_ns) == Some(step)
        };
        let count = left.iter().take_while(of_step).count();
        let (today, later) = left.split_at(count);
        left = later;
        for index in today {
            let bar = input.bar(*index);
            let symbol = input.market.stocks()[index.stock as usize].symbol();
            let row = Row {
                bar: BarRef {
                    symbol,
                    date: bar.date,
                    time_ns: bar.time_ns,
                    close: bar.close,
                },
                snapshot: bar.snapshot(),
                prediction: bar.prediction,
                score: score_without(bar.has_probabilities, score, &bar.prediction),
            };
            // Daily bars of markets that close at different times share a day of the account.
            let time_ns = today
                .first()
                .map_or(bar.time_ns, |first| input.bar(*first).time_ns);
            sections.push(time_ns, symbol, (row, *index), 0);
        }
        let Some(section) = sections.close() else {
            continue;
        };
        let (rows, indices): (Vec<Row>, Vec<BarIndex>) = section.rows.into_iter().unzip();
        let section = heqis_portfolio::Section {
            number: section.number,
            time_ns: section.time_ns,
            rows,
            missing: section.missing,
            is_late: false,
        };
        let date = section.rows[0].bar.date;
        let trading = state_on(&settings.trading_states, date);
        let decisions = account.decide(&section, trading);
        account.place(step, &indices, &decisions)?;
        let first = ranked.len();
        ranked.extend(
            indices
                .iter()
                .zip(&decisions)
                .map(|(index, decision)| RankedBar {
                    index: *index,
                    rank: decision.ranked.and_then(|one| one.rank).unwrap_or(0),
                    weight: decision.ranked.map_or(0.0, |one| one.weight),
                    side: decision.side,
                    reason: decision.reason,
                }),
        );
        // By symbol so far; the input is by stock.
        ranked[first..].sort_by_key(|one| one.index.stock);
    }
}

/// A table without probabilities has valid predictions all the same.
fn score_without(
    has_probabilities: bool,
    score: ScoreKind,
    prediction: &heqis_quant::Prediction,
) -> f64 {
    match has_probabilities {
        true => score.of(prediction),
        false => prediction.predicted_return,
    }
}

/// The trading state of a day.
fn state_on(states: &[TradingStateChange], date: heqis_quant::Date) -> TradingState {
    let before = states.partition_point(|change| change.from <= date);
    let last = states[..before].last();
    last.map_or(TradingState::Active, |change| change.state)
}

/// The portfolio with its account.
struct PortfolioAccount<'a> {
    input: &'a BacktestInput,
    markets: &'a Markets,
    allocation: &'a Allocation,
    portfolio: Portfolio,
    broker: Broker<'a>,
    /// The last order of each stock that waits in the portfolio, by its index in the ledger.
    orders: BTreeMap<Symbol, usize>,
}

impl PortfolioAccount<'_> {
    /// Decides with what the broker did so far.
    fn decide(
        &mut self,
        section: &heqis_portfolio::Section,
        trading: TradingState,
    ) -> Vec<Decision> {
        let stocks = self.input.market.stocks();
        let broker = &self.broker;
        let value = |stock: &usize| {
            let position = broker.position(*stock);
            // Checked when the day was marked.
            let cents = stocks[*stock].amount_cents(position.mark(), position.shares());
            (stocks[*stock].symbol(), cents.unwrap_or_default() as f64)
        };
        let is_unfilled = |id: usize| {
            let order = &broker.ledger().orders[id];
            order.status == Status::Pending
                || order.filled_shares == 0
                || (order.request.size == Size::All
                    && broker.position(order.request.stock).shares() > 0)
        };
        let unfilled = self.orders.iter().filter(|(_, id)| is_unfilled(**id));
        let actual = Actual {
            cash: broker.cash_cents() as f64,
            values: broker.held().iter().map(value).collect(),
            unfilled: unfilled.map(|(symbol, _)| *symbol).collect(),
        };
        self.orders
            .retain(|symbol, _| actual.unfilled.contains(symbol));
        self.portfolio.step(section, trading, Some(&actual))
    }

    /// Turns decisions into orders for the next open.
    fn place(
        &mut self,
        step: u32,
        indices: &[BarIndex],
        decisions: &[Decision],
    ) -> Result<(), BacktestError> {
        let orders = || {
            let both = indices.iter().zip(decisions);
            both.map(|(index, one)| {
                let order = one.ranked.and_then(|ranked| ranked.order);
                (index.stock as usize, one.symbol, order)
            })
        };
        let waiting: BTreeSet<usize> = self.broker.pending().map(|one| one.request.stock).collect();
        for (stock, symbol, order) in orders() {
            let is_buy = order.map(|order| order.amount > 0.0);
            if waiting.contains(&stock) {
                for (trade, keeps) in [(Trade::Buy, Some(true)), (Trade::Sell, Some(false))] {
                    if is_buy != keeps {
                        self.broker.cancel(stock, trade, Reason::Superseded);
                    }
                }
            }
            if order.is_none() {
                self.orders.remove(&symbol);
            }
        }
        // Sales first, so that a ledger reads in the order of the fills.
        for is_sale in [true, false] {
            for (stock, symbol, order) in orders() {
                let Some(order) = order.filter(|order| (order.amount <= 0.0) == is_sale) else {
                    continue;
                };
                let is_pending =
                    |broker: &Broker<'_>| broker.pending().any(|one| one.request.stock == stock);
                if !is_pending(&self.broker)
                    && let Some(id) = self.submit(step, stock, &order)?
                {
                    self.orders.insert(symbol, id);
                }
            }
        }
        Ok(())
    }

    /// Submits an order, or records why it is too small; `None` where there is nothing to trade.
    fn submit(
        &mut self,
        step: u32,
        stock: usize,
        order: &PortfolioOrder,
    ) -> Result<Option<usize>, BacktestError> {
        let market: &MarketHistory = &self.input.market;
        let held = self.broker.position(stock).shares();
        let trade = match order.amount > 0.0 {
            true => Trade::Buy,
            false => Trade::Sell,
        };
        let size = match trade {
            Trade::Sell if order.weight == 0.0 => Size::All,
            _ => {
                let price = last_close(market, stock, step);
                let rules = market.rules(self.markets, stock, step)?;
                let wanted = market.stocks()[stock]
                    .market()
                    .quantity_for(order.amount.abs() as i64, price);
                Size::Shares(match trade {
                    Trade::Buy => {
                        let most = match self.allocation.volume_share_e4 {
                            0 => u64::MAX,
                            share => {
                                let bars = self.allocation.volume_bars;
                                let volume = average_volume(market, stock, step, bars);
                                // At most the volume, since the share is at most one.
                                (volume * u128::from(share) / 10_000) as u64
                            }
                        };
                        rules.order.buyable(wanted.min(most))
                    }
                    Trade::Sell => rules.order.sellable(wanted.min(held), held),
                })
            }
        };
        let request = OrderRequest { stock, trade, size };
        Ok(match (trade, size) {
            (Trade::Sell, _) if held == 0 => None,
            (_, Size::Shares(0)) => Some(self.broker.refuse(request, Reason::LotSize)),
            _ => Some(self.broker.submit(request)),
        })
    }
}
