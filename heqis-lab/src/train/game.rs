//! One pass of the game over some samples: discriminators' turn, generators' turn, batch after batch.

use burn::module::Module;
use burn::tensor::activation::softmax;
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::config::JudgedClass;
use super::corpus::{Batch, Part, Sample};
use super::curves::{Mean, Point};
use super::loss::{self, Verdict, add};
use super::passes::{Room, number, supervised};
use super::schedule::PairWeights;
use super::state::{Judge, Player};
use super::tensors::numbers;
use crate::error::LabError;
use crate::nets::discriminator::Discriminator;
use crate::nets::generator::{Generator, GeneratorOutput};

/// What a generator puts before a discriminator.
#[derive(Clone)]
struct Candidate {
    /// `[batch, 1]`.
    value: Tensor<2>,
    /// Class with a gradient that reaches the logits, `[batch, 3]`.
    class: Tensor<2>,
}

impl Candidate {
    fn of(
        output: &GeneratorOutput,
        judged: JudgedClass,
        noise: &mut ChaCha8Rng,
    ) -> Result<Self, LabError> {
        let logits = output.logits.clone();
        Ok(Self {
            value: output.value.clone(),
            class: match judged {
                JudgedClass::Softmax => softmax(logits, 1),
                JudgedClass::Gumbel => gumbel_softmax(logits, noise)?,
            },
        })
    }

    fn detached(&self) -> Self {
        Self {
            value: self.value.clone().detach(),
            class: self.class.clone().detach(),
        }
    }
}

/// Plays one pass and returns a point for each player and each judge, in this order.
///
/// A stopped player stays in the game as it is: its candidates are judged, and it learns nothing.
///
/// # Errors
///
/// [`LabError::Training`] when a loss cannot be read.
pub(crate) fn pass(
    room: &Room<'_>,
    players: &mut [&mut Player],
    judges: &mut [&mut Judge],
    weights: &PairWeights,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<Point>, LabError> {
    #[derive(Clone, Default)]
    struct PlayerMeans {
        loss: Mean,
        mse: Mean,
        cross_entropy: Mean,
        deception: Mean,
        norm: Mean,
    }
    #[derive(Clone, Default)]
    struct JudgeMeans {
        loss: Mean,
        real: Mean,
        fake: Mean,
        norm: Mean,
    }
    let mut player_means = vec![PlayerMeans::default(); players.len()];
    let stopped: Vec<bool> = players.iter().map(|player| player.stopped).collect();
    let mut judge_means = vec![JudgeMeans::default(); judges.len()];
    let losses = room.config.losses;
    for chunk in order.chunks(room.config.batch_size) {
        let batch = room.corpus.batch(chunk, &room.device);
        let outputs: Vec<GeneratorOutput> = players
            .iter()
            .map(|player| room.answer(player, &batch, noise))
            .collect();
        let candidates = outputs
            .iter()
            .map(|output| Candidate::of(output, losses.judged_class, noise))
            .collect::<Result<Vec<_>, _>>()?;

        // The discriminators' turn: candidates are given, so that no gradient goes back into a generator.
        let given: Vec<Candidate> = candidates.iter().map(Candidate::detached).collect();
        let verdicts: Vec<Verdict> = judges
            .iter()
            .enumerate()
            .map(|(j, judge)| {
                let shown = (0..given.len()).filter(|i| weights.of(j, *i) > 0.0);
                verdict(&judge.net, judge.series_bars, &batch, &given, shown, true)
            })
            .collect();
        let mut total = None;
        for (j, (verdict, means)) in verdicts.iter().zip(&mut judge_means).enumerate() {
            if let Some(own) = loss::discriminator(j, verdict, weights) {
                means.loss.add(number(own.clone())?, chunk.len());
                add(&mut total, own);
            }
            if let Some(real) = &verdict.real {
                means.real.add(positive(real)?, chunk.len());
            }
            for (_, fake) in &verdict.fake {
                means.fake.add(1.0 - positive(fake)?, chunk.len());
            }
        }
        if let Some(total) = total {
            let mut gradients = total.backward();
            for (judge, means) in judges.iter_mut().zip(&mut judge_means) {
                let rate = room.config.optimiser.discriminator_learning_rate;
                let (net, norm) = judge
                    .optimiser
                    .step(judge.net.clone(), &mut gradients, rate);
                judge.net = net;
                means.norm.add(norm, 1);
            }
        }

        // The generators' turn: discriminators are given, and their weights need no gradient.
        let active = |i: &usize| !stopped[*i];
        let verdicts: Vec<Verdict> = judges
            .iter()
            .enumerate()
            .map(|(j, judge)| {
                let net = judge.net.clone().no_grad();
                let shown = (0..candidates.len()).filter(|i| weights.of(j, *i) > 0.0 && active(i));
                verdict(&net, judge.series_bars, &batch, &candidates, shown, false)
            })
            .collect();
        let mut total = None;
        for (i, (output, means)) in outputs.into_iter().zip(&mut player_means).enumerate() {
            if stopped[i] {
                continue;
            }
            let (mse, cross_entropy) = supervised(output, &batch);
            let mut own_loss = mse.clone().mul_scalar(losses.value)
                + cross_entropy.clone().mul_scalar(losses.class);
            if let Some(deception) = loss::deception(i, &verdicts, weights) {
                means.deception.add(number(deception.clone())?, chunk.len());
                own_loss = own_loss + deception.mul_scalar(losses.deception);
            }
            means.loss.add(number(own_loss.clone())?, chunk.len());
            means.mse.add(number(mse)?, chunk.len());
            means.cross_entropy.add(number(cross_entropy)?, chunk.len());
            add(&mut total, own_loss);
        }
        if let Some(total) = total {
            let mut gradients = total.backward();
            for (player, means) in players.iter_mut().zip(&mut player_means) {
                if player.stopped {
                    continue;
                }
                let rate = player.plateau.rate;
                let (net, norm) = player
                    .optimiser
                    .step(player.net.clone(), &mut gradients, rate);
                player.net = net;
                means.norm.add(norm, 1);
            }
        }
        room.step();
    }
    let players = players
        .iter()
        .zip(player_means)
        .map(|(player, means)| Point {
            network: player.spec.name.clone(),
            loss: means.loss.get(),
            mse: means.mse.get(),
            cross_entropy: means.cross_entropy.get(),
            deception: means.deception.get(),
            learning_rate: Some(player.plateau.rate),
            gradient_norm: means.norm.get(),
            ..Point::default()
        });
    let points: Vec<Point> = players.collect();
    let judges = judges.iter().zip(judge_means).map(|(judge, means)| Point {
        network: judge.name.clone(),
        loss: means.loss.get(),
        learning_rate: Some(room.config.optimiser.discriminator_learning_rate),
        gradient_norm: means.norm.get(),
        real_accuracy: means.real.get(),
        fake_accuracy: means.fake.get(),
        ..Point::default()
    });
    Ok(points.into_iter().chain(judges).collect())
}

/// Returns what each discriminator pays on the validation span, all candidates counted alike: the best has the least.
pub(crate) fn judge_losses(
    room: &Room<'_>,
    players: &[Player],
    judges: &[Judge],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<f64>, LabError> {
    let judged = room.config.losses.judged_class;
    let device = room.device.clone().inner();
    let weights = PairWeights::shared(players.len());
    let mut means = vec![Mean::default(); judges.len()];
    let players: Vec<(&Player, Generator)> = players.iter().map(|p| (p, p.net.valid())).collect();
    let judges: Vec<(&Judge, Discriminator)> = judges.iter().map(|j| (j, j.net.valid())).collect();
    let samples = room.corpus.samples(Part::Validation);
    for chunk in samples.chunks(room.config.batch_size) {
        let batch = room.corpus.batch(chunk, &device);
        let candidates = players
            .iter()
            .map(|(player, net)| {
                let windows = batch.window(player.spec.window_bars, player.columns);
                Candidate::of(&net.forward(windows), judged, noise)
            })
            .collect::<Result<Vec<_>, _>>()?;
        for (j, ((judge, net), mean)) in judges.iter().zip(&mut means).enumerate() {
            let shown = 0..candidates.len();
            let verdict = verdict(net, judge.series_bars, &batch, &candidates, shown, true);
            if let Some(loss) = loss::discriminator(j, &verdict, &weights) {
                mean.add(number(loss)?, chunk.len());
            }
        }
    }
    Ok(means
        .iter()
        .map(|mean| mean.get().unwrap_or(f64::INFINITY))
        .collect())
}

/// Lets one discriminator judge candidates, and the real series first when asked, in one forward pass.
fn verdict(
    net: &Discriminator,
    series_bars: usize,
    batch: &Batch,
    candidates: &[Candidate],
    shown: impl Iterator<Item = usize>,
    with_real: bool,
) -> Verdict {
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
        return Verdict {
            real: None,
            fake: vec![],
        };
    }
    let [rows, _] = batch.target.dims();
    let logits = net.forward(Tensor::cat(series, 0), Tensor::cat(classes, 0));
    let part = |at: usize| logits.clone().narrow(0, at * rows, rows);
    let first = usize::from(with_real);
    Verdict {
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
fn gumbel_softmax(logits: Tensor<2>, noise: &mut ChaCha8Rng) -> Result<Tensor<2>, LabError> {
    let [rows, classes] = logits.dims();
    let draws: Vec<f32> = (0..rows * classes)
        .map(|_| {
            // Between 0 and 1, without both.
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

/// Returns the share of logits above 0.
fn positive(logits: &Tensor<2>) -> Result<f64, LabError> {
    number(logits.clone().inner().greater_scalar(0.0).float().mean())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use burn::tensor::Device;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn drawn_classes_come_as_often_as_their_probabilities_and_carry_gradient() {
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
        // Four standard errors of a share of 20,000 draws are below 0.0145.
        for (found, wanted) in counts.iter().zip([0.2, 0.5, 0.3]) {
            assert!((found - wanted).abs() < 0.0145, "{counts:?}");
        }
        let gradients = drawn.narrow(1, 0, 1).sum().backward();
        let (_, gradient) = numbers(logits.grad(&gradients).unwrap()).unwrap();
        assert!(gradient.iter().any(|g| *g != 0.0));
    }
}
