//! Functions of the values of one window, the oldest first and none of them missing.
//!
//! Each result depends on nothing but these values, so it has the same bits wherever a series began: nothing is carried from
//! bar to bar, as running sums would be. Sums are taken in eight lanes in a fixed order, which the processor adds at once.
//! What may vanish by rounding, such as a deviation, is computed of the distances to the newest value, so that a window
//! whose values are equal has the deviation 0. `NaN` is a result that does not exist.

const LANES: usize = 8;

/// The sum of `f` over the positions and values.
#[inline]
fn sum_by(values: &[f64], f: impl Fn(usize, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let (rest, whole) = (chunks.remainder(), values.len() - values.len() % LANES);
    for (c, chunk) in chunks.enumerate() {
        for lane in 0..LANES {
            lanes[lane] += f(c * LANES + lane, chunk[lane]);
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        lanes[lane] += f(whole + lane, *value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The number of values, which is far below 2^53.
#[inline]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

#[inline]
fn newest(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}

pub(crate) fn sum(values: &[f64]) -> f64 {
    sum_by(values, |_, x| x)
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    sum(values) / count(values)
}

/// The mean in the order of [`heqis_quant::indicators::Ma`], bit for bit.
pub(crate) fn plain_mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values)
}

/// The sum of the squares of the distances to the mean.
fn squares(values: &[f64]) -> f64 {
    let origin = newest(values);
    let centre = sum_by(values, |_, x| x - origin) / count(values);
    sum_by(values, |_, x| {
        let distance = (x - origin) - centre;
        distance * distance
    })
}

/// The sample deviation, with n − 1 in the divisor.
pub(crate) fn std(values: &[f64]) -> f64 {
    (squares(values) / (count(values) - 1.0)).sqrt()
}

pub(crate) fn covariance(x: &[f64], y: &[f64]) -> f64 {
    products(x, y) / (count(x) - 1.0)
}

/// Pearson's correlation; none where one side does not vary.
pub(crate) fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let scale = (squares(x) * squares(y)).sqrt();
    if scale > 0.0 {
        // Rounding can leave −1 to 1.
        (products(x, y) / scale).clamp(-1.0, 1.0)
    } else {
        f64::NAN
    }
}

/// The sum of the products of the distances to the means; both windows have the same length.
fn products(x: &[f64], y: &[f64]) -> f64 {
    let y = &y[..x.len().min(y.len())];
    let (x0, y0) = (newest(x), newest(y));
    let mean_x = sum_by(x, |_, value| value - x0) / count(x);
    let mean_y = sum_by(y, |_, value| value - y0) / count(y);
    sum_by(x, |i, value| {
        ((value - x0) - mean_x) * ((y[i] - y0) - mean_y)
    })
}

/// The straight line of least squares through the window: its slope per bar, the share of the variance that it explains, and the distance of
/// the newest value from it.
pub(crate) fn line(values: &[f64]) -> [f64; 3] {
    let n = count(values);
    let centre = (n - 1.0) / 2.0;
    let origin = newest(values);
    let mean = sum_by(values, |_, y| y - origin) / n;
    let cross = sum_by(values, |i, y| (i as f64 - centre) * (y - origin));
    // Σ (i − centre)² over 0..n.
    let spread = n * (n * n - 1.0) / 12.0;
    let slope = cross / spread;
    let squares = sum_by(values, |_, y| {
        let distance = (y - origin) - mean;
        distance * distance
    });
    let explained = if squares > 0.0 {
        (slope * cross / squares).clamp(0.0, 1.0)
    } else {
        f64::NAN
    };
    [slope, explained, -(mean + slope * centre)]
}

pub(crate) fn max(values: &[f64]) -> f64 {
    extreme(values, |a, b| if b > a { b } else { a })
}

pub(crate) fn min(values: &[f64]) -> f64 {
    extreme(values, |a, b| if b < a { b } else { a })
}

#[inline]
fn extreme(values: &[f64], better: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [newest(values); LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = better(lanes[lane], chunk[lane]);
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        lanes[lane] = better(lanes[lane], *value);
    }
    lanes.into_iter().fold(newest(values), better)
}

/// The position of the highest value: 1 is the oldest; of equal ones the oldest counts.
pub(crate) fn argmax(values: &[f64]) -> f64 {
    position(values, max(values))
}

pub(crate) fn argmin(values: &[f64]) -> f64 {
    position(values, min(values))
}

fn position(values: &[f64], of: f64) -> f64 {
    let found = values.iter().position(|value| *value == of);
    found.map_or(f64::NAN, |at| (at + 1) as f64)
}

/// The rank of the newest value among those of the window, over their number; equal values share their mean rank.
pub(crate) fn rank(values: &[f64]) -> f64 {
    let newest = newest(values);
    let below = sum_by(values, |_, x| f64::from(u8::from(x < newest)));
    let equal = sum_by(values, |_, x| f64::from(u8::from(x == newest)));
    (below + (equal + 1.0) / 2.0) / count(values)
}

/// The quantile `q` in 0..=1, between two values in proportion. `scratch` has room for the window.
pub(crate) fn quantile(values: &[f64], q: f64, scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend_from_slice(values);
    let place = q * (count(values) - 1.0);
    // `as` stays within the range of the target.
    let lower = (place.floor() as usize).min(values.len() - 1);
    let (_, low, above) = scratch.select_nth_unstable_by(lower, f64::total_cmp);
    let low = *low;
    let share = place - lower as f64;
    if share <= 0.0 || above.is_empty() {
        return low;
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    low + (high - low) * share
}

/// The mean with the weights 1 for the oldest to n for the newest.
pub(crate) fn weighted_mean(values: &[f64]) -> f64 {
    let n = count(values);
    sum_by(values, |i, x| (i + 1) as f64 * x) / (n * (n + 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn worked_by_hand() {
        let values = [1.0, 2.0, 4.0, 3.0];
        assert_eq!((sum(&values), mean(&values)), (10.0, 2.5));
        assert_eq!(std(&values), (5.0f64 / 3.0).sqrt());
        assert_eq!((max(&values), argmax(&values)), (4.0, 3.0));
        assert_eq!((min(&values), argmin(&values)), (1.0, 1.0));
        assert_eq!(rank(&values), 0.75);
        assert_eq!(rank(&[2.0, 1.0, 2.0]), 2.5 / 3.0);
        assert_eq!(weighted_mean(&values), (1.0 + 4.0 + 12.0 + 12.0) / 10.0);
        // Slope (−1.5 − 1 + 2 + 4.5)/5; at the newest bar the line is at 2.5 + 1.5·0.8.
        let [slope, explained, residual] = line(&values);
        assert!((slope - 0.8).abs() < 1e-15 && (explained - 0.64).abs() < 1e-15);
        assert!((residual - (3.0 - 3.7)).abs() < 1e-15);
        let mut scratch = Vec::new();
        let mut of = |q| quantile(&values, q, &mut scratch);
        assert_eq!([of(0.0), of(0.5), of(0.9), of(1.0)], [1.0, 2.5, 3.7, 4.0]);
        assert_eq!(covariance(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0]), 2.0);
        assert_eq!(correlation(&[1.0, 2.0, 3.0], &[6.0, 4.0, 2.0]), -1.0);
    }

    #[test]
    fn a_window_of_equal_values_has_no_deviation_at_any_level() {
        for level in [0.1, 1e6 + 0.3, 1e-9] {
            for n in [2, 7, 20, 60] {
                let values = vec![level; n];
                assert_eq!(std(&values), 0.0);
                assert!(correlation(&values, &values).is_nan());
                let [slope, explained, residual] = line(&values);
                assert_eq!((slope, residual), (0.0, 0.0));
                assert!(explained.is_nan());
            }
        }
    }

    #[test]
    fn the_lanes_take_every_value_once() {
        for n in 1..40usize {
            let values: Vec<f64> = (1..=n).map(|i| i as f64).collect();
            assert_eq!(sum(&values), (n * (n + 1) / 2) as f64);
            assert_eq!((max(&values), min(&values)), (n as f64, 1.0));
            assert_eq!((argmax(&values), argmin(&values)), (n as f64, 1.0));
        }
    }
}
