//! Top-N with dropout against Qlib's rule, and what limits it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use heqis_portfolio::PortfolioConfig;
use heqis_portfolio::choose::{Candidate, Held, Holding, choose, ranks};
use heqis_portfolio::config::{Cost, Sectors};
use heqis_quant::Symbol;
use heqis_quant::decision::DecisionReason as Why;
use proptest::prelude::*;

fn symbol(at: usize) -> Symbol {
    Symbol::parse(&format!("S{at:03}")).unwrap()
}

fn candidate(at: usize, score: f64) -> Candidate {
    Candidate {
        symbol: symbol(at),
        score: Some(score),
        can_buy: true,
        can_sell: true,
        sector: None,
        beta: None,
        volatility: None,
    }
}

fn held(at: usize) -> Held {
    Held {
        symbol: symbol(at),
        weight: 0.1,
        holding: Holding::Settled,
    }
}

/// `TopkDropoutStrategy.generate_trade_decision` of Qlib 0.9.7, by its own set operations.
fn qlib(
    scores: &BTreeMap<Symbol, f64>,
    held: &BTreeSet<Symbol>,
    topk: usize,
    n_drop: usize,
) -> (BTreeSet<Symbol>, BTreeSet<Symbol>) {
    let sorted = |symbols: &BTreeSet<Symbol>| {
        let mut sorted: Vec<Symbol> = symbols.iter().copied().collect();
        sorted.sort_by(|a, b| scores[b].total_cmp(&scores[a]).then(a.cmp(b)));
        sorted
    };
    let last = sorted(held);
    let others: BTreeSet<Symbol> = scores
        .keys()
        .filter(|one| !held.contains(one))
        .copied()
        .collect();
    let room = (n_drop + topk).saturating_sub(last.len());
    let today: Vec<Symbol> = sorted(&others).into_iter().take(room).collect();
    let comb = sorted(&held.iter().chain(&today).copied().collect());
    let bottom: BTreeSet<Symbol> = comb.iter().rev().take(n_drop).copied().collect();
    let sell: BTreeSet<Symbol> = last
        .iter()
        .filter(|one| bottom.contains(one))
        .copied()
        .collect();
    let buys = (sell.len() + topk).saturating_sub(last.len());
    (today.into_iter().take(buys).collect(), sell)
}

proptest! {
    #[test]
    fn buys_and_sells_are_those_of_qlib(
        scores in prop::collection::vec(0i32..12, 12..40),
        is_held in prop::collection::vec(any::<bool>(), 40),
        hold in 1u32..8,
        replace in 1u32..5,
    ) {
        let replace = replace.min(hold);
        let candidates: Vec<Candidate> = scores
            .iter()
            .enumerate()
            .map(|(at, score)| candidate(at, f64::from(*score)))
            .collect();
        // Qlib never holds more than it may.
        let portfolio: Vec<Held> = (0..scores.len())
            .filter(|at| is_held[*at])
            .take(hold as usize)
            .map(held)
            .collect();
        // With fewer others than places Qlib sells without a replacement, and buys the same back the day after.
        prop_assume!(scores.len() >= (hold + replace) as usize);
        let config = PortfolioConfig { replace, ..PortfolioConfig::of(hold) };
        let reasons = choose(&config, &candidates, &portfolio);
        let with = |why: Why| -> BTreeSet<Symbol> {
            let both = candidates.iter().zip(&reasons);
            both.filter(|(_, reason)| **reason == why).map(|(one, _)| one.symbol).collect()
        };
        let by_symbol = candidates.iter().map(|one| (one.symbol, one.score.unwrap())).collect();
        let in_portfolio = portfolio.iter().map(|one| one.symbol).collect();
        let expected = qlib(&by_symbol, &in_portfolio, hold as usize, replace as usize);
        prop_assert_eq!((with(Why::TopRanked), with(Why::Dropped)), expected);
    }

    #[test]
    fn the_order_of_candidates_changes_nothing(
        scores in prop::collection::vec(0i32..6, 2..20),
        turn in 0usize..20,
        hold in 1u32..6,
    ) {
        let candidates: Vec<Candidate> = scores
            .iter()
            .enumerate()
            .map(|(at, score)| candidate(at, f64::from(*score)))
            .collect();
        let mut turned = candidates.clone();
        turned.rotate_left(turn % scores.len());
        let config = PortfolioConfig::of(hold);
        let by_symbol = |candidates: &[Candidate]| -> BTreeMap<Symbol, (Option<u32>, Why)> {
            let reasons = choose(&config, candidates, &[held(0)]);
            let both = ranks(candidates).into_iter().zip(reasons);
            candidates.iter().map(|one| one.symbol).zip(both).collect()
        };
        prop_assert_eq!(by_symbol(&candidates), by_symbol(&turned));
    }
}

fn reasons(config: &PortfolioConfig, candidates: &[Candidate], held_at: &[usize]) -> Vec<Why> {
    let portfolio: Vec<Held> = held_at.iter().map(|at| held(*at)).collect();
    choose(config, candidates, &portfolio)
}

#[test]
fn a_replacement_has_to_pay_for_itself() {
    let candidates = [
        candidate(0, 0.010),
        candidate(1, 0.012),
        candidate(2, 0.001),
    ];
    let by_score = |rate| PortfolioConfig {
        cost: Some(Cost {
            rate,
            per_rank: None,
        }),
        ..PortfolioConfig::of(1)
    };
    // The gain is 0.2 %.
    assert_eq!(
        reasons(&by_score(0.003), &candidates, &[0]),
        [Why::BelowCost, Why::Outranked, Why::Outranked]
    );
    assert_eq!(
        reasons(&by_score(0.001), &candidates, &[0]),
        [Why::Dropped, Why::TopRanked, Why::Outranked]
    );
    // From rank 2 to rank 1 of 3 is half of the way: 0.2 % of 0.4 %.
    let by_rank = |rate| PortfolioConfig {
        cost: Some(Cost {
            rate,
            per_rank: Some(0.004),
        }),
        ..PortfolioConfig::of(1)
    };
    assert_eq!(
        reasons(&by_rank(0.0021), &candidates, &[0])[0],
        Why::BelowCost
    );
    assert_eq!(
        reasons(&by_rank(0.0019), &candidates, &[0])[0],
        Why::Dropped
    );
}

#[test]
fn what_is_at_its_limit_takes_no_place() {
    let mut candidates: Vec<Candidate> = (0..4).map(|at| candidate(at, at as f64)).collect();
    candidates[3].can_buy = false;
    assert_eq!(
        reasons(&PortfolioConfig::of(1), &candidates, &[]),
        [Why::Outranked, Why::Outranked, Why::TopRanked, Why::AtLimit]
    );
    // The worst held one cannot be sold: the next one is.
    candidates[3].can_buy = true;
    candidates[0].can_sell = false;
    assert_eq!(
        reasons(&PortfolioConfig::of(2), &candidates, &[0, 1]),
        [Why::AtLimit, Why::Dropped, Why::Outranked, Why::TopRanked]
    );
}

#[test]
fn a_place_that_an_order_waits_for_is_taken_and_one_that_is_left_is_free() {
    let candidates: Vec<Candidate> = (0..4).map(|at| candidate(at, at as f64)).collect();
    let with = |at, holding| Held {
        holding,
        ..held(at)
    };
    let config = PortfolioConfig::of(2);
    let portfolio = [with(3, Holding::Reserved), with(0, Holding::Leaving)];
    assert_eq!(
        choose(&config, &candidates, &portfolio),
        [Why::Waiting, Why::Outranked, Why::TopRanked, Why::Waiting]
    );
}

#[test]
fn sectors_have_their_share_at_most() {
    let mut candidates: Vec<Candidate> = (0..6).map(|at| candidate(at, at as f64)).collect();
    for (at, one) in candidates.iter_mut().enumerate() {
        one.sector = Some(usize::from(at >= 3));
    }
    let members = |range: std::ops::Range<usize>| range.map(symbol).collect();
    let sectors = Sectors {
        members: [("a".into(), members(0..3)), ("b".into(), members(3..6))].into(),
        max_share: Some(0.5),
        neutral: false,
    };
    let config = PortfolioConfig {
        sectors: Some(sectors.clone()),
        ..PortfolioConfig::of(4)
    };
    let expected = [
        Why::Outranked,
        Why::TopRanked,
        Why::TopRanked,
        Why::SectorCap,
        Why::TopRanked,
        Why::TopRanked,
    ];
    assert_eq!(reasons(&config, &candidates, &[]), expected);
    // Neutral: each sector is half of the cross-section.
    let config = PortfolioConfig {
        sectors: Some(Sectors {
            max_share: None,
            neutral: true,
            ..sectors
        }),
        ..PortfolioConfig::of(4)
    };
    assert_eq!(reasons(&config, &candidates, &[]), expected);
    // A full sector may replace its own.
    assert_eq!(
        reasons(&config, &candidates, &[0, 1, 3, 4]),
        [
            Why::Dropped,
            Why::Kept,
            Why::TopRanked,
            Why::Kept,
            Why::Kept,
            Why::SectorCap
        ]
    );
}

#[test]
fn turnover_stops_the_replacements() {
    let candidates: Vec<Candidate> = (0..8).map(|at| candidate(at, at as f64)).collect();
    let config = PortfolioConfig {
        replace: 4,
        max_turnover: Some(0.5),
        ..PortfolioConfig::of(4)
    };
    assert_eq!(
        reasons(&config, &candidates, &[0, 1, 2, 3]),
        [
            Why::Dropped,
            Why::Dropped,
            Why::TurnoverLimit,
            Why::Kept,
            Why::Outranked,
            Why::Outranked,
            Why::TopRanked,
            Why::TopRanked
        ]
    );
}
