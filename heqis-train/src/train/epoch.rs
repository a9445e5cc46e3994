//! The context of every pass, and the passes without discriminators: supervised training of a generator, with or without a
//! teacher, and training of the encoder.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;
use super::config::TrainConfig;
use super::cross_section::{Batches, StopBy, ValueLoss};
use super::curves::{Mean, Point};
use super::device::device_of;
use super::loss;
use super::phase::Phase;
use super::predict::predict;
use super::random::{Purpose, stream};
use super::state::{EncoderState, GeneratorState};
use super::worker_pool::WorkerPool;
use crate::corpus::{Corpus, Sample, Split};
use crate::error::TrainError;
use crate::metrics::Score;
use crate::metrics::forecast::Truth;
use crate::nets::generator::{Generator, GeneratorOutput};

/// Samples in one forward pass of the encoder outside of training.
const CHUNK: usize = 512;

/// The context of every pass: settings, samples, and the device with gradients.
pub(crate) struct TrainContext<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) corpus: &'a Corpus,
    pub(crate) device: Device,
    /// The threads that networks are trained on.
    pub(crate) workers: &'a WorkerPool,
    /// Called after every step.
    pub(crate) on_step: &'a (dyn Fn() + Sync),
}

impl TrainContext<'_> {
    /// Returns the training samples of a pass in its order.
    pub(crate) fn order(&self, phase: Phase, epoch: usize, pass: usize) -> Vec<Sample> {
        let mut samples = self.corpus.samples(Split::Training).to_vec();
        let mut rng = stream(self.config.seed, phase, epoch, pass, Purpose::Order);
        match self.config.data.batches {
            Batches::Samples => samples.shuffle(&mut rng),
            Batches::Days => samples = self.corpus.by_day(&samples, &mut rng),
        }
        let limit = self.config.data.samples_per_epoch;
        if limit > 0 {
            samples.truncate(limit);
        }
        samples
    }

    /// Returns the samples of each step of a pass.
    pub(crate) fn batches<'s>(&self, order: &'s [Sample]) -> Vec<&'s [Sample]> {
        let data = &self.config.data;
        match data.batches {
            Batches::Samples => order.chunks(self.config.batch_size).collect(),
            Batches::Days => {
                let days = self.corpus.day_counts(order);
                let mut rest = order;
                let steps = days.chunks(data.days_per_step);
                steps
                    .map(|days| {
                        let (step, later) = rest.split_at(days.iter().sum());
                        rest = later;
                        step
                    })
                    .collect()
            }
        }
    }

    /// Returns the random stream of a pass.
    pub(crate) fn noise(&self, phase: Phase, epoch: usize, pass: usize) -> ChaCha8Rng {
        stream(self.config.seed, phase, epoch, pass, Purpose::Noise)
    }

    /// Draws the dropout mask of a generator's hidden state, or `None` once it is stopped.
    pub(crate) fn dropout_mask(
        &self,
        generator: &GeneratorState,
        batch: &Batch,
        noise: &mut ChaCha8Rng,
    ) -> Option<Tensor<2>> {
        let [count, _] = batch.target.dims();
        match generator.stopped {
            true => None,
            false => generator.net.dropout_mask(count, noise),
        }
    }

    /// Runs a generator forward on a batch: with gradients and a mask of [`Self::dropout_mask`] until it is stopped.
    pub(crate) fn forward(
        &self,
        generator: &GeneratorState,
        batch: &Batch,
        mask: Option<Tensor<2>>,
    ) -> GeneratorOutput {
        let windows = batch.window(generator.spec.window_bars, generator.columns);
        match generator.stopped {
            true => self.infer(&generator.net, windows),
            false => generator.net.forward_train(windows, mask),
        }
    }

    /// Runs a network forward without gradients and without dropout.
    fn infer(&self, net: &Generator, windows: Tensor<3>) -> GeneratorOutput {
        let output = net.valid().forward(windows.inner());
        GeneratorOutput {
            value: Tensor::from_inner(output.value),
            logits: Tensor::from_inner(output.logits),
        }
    }

    /// Measures a generator on the validation span.
    pub(crate) fn score(&self, generator: &GeneratorState) -> Result<Score, TrainError> {
        let samples = self.corpus.samples(Split::Validation);
        let net = generator.net.valid();
        let forecast = predict(
            &net,
            generator.spec.window_bars,
            generator.columns,
            self.corpus,
            samples,
        )?;
        let truth = Truth::of(self.corpus, samples);
        Ok(Score::of(&forecast, &truth, self.corpus.target_scale))
    }

    /// Returns what early stopping and every choice minimise: the supervised loss of a score, with the squared error whatever
    /// the loss of the value is, or 1 minus its RankIC.
    pub(crate) fn validation_loss(&self, score: &Score) -> f64 {
        let losses = self.config.losses;
        match self.config.schedule.stop_by {
            StopBy::Loss => losses.value * score.mse + losses.class * score.cross_entropy,
            // A forecast that is the same for all instruments ranks nothing.
            StopBy::RankIc => 1.0 - score.rank_ic.unwrap_or(0.0),
        }
    }

    pub(crate) fn step(&self) {
        (self.on_step)();
    }
}

/// Returns the loss of the value and the cross-entropy of an output, both `[1]`.
pub(crate) fn supervised_losses(
    value_loss: ValueLoss,
    output: GeneratorOutput,
    batch: &Batch,
) -> (Tensor<1>, Tensor<1>) {
    (
        value_loss.of(output.value, batch.target.clone(), &batch.days),
        loss::cross_entropy(output.logits, batch.class.clone()),
    )
}

/// Returns the only element of a tensor.
pub(crate) fn number(tensor: Tensor<1>) -> Result<f64, TrainError> {
    let value: f32 = tensor
        .try_into_scalar()
        .map_err(|source| TrainError::training("loss", format!("{source:?}")))?;
    Ok(value.into())
}

/// Trains one generator by the supervised losses, or by distillation from a teacher.
pub(crate) fn supervised(
    context: &TrainContext<'_>,
    generator: &mut GeneratorState,
    teacher: Option<&GeneratorState>,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
) -> Result<Point, TrainError> {
    let losses = context.config.losses;
    let rule = context.config.schedule.distillation();
    let (mut total, mut squares, mut logs, mut norms) = <(Mean, Mean, Mean, Mean)>::default();
    for chunk in context.batches(order) {
        let batch = context.corpus.batch(chunk, &context.device);
        let mask = context.dropout_mask(generator, &batch, noise);
        let output = context.forward(generator, &batch, mask);
        let logits = output.logits.clone();
        let (mse, cross_entropy) = supervised_losses(losses.value_loss, output, &batch);
        squares.add(number(mse.clone())?, chunk.len());
        logs.add(number(cross_entropy.clone())?, chunk.len());
        let loss = match teacher {
            Some(teacher) => {
                let windows = batch.window(teacher.spec.window_bars, teacher.columns);
                let teacher_logits = context.infer(&teacher.net, windows).logits;
                rule.loss(teacher_logits, logits, (cross_entropy, mse))
            }
            None => mse.mul_scalar(losses.value) + cross_entropy.mul_scalar(losses.class),
        };
        total.add(number(loss.clone())?, chunk.len());
        let mut gradients = loss.backward();
        let rate = generator.plateau.rate;
        let (net, norm) = generator
            .optimiser
            .step(generator.net.clone(), &mut gradients, rate);
        generator.net = net;
        norms.add(norm, 1);
        context.step();
    }
    Ok(Point {
        network: generator.spec.name.clone(),
        loss: total.get(),
        mse: squares.get(),
        cross_entropy: logs.get(),
        learning_rate: Some(generator.plateau.rate),
        gradient_norm: norms.get(),
        ..Point::default()
    })
}

/// Trains the encoder, and computes its loss on the validation span.
pub(crate) fn encoder(
    context: &TrainContext<'_>,
    encoder: &mut EncoderState,
    order: &[Sample],
    noise: &mut ChaCha8Rng,
    validation_noise: &mut ChaCha8Rng,
) -> Result<Point, TrainError> {
    let rate = context.config.optimiser.learning_rate;
    let (mut total, mut norms, mut validation) = <(Mean, Mean, Mean)>::default();
    for chunk in order.chunks(context.config.batch_size) {
        let windows = context.corpus.encoder_windows(chunk, &context.device);
        let loss = encoder.net.loss(windows, noise)?;
        total.add(number(loss.clone())?, chunk.len());
        let mut gradients = loss.backward();
        let (net, norm) = encoder
            .optimiser
            .step(encoder.net.clone(), &mut gradients, rate);
        encoder.net = net;
        norms.add(norm, 1);
        context.step();
    }
    let net = encoder.net.valid();
    for chunk in context.corpus.samples(Split::Validation).chunks(CHUNK) {
        let windows = context.corpus.encoder_windows(chunk, &device_of(&net));
        validation.add(number(net.loss(windows, validation_noise)?)?, chunk.len());
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
