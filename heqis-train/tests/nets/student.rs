//! The t³-VAE's loss and sampler, compared with independent implementations in double precision.

use burn::tensor::{DType, Device, Tensor, TensorData};
use heqis_train::nets::student::{StudentConstants, ln_gamma};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::common::{elements, normal};

fn double(values: &[f64], shape: [usize; 2]) -> Tensor<2> {
    let data = TensorData::new(values.to_vec(), shape);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().unwrap()
}

/// Γ of half of an integer, by its recurrence from Γ(½) = √π and Γ(1) = 1.
fn gamma_of_half(twice: u32) -> f64 {
    let (mut value, mut at) = match twice % 2 {
        0 => (1.0, 2),
        _ => (std::f64::consts::PI.sqrt(), 1),
    };
    while at < twice {
        value *= f64::from(at) / 2.0;
        at += 2;
    }
    value
}

#[test]
fn the_constants_are_the_known_ones() {
    for (nu, data, latent, sigma, gamma, k, tau2) in [
        (5.0, 16, 4, 0.5, -0.0800, 1.3053, 0.2609),
        (5.0, 64, 8, 1.0, -0.0260, 0.9873, 0.0630),
    ] {
        let constants = StudentConstants::new(nu, data, latent, sigma).unwrap();
        for (got, known) in [
            (constants.gamma, gamma),
            (constants.k, k),
            (constants.tau2, tau2),
        ] {
            assert!((got - known).abs() < 5e-5, "{constants:?}");
        }
    }
}

#[test]
fn the_log_of_gamma_follows_its_recurrence() {
    for twice in 1..60 {
        let exact = gamma_of_half(twice).ln();
        let got = ln_gamma(f64::from(twice) / 2.0);
        assert!(
            (got - exact).abs() < 1e-12 * (1.0 + exact.abs()),
            "{twice}: {got} {exact}"
        );
    }
}

/// The loss as the paper's formula has it, term by term in plain powers: `2 L` of the γ-power divergence form with κ.
fn independent_loss(
    nu: u32,
    s: f64,
    x: &[f64],
    reconstruction: &[f64],
    mean: &[f64],
    variance: &[f64],
    beta: f64,
) -> f64 {
    let (n, m) = (x.len() as f64, mean.len() as f64);
    let v = f64::from(nu);
    let gamma = -2.0 / (v + n + m);
    let c = gamma_of_half(nu + x.len() as u32)
        / (gamma_of_half(nu) * (v * std::f64::consts::PI).powf(n / 2.0));
    let inner = (v + m + n - 2.0) / (v + n - 2.0)
        * ((v + m + n - 2.0) * s.powf(n) / ((v - 2.0) * c)).powf(gamma);
    let kappa = v * inner.powf(1.0 / (1.0 + gamma));
    let tau2 = (s.powf(-n) * c / (1.0 + n / (v - 2.0))).powf(2.0 / (v + n - 2.0)) / (1.0 + n / v);
    let square = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>();
    let error: Vec<f64> = x.iter().zip(reconstruction).map(|(a, b)| a - b).collect();
    let volume: f64 = variance.iter().map(|x| x.ln()).sum();
    let regulariser = square(mean) + v / (v + n - 2.0) * variance.iter().sum::<f64>()
        - kappa * (-gamma / (2.0 * (1.0 + gamma)) * volume).exp()
        + (v + n) * tau2;
    square(&error) / (s * s) + beta * regulariser
}

#[test]
fn the_loss_matches_the_papers_formula() {
    for (case, (nu, n, m, sigma, beta)) in [
        (5, 16, 4, 0.5, 1.0),
        (3, 7, 2, 1.5, 0.3),
        (9, 40, 8, 0.8, 2.0),
    ]
    .into_iter()
    .enumerate()
    {
        let wide = |seed, len: usize| -> Vec<f64> {
            normal(seed, len).into_iter().map(f64::from).collect()
        };
        let case = case as u64 * 10;
        let (x, reconstruction) = (wide(case, n), wide(case + 1, n));
        let (mean, log_variance) = (wide(case + 2, m), wide(case + 3, m));
        let variance: Vec<f64> = log_variance.iter().map(|lv| lv.exp()).collect();
        let expected = independent_loss(nu, sigma, &x, &reconstruction, &mean, &variance, beta);

        let constants = StudentConstants::new(f64::from(nu), n, m, sigma).unwrap();
        let got = doubles(constants.loss(
            double(&x, [1, n]),
            double(&reconstruction, [1, n]),
            double(&mean, [1, m]),
            double(&log_variance, [1, m]),
            beta,
        ))[0];
        assert!(
            (got - expected).abs() < 1e-9 * expected.abs(),
            "{got} {expected}"
        );

        let single = |values: &[f64], len| {
            let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            Tensor::<2>::from_data(TensorData::new(values, [1, len]), &Device::flex())
        };
        let trained = elements(constants.loss(
            single(&x, n),
            single(&reconstruction, n),
            single(&mean, m),
            single(&log_variance, m),
            beta,
        ))[0];
        assert!(
            (f64::from(trained) - expected).abs() < 1e-6 * expected.abs(),
            "{trained} {expected}"
        );
    }
}

#[test]
fn the_regulariser_has_its_minimum_of_zero_at_the_priors_scale() {
    let (nu, n, m) = (5.0, 16, 4);
    let constants = StudentConstants::new(nu, n, m, 0.5).unwrap();
    let least = ((1.0 + n as f64 / nu) * constants.tau2).ln();
    let at = |mean: f64, log_variance: &[f64]| {
        doubles(constants.regulariser(double(&[mean; 4], [1, 4]), double(log_variance, [1, 4])))[0]
    };
    let bottom = at(0.0, &[least; 4]);
    assert!(bottom.abs() < 1e-9, "{bottom}");
    for step in [-0.3, -0.01, 0.01, 0.3] {
        assert!(at(0.0, &[least + step; 4]) > bottom);
        assert!(at(0.0, &[least + step, least - step, least, least]) > bottom);
        assert!(at(step, &[least; 4]) > bottom);
    }
}

#[test]
fn with_many_degrees_of_freedom_the_regulariser_is_the_gaussian_divergence() {
    let mean = [0.7_f64, -0.4, 0.1];
    let log_variance = [0.5_f64, -1.0, 0.2];
    let gaussian: f64 = mean
        .iter()
        .zip(&log_variance)
        .map(|(mean, lv)| mean * mean + lv.exp() - lv - 1.0)
        .sum();
    let distance = |nu: f64| {
        let constants = StudentConstants::new(nu, 6, 3, 1.0).unwrap();
        let at = |mean: &[f64], log_variance: &[f64]| {
            doubles(constants.regulariser(double(mean, [1, 3]), double(log_variance, [1, 3])))[0]
        };
        (at(&mean, &log_variance) - at(&[0.0; 3], &[0.0; 3]) - gaussian).abs()
    };
    let (far, near) = (distance(1e4), distance(1e6));
    assert!(far < 0.01 && near < 1e-4, "{far} {near}");
}

#[test]
fn the_sampler_has_the_moments_of_a_t_distribution_with_one_scale_per_row() {
    let (nu, n, rows) = (5.0, 16_usize, 200_000);
    let constants = StudentConstants::new(nu, n, 2, 0.5).unwrap();
    let device = Device::flex();
    let repeat = |row: [f32; 2]| {
        Tensor::<2>::from_data(TensorData::new(row.repeat(rows), [rows, 2]), &device)
    };
    let (mean, deviation) = ([1.0, -2.0], [0.5_f64, 2.0]);
    let log_variance = deviation.map(|s| (2.0 * s.ln()) as f32);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let drawn = constants
        .sample(repeat(mean), repeat(log_variance), &mut rng)
        .unwrap();
    let drawn = elements(drawn);
    let unit: Vec<[f64; 2]> = drawn
        .chunks(2)
        .map(|z| [0, 1].map(|i| (f64::from(z[i]) - f64::from(mean[i])) / deviation[i]))
        .collect();
    let average = |f: &dyn Fn(&[f64; 2]) -> f64| unit.iter().map(f).sum::<f64>() / rows as f64;
    let (free, n) = (nu + n as f64, n as f64);
    for i in [0, 1] {
        assert!(average(&|z| z[i]).abs() < 0.005);
        let variance = average(&|z| z[i] * z[i]);
        assert!((variance / (nu / (nu + n - 2.0)) - 1.0).abs() < 0.02);
    }
    assert!(average(&|z| z[0] * z[1]).abs() < 0.005);
    // E[1/v²] / E[1/v]² = (k − 2)/(k − 4) for χ² of k: 1 when each element had its own v.
    let together = average(&|z| z[0] * z[0] * z[1] * z[1]);
    let separate = average(&|z| z[0] * z[0]) * average(&|z| z[1] * z[1]);
    assert!((together / separate - (free - 2.0) / (free - 4.0)).abs() < 0.04);
}

#[test]
fn invalid_constants_are_refused() {
    let refusal = |nu, data, latent, sigma| {
        StudentConstants::new(nu, data, latent, sigma)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refusal(2.0, 4, 2, 1.0),
        "t3vae: nu must be a number above 2, got 2"
    );
    assert_eq!(
        refusal(f64::NAN, 4, 2, 1.0),
        "t3vae: nu must be a number above 2, got NaN"
    );
    assert_eq!(
        refusal(5.0, 4, 2, 0.0),
        "t3vae: sigma must be a number above 0, got 0"
    );
    assert_eq!(
        refusal(5.0, 0, 2, 1.0),
        "t3vae: data elements must be at least 1, got 0"
    );
}
