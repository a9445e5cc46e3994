//! Ranks, and which instruments are bought and sold: top-N with dropout.
//!
//! The rule is that of Qlib's `TopkDropoutStrategy` (`method_buy = "top"`, `method_sell = "bottom"`): free places go to the best
//! that are not held; then up to `replace` times the worst held one is replaced by the best one that is not held, if that ranks
//! higher. Differences: equal scores are ordered by symbol; what cannot be traded takes no place, where Qlib spends it on an
//! order that fails; a held instrument without a score stays, where Qlib ranks it last; nothing is sold without a replacement,
//! unless more are held than `hold`, where Qlib sells when the cross-section has too few others.

use std::collections::BTreeMap;

use heqis_quant::Symbol;
use heqis_quant::decision::DecisionReason;

use crate::config::PortfolioConfig;

/// One instrument of a cross-section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The instrument.
    pub symbol: Symbol,
    /// The score, higher is better; `None` where it is not a number.
    pub score: Option<f64>,
    /// Whether an order to buy is expected to be filled.
    pub can_buy: bool,
    /// Whether an order to sell is expected to be filled.
    pub can_sell: bool,
    /// The index of the sector.
    pub sector: Option<usize>,
    /// The beta to the mean of the cross-section, where it is known.
    pub beta: Option<f64>,
    /// The standard deviation of returns, where it is known and positive.
    pub volatility: Option<f64>,
}

/// How an instrument is in the portfolio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It is held, without an order that waits.
    Settled,
    /// An order to buy waits: it takes a place, and is not held.
    Reserved,
    /// An order to sell everything waits: it takes no place, and its cash is not there yet.
    Leaving,
}

/// One instrument of the portfolio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// The instrument.
    pub symbol: Symbol,
    /// Its part of the account: of what is held, or of what the waiting order buys.
    pub weight: f64,
    /// How it is in the portfolio.
    pub holding: Holding,
}

/// The rank of each candidate, 1 is the best, in the order of the candidates; equal scores are ordered by symbol.
///
/// ```
/// use heqis_portfolio::choose::{Candidate, ranks};
/// use heqis_quant::Symbol;
///
/// let of = |symbol: &str, score| Candidate {
///     symbol: Symbol::parse(symbol).unwrap(),
///     score,
///     can_buy: true,
///     can_sell: true,
///     sector: None,
///     beta: None,
///     volatility: None,
/// };
/// let section = [of("B", Some(0.1)), of("A", Some(0.1)), of("C", None), of("D", Some(0.3))];
/// assert_eq!(ranks(&section), [Some(3), Some(2), None, Some(1)]);
/// ```
#[must_use]
pub fn ranks(candidates: &[Candidate]) -> Vec<Option<u32>> {
    let mut ranks = vec![None; candidates.len()];
    for (rank, at) in (1..).zip(order(candidates)) {
        ranks[at] = Some(rank);
    }
    ranks
}

/// The candidates with a score, the best first.
fn order(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = candidates
        .iter()
        .enumerate()
        .filter_map(|(at, candidate)| Some((at, candidate.score?)))
        .collect();
    order.sort_by(|(a, left), (b, right)| {
        let by_symbol = || candidates[*a].symbol.cmp(&candidates[*b].symbol);
        // Both zeros are equal.
        right
            .partial_cmp(left)
            .filter(|order| order.is_ne())
            .unwrap_or_else(by_symbol)
    });
    order.into_iter().map(|(at, _)| at).collect()
}

/// Returns the reason of each candidate's decision, in their order: [`DecisionReason::TopRanked`] is bought,
/// [`DecisionReason::Dropped`] sold, all others are left as they are.
#[must_use]
pub fn choose(
    config: &PortfolioConfig,
    candidates: &[Candidate],
    portfolio: &[Held],
) -> Vec<DecisionReason> {
    use DecisionReason as Why;
    let held: BTreeMap<Symbol, Holding> = portfolio
        .iter()
        .map(|one| (one.symbol, one.holding))
        .collect();
    let order = order(candidates);
    let mut places = vec![0; candidates.len()];
    for (place, at) in order.iter().enumerate() {
        places[*at] = place;
    }
    let mut reasons: Vec<Why> = candidates
        .iter()
        .map(|one| match (one.score, held.get(&one.symbol)) {
            (None, _) => Why::InvalidPrediction,
            (_, Some(Holding::Settled)) => Why::Kept,
            (_, Some(Holding::Reserved | Holding::Leaving)) => Why::Waiting,
            (_, None) => Why::Outranked,
        })
        .collect();
    let mut rooms = Rooms::of(config, candidates, portfolio);
    // Limits as numbers of instruments; the range of the limit keeps it above 0.
    let most = config.max_turnover.map_or(u32::MAX, |limit| {
        (limit * f64::from(config.hold) + 1e-9) as u32
    });
    let mut bought = 0;
    let taken = portfolio
        .iter()
        .filter(|one| one.holding != Holding::Leaving);
    let free = i64::from(config.hold) - taken.count() as i64;
    // The best that is not held and may be bought.
    let best = |reasons: &mut [Why], rooms: &Rooms, leaving: Option<usize>| {
        order.iter().copied().find(|at| {
            let one = &candidates[*at];
            let refused = match reasons[*at] {
                Why::Outranked | Why::AtLimit | Why::SectorCap if !one.can_buy => Why::AtLimit,
                Why::Outranked | Why::AtLimit | Why::SectorCap => {
                    if rooms.has(one.sector, leaving) {
                        return true;
                    }
                    Why::SectorCap
                }
                _ => return false,
            };
            reasons[*at] = refused;
            false
        })
    };
    for _ in 0..free {
        let Some(at) = best(&mut reasons, &rooms, None) else {
            break;
        };
        if bought == most {
            reasons[at] = Why::TurnoverLimit;
            break;
        }
        bought += 1;
        rooms.add(candidates[at].sector);
        reasons[at] = Why::TopRanked;
    }
    let worst = order.iter().rev().copied().filter(|at| {
        let holding = held.get(&candidates[*at].symbol);
        matches!(holding, Some(Holding::Settled | Holding::Reserved))
    });
    let mut replaced = 0;
    let mut excess = -free;
    for at in worst {
        if replaced == config.replace {
            break;
        }
        let one = &candidates[at];
        if !one.can_sell && held.get(&one.symbol) == Some(&Holding::Settled) {
            reasons[at] = Why::AtLimit;
            continue;
        }
        if excess > 0 {
            excess -= 1;
        } else {
            let Some(better) = best(&mut reasons, &rooms, one.sector) else {
                break;
            };
            if places[better] > places[at] {
                break;
            }
            if !pays(
                config,
                candidates,
                (places[better], better),
                (places[at], at),
                order.len(),
            ) {
                reasons[at] = Why::BelowCost;
                break;
            }
            if bought == most {
                reasons[at] = Why::TurnoverLimit;
                break;
            }
            bought += 1;
            rooms.add(candidates[better].sector);
            reasons[better] = Why::TopRanked;
        }
        replaced += 1;
        rooms.remove(one.sector);
        reasons[at] = Why::Dropped;
    }
    reasons
}

/// Whether what the better of two is expected to gain covers the cost.
fn pays(
    config: &PortfolioConfig,
    candidates: &[Candidate],
    (better_place, better): (usize, usize),
    (worse_place, worse): (usize, usize),
    count: usize,
) -> bool {
    let Some(cost) = config.cost else { return true };
    let gain = match cost.per_rank {
        // Two candidates have a rank at least.
        Some(per_rank) => per_rank * (worse_place - better_place) as f64 / (count - 1) as f64,
        None => {
            let score = |at: usize| candidates[at].score.unwrap_or(0.0);
            score(better) - score(worse)
        }
    };
    gain > cost.rate
}

/// How many more instruments each sector may have.
struct Rooms(Vec<i64>);

impl Rooms {
    fn of(config: &PortfolioConfig, candidates: &[Candidate], portfolio: &[Held]) -> Self {
        let Some(sectors) = &config.sectors else {
            return Self(Vec::new());
        };
        let count = sectors.members.len();
        let hold = f64::from(config.hold);
        let by_share = sectors
            .max_share
            .map_or(i64::MAX, |share| ((share * hold + 1e-9) as i64).max(1));
        let mut rooms = vec![by_share; count];
        if sectors.neutral {
            let mut sizes = vec![0u32; count];
            for sector in candidates.iter().filter_map(|one| one.sector) {
                sizes[sector] += 1;
            }
            let all: u32 = sizes.iter().sum();
            for (room, size) in rooms.iter_mut().zip(sizes) {
                let exact = hold * f64::from(size) / f64::from(all.max(1));
                *room = (*room).min((exact - 1e-9).ceil().max(0.0) as i64);
            }
        }
        let sector_of = config.sector_of();
        for one in portfolio
            .iter()
            .filter(|one| one.holding != Holding::Leaving)
        {
            if let Some(sector) = sector_of.get(&one.symbol) {
                rooms[*sector] -= 1;
            }
        }
        Self(rooms)
    }

    /// Whether a sector has room, if an instrument of sector `leaving` makes its place free.
    fn has(&self, sector: Option<usize>, leaving: Option<usize>) -> bool {
        let Some(room) = sector.and_then(|sector| self.0.get(sector)) else {
            return true;
        };
        room + i64::from(leaving == sector) > 0
    }

    fn add(&mut self, sector: Option<usize>) {
        if let Some(room) = sector.and_then(|sector| self.0.get_mut(sector)) {
            *room -= 1;
        }
    }

    fn remove(&mut self, sector: Option<usize>) {
        if let Some(room) = sector.and_then(|sector| self.0.get_mut(sector)) {
            *room += 1;
        }
    }
}
