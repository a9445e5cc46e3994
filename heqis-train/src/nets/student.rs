//! The mathematics of the t³-VAE (ICLR 2024, arXiv 2312.01133): its constants, its loss, its sampler.

use burn::tensor::{Tensor, TensorData};
use rand_chacha::rand_core::Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};

use crate::error::TrainError;

/// Bound of an encoded log-variance, beyond which the loss's exponentials would exceed the range of `f32`.
pub(crate) const LOG_VARIANCE_BOUND: f64 = 10.0;

/// Constants of a t³-VAE, computed in double precision and log space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudentConstants {
    /// Degrees of freedom ν, above 2.
    pub nu: f64,
    /// Number of data elements n.
    pub data: usize,
    /// Number of latent elements m.
    pub latent: usize,
    /// Scale σ of the decoder.
    pub sigma: f64,
    /// γ = −2 / (ν + n + m).
    pub gamma: f64,
    /// K, the factor of the regulariser's exponential.
    pub k: f64,
    /// τ², the scale of the prior from which windows are generated.
    pub tau2: f64,
}

impl StudentConstants {
    /// Computes the constants.
    ///
    /// With `L = −n ln σ + lnΓ((ν+n)/2) − lnΓ(ν/2) − n/2 ln(νπ) + ln((ν−2)/(ν+n−2))`:
    /// `K = (1 + m/(ν+n−2)) exp(2L/(ν+n+m−2))` and `τ² = ν/(ν+n) exp(2L/(ν+n−2))`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when ν is not a finite number above 2, σ not one above 0, or `data` or `latent` is 0.
    pub fn new(nu: f64, data: usize, latent: usize, sigma: f64) -> Result<Self, TrainError> {
        let refuse = |rule: String| Err(TrainError::rule("t3vae", rule));
        if !(nu.is_finite() && nu > 2.0) {
            return refuse(format!("nu must be a number above 2, got {nu}"));
        }
        if !(sigma.is_finite() && sigma > 0.0) {
            return refuse(format!("sigma must be a number above 0, got {sigma}"));
        }
        super::positive("t3vae", &[("data elements", data), ("latent", latent)])?;
        let (n, m) = (data as f64, latent as f64);
        let log = -n * sigma.ln() + ln_gamma((nu + n) / 2.0)
            - ln_gamma(nu / 2.0)
            - n / 2.0 * (nu * std::f64::consts::PI).ln()
            + ((nu - 2.0) / (nu + n - 2.0)).ln();
        Ok(StudentConstants {
            nu,
            data,
            latent,
            sigma,
            gamma: -2.0 / (nu + n + m),
            k: (1.0 + m / (nu + n - 2.0)) * (2.0 / (nu + n + m - 2.0) * log).exp(),
            tau2: nu / (nu + n) * (2.0 / (nu + n - 2.0) * log).exp(),
        })
    }

    /// Returns the γ-power divergence's regulariser of each row, shape `[B, 1]`, for means and log-variances `[B, m]`.
    ///
    /// `|μ|² + ν/(ν+n−2) Σ exp(lv) − ν K exp(Σ lv/(ν+n+m−2)) + (ν+n) τ²`. Its minimum over μ and Σ is at μ = 0 and
    /// Σ = (1 + n/ν) τ², and as ν grows it becomes twice the Gaussian Kullback–Leibler divergence, up to a constant.
    pub fn regulariser(&self, mean: Tensor<2>, log_variance: Tensor<2>) -> Tensor<2> {
        let (nu, n, m) = (self.nu, self.data as f64, self.latent as f64);
        let variance = log_variance.clone().exp().sum_dim(1) * (nu / (nu + n - 2.0));
        let volume = (log_variance.sum_dim(1) / (nu + n + m - 2.0)).exp() * (nu * self.k);
        mean.square().sum_dim(1) + variance - volume + (nu + n) * self.tau2
    }

    /// Returns the mean over rows of `|x − x̂|²/σ² + β · regulariser`, shape `[1]`, for data `[B, n]`.
    pub fn loss(
        &self,
        x: Tensor<2>,
        reconstruction: Tensor<2>,
        mean: Tensor<2>,
        log_variance: Tensor<2>,
        beta: f64,
    ) -> Tensor<1> {
        let error = (x - reconstruction).square().sum_dim(1) / (self.sigma * self.sigma);
        (error + self.regulariser(mean, log_variance) * beta).mean()
    }

    /// Draws one latent per row from the encoder's t distribution of ν + n degrees of freedom.
    ///
    /// `z = μ + √(ν/v) exp(lv/2) ε` with ε normal and *one* v ~ χ²(ν+n) for all elements of a row; no gradient flows
    /// through either.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when ν + n is not a valid number of degrees of freedom.
    pub fn sample<R: Rng>(
        &self,
        mean: Tensor<2>,
        log_variance: Tensor<2>,
        rng: &mut R,
    ) -> Result<Tensor<2>, TrainError> {
        let [batch, latent] = mean.dims();
        let chi = ChiSquared::new(self.nu + self.data as f64)
            .map_err(|error| TrainError::rule("t3vae", error.to_string()))?;
        let mut noise = Vec::with_capacity(batch * latent);
        for _ in 0..batch {
            let v: f64 = chi.sample(rng);
            let scale = (self.nu / v).sqrt();
            for _ in 0..latent {
                let epsilon: f64 = StandardNormal.sample(rng);
                noise.push((scale * epsilon) as f32);
            }
        }
        let noise = Tensor::from_data(TensorData::new(noise, [batch, latent]), &mean.device());
        Ok(mean + (log_variance / 2.0).exp() * noise)
    }
}

/// Returns ln Γ(x) for x > 0, to about 1e-14 of its size (Lanczos' approximation with g = 7 and nine terms).
pub fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // The series holds from ½ up: Γ(x) = Γ(x + 1) / x.
        return ln_gamma(x + 1.0) - x.ln();
    }
    let x = x - 1.0;
    let series = TERMS[1..]
        .iter()
        .enumerate()
        .fold(TERMS[0], |sum, (index, term)| {
            sum + term / (x + index as f64 + 1.0)
        });
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}
