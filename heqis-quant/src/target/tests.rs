#![allow(clippy::unwrap_used)]
use super::*;
use crate::label::next_bar_labels;
use crate::{Date, Marks};
use proptest::prelude::*;

fn symbol(number: usize) -> Symbol {
    Symbol::parse(&format!("6000{number:02}.SH")).unwrap()
}

fn bar(day: i32, open: f64, close: f64) -> Bar {
    let date = Date::from_days(19_000 + day).unwrap();
    Bar {
        symbol: symbol(0),
        time_ns: date.close_time_ns(),
        date,
        open,
        high: open.max(close),
        low: open.min(close),
        close,
        pre_close: None,
        volume_shares: 1.0,
        amount_cny: None,
        marks: Marks::NONE,
    }
}

fn target(price: TargetPrice, horizon_days: u32, kind: TargetKind) -> Target {
    Target {
        price,
        horizon_days,
        kind,
        benchmark: None,
    }
}

fn values(bars: &[Bar], price: TargetPrice, days: u32) -> Vec<Option<f64>> {
    let returns = forward_returns(bars, &target(price, days, TargetKind::Return)).unwrap();
    returns.into_iter().map(|r| r.map(|r| r.value)).collect()
}

#[test]
fn returns_match_cases_computed_by_hand() {
    let bars = [
        bar(0, 10.0, 10.0),
        bar(1, 8.0, 10.0),
        bar(2, 16.0, 20.0),
        bar(3, 10.0, 5.0),
    ];
    // Powers of two and tens give exact quotients here: 8 → 16, 16 → 10.
    let found = values(&bars, TargetPrice::Open, 1);
    assert!((found[0].unwrap() - 1.0).abs() < 1e-12, "{found:?}");
    assert!((found[1].unwrap() + 0.375).abs() < 1e-12, "{found:?}");
    assert_eq!(found[2..], [None, None]);
    assert_eq!(
        values(&bars, TargetPrice::Close, 2),
        [Some(1.0), Some(-0.5), None, None]
    );
    let returns = forward_returns(&bars, &target(TargetPrice::Open, 2, TargetKind::Rank)).unwrap();
    assert_eq!(returns[0].unwrap().known, bars[3].date);
    assert!((returns[0].unwrap().value - 0.25).abs() < 1e-12);
}

#[test]
fn an_ex_right_between_the_prices_is_removed() {
    // Two shares for one on day 2: the holder of one share at 8 has two at 8.
    let mut bars = [
        bar(0, 10.0, 10.0),
        bar(1, 8.0, 16.0),
        bar(2, 8.0, 8.0),
        bar(3, 10.0, 10.0),
    ];
    bars[2].pre_close = Some(8.0);
    let open = values(&bars, TargetPrice::Open, 1);
    assert!((open[0].unwrap() - 1.0).abs() < 1e-12, "{open:?}");
    let close = values(&bars, TargetPrice::Close, 3);
    assert!((close[0].unwrap() - 1.0).abs() < 1e-12, "{close:?}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |target: Target| target.check().unwrap_err().to_string();
    let of = |days| target(TargetPrice::Open, days, TargetKind::Rank);
    assert!(refused(of(0)).contains("horizon_days"));
    assert!(refused(of(251)).contains("from 1 to 250"));
    let with = Target {
        benchmark: Some(symbol(1)),
        ..of(1)
    };
    assert!(refused(with).contains("needs the kind excess"));
    let back = [bar(1, 1.0, 1.0), bar(0, 1.0, 1.0)];
    assert!(forward_returns(&back, &of(1)).is_err());
    let free = [bar(0, 1.0, 1.0), bar(1, 0.0, 1.0), bar(2, 1.0, 1.0)];
    assert!(forward_returns(&free, &of(1)).is_err());
}

fn members(returns: &[f64]) -> Vec<Member> {
    let known = Date::from_days(19_001).unwrap();
    let forward = |value| ForwardReturn { known, value };
    let members = returns.iter().enumerate();
    members
        .map(|(number, value)| Member {
            symbol: symbol(number),
            forward: forward(*value),
        })
        .collect()
}

fn labels(kind: TargetKind, members: &[Member]) -> Vec<Result<f64, Unlabelled>> {
    let target = target(TargetPrice::Open, 1, kind);
    let labels = cross_section(&target, 0.005, members).into_iter();
    labels
        .map(|label| label.map(|label| label.next_return))
        .collect()
}

#[test]
fn a_cross_section_matches_the_one_computed_by_hand() {
    let day = members(&[0.04, -0.02, 0.0, 0.0, 0.08]);
    assert_eq!(
        labels(TargetKind::Rank, &day),
        [Ok(0.25), Ok(-0.5), Ok(-0.125), Ok(-0.125), Ok(0.5)]
    );
    let excess = labels(TargetKind::Excess, &day);
    assert_eq!(excess[1], Ok(-0.02 - 0.02));
    let z: Vec<f64> = labels(TargetKind::Z, &day)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(z.iter().sum::<f64>().abs() < 1e-12);
    assert!((z.iter().map(|z| z * z).sum::<f64>() - 5.0).abs() < 1e-12);
    let rank = target(TargetPrice::Open, 1, TargetKind::Rank);
    let classes: Vec<Direction> = cross_section(&rank, 0.005, &day)
        .into_iter()
        .map(|label| label.unwrap().direction)
        .collect();
    let (up, flat, down) = (Direction::Up, Direction::Flat, Direction::Down);
    assert_eq!(classes, [up, down, flat, flat, up]);
}

#[test]
fn days_without_a_comparison_have_no_label_and_say_why() {
    assert_eq!(
        labels(TargetKind::Rank, &members(&[0.1, 0.2, 0.3, 0.4])),
        [Err(Unlabelled::FewStocks); 4]
    );
    assert_eq!(
        labels(TargetKind::Z, &members(&[0.1; 5])),
        [Err(Unlabelled::Constant); 5]
    );
    // One stock was suspended: its return ends on a later day.
    let mut day = members(&[0.1, 0.2, 0.3, 0.4, 0.5, 9.0]);
    day[5].forward.known = Date::from_days(19_009).unwrap();
    let found = labels(TargetKind::Rank, &day);
    assert_eq!(found[4], Ok(0.5));
    assert_eq!(found[5], Err(Unlabelled::Suspended));
}

#[test]
fn a_benchmark_replaces_the_mean_and_has_no_label_itself() {
    let day = members(&[0.04, 0.01]);
    let target = Target {
        benchmark: Some(symbol(1)),
        ..target(TargetPrice::Open, 1, TargetKind::Excess)
    };
    let found = cross_section(&target, 0.005, &day);
    assert_eq!(found[0].unwrap().next_return, 0.04 - 0.01);
    assert_eq!(found[1], Err(Unlabelled::NoBenchmark));
    let other = Target {
        benchmark: Some(symbol(7)),
        ..target
    };
    assert_eq!(
        cross_section(&other, 0.005, &day),
        [Err(Unlabelled::NoBenchmark); 2]
    );
}

proptest! {
    #[test]
    fn the_default_target_gives_the_labels_of_the_next_bar_to_the_bit(
        prices in proptest::collection::vec(1.0f64..100.0, 2..40),
        gaps in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut bars: Vec<Bar> = prices.iter().enumerate().map(|(i, p)| bar(i as i32, *p, *p)).collect();
        for (bar, gap) in bars.iter_mut().zip(gaps) {
            bar.pre_close = gap.then_some(bar.open / 3.0);
        }
        let labels = next_bar_labels(&bars, 0.0).unwrap();
        let returns = forward_returns(&bars, &Target::default()).unwrap();
        for (at, (label, found)) in labels.iter().zip(&returns).enumerate() {
            let bits = |x: f64| x.to_bits();
            prop_assert_eq!(label.map(|l| bits(l.next_return)), found.map(|r| bits(r.value)));
            prop_assert_eq!(found.map(|r| r.known), found.map(|_| bars[at + 1].date));
        }
    }

    #[test]
    fn ranks_and_scores_are_centred_and_follow_any_order_of_the_members(
        values in proptest::collection::vec(-0.1f64..0.1, 5..30),
    ) {
        let ranks = centred_ranks(&values);
        prop_assert!(ranks.iter().all(|rank| (-0.5..=0.5).contains(rank)));
        prop_assert!(ranks.iter().sum::<f64>().abs() < 1e-9);
        let back: Vec<f64> = values.iter().rev().copied().collect();
        let mut other = centred_ranks(&back);
        other.reverse();
        prop_assert_eq!(ranks, other);
    }
}
