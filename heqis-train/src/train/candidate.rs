//! A generator's output in the form that a discriminator classifies, and that classification.

use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::batch::Batch;
use super::config::CandidateClass;
use super::loss::DiscriminatorOutput;
use super::tensors::numbers;
use crate::error::TrainError;
use crate::nets::discriminator::Discriminator;
use crate::nets::generator::GeneratorOutput;

/// A generator's output in the form that a discriminator classifies.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// `[batch, 1]`.
    pub(crate) value: Tensor<2>,
    /// Class with a gradient that reaches the logits, `[batch, 3]`.
    pub(crate) class: Tensor<2>,
}

impl Candidate {
    pub(crate) fn of(
        output: &GeneratorOutput,
        encoding: CandidateClass,
        noise: &mut ChaCha8Rng,
    ) -> Result<Self, TrainError> {
        let logits = output.logits.clone();
        Ok(Self {
            value: output.value.clone(),
            class: match encoding {
                CandidateClass::Softmax => softmax(logits, 1),
                CandidateClass::Gumbel => gumbel_softmax(logits, noise)?,
            },
        })
    }

    /// Returns the same values, detached from the generator's graph.
    pub(crate) fn detached(&self) -> Self {
        Self {
            value: self.value.clone().detach(),
            class: self.class.clone().detach(),
        }
    }

    /// Returns the same values as leaves of a new graph, whose gradients can be read.
    pub(crate) fn leaf(&self) -> Self {
        let leaf = |tensor: &Tensor<2>| Tensor::from_inner(tensor.clone().inner()).require_grad();
        Self {
            value: leaf(&self.value),
            class: leaf(&self.class),
        }
    }
}

/// Runs a discriminator forward on candidates, and on the real series first if `with_real`, in one pass.
pub(crate) fn discriminate(
    net: &Discriminator,
    series_bars: usize,
    batch: &Batch,
    candidates: &[Candidate],
    shown: impl Iterator<Item = usize>,
    with_real: bool,
) -> DiscriminatorOutput {
    let shown: Vec<usize> = shown.collect();
    let mut series = Vec::new();
    let mut classes = Vec::new();
    let mut show = |value: Tensor<2>, class: Tensor<2>| {
        let (s, c) = batch.series(series_bars, value, class);
        series.push(s);
        classes.push(c);
    };
    if with_real {
        show(batch.target.clone(), batch.class.clone());
    }
    for i in &shown {
        show(candidates[*i].value.clone(), candidates[*i].class.clone());
    }
    if series.is_empty() {
        return DiscriminatorOutput {
            real: None,
            fake: vec![],
        };
    }
    let [rows, _] = batch.target.dims();
    let logits = net.forward(Tensor::cat(series, 0), Tensor::cat(classes, 0));
    let part = |at: usize| logits.clone().narrow(0, at * rows, rows);
    let first = usize::from(with_real);
    DiscriminatorOutput {
        real: with_real.then(|| part(0)),
        fake: shown
            .iter()
            .enumerate()
            .map(|(at, i)| (*i, part(at + first)))
            .collect(),
    }
}

/// Draws a class by softmax(logits) for each row, `[batch, classes]`: one-hot, with the gradient of
/// softmax(logits + Gumbel noise).
fn gumbel_softmax(logits: Tensor<2>, noise: &mut ChaCha8Rng) -> Result<Tensor<2>, TrainError> {
    let [rows, classes] = logits.dims();
    let draws: Vec<f32> = (0..rows * classes)
        .map(|_| {
            // In the open interval (0, 1).
            let uniform = (f64::from(noise.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
            -(-uniform.ln()).ln() as f32
        })
        .collect();
    let device = logits.device();
    let draws = Tensor::from_data(TensorData::new(draws, [rows, classes]), &device);
    let soft = softmax(logits + draws, 1);
    let (_, values) = numbers(soft.clone().detach())?;
    let hard: Vec<f32> = values
        .chunks(classes)
        .flat_map(|row| {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let first = row.iter().position(|p| *p == top);
            (0..classes).map(move |class| f32::from(u8::from(Some(class) == first)))
        })
        .collect();
    let hard = Tensor::from_data(TensorData::new(hard, [rows, classes]), &device);
    Ok(hard + (soft.clone() - soft.detach()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn::tensor::Device;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn sampled_classes_have_their_probabilities_as_frequencies_and_carry_a_gradient() {
        let device = Device::flex().autodiff();
        let row = [0.2f64.ln(), 0.5f64.ln(), 0.3f64.ln()];
        let logits = Tensor::<1>::from_floats(row, &device)
            .reshape([1, 3])
            .repeat_dim(0, 20_000)
            .require_grad();
        let mut noise = ChaCha8Rng::seed_from_u64(1);
        let drawn = gumbel_softmax(logits.clone(), &mut noise).unwrap();
        let (_, values) = numbers(drawn.clone().detach()).unwrap();
        let mut counts = [0.0f64; 3];
        for row in values.chunks(3) {
            assert_eq!(row.iter().filter(|p| **p == 1.0).count(), 1);
            assert_eq!(row.iter().sum::<f32>(), 1.0);
            let class = row.iter().position(|p| *p == 1.0).unwrap();
            counts[class] += 1.0 / 20_000.0;
        }
        // Four standard errors of a proportion of 20,000 draws are below 0.0145.
        for (found, expected) in counts.iter().zip([0.2, 0.5, 0.3]) {
            assert!((found - expected).abs() < 0.0145, "{counts:?}");
        }
        let gradients = drawn.narrow(1, 0, 1).sum().backward();
        let (_, gradient) = numbers(logits.grad(&gradients).unwrap()).unwrap();
        assert!(gradient.iter().any(|g| *g != 0.0));
    }
}
