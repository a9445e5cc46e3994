//! What every pass needs, and the passes without opponents: a generator alone, a student with its teacher, the encoder.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::config::TrainConfig;
use super::corpus::{Batch, Corpus, Part, Sample};
use super::crew::Crew;
use super::curves::{Mean, Point};
use super::device::device_of;
use super::loss;
use super::predict::{Score, predict};
use super::random::{Purpose, stream};
use super::state::{Coder, Phase, Player};
use crate::error::TrainError;
use crate::nets::generator::{Generator, GeneratorOutput};

/// Samples that an encoder answers at once outside of training.
const CHUNK: usize = 512;

/// Where a pass happens: settings, samples, and the device with gradients.
pub(crate) struct Room<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) corpus: &'a Corpus,
    pub(crate) device: Device,
    /// Who works.
    pub(crate) crew: &'a Crew,
    /// Hears of every step.
    pub(crate) on_step: &'a (dyn Fn() + Sync),
}

impl Room<'_> {
    /// Returns the training samples of a pass in its order.
    pub(crate) fn order(&self, phase: Phase, epoch: usize, pass: usize) -> Vec<Sample> {
        let mut samples = self.corpus.samples(Part::Training).to_vec();
        let mut rng = stream(self.config.seed, phase, epoch, pass, Purpose::Order);
        samples.shuffle(&mut rng);
        let wanted = self.config.data.samples_per_epoch;
        if wanted > 0 {
            samples.truncate(wanted);
        }
        samples
    }

    /// Returns the noise of a pass.
    pub(crate) fn noise(&self, phase: Phase, epoch: usize, pass: usize) -> ChaCha8Rng {
        stream(self.config.seed, phase, epoch, pass, Purpose::Noise)
    }

    /// Draws what dropout leaves of a player's hidden state, when it still learns.
    pub(crate) fn dropout_mask(
        &self,
        player: &Player,
        batch: &Batch,
        noise: &mut ChaCha8Rng,
    ) -> Option<Tensor<2>> {
        let [count, _] = batch.target.dims();
        match player.stopped {
            true => None,
            false => player.net.dropout_mask(count, noise),
        }
    }

    /// Lets a player answer a batch, with gradients and a mask of [`Self::dropout_mask`] when it still learns.
    pub(crate) fn answer(
        &self,
        player: &Player,
        batch: &Batch,
        mask: Option<Tensor<2>>,
    ) -> GeneratorOutput {
        let windows = batch.window(player.spec.window_bars, player.columns);
        match player.stopped {
            true => self.answer_as_given(&player.net, windows),
            false => player.net.forward_train(windows, mask),
        }
    }

    /// Lets a network answer without gradients and without dropout.
    fn answer_as_given(&self, net: &Generator, windows: Tensor<3>) -> GeneratorOutput {
        let output = net.valid().forward(windows.inner());
        GeneratorOutput {
            value: Tensor::from_inner(output.value),
            logits: Tensor::from_inner(output.logits),
        }
    }

    /// Returns how good a player is on the validation span.
    pub(crate) fn score(&self, player: &Player) -> Result<Score, TrainError> {
        let samples = self.corpus.samples(Part::Validation);
        let net = player.net.valid();
        let said = predict(
            &net,
            player.spec.window_bars,
            player.columns,
            self.corpus,
            samples,
        )?;
        Ok(Score::of(&said, self.corpus.target_scale))
    }

    /// Returns the supervised loss of a score, weighted as in training.
    pub(crate) fn validation_loss(&self, score: &Score) -> f64 {
        let losses = self.config.losses;
        losses.value * score.mse + losses.class * score.cross_entropy
    }

    pub(crate) fn step(&self) {
        (self.on_step)();
    }
}

/// Returns the squared error and the cross-entropy of an answer, both `[1]`.
pub(crate) fn supervised(output: GeneratorOutput, batch: &Batch) -> (Tensor<1>, Tensor<1>) {
    (
        loss::mse(output.value, batch.target.clone()),
        loss::cross_entropy(output.logits, batch.class.clone()),
    )
}

/// Returns the one number of a tensor.
pub(crate) fn number(tensor: Tensor<1>) -> Result<f64, TrainError> {
    let value: f32 = tensor
        .try_into_scalar()
        .map_err(|source| TrainError::training("loss", format!("{source:?}")))?;
    Ok(value.into())
}

/// Lets one player learn alone, from a teacher's answers as well when there is one.
pub(crate) fn alone(
    room: &Room<'_>,
    player: &mut Player,
    teacher: Option<&Player>,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
) -> Result<Point, TrainError> {
    let losses = room.config.losses;
    let rule = room.config.schedule.distillation();
    let (mut total, mut squares, mut logs, mut norms) = <(Mean, Mean, Mean, Mean)>::default();
    for chunk in order.chunks(room.config.batch_size) {
        let batch = room.corpus.batch(chunk, &room.device);
        let mask = room.dropout_mask(player, &batch, noise);
        let output = room.answer(player, &batch, mask);
        let logits = output.logits.clone();
        let (mse, cross_entropy) = supervised(output, &batch);
        squares.add(number(mse.clone())?, chunk.len());
        logs.add(number(cross_entropy.clone())?, chunk.len());
        let loss = match teacher {
            Some(teacher) => {
                let windows = batch.window(teacher.spec.window_bars, teacher.columns);
                let wanted = room.answer_as_given(&teacher.net, windows).logits;
                rule.loss(wanted, logits, (cross_entropy, mse))
            }
            None => mse.mul_scalar(losses.value) + cross_entropy.mul_scalar(losses.class),
        };
        total.add(number(loss.clone())?, chunk.len());
        let mut gradients = loss.backward();
        let rate = player.plateau.rate;
        let (net, norm) = player
            .optimiser
            .step(player.net.clone(), &mut gradients, rate);
        player.net = net;
        norms.add(norm, 1);
        room.step();
    }
    Ok(Point {
        network: player.spec.name.clone(),
        loss: total.get(),
        mse: squares.get(),
        cross_entropy: logs.get(),
        learning_rate: Some(player.plateau.rate),
        gradient_norm: norms.get(),
        ..Point::default()
    })
}

/// Lets the encoder learn, and judges it on the validation span.
pub(crate) fn encoder(
    room: &Room<'_>,
    coder: &mut Coder,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
    judged_with: &mut ChaCha8Rng,
) -> Result<Point, TrainError> {
    let rate = room.config.optimiser.learning_rate;
    let (mut total, mut norms, mut validation) = <(Mean, Mean, Mean)>::default();
    for chunk in order.chunks(room.config.batch_size) {
        let windows = room.corpus.encoder_windows(chunk, &room.device);
        let loss = coder.net.loss(windows, noise)?;
        total.add(number(loss.clone())?, chunk.len());
        let mut gradients = loss.backward();
        let (net, norm) = coder
            .optimiser
            .step(coder.net.clone(), &mut gradients, rate);
        coder.net = net;
        norms.add(norm, 1);
        room.step();
    }
    let net = coder.net.valid();
    for chunk in room.corpus.samples(Part::Validation).chunks(CHUNK) {
        let windows = room.corpus.encoder_windows(chunk, &device_of(&net));
        validation.add(number(net.loss(windows, judged_with)?)?, chunk.len());
    }
    Ok(Point {
        network: "encoder".to_owned(),
        loss: total.get(),
        validation_loss: validation.get(),
        learning_rate: Some(rate),
        gradient_norm: norms.get(),
        ..Point::default()
    })
}
