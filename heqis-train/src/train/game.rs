//! One pass of the game over some samples: discriminators' turn, generators' turn, batch after batch.
//!
//! Networks of one side do not depend on each other within a turn, so that the crew works on them side by side. For that the
//! generators' turn has two halves: each discriminator tells how its verdicts slope along what it was shown, and each
//! generator goes on from the sum of these slopes. By the chain rule this is one backward pass through both.

use burn::module::Module;
use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use super::candidate::{Candidate, verdict};
use super::corpus::{Batch, Part, Sample};
use super::curves::{Mean, Point};
use super::loss;
use super::passes::{Room, number, supervised};
use super::schedule::PairWeights;
use super::state::{Judge, Player};
use crate::error::TrainError;
use crate::nets::discriminator::Discriminator;
use crate::nets::generator::{Generator, GeneratorOutput};

/// A generator in the game.
struct Seat<'a> {
    player: &'a mut Player,
    loss: Mean,
    mse: Mean,
    cross_entropy: Mean,
    deception: Mean,
    norm: Mean,
}

/// A discriminator in the game.
struct Bench<'a> {
    place: usize,
    judge: &'a mut Judge,
    rate: f64,
    loss: Mean,
    real: Mean,
    fake: Mean,
    norm: Mean,
}

/// What one discriminator has to say to one generator.
struct Slope {
    /// Place of the generator.
    player: usize,
    /// What the generator pays for being found out, as weighted in the game and a mean over the batch.
    paid: f64,
    /// Gradient of the generator's loss by the candidate's value, `[batch, 1]`.
    value: Tensor<2>,
    /// The same by its class, `[batch, 3]`.
    class: Tensor<2>,
}

/// Plays one pass and returns a point for each player and each judge, in this order.
///
/// A stopped player stays in the game as it is: its candidates are judged, and it learns nothing.
///
/// # Errors
///
/// [`TrainError::Rule`] when a loss cannot be read.
pub(crate) fn pass(
    room: &Room<'_>,
    players: &mut [&mut Player],
    judges: &mut [&mut Judge],
    weights: &PairWeights,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<Point>, TrainError> {
    let mut seats: Vec<Seat<'_>> = players.iter_mut().map(|player| Seat::new(player)).collect();
    let mut benches: Vec<Bench<'_>> = judges
        .iter_mut()
        .enumerate()
        .map(|(place, judge)| Bench::new(room, place, judge))
        .collect();
    for chunk in order.chunks(room.config.batch_size) {
        let batch = &room.corpus.batch(chunk, &room.device);
        let outputs = answers(room, &seats, batch, noise);
        let judged = room.config.losses.judged_class;
        let candidates = outputs
            .iter()
            .map(|output| Candidate::of(output, judged, noise))
            .collect::<Result<Vec<_>, _>>()?;
        // Without a way back, so that no gradient goes into a generator in the discriminators' turn.
        let given: Vec<Candidate> = candidates.iter().map(Candidate::detached).collect();
        room.crew
            .try_each(&mut benches, |bench| bench.learn(batch, &given, weights))?;

        let learning: Vec<bool> = seats.iter().map(|seat| !seat.player.stopped).collect();
        let slopes = room.crew.try_each(&benches, |bench| {
            bench.slopes(room, batch, &given, weights, &learning)
        })?;
        let slopes: Vec<Slope> = slopes.into_iter().flatten().collect();
        let turns = seats.iter_mut().zip(outputs).zip(candidates).enumerate();
        let turns = turns.filter(|(place, _)| learning[*place]);
        room.crew
            .try_each(turns, |(place, ((seat, output), candidate))| {
                let own = slopes.iter().filter(|slope| slope.player == place);
                seat.learn(room, batch, output, candidate, own)
            })?;
        room.step();
    }
    let players = seats.iter().map(Seat::point);
    Ok(players.chain(benches.iter().map(Bench::point)).collect())
}

/// Lets every player answer a batch.
fn answers(
    room: &Room<'_>,
    seats: &[Seat<'_>],
    batch: &Batch,
    noise: &mut ChaCha8Rng,
) -> Vec<GeneratorOutput> {
    // One after the other, since what is drawn for one decides what is drawn for the next.
    let masks: Vec<_> = seats
        .iter()
        .map(|seat| room.dropout_mask(seat.player, batch, noise))
        .collect();
    room.crew.each(seats.iter().zip(masks), |(seat, mask)| {
        room.answer(seat.player, batch, mask)
    })
}

impl<'a> Seat<'a> {
    fn new(player: &'a mut Player) -> Self {
        Self {
            player,
            loss: Mean::default(),
            mse: Mean::default(),
            cross_entropy: Mean::default(),
            deception: Mean::default(),
            norm: Mean::default(),
        }
    }

    /// Takes a step by what came and by what the discriminators said.
    fn learn<'s>(
        &mut self,
        room: &Room<'_>,
        batch: &Batch,
        output: GeneratorOutput,
        candidate: Candidate,
        slopes: impl DoubleEndedIterator<Item = &'s Slope>,
    ) -> Result<(), TrainError> {
        let (losses, [count, _]) = (room.config.losses, batch.target.dims());
        let (mse, cross_entropy) = supervised(output, batch);
        let numbers = (number(mse.clone())?, number(cross_entropy.clone())?);
        let mut told = losses.value * numbers.0 + losses.class * numbers.1;
        let mut loss = mse.mul_scalar(losses.value) + cross_entropy.mul_scalar(losses.class);
        let (mut paid, mut along) = (None, None::<[Tensor<2>; 2]>);
        // From the last discriminator on, as one backward pass through all of them would add.
        for slope in slopes.rev() {
            *paid.get_or_insert(0.0) += slope.paid;
            let (own_value, own_class) = (slope.value.clone(), slope.class.clone());
            along = Some(match along {
                None => [own_value, own_class],
                Some([value, class]) => [value + own_value, class + own_class],
            });
        }
        if let Some([value, class]) = along {
            let value = candidate.value * Tensor::from_inner(value);
            let class = candidate.class * Tensor::from_inner(class);
            loss = loss + (value.sum() + class.sum());
        }
        if let Some(paid) = paid {
            self.deception.add(paid, count);
            told += losses.deception * paid;
        }
        self.loss.add(told, count);
        self.mse.add(numbers.0, count);
        self.cross_entropy.add(numbers.1, count);
        let mut gradients = loss.backward();
        let player = &mut *self.player;
        let (net, norm) =
            player
                .optimiser
                .step(player.net.clone(), &mut gradients, player.plateau.rate);
        player.net = net;
        self.norm.add(norm, 1);
        Ok(())
    }

    fn point(&self) -> Point {
        Point {
            network: self.player.spec.name.clone(),
            loss: self.loss.get(),
            mse: self.mse.get(),
            cross_entropy: self.cross_entropy.get(),
            deception: self.deception.get(),
            learning_rate: Some(self.player.plateau.rate),
            gradient_norm: self.norm.get(),
            ..Point::default()
        }
    }
}

impl<'a> Bench<'a> {
    fn new(room: &Room<'_>, place: usize, judge: &'a mut Judge) -> Self {
        Self {
            place,
            judge,
            rate: room.config.optimiser.discriminator_learning_rate,
            loss: Mean::default(),
            real: Mean::default(),
            fake: Mean::default(),
            norm: Mean::default(),
        }
    }

    /// Judges the real series and the candidates, and takes a step.
    fn learn(
        &mut self,
        batch: &Batch,
        given: &[Candidate],
        weights: &PairWeights,
    ) -> Result<(), TrainError> {
        let (judge, [count, _]) = (&mut *self.judge, batch.target.dims());
        let shown = (0..given.len()).filter(|i| weights.of(self.place, *i) > 0.0);
        let verdict = verdict(&judge.net, judge.series_bars, batch, given, shown, true);
        if let Some(real) = &verdict.real {
            self.real.add(positive(real)?, count);
        }
        for (_, fake) in &verdict.fake {
            self.fake.add(1.0 - positive(fake)?, count);
        }
        if let Some(loss) = loss::discriminator(self.place, &verdict, weights) {
            self.loss.add(number(loss.clone())?, count);
            let mut gradients = loss.backward();
            let (net, norm) = judge
                .optimiser
                .step(judge.net.clone(), &mut gradients, self.rate);
            judge.net = net;
            self.norm.add(norm, 1);
        }
        Ok(())
    }

    /// Judges the candidates of generators that learn, and tells how their losses slope along them. The discriminator is
    /// given here: its weights need no gradient.
    fn slopes(
        &self,
        room: &Room<'_>,
        batch: &Batch,
        given: &[Candidate],
        weights: &PairWeights,
        learning: &[bool],
    ) -> Result<Vec<Slope>, TrainError> {
        let net = self.judge.net.clone().no_grad();
        let leaves: Vec<Candidate> = given.iter().map(Candidate::leaf).collect();
        let shown = (0..leaves.len()).filter(|i| weights.of(self.place, *i) > 0.0 && learning[*i]);
        let verdict = verdict(&net, self.judge.series_bars, batch, &leaves, shown, false);
        let (mut total, mut paid) = (None, Vec::new());
        for (player, loss) in loss::deceptions(self.place, &verdict, weights) {
            paid.push((player, number(loss.clone())?));
            loss::add(&mut total, loss.mul_scalar(room.config.losses.deception));
        }
        let Some(total) = total else {
            return Ok(Vec::new());
        };
        let gradients = total.backward();
        let of = |leaf: &Tensor<2>| {
            let rule = || "a verdict must depend on all that is shown".to_owned();
            leaf.grad(&gradients)
                .ok_or_else(|| TrainError::training(&self.judge.name, rule()))
        };
        paid.into_iter()
            .map(|(player, paid)| {
                Ok(Slope {
                    player,
                    paid,
                    value: of(&leaves[player].value)?,
                    class: of(&leaves[player].class)?,
                })
            })
            .collect()
    }

    fn point(&self) -> Point {
        Point {
            network: self.judge.name.clone(),
            loss: self.loss.get(),
            learning_rate: Some(self.rate),
            gradient_norm: self.norm.get(),
            real_accuracy: self.real.get(),
            fake_accuracy: self.fake.get(),
            ..Point::default()
        }
    }
}

/// Returns what each discriminator pays on the validation span, all candidates counted alike: the best has the least.
pub(crate) fn judge_losses(
    room: &Room<'_>,
    players: &[Player],
    judges: &[Judge],
    noise: &mut ChaCha8Rng,
) -> Result<Vec<f64>, TrainError> {
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

/// Returns the share of logits above 0.
fn positive(logits: &Tensor<2>) -> Result<f64, TrainError> {
    number(logits.clone().inner().greater_scalar(0.0).float().mean())
}
