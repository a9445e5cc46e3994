//! The linear algebra of the baselines, in plain `f64`.
//!
//! Every routine uses one thread, a fixed loop order and only `+ − × ÷ √`, whose results IEEE 754 defines to the last bit and
//! which Rust never fuses; [`exp`] is implemented here for the same reason. So a fit gives the same bits on every machine and at
//! every optimisation level.

/// A dense matrix in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// Returns a matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Matrix {
            rows,
            columns,
            data: vec![0.0; rows * columns],
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns one row.
    ///
    /// # Panics
    ///
    /// When `row` is out of range.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// Returns one row, mutable.
    ///
    /// # Panics
    ///
    /// When `row` is out of range.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.data[row * self.columns..(row + 1) * self.columns]
    }

    /// Returns the elements in row-major order.
    pub fn data(&self) -> &[f64] {
        &self.data
    }
}

impl std::ops::Index<(usize, usize)> for Matrix {
    type Output = f64;

    fn index(&self, (row, column): (usize, usize)) -> &f64 {
        &self.data[row * self.columns + column]
    }
}

impl std::ops::IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut f64 {
        &mut self.data[row * self.columns + column]
    }
}

/// Returns the dot product, summed from the first element to the last.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Returns the mean of each column; zeros when there are no rows.
pub(crate) fn column_means(rows: &[Vec<f64>], columns: usize) -> Vec<f64> {
    let mut means = vec![0.0; columns];
    for row in rows {
        for (mean, value) in means.iter_mut().zip(row) {
            *mean += value;
        }
    }
    let count = rows.len().max(1) as f64;
    means.iter_mut().for_each(|mean| *mean /= count);
    means
}

/// Returns the covariance matrix of rows around given means, with divisor n.
pub fn covariance(rows: &[Vec<f64>], means: &[f64]) -> Matrix {
    let n = means.len();
    let mut sums = Matrix::zeros(n, n);
    let mut centred = vec![0.0; n];
    for row in rows {
        for ((centred, value), mean) in centred.iter_mut().zip(row).zip(means) {
            *centred = value - mean;
        }
        for i in 0..n {
            let left = centred[i];
            for (sum, right) in sums.data[i * n..i * n + i + 1].iter_mut().zip(&centred) {
                *sum += left * right;
            }
        }
    }
    let count = rows.len().max(1) as f64;
    for i in 0..n {
        for j in 0..=i {
            let value = sums[(i, j)] / count;
            sums[(i, j)] = value;
            sums[(j, i)] = value;
        }
    }
    sums
}

/// Eigenvalues of a symmetric matrix in falling order, and their unit eigenvectors as rows.
///
/// Cyclic Jacobi rotations (Golub and Van Loan, *Matrix Computations*, section 8.5), until a sweep leaves the matrix
/// as it was or 60 sweeps are done. An eigenvector's sign is fixed by making its component of largest size positive.
pub(crate) fn symmetric_eigen(matrix: &Matrix) -> (Vec<f64>, Matrix) {
    let n = matrix.rows;
    let mut a = matrix.clone();
    // Row k of `vectors` becomes the k-th eigenvector: rotating rows is rotating contiguous memory.
    let mut vectors = Matrix::zeros(n, n);
    for i in 0..n {
        vectors[(i, i)] = 1.0;
    }
    for _ in 0..60 {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (apq, app, aqq) = (a[(p, q)], a[(p, p)], a[(q, q)]);
                // Below the rounding error of the two diagonal elements a rotation would change only the last bits.
                if apq.abs() <= f64::EPSILON * (app.abs() * aqq.abs()).sqrt() {
                    continue;
                }
                rotated = true;
                let tau = (aqq - app) / (2.0 * apq);
                let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
                let c = 1.0 / (1.0 + t * t).sqrt();
                let s = t * c;
                rotate_rows(&mut a, p, q, c, s);
                rotate_columns(&mut a, p, q, c, s);
                a[(p, q)] = 0.0;
                a[(q, p)] = 0.0;
                rotate_rows(&mut vectors, p, q, c, s);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[(j, j)].total_cmp(&a[(i, i)]));
    let values = order.iter().map(|&i| a[(i, i)]).collect();
    let mut sorted = Matrix::zeros(n, n);
    for (to, &from) in order.iter().enumerate() {
        let row = vectors.row(from);
        let largest = row.iter().fold(0.0_f64, |best, value| {
            if value.abs() > best.abs() {
                *value
            } else {
                best
            }
        });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        for (target, value) in sorted.data[to * n..(to + 1) * n].iter_mut().zip(row) {
            *target = sign * value;
        }
    }
    (values, sorted)
}

fn rotate_rows(a: &mut Matrix, p: usize, q: usize, c: f64, s: f64) {
    let n = a.columns;
    let (head, tail) = a.data.split_at_mut(q * n);
    for (x, y) in head[p * n..(p + 1) * n].iter_mut().zip(&mut tail[..n]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

fn rotate_columns(a: &mut Matrix, p: usize, q: usize, c: f64, s: f64) {
    for row in a.data.chunks_exact_mut(a.columns) {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
}

/// Solves `a · x = b` for a symmetric positive definite `a` by Cholesky's decomposition.
///
/// Returns `None` when `a` is not positive definite.
pub(crate) fn solve_positive(a: &Matrix, b: &[f64]) -> Option<Vec<f64>> {
    let n = a.rows;
    let mut l = Matrix::zeros(n, n);
    for i in 0..n {
        for j in 0..=i {
            let rest = a[(i, j)] - dot(&l.row(i)[..j], &l.row(j)[..j]);
            if i == j {
                if !(rest.is_finite() && rest > 0.0) {
                    return None;
                }
                l[(i, i)] = rest.sqrt();
            } else {
                l[(i, j)] = rest / l[(j, j)];
            }
        }
    }
    let mut x = b.to_vec();
    for i in 0..n {
        x[i] = (x[i] - dot(&l.row(i)[..i], &x[..i])) / l[(i, i)];
    }
    for i in (0..n).rev() {
        let mut rest = x[i];
        for k in i + 1..n {
            rest -= l[(k, i)] * x[k];
        }
        x[i] = rest / l[(i, i)];
    }
    Some(x)
}

/// Returns eˣ within a few units in the last place, by basic operations only; the C library's result depends on the machine.
///
/// x = k·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its Taylor series, whose 14th term is below 2⁻⁵⁷; then 2ᵏ by the exponent
/// bits. Below −708 it returns 0 and above 709 infinity.
pub fn exp(x: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    if x.is_nan() {
        return x;
    }
    if x < -708.0 {
        return 0.0;
    }
    if x > 709.0 {
        return f64::INFINITY;
    }
    let k = (x * std::f64::consts::LOG2_E).round();
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let series = (1..=14)
        .rev()
        .fold(1.0, |sum, i| 1.0 + sum * r / f64::from(i));
    // k lies in −1021..=1023, so the biased exponent is that of a normal number.
    series * f64::from_bits(((k as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers in −1..1, always the same.
    fn numbers(len: usize) -> Vec<f64> {
        let mut state = 12_345_u64;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
            })
            .collect()
    }

    fn rows(count: usize, columns: usize) -> Vec<Vec<f64>> {
        numbers(count * columns)
            .chunks(columns)
            .map(<[f64]>::to_vec)
            .collect()
    }

    #[test]
    fn exp_agrees_with_the_c_library_within_a_few_units_in_the_last_place() {
        for i in -70_000..70_000 {
            let x = f64::from(i) * 0.0101;
            let (ours, system) = (exp(x), x.exp());
            assert!(
                (ours - system).abs() <= 4.0 * f64::EPSILON * system,
                "{x}: {ours:e} {system:e}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(1e9), f64::INFINITY);
        assert!(exp(f64::NAN).is_nan());
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_rebuild_the_matrix() {
        let rows = rows(60, 24);
        let covariance = covariance(&rows, &column_means(&rows, 24));
        let (values, vectors) = symmetric_eigen(&covariance);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        for i in 0..24 {
            for j in 0..24 {
                let unit = if i == j { 1.0 } else { 0.0 };
                assert!((dot(vectors.row(i), vectors.row(j)) - unit).abs() < 1e-12);
                let rebuilt: f64 = (0..24)
                    .map(|k| values[k] * vectors[(k, i)] * vectors[(k, j)])
                    .sum();
                assert!((rebuilt - covariance[(i, j)]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn known_eigenvalues_are_found() {
        // [[2, 1], [1, 2]] has 3 with (1, 1)/√2 and 1 with (1, −1)/√2.
        let mut matrix = Matrix::zeros(2, 2);
        for (place, value) in [((0, 0), 2.0), ((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 2.0)] {
            matrix[place] = value;
        }
        let (values, vectors) = symmetric_eigen(&matrix);
        let half = 0.5_f64.sqrt();
        assert!((values[0] - 3.0).abs() < 1e-15 && (values[1] - 1.0).abs() < 1e-15);
        assert!((vectors[(0, 0)] - half).abs() < 1e-15 && (vectors[(0, 1)] - half).abs() < 1e-15);
    }

    #[test]
    fn a_rank_deficient_covariance_has_zero_eigenvalues_and_no_nan() {
        let rows: Vec<Vec<f64>> = numbers(30).iter().map(|x| vec![*x, 2.0 * x, 1.0]).collect();
        let (values, vectors) = symmetric_eigen(&covariance(&rows, &column_means(&rows, 3)));
        assert!(values[1].abs() < 1e-15 && values[2].abs() < 1e-15);
        assert!(vectors.data().iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_positive_system_is_solved_and_an_indefinite_matrix_is_refused() {
        let rows = rows(40, 9);
        let covariance = covariance(&rows, &column_means(&rows, 9));
        let b = numbers(9);
        let x = solve_positive(&covariance, &b)
            .expect("a covariance of many rows is positive definite");
        for (i, expected) in b.iter().enumerate() {
            assert!((dot(covariance.row(i), &x) - expected).abs() < 1e-12);
        }
        let mut indefinite = Matrix::zeros(2, 2);
        indefinite[(0, 1)] = 1.0;
        indefinite[(1, 0)] = 1.0;
        assert_eq!(solve_positive(&indefinite, &[1.0, 1.0]), None);
    }
}
