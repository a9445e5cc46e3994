#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn near(a: Option<f64>, b: f64) {
    assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} and {b}");
}

#[test]
fn moments_are_those_worked_out_by_hand() {
    assert_eq!(mean([]), None);
    assert_eq!(mean([1.0, 2.0, 6.0]), Some(3.0));
    // Deviations −2, −1, 3.
    assert_eq!(variance(&[1.0, 2.0, 6.0], 1), Some(7.0));
    assert_eq!(deviation(&[1.0, 3.0], 0), Some(1.0));
    assert_eq!(variance(&[1.0], 1), None);
}

#[test]
fn correlations_are_those_of_another_program() {
    // Computed with Python's statistics.correlation, by both of its methods.
    let (a, b) = (
        [0.010, -0.004, 0.003, 0.010, -0.008],
        [0.020, -0.010, -0.001, 0.0, 0.015],
    );
    near(pearson(&a, &b), 0.159_634_414_420_848_9);
    near(spearman(&a, &b), 0.307_793_505_625_546_25);
}

#[test]
fn equal_values_share_the_mean_of_their_ranks() {
    assert_eq!(
        ranks(&[3.0, -0.0, 3.0, 0.0, 9.0]),
        [3.5, 1.5, 3.5, 1.5, 5.0]
    );
}

/// Ten times 0.1 differ from their own computed mean, so that naive sums answer 1.0 or NaN.
#[test]
fn constant_series_of_a_tenth_have_no_correlation() {
    for count in 1..=100 {
        let tenths = vec![0.1; count];
        let rising: Vec<f64> = (0..count).map(|at| at as f64).collect();
        assert_eq!(pearson(&tenths, &tenths), None, "{count}");
        assert_eq!(pearson(&tenths, &rising), None, "{count}");
        assert_eq!(spearman(&rising, &tenths), None, "{count}");
    }
    assert_eq!(spearman(&[1.0, 2.0], &[0.0, -0.0]), None);
    assert_eq!(pearson(&[], &[]), None);
    assert_eq!(pearson(&[1.0, 2.0], &[1.0]), None);
}

#[test]
fn a_correlation_keeps_its_digits_at_every_level_and_unit() {
    let steps = [0.0, 1.0, 2.0, 4.0];
    for (level, unit) in [(1e15, 1.0), (0.0, 1e-300), (0.0, 1e300), (-5.0, 1e-9)] {
        let moved = steps.map(|step| level + unit * step);
        let found = pearson(&moved, &steps).unwrap();
        assert!(found > 0.999_999, "{level} {unit}: {found}");
    }
    for broken in [f64::NAN, f64::INFINITY] {
        assert_eq!(pearson(&[0.0, broken, 1.0], &[0.0, 1.0, 2.0]), None);
        assert_eq!(pearson(&[broken, 0.0, 1.0], &[0.0, 1.0, 2.0]), None);
    }
}

#[test]
fn wilson_interval_agrees_with_published_values() {
    // Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for (hits, of, low, high) in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ] {
        let share = Proportion::new(hits, of);
        assert!((share.wilson_low - low).abs() < 5e-5, "{share:?}");
        assert!((share.wilson_high - high).abs() < 5e-5, "{share:?}");
    }
}

#[test]
fn students_quantile_agrees_with_published_values() {
    for (freedom, quantile) in [
        (1, 12.706_2),
        (2, 4.302_7),
        (3, 3.182_4),
        (4, 2.776_4),
        (10, 2.228_1),
        (29, 2.045_2),
        (120, 1.979_9),
        (1_000, 1.962_3),
    ] {
        let found = student95(freedom);
        assert!((found - quantile).abs() < 6e-5, "{freedom}: {found}");
    }
}

#[test]
fn a_clustered_mean_is_that_of_a_hand_worked_case() {
    // Days of (1, 3), (−1, 1) and (2, 0): mean 1, sums of deviations 2, −2, 0, error √(3/2 · 8) / 6.
    let days = [(1, 1.0), (1, 3.0), (2, -1.0), (2, 1.0), (3, 2.0), (3, 0.0)];
    let found = MeanInterval::clustered(days);
    assert_eq!(found.mean, 1.0);
    let half = student95(2) * 12.0_f64.sqrt() / 6.0;
    assert!((found.high - 1.0 - half).abs() < 1e-12, "{found:?}");
    assert!((found.low + found.high - 2.0).abs() < 1e-12);
}

#[test]
fn one_day_has_no_estimate_of_its_spread() {
    let one = MeanInterval::clustered([(1, 0.5), (1, 0.25)]);
    assert_eq!((one.low, one.high), (f64::NEG_INFINITY, f64::INFINITY));
    let minutes = Proportion::clustered((0..239).map(|minute| (1, minute < 150)));
    let tries = Proportion::new(1, 1);
    assert!(
        minutes.wilson_high - minutes.wilson_low > 0.8,
        "{minutes:?} {tries:?}"
    );
}

/// Identical hits of all stocks of a day count as one hit.
#[test]
fn copies_of_a_stock_do_not_narrow_the_interval() {
    let hits = |day: u32| day.is_multiple_of(3);
    let single = Proportion::clustered((0..2_000).map(|day| (day, hits(day))));
    let copies = (0..2_000).flat_map(|day| (0..10).map(move |_| (day, hits(day))));
    let copies = Proportion::clustered(copies);
    assert_eq!(copies.of, 20_000);
    assert!(
        (single.wilson_low - copies.wilson_low).abs() < 1e-5,
        "{single:?} {copies:?}"
    );
    assert!((single.wilson_high - copies.wilson_high).abs() < 1e-5);
}

/// Uniform numbers in 0..1 and standard normal ones, the same in every run (SplitMix64, Box and Muller).
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// Ten stocks with half of each day's move from the market: on 250 days the interval by days contains the true mean in about
/// 95 of 100 histories, and the one that treats all 2,500 items as independent in far fewer.
#[test]
fn intervals_by_day_cover_the_truth_for_ten_correlated_stocks() {
    const HISTORIES: usize = 1_000;
    let mut numbers = Numbers(1);
    let mut covered = [0; 4];
    for _ in 0..HISTORIES {
        let mut moves = Vec::new();
        for day in 0..250 {
            let market = numbers.normal();
            for _ in 0..10 {
                moves.push((day, 0.01 * (market + numbers.normal())));
            }
        }
        let rises = moves.iter().map(|(day, step)| (*day, *step > 0.0));
        let alone = moves.iter().enumerate().map(|(at, (_, step))| (at, *step));
        let mean = |interval: MeanInterval| interval.low <= 0.0 && 0.0 <= interval.high;
        let share = |share: Proportion| share.wilson_low <= 0.5 && 0.5 <= share.wilson_high;
        let independent = Proportion::new(rises.clone().filter(|(_, rise)| *rise).count(), 2_500);
        for (count, holds) in covered.iter_mut().zip([
            mean(MeanInterval::clustered(moves.iter().copied())),
            share(Proportion::clustered(rises)),
            mean(MeanInterval::clustered(alone)),
            share(independent),
        ]) {
            *count += usize::from(holds);
        }
    }
    // Three standard errors of a share of 95 % over 1,000 histories are 2.1 %.
    let about = 929..=971;
    assert!(
        about.contains(&covered[0]) && about.contains(&covered[1]),
        "{covered:?}"
    );
    assert!(covered[2] < 700 && covered[3] < 750, "{covered:?}");
}

proptest! {
    /// A constant series of any value and length has no correlation with anything.
    #[test]
    fn a_constant_series_has_no_correlation(
        value in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
        other in prop::collection::vec(-1e3f64..1e3, 1..60),
    ) {
        let constant = vec![value; other.len()];
        prop_assert_eq!(pearson(&constant, &other), None);
        prop_assert_eq!(pearson(&other, &constant), None);
        prop_assert_eq!(spearman(&constant, &other), None);
        prop_assert_eq!(pearson(&constant, &constant), None);
    }

    /// A correlation does not depend on unit or origin, and a rank correlation not on any monotonic scale.
    #[test]
    fn correlations_do_not_change_with_scale(
        pairs in prop::collection::vec((-100i32..100, -100i32..100), 2..40),
        scale in 1u32..50,
        shift in -50i32..50,
    ) {
        let a: Vec<f64> = pairs.iter().map(|(a, _)| f64::from(*a)).collect();
        let b: Vec<f64> = pairs.iter().map(|(_, b)| f64::from(*b)).collect();
        let other: Vec<f64> = a.iter().map(|a| a * f64::from(scale) + f64::from(shift)).collect();
        let cubed: Vec<f64> = a.iter().map(|a| a * a * a).collect();
        let near = |x: Option<f64>, y: Option<f64>| match (x, y) {
            (Some(x), Some(y)) => (x - y).abs() < 1e-9,
            (None, None) => true,
            _ => false,
        };
        prop_assert!(near(pearson(&a, &b), pearson(&other, &b)));
        prop_assert!(near(spearman(&a, &b), spearman(&cubed, &b)));
        prop_assert!(near(pearson(&a, &b), pearson(&b, &a)));
    }

    /// One item per cluster gives Wilson's interval and the textbook's, to the bit, for any keys.
    #[test]
    fn single_items_have_the_textbook_intervals(values in prop::collection::vec(-1.0f64..1.0, 2..50)) {
        let n = values.len() as f64;
        let keyed = values.iter().enumerate().map(|(at, value)| (n as usize - at, *value));
        let hits = keyed.clone().map(|(key, value)| (key, value > 0.0));
        let count = values.iter().filter(|value| **value > 0.0).count();
        prop_assert_eq!(Proportion::clustered(hits), Proportion::new(count, values.len()));
        let found = MeanInterval::clustered(keyed);
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let half = Z95 * (squares / (n - 1.0) / n).sqrt();
        prop_assert_eq!((found.low, found.high), (mean - half, mean + half));
    }

    /// An interval contains its share and stays inside 0 to 1.
    #[test]
    fn a_proportion_lies_in_its_interval(tries in prop::collection::vec((0u8..6, any::<bool>()), 0..60)) {
        let share = Proportion::clustered(tries);
        prop_assert!((0.0..=share.share + 1e-12).contains(&share.wilson_low));
        prop_assert!((share.share - 1e-12..=1.0).contains(&share.wilson_high));
    }
}
