//! The losses of supervised and adversarial training, as plain functions on tensors.
//!
//! Every loss is a mean over the batch, so that its size does not depend on the number of samples. Discriminators
//! return logits: the sigmoid is inside the loss and nowhere else.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_sigmoid, log_softmax, softmax};

use super::schedule::PairWeights;

/// The logits of one discriminator for one batch; positive is real.
#[derive(Clone, Debug)]
pub struct DiscriminatorOutput {
    /// Logits of the real series, `[batch, 1]`; absent in the generators' step, whose loss does not contain them.
    pub real: Option<Tensor<2>>,
    /// Logits of candidates, `[batch, 1]`, each with the index of its generator. Pairs of weight 0 are left out.
    pub fake: Vec<(usize, Tensor<2>)>,
}

/// Returns the binary cross-entropy of logits of any shape against one target, 0 to 1, as a mean: `[1]`.
///
/// −t·ln σ(z) − (1−t)·ln(1−σ(z)), computed by `log_sigmoid`, so that no logit overflows.
#[must_use]
pub(crate) fn bce_with_logits(logits: Tensor<2>, target: f64) -> Tensor<1> {
    let real = log_sigmoid(logits.clone()).mul_scalar(target);
    let fake = log_sigmoid(-logits).mul_scalar(1.0 - target);
    -(real + fake).mean()
}

/// Returns the loss of discriminator `j`: BCE(D_j(real), 1) + Σ_i w_ji · BCE(D_j(ŷ_i), 0), `[1]`; `None` without any input.
#[must_use]
pub fn discriminator(
    j: usize,
    output: &DiscriminatorOutput,
    weights: &PairWeights,
) -> Option<Tensor<1>> {
    let mut total = None;
    if let Some(real) = &output.real {
        add(&mut total, bce_with_logits(real.clone(), 1.0));
    }
    for (i, logits) in &output.fake {
        let loss = bce_with_logits(logits.clone(), 0.0);
        add(&mut total, loss.mul_scalar(weights.of(j, *i)));
    }
    total
}

/// Returns the adversarial loss of each generator that discriminator `j` saw: its index and w_ji · BCE(D_j(ŷ_i), 1), `[1]`.
/// The target is 1, since a generator is trained to have its candidates classified as real.
pub(crate) fn adversarial_losses<'a>(
    j: usize,
    output: &'a DiscriminatorOutput,
    weights: &'a PairWeights,
) -> impl Iterator<Item = (usize, Tensor<1>)> + 'a {
    output.fake.iter().map(move |(i, logits)| {
        let loss = bce_with_logits(logits.clone(), 1.0);
        (*i, loss.mul_scalar(weights.of(j, *i)))
    })
}

/// Returns the mean squared error of two `[batch, 1]`, `[1]`.
#[must_use]
pub fn mse(predicted: Tensor<2>, actual: Tensor<2>) -> Tensor<1> {
    (predicted - actual).square().mean()
}

/// Returns the cross-entropy of logits `[batch, classes]` against probabilities of the same shape, `[1]`.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, classes: Tensor<2>) -> Tensor<1> {
    let batch = logits.dims()[0].max(1);
    -(log_softmax(logits, 1) * classes)
        .sum()
        .div_scalar(batch as f64)
}

/// The parameters of a distillation from a teacher to a student.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// Weight of the teacher in the loss, 0 to 1.
    pub alpha: f64,
    /// The temperature that logits are divided by before the comparison, above 0.
    pub temperature: f64,
    /// Weight of the squared error relative to the cross-entropy.
    pub lambda: f64,
}

impl Distillation {
    /// Returns α·T²·KL(softmax(t/T) ‖ softmax(s/T)) + (1−α)·(CE + λ·MSE), `[1]` (Hinton and others, arXiv 1503.02531).
    ///
    /// `teacher` and `student` are logits `[batch, classes]`; `hard` is the student's cross-entropy and squared error
    /// against the actual target, both `[1]`. No gradient reaches the teacher.
    #[must_use]
    pub fn loss(
        &self,
        teacher: Tensor<2>,
        student: Tensor<2>,
        hard: (Tensor<1>, Tensor<1>),
    ) -> Tensor<1> {
        let batch = student.dims()[0].max(1) as f64;
        let t = teacher.detach().div_scalar(self.temperature);
        let s = student.div_scalar(self.temperature);
        let soft_targets = softmax(t.clone(), 1);
        let kl = (soft_targets * (log_softmax(t, 1) - log_softmax(s, 1)))
            .sum()
            .div_scalar(batch);
        let (ce, mse) = hard;
        kl.mul_scalar(self.alpha * self.temperature * self.temperature)
            + (ce + mse.mul_scalar(self.lambda)).mul_scalar(1.0 - self.alpha)
    }
}

/// Adds a term to a sum that may be empty.
pub(crate) fn add(total: &mut Option<Tensor<1>>, term: Tensor<1>) {
    *total = Some(match total.take() {
        Some(sum) => sum + term,
        None => term,
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn::tensor::Device;

    /// ln 3 and −ln 3 are the logits of 3/4 and 1/4, so that every loss below is a logarithm of a small fraction.
    const LN3: f64 = 1.098_612_288_668_109_8;

    fn column(values: &[f64]) -> Tensor<2> {
        let device = Device::flex().autodiff();
        Tensor::<1>::from_floats(values, &device).reshape([values.len(), 1])
    }

    fn number(tensor: Tensor<1>) -> f64 {
        f64::from(tensor.into_scalar::<f32>())
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    /// D_0 classifies the real series as real (3/4, 1/2), D_1 as fake (1/4, 1/4).
    fn outputs() -> Vec<DiscriminatorOutput> {
        vec![
            DiscriminatorOutput {
                real: Some(column(&[LN3, 0.0])),
                fake: vec![(0, column(&[-LN3, -LN3])), (1, column(&[LN3, -LN3]))],
            },
            DiscriminatorOutput {
                real: Some(column(&[-LN3, -LN3])),
                fake: vec![(0, column(&[0.0, 0.0])), (1, column(&[LN3, LN3]))],
            },
        ]
    }

    /// Returns the loss of each discriminator, or of each generator.
    fn losses(of: impl Fn(usize) -> Option<Tensor<1>>) -> [f64; 2] {
        [0, 1].map(|at| number(of(at).unwrap()))
    }

    #[test]
    fn the_discriminators_losses_match_the_matrix_computed_by_hand() {
        let (ln2, ln43, ln4) = (2f64.ln(), (4.0f64 / 3.0).ln(), 4f64.ln());
        // BCE(real, 1): D_0 (ln 4/3 + ln 2)/2, D_1 ln 4.
        // BCE(fake, 0): D_0 on ŷ_0 ln 4/3, on ŷ_1 (ln 4 + ln 4/3)/2; D_1 on ŷ_0 ln 2, on ŷ_1 ln 4.
        let real = [(ln43 + ln2) / 2.0, ln4];
        let fake = [[ln43, (ln4 + ln43) / 2.0], [ln2, ln4]];
        let all = outputs();
        for (weights, expected) in [
            (
                PairWeights::shared(2),
                [0, 1].map(|j| real[j] + (fake[j][0] + fake[j][1]) / 2.0),
            ),
            (
                PairWeights::identity(2),
                [0, 1].map(|j| real[j] + fake[j][j]),
            ),
        ] {
            let found = losses(|j| discriminator(j, &all[j], &weights));
            close(found[0], expected[0]);
            close(found[1], expected[1]);
        }
    }

    #[test]
    fn the_adversarial_losses_fall_as_candidates_are_classified_as_real() {
        let (ln2, ln43, ln4) = (2f64.ln(), (4.0f64 / 3.0).ln(), 4f64.ln());
        // BCE(fake, 1): D_0 on ŷ_0 ln 4, on ŷ_1 (ln 4/3 + ln 4)/2; D_1 on ŷ_0 ln 2, on ŷ_1 ln 4/3.
        let fake = [[ln4, (ln43 + ln4) / 2.0], [ln2, ln43]];
        let all = outputs();
        for (weights, expected) in [
            (
                PairWeights::shared(2),
                [0, 1].map(|i| (fake[0][i] + fake[1][i]) / 2.0),
            ),
            (PairWeights::identity(2), [0, 1].map(|i| fake[i][i])),
        ] {
            let adversarial = |i: usize| {
                let all = all.iter().enumerate();
                let pairs = all.flat_map(|(j, output)| adversarial_losses(j, output, &weights));
                let own = pairs.filter(|(of, _)| *of == i);
                own.map(|(_, loss)| loss).reduce(|sum, loss| sum + loss)
            };
            let found = losses(adversarial);
            close(found[0], expected[0]);
            close(found[1], expected[1]);
        }
        // A step along the gradient raises the logit: the gradient of BCE(z, 1) is σ(z) − 1, never positive.
        let logit = column(&[0.0]).require_grad();
        let grads = bce_with_logits(logit.clone(), 1.0).backward();
        close(
            f64::from(logit.grad(&grads).unwrap().into_scalar::<f32>()),
            -0.5,
        );
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let loss = |z: f64, t: f64| number(bce_with_logits(column(&[z]), t));
        close(loss(500.0, 1.0), 0.0);
        close(loss(-500.0, 1.0), 500.0);
        close(loss(500.0, 0.0), 500.0);
    }

    #[test]
    fn cross_entropy_and_squared_error_match_cases_computed_by_hand() {
        let device = Device::flex().autodiff();
        // softmax(ln 2, 0, 0) = (1/2, 1/4, 1/4).
        let ln2 = std::f64::consts::LN_2;
        let logits = Tensor::<2>::from_floats([[ln2, 0.0, 0.0], [0.0, 0.0, 0.0]], &device);
        let classes = Tensor::<2>::from_floats([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], &device);
        close(
            number(cross_entropy(logits, classes)),
            (ln2 + 3f64.ln()) / 2.0,
        );
        close(number(mse(column(&[1.0, 2.0]), column(&[0.0, 4.0]))), 2.5);
    }

    #[test]
    fn distillation_matches_the_mixture_computed_by_hand_and_gives_the_teacher_no_gradient() {
        let device = Device::flex().autodiff();
        let rule = Distillation {
            alpha: 0.7,
            temperature: 2.0,
            lambda: 0.5,
        };
        // At T = 2, 2·ln 2 becomes ln 2: teacher (1/2, 1/4, 1/4) against the uniform student.
        let teacher = Tensor::<2>::from_floats([[2.0 * std::f64::consts::LN_2, 0.0, 0.0]], &device)
            .require_grad();
        let student = Tensor::<2>::from_floats([[0.0, 0.0, 0.0]], &device).require_grad();
        let hard = || {
            (
                Tensor::<1>::from_floats([0.8], &device),
                Tensor::<1>::from_floats([0.2], &device),
            )
        };
        let kl = 0.5 * 1.5f64.ln() + 0.5 * 0.75f64.ln();
        let loss = rule.loss(teacher.clone(), student.clone(), hard());
        close(number(loss.clone()), 0.7 * 4.0 * kl + 0.3 * (0.8 + 0.1));
        let grads = loss.backward();
        assert!(teacher.grad(&grads).is_none());
        // The gradient of T²·KL by the student's logits is T·(q − p).
        let grad = student.grad(&grads).unwrap().into_data();
        let grad = grad.try_to_vec::<f32>().unwrap();
        close(grad[0].into(), 0.7 * 2.0 * (1.0 / 3.0 - 0.5));
        // With a student equal to its teacher only the hard loss remains.
        close(number(rule.loss(teacher.clone(), teacher, hard())), 0.27);
    }
}
