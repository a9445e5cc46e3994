//! One pass of adversarial training: for each batch, discriminators take a step, then generators.
//!
//! Networks of one kind do not depend on each other within a step, so the worker pool trains them in parallel. For that, a
//! generators' step has two halves: each discriminator returns the gradient of its adversarial losses by the candidates, and
//! each generator continues the backward pass from the sum of these gradients. By the chain rule this equals one backward pass
//! through both.

use burn::module::Module;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;
use super::candidate::{Candidate, discriminate};
use super::curves::{Mean, Point};
use super::epoch::{TrainContext, number, supervised_losses};
use super::loss;
use super::schedule::PairWeights;
use super::state::{DiscriminatorState, GeneratorState};
use crate::corpus::{Sample, Split};
use crate::error::TrainError;
use crate::nets::discriminator::Discriminator;
use crate::nets::generator::{Generator, GeneratorOutput};

/// A generator during one pass, with the means of its metrics.
struct GeneratorTurn<'a> {
    generator: &'a mut GeneratorState,
    loss: Mean,
    mse: Mean,
    cross_entropy: Mean,
    adversarial: Mean,
    norm: Mean,
}

/// A discriminator during one pass, with the means of its metrics.
struct DiscriminatorTurn<'a> {
    place: usize,
    discriminator: &'a mut DiscriminatorState,
    rate: f64,
    loss: Mean,
    real: Mean,
    fake: Mean,
    norm: Mean,
}

/// The gradient of one discriminator's adversarial loss by one generator's candidate.
struct CandidateGradient {
    /// Index of the generator.
    generator: usize,
    /// The generator's adversarial loss, weighted by the pair's weight, mean over the batch.
    adversarial_loss: f64,
    /// Gradient of the generator's loss by the candidate's value, `[batch, 1]`.
    value: Tensor<2>,
    /// The same by its class, `[batch, 3]`.
    class: Tensor<2>,
}

/// Runs one pass and returns a point for each generator and each discriminator, in this order.
///
/// A stopped generator still produces candidates for the discriminators, and its weights stay.
///
/// # Errors
///
/// [`TrainError::Rule`] when a loss cannot be read.
pub(crate) fn pass(
    context: &TrainContext<'_>,
    generators: &mut [&mut GeneratorState],
    discriminators: &mut [&mut DiscriminatorState],
    weights: &PairWeights,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<Point>, TrainError> {
    let mut generator_turns: Vec<GeneratorTurn<'_>> = generators
        .iter_mut()
        .map(|generator| GeneratorTurn::new(generator))
        .collect();
    let mut discriminator_turns: Vec<DiscriminatorTurn<'_>> = discriminators
        .iter_mut()
        .enumerate()
        .map(|(place, discriminator)| DiscriminatorTurn::new(context, place, discriminator))
        .collect();
    for chunk in context.batches(order) {
        let batch = &context.corpus.batch(chunk, &context.device);
        let outputs = outputs(context, &generator_turns, batch, noise);
        let encoding = context.config.losses.judged_class;
        let candidates = outputs
            .iter()
            .map(|output| Candidate::of(output, encoding, noise))
            .collect::<Result<Vec<_>, _>>()?;
        // Detached, so that no gradient reaches a generator in the discriminators' step.
        let given: Vec<Candidate> = candidates.iter().map(Candidate::detached).collect();
        context.workers.try_map(&mut discriminator_turns, |turn| {
            turn.learn(batch, &given, weights)
        })?;

        let learning: Vec<bool> = generator_turns
            .iter()
            .map(|turn| !turn.generator.stopped)
            .collect();
        let gradients = context.workers.try_map(&discriminator_turns, |turn| {
            turn.gradients(context, batch, &given, weights, &learning)
        })?;
        let gradients: Vec<CandidateGradient> = gradients.into_iter().flatten().collect();
        let turns = generator_turns
            .iter_mut()
            .zip(outputs)
            .zip(candidates)
            .enumerate();
        let turns = turns.filter(|(place, _)| learning[*place]);
        context
            .workers
            .try_map(turns, |(place, ((turn, output), candidate))| {
                let own = gradients
                    .iter()
                    .filter(|gradient| gradient.generator == place);
                turn.learn(context, batch, output, candidate, own)
            })?;
        context.step();
    }
    let generators = generator_turns.iter().map(GeneratorTurn::point);
    Ok(generators
        .chain(discriminator_turns.iter().map(DiscriminatorTurn::point))
        .collect())
}

/// Returns every generator's output for a batch.
fn outputs(
    context: &TrainContext<'_>,
    generator_turns: &[GeneratorTurn<'_>],
    batch: &Batch,
    noise: &mut ChaCha8Rng,
) -> Vec<GeneratorOutput> {
    // Sequential, since all masks come from one random stream.
    let masks: Vec<_> = generator_turns
        .iter()
        .map(|turn| context.dropout_mask(turn.generator, batch, noise))
        .collect();
    context
        .workers
        .map(generator_turns.iter().zip(masks), |(turn, mask)| {
            context.forward(turn.generator, batch, mask)
        })
}

impl<'a> GeneratorTurn<'a> {
    fn new(generator: &'a mut GeneratorState) -> Self {
        Self {
            generator,
            loss: Mean::default(),
            mse: Mean::default(),
            cross_entropy: Mean::default(),
            adversarial: Mean::default(),
            norm: Mean::default(),
        }
    }

    /// Takes a step by the supervised losses and the discriminators' gradients.
    fn learn<'s>(
        &mut self,
        context: &TrainContext<'_>,
        batch: &Batch,
        output: GeneratorOutput,
        candidate: Candidate,
        gradients: impl DoubleEndedIterator<Item = &'s CandidateGradient>,
    ) -> Result<(), TrainError> {
        let (losses, [count, _]) = (context.config.losses, batch.target.dims());
        let (mse, cross_entropy) = supervised_losses(losses.value_loss, output, batch);
        let numbers = (number(mse.clone())?, number(cross_entropy.clone())?);
        let mut total = losses.value * numbers.0 + losses.class * numbers.1;
        let mut loss = mse.mul_scalar(losses.value) + cross_entropy.mul_scalar(losses.class);
        let (mut adversarial_loss, mut candidate_gradient) = (None, None::<[Tensor<2>; 2]>);
        // Last discriminator first: the order in which one backward pass through all of them would add.
        for gradient in gradients.rev() {
            *adversarial_loss.get_or_insert(0.0) += gradient.adversarial_loss;
            let (own_value, own_class) = (gradient.value.clone(), gradient.class.clone());
            candidate_gradient = Some(match candidate_gradient {
                None => [own_value, own_class],
                Some([value, class]) => [value + own_value, class + own_class],
            });
        }
        if let Some([value, class]) = candidate_gradient {
            let value = candidate.value * Tensor::from_inner(value);
            let class = candidate.class * Tensor::from_inner(class);
            loss = loss + (value.sum() + class.sum());
        }
        if let Some(adversarial_loss) = adversarial_loss {
            self.adversarial.add(adversarial_loss, count);
            total += losses.adversarial * adversarial_loss;
        }
        self.loss.add(total, count);
        self.mse.add(numbers.0, count);
        self.cross_entropy.add(numbers.1, count);
        let mut gradients = loss.backward();
        let generator = &mut *self.generator;
        let (net, norm) = generator.optimiser.step(
            generator.net.clone(),
            &mut gradients,
            generator.plateau.rate,
        );
        generator.net = net;
        self.norm.add(norm, 1);
        Ok(())
    }

    fn point(&self) -> Point {
        Point {
            network: self.generator.spec.name.clone(),
            loss: self.loss.get(),
            mse: self.mse.get(),
            cross_entropy: self.cross_entropy.get(),
            adversarial: self.adversarial.get(),
            learning_rate: Some(self.generator.plateau.rate),
            gradient_norm: self.norm.get(),
            ..Point::default()
        }
    }
}

impl<'a> DiscriminatorTurn<'a> {
    fn new(
        context: &TrainContext<'_>,
        place: usize,
        discriminator: &'a mut DiscriminatorState,
    ) -> Self {
        Self {
            place,
            discriminator,
            rate: context.config.optimiser.discriminator_learning_rate,
            loss: Mean::default(),
            real: Mean::default(),
            fake: Mean::default(),
            norm: Mean::default(),
        }
    }

    /// Classifies the real series and the candidates, and takes a step.
    fn learn(
        &mut self,
        batch: &Batch,
        given: &[Candidate],
        weights: &PairWeights,
    ) -> Result<(), TrainError> {
        let (discriminator, [count, _]) = (&mut *self.discriminator, batch.target.dims());
        let shown = (0..given.len()).filter(|i| weights.of(self.place, *i) > 0.0);
        let output = discriminate(
            &discriminator.net,
            discriminator.series_bars,
            batch,
            given,
            shown,
            true,
        );
        if let Some(real) = &output.real {
            self.real.add(positive(real)?, count);
        }
        for (_, fake) in &output.fake {
            self.fake.add(1.0 - positive(fake)?, count);
        }
        if let Some(loss) = loss::discriminator(self.place, &output, weights) {
            self.loss.add(number(loss.clone())?, count);
            let mut gradients = loss.backward();
            let (net, norm) =
                discriminator
                    .optimiser
                    .step(discriminator.net.clone(), &mut gradients, self.rate);
            discriminator.net = net;
            self.norm.add(norm, 1);
        }
        Ok(())
    }

    /// Returns the gradients of the adversarial losses by the candidates of the generators that learn. The discriminator's own
    /// weights are constants here.
    fn gradients(
        &self,
        context: &TrainContext<'_>,
        batch: &Batch,
        given: &[Candidate],
        weights: &PairWeights,
        learning: &[bool],
    ) -> Result<Vec<CandidateGradient>, TrainError> {
        let net = self.discriminator.net.clone().no_grad();
        let leaves: Vec<Candidate> = given.iter().map(Candidate::leaf).collect();
        let shown = (0..leaves.len()).filter(|i| weights.of(self.place, *i) > 0.0 && learning[*i]);
        let output = discriminate(
            &net,
            self.discriminator.series_bars,
            batch,
            &leaves,
            shown,
            false,
        );
        let (mut total, mut adversarial_loss) = (None, Vec::new());
        for (generator, loss) in loss::adversarial_losses(self.place, &output, weights) {
            adversarial_loss.push((generator, number(loss.clone())?));
            loss::add(
                &mut total,
                loss.mul_scalar(context.config.losses.adversarial),
            );
        }
        let Some(total) = total else {
            return Ok(Vec::new());
        };
        let gradients = total.backward();
        let of = |leaf: &Tensor<2>| {
            let rule = || "a discriminator's output must depend on every candidate".to_owned();
            leaf.grad(&gradients)
                .ok_or_else(|| TrainError::training(&self.discriminator.name, rule()))
        };
        adversarial_loss
            .into_iter()
            .map(|(generator, adversarial_loss)| {
                Ok(CandidateGradient {
                    generator,
                    adversarial_loss,
                    value: of(&leaves[generator].value)?,
                    class: of(&leaves[generator].class)?,
                })
            })
            .collect()
    }

    fn point(&self) -> Point {
        Point {
            network: self.discriminator.name.clone(),
            loss: self.loss.get(),
            learning_rate: Some(self.rate),
            gradient_norm: self.norm.get(),
            real_accuracy: self.real.get(),
            fake_accuracy: self.fake.get(),
            ..Point::default()
        }
    }
}

/// Returns each discriminator's loss on the validation span, with equal weights for all candidates; lower is better.
pub(crate) fn discriminator_losses(
    context: &TrainContext<'_>,
    generators: &[GeneratorState],
    discriminators: &[DiscriminatorState],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<f64>, TrainError> {
    let encoding = context.config.losses.judged_class;
    let device = context.device.clone().inner();
    let weights = PairWeights::shared(generators.len());
    let mut means = vec![Mean::default(); discriminators.len()];
    let generators: Vec<(&GeneratorState, Generator)> =
        generators.iter().map(|p| (p, p.net.valid())).collect();
    let discriminators: Vec<(&DiscriminatorState, Discriminator)> =
        discriminators.iter().map(|j| (j, j.net.valid())).collect();
    let samples = context.corpus.samples(Split::Validation);
    for chunk in samples.chunks(context.config.batch_size) {
        let batch = context.corpus.batch(chunk, &device);
        let candidates = generators
            .iter()
            .map(|(generator, net)| {
                let windows = batch.window(generator.spec.window_bars, generator.columns);
                Candidate::of(&net.forward(windows), encoding, noise)
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (j, ((discriminator, net), mean)) in discriminators.iter().zip(&mut means).enumerate() {
            let shown = 0..candidates.len();
            let output = discriminate(
                net,
                discriminator.series_bars,
                &batch,
                &candidates,
                shown,
                true,
            );
            if let Some(loss) = loss::discriminator(j, &output, &weights) {
                mean.add(number(loss)?, chunk.len());
            }
        }
    }
    Ok(means
        .iter()
        .map(|mean| mean.get().unwrap_or(f64::INFINITY))
        .collect())
}

/// Returns the share of logits above 0.
fn positive(logits: &Tensor<2>) -> Result<f64, TrainError> {
    number(logits.clone().inner().greater_scalar(0.0).float().mean())
}
