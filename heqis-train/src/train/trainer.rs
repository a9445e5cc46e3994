//! The phases of a training, their epochs, and the transitions between phases.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Device;
use heqis_data::store::DataSet;
use heqis_quant::stats::LEAST_CROSS_SECTION;

use super::adversarial;
use super::config::TrainConfig;
use super::cross_section::{Batches, StopBy};
use super::curves::Point;
use super::device::device_of;
use super::epoch::{self, TrainContext};
use super::optimiser::Optimiser;
use super::phase::Phase;
use super::progress::{Event, ProgressObserver};
use super::run::{RunDir, RunManifest};
use super::schedule::{BestSoFar, PairWeights, Plateau};
use super::state::{GeneratorState, NextEpoch, State};
use super::tensors::numbers;
use super::worker_pool::WorkerPool;
use crate::corpus::{Corpus, Split};
use crate::error::TrainError;
use crate::metrics::Score;
use crate::metrics::daily::DailySeries;
use crate::metrics::forecast::Truth;
use crate::nets::generator::GeneratorKind;

/// Trains with the given settings into a run directory, and returns its manifest.
///
/// A new run needs a directory without one. With `resume`, a run with the same settings and data continues after its last
/// checkpoint, with the same result as an uninterrupted run.
///
/// # Errors
///
/// [`TrainError`] when settings or data are refused, the directory holds another run, or a file cannot be written.
pub fn train(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    observer: &mut dyn ProgressObserver,
) -> Result<RunManifest, TrainError> {
    config.check()?;
    let networks = match config.device.is_cpu() {
        true => config.generators.len(),
        false => 1,
    };
    let workers = WorkerPool::new(config.threads, networks)?;
    workers.run(|| train_on(config, out, resume, &workers, observer))
}

fn train_on(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    workers: &WorkerPool,
    observer: &mut dyn ProgressObserver,
) -> Result<RunManifest, TrainError> {
    let data = DataSet::open(&config.data.set)?;
    let corpus = Corpus::load(&data, &config.data, config.look_back())?;
    if config.schedule.stop_by == StopBy::RankIc {
        refuse_without_ranks(&corpus)?;
    }
    let device = config.device.open()?.autodiff();
    let state = State::new(config, corpus.features(), &device)?;
    let manifest = RunManifest::new(config, &data, &corpus, &state)?;
    let (run, checkpoint) = match resume {
        true => RunDir::resume(out, &manifest)?,
        false => (RunDir::create(out, &manifest, &corpus)?, None),
    };
    let state = match checkpoint {
        Some(tensors) => state.load(&tensors, &device.clone().inner())?,
        None => state,
    };
    let mut trainer = Trainer {
        config,
        corpus,
        state,
        device,
        workers,
        observer: Mutex::new(observer),
    };
    trainer.advance_phase()?;
    trainer.append_factors()?;
    trainer.report(&Event::Start {
        resumed: resume,
        next: trainer.state.next,
        cost: config.cost(trainer.steps()),
        left: config.cost_left(trainer.steps(), trainer.state.next),
        parameters: &manifest.parameters,
    })?;
    while trainer.state.next.phase != Phase::Done {
        let clock = trainer.state.next;
        let first = trainer.state.curves.len();
        trainer.epoch(clock)?;
        check_finite(&trainer.state.curves[first..])?;
        trainer.state.next.epoch += 1;
        trainer.advance_phase()?;
        run.checkpoint(&trainer.state)?;
        trainer.report(&Event::Epoch {
            phase: clock.phase,
            epoch: clock.epoch,
            of: config.epochs(clock.phase),
            next: trainer.state.next,
            left: config.cost_left(trainer.steps(), trainer.state.next),
            points: &trainer.state.curves[first..],
        })?;
        trainer.append_factors()?;
    }
    let manifest = run.finish(manifest, &trainer.state, &trainer.corpus)?;
    trainer.report(&Event::End {
        metrics: &manifest.metrics,
    })?;
    Ok(manifest)
}

/// Refuses a validation span without a day on which enough instruments can be ranked.
fn refuse_without_ranks(corpus: &Corpus) -> Result<(), TrainError> {
    let truth = Truth::of(corpus, corpus.samples(Split::Validation));
    match DailySeries::rank_ic(&truth.returns, &truth).mean(1) {
        Some(_) => Ok(()),
        None => {
            let rule = format!(
                "\"rank_ic\" needs days with at least {LEAST_CROSS_SECTION} instruments in the validation span, has none"
            );
            Err(TrainError::training("schedule.stop_by", rule))
        }
    }
}

/// Refuses an epoch after which a network has a non-finite loss: its weights are unusable, and no later epoch can repair them.
fn check_finite(points: &[Point]) -> Result<(), TrainError> {
    for point in points {
        let losses = [
            ("loss", point.loss),
            ("mse", point.mse),
            ("cross_entropy", point.cross_entropy),
            ("adversarial", point.adversarial),
            ("validation_loss", point.validation_loss),
            ("validation_mse", point.validation_mse),
            ("validation_cross_entropy", point.validation_cross_entropy),
        ];
        for (name, loss) in losses {
            if let Some(loss) = loss.filter(|loss| !loss.is_finite()) {
                let place = format!(
                    "{}, epoch {}, {}",
                    point.phase,
                    point.epoch + 1,
                    point.network
                );
                let rule = format!(
                    "{name} must be finite, got {loss}: the training has diverged; the run keeps the earlier epochs, and \
                     must be started again with a smaller learning rate or clip_norm"
                );
                return Err(TrainError::training(place, rule));
            }
        }
    }
    Ok(())
}

impl TrainConfig {
    /// Returns the maximum number of epochs of a phase.
    #[must_use]
    pub fn epochs(&self, phase: Phase) -> usize {
        let (_, factors) = self.encoder.shape();
        match phase {
            Phase::Encoder if factors == 0 => 0,
            Phase::Encoder => self.schedule.encoder_epochs,
            Phase::Pretraining => self.schedule.pretraining_epochs,
            Phase::Adversarial => self.schedule.adversarial_epochs,
            Phase::Done => 0,
        }
    }

    /// Returns the approximate cost of an epoch with `steps` steps, in supervised steps of one generator, for the estimate of
    /// the remaining time.
    fn epoch_cost(&self, phase: Phase, steps: usize) -> usize {
        let n = self.generators.len();
        match phase {
            Phase::Encoder => steps,
            Phase::Pretraining => steps * n,
            // Each generator takes part in two steps, the discriminators' and its own.
            Phase::Adversarial => 2 * steps * n,
            Phase::Done => 0,
        }
    }

    fn cost(&self, steps: usize) -> usize {
        let start = NextEpoch {
            phase: Phase::Encoder,
            epoch: 0,
        };
        self.cost_left(steps, start)
    }

    fn cost_left(&self, steps: usize, next: NextEpoch) -> usize {
        [Phase::Encoder, Phase::Pretraining, Phase::Adversarial]
            .into_iter()
            .filter(|phase| *phase >= next.phase)
            .map(|phase| {
                let done = if phase == next.phase { next.epoch } else { 0 };
                self.epochs(phase).saturating_sub(done) * self.epoch_cost(phase, steps)
            })
            .sum()
    }
}

/// The pass number of the noise with which discriminators are compared, above that of any training pass.
const EVALUATION_PASS: usize = 1_000;

/// A training in progress.
struct Trainer<'a, 'b> {
    config: &'a TrainConfig,
    corpus: Corpus,
    state: State,
    device: Device,
    workers: &'a WorkerPool,
    observer: Mutex<&'b mut dyn ProgressObserver>,
}

impl Trainer<'_, '_> {
    fn report(&self, event: &Event<'_>) -> Result<(), TrainError> {
        let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        observer.on_event(event)
    }

    /// Returns the number of steps in one pass over the training samples.
    fn steps(&self) -> usize {
        let all = self.corpus.samples(Split::Training).len();
        let samples = match self.config.data.samples_per_epoch {
            0 => all,
            limit => limit.min(all),
        };
        match self.config.data.batches {
            Batches::Samples => samples.div_ceil(self.config.batch_size),
            Batches::Days => {
                let samples = self.corpus.samples(Split::Training).iter();
                let days: BTreeSet<i64> = samples.map(|s| self.corpus.time_ns(s)).collect();
                days.len().div_ceil(self.config.data.days_per_step)
            }
        }
    }

    /// Advances past every phase without a remaining epoch.
    fn advance_phase(&mut self) -> Result<(), TrainError> {
        while self.state.next.phase != Phase::Done && self.phase_is_complete() {
            let next = match self.state.next.phase {
                Phase::Encoder => {
                    self.finish_encoder()?;
                    Phase::Pretraining
                }
                Phase::Pretraining => {
                    self.finish_pretraining();
                    Phase::Adversarial
                }
                Phase::Adversarial | Phase::Done => Phase::Done,
            };
            self.state.next = NextEpoch {
                phase: next,
                epoch: 0,
            };
        }
        Ok(())
    }

    fn phase_is_complete(&self) -> bool {
        let NextEpoch { phase, epoch } = self.state.next;
        let patience = self.config.schedule.patience_epochs;
        let stopped_early = match (phase, &self.state.encoder) {
            (Phase::Encoder, Some(encoder)) => encoder.best.is_over(patience),
            (Phase::Encoder, None) => true,
            _ => self
                .state
                .generators
                .iter()
                .all(|generator| generator.stopped),
        };
        stopped_early || epoch >= self.config.epochs(phase)
    }

    /// Restores the encoder's best weights, and copies it into the generators that contain one.
    fn finish_encoder(&mut self) -> Result<(), TrainError> {
        let Some(encoder) = &mut self.state.encoder else {
            return Ok(());
        };
        encoder.net = encoder.best_net.clone();
        for generator in &mut self.state.generators {
            if generator.spec.kind == GeneratorKind::Mpd {
                generator.net = generator.net.clone().with_encoder(encoder.net.clone())?;
                generator.best_net = generator.net.clone();
                generator.pretrained_net = generator.net.clone();
            }
        }
        Ok(())
    }

    /// Restores each generator's best weights, and resets its optimiser for adversarial training.
    fn finish_pretraining(&mut self) {
        for generator in &mut self.state.generators {
            generator.net = generator.best_net.clone();
            generator.pretrained_net = generator.best_net.clone();
            if self.config.schedule.adversarial_epochs > 0 {
                generator.optimiser = Optimiser::new(&self.config.optimiser);
                generator.plateau = Plateau::new(self.config.optimiser.learning_rate);
                generator.best = BestSoFar::default();
                generator.stopped = false;
            }
        }
    }

    /// Appends the encoder's factors to every row once the encoder is trained.
    fn append_factors(&mut self) -> Result<(), TrainError> {
        let Some(encoder) = &self.state.encoder else {
            return Ok(());
        };
        let done = self.corpus.columns > self.corpus.features();
        if done || self.state.next.phase == Phase::Encoder {
            return Ok(());
        }
        let net = encoder.best_net.valid();
        self.corpus
            .append_factors(encoder.factors, &device_of(&net), |windows| {
                Ok(numbers(net.encode(windows))?.1)
            })
    }

    /// Runs one epoch.
    fn epoch(&mut self, clock: NextEpoch) -> Result<(), TrainError> {
        let observer = &self.observer;
        let on_step = || {
            let mut observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
            observer.on_step();
        };
        let context = TrainContext {
            config: self.config,
            corpus: &self.corpus,
            device: self.device.clone(),
            workers: self.workers,
            on_step: &on_step,
        };
        let points = match clock.phase {
            Phase::Encoder => encoder_epoch(&context, &mut self.state, clock.epoch)?,
            Phase::Pretraining => pretraining_epoch(&context, &mut self.state, clock.epoch)?,
            Phase::Adversarial => adversarial_epoch(&context, &mut self.state, clock.epoch)?,
            Phase::Done => vec![],
        };
        self.state.curves.extend(points);
        Ok(())
    }
}

/// Sets the phase, epoch and pass of a point.
fn placed(point: Point, phase: &str, epoch: usize, pass: usize) -> Point {
    Point {
        phase: phase.to_owned(),
        epoch,
        pass,
        ..point
    }
}

/// Adds a score to a point.
fn scored(point: Point, context: &TrainContext<'_>, score: &Score) -> Point {
    Point {
        validation_loss: Some(context.validation_loss(score)),
        validation_mse: Some(score.mse),
        validation_cross_entropy: Some(score.cross_entropy),
        validation_direction: Some(score.direction.share),
        ..point
    }
}

fn encoder_epoch(
    context: &TrainContext<'_>,
    state: &mut State,
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let Some(encoder) = &mut state.encoder else {
        return Ok(vec![]);
    };
    let phase = Phase::Encoder;
    let order = context.order(phase, epoch, 0);
    let mut noise = context.noise(phase, epoch, 0);
    // Every epoch is validated with the same noise.
    let mut validation_noise = context.noise(phase, 0, 1);
    let point = epoch::encoder(context, encoder, &order, &mut noise, &mut validation_noise)?;
    if encoder
        .best
        .observe(point.validation_loss.unwrap_or(f64::NAN), epoch)
    {
        encoder.best_net = encoder.net.clone();
    }
    Ok(vec![placed(point, "encoder", epoch, 0)])
}

fn pretraining_epoch(
    context: &TrainContext<'_>,
    state: &mut State,
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let phase = Phase::Pretraining;
    let generators = state.generators.iter_mut().enumerate();
    let learning = generators.filter(|(_, generator)| !generator.stopped);
    context.workers.try_map(learning, |(place, generator)| {
        let order = context.order(phase, epoch, place);
        let mut noise = context.noise(phase, epoch, place);
        let point = epoch::supervised(context, generator, None, &order, &mut noise)?;
        let score = context.score(generator)?;
        record_score(context, generator, &score, epoch);
        Ok(scored(placed(point, "alone", epoch, 0), context, &score))
    })
}

/// Records the score of an epoch: keeps the best weights, reduces the rate on a plateau, and stops early.
fn record_score(
    context: &TrainContext<'_>,
    generator: &mut GeneratorState,
    score: &Score,
    epoch: usize,
) {
    let loss = context.validation_loss(score);
    if generator.best.observe(loss, epoch) {
        generator.best_net = generator.net.clone();
    }
    generator.plateau.observe(loss, &context.config.plateau);
    if generator
        .best
        .is_over(context.config.schedule.patience_epochs)
    {
        generator.stopped = true;
        generator.net = generator.best_net.clone();
    }
}

fn adversarial_epoch(
    context: &TrainContext<'_>,
    state: &mut State,
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let (phase, schedule) = (Phase::Adversarial, &context.config.schedule);
    let pairs = state.generators.len();
    let weights = PairWeights::at(epoch, schedule.identity_epochs, pairs);
    let order = context.order(phase, epoch, 0);
    let mut noise = context.noise(phase, epoch, 0);
    let mut generators: Vec<&mut GeneratorState> = state.generators.iter_mut().collect();
    let mut discriminators: Vec<_> = state.discriminators.iter_mut().collect();
    let pass_points = adversarial::pass(
        context,
        &mut generators,
        &mut discriminators,
        &weights,
        &order,
        &mut noise,
    )?;
    let mut scores = context
        .workers
        .try_map(&state.generators, |generator| context.score(generator))?;
    let mut points: Vec<Point> = pass_points
        .into_iter()
        .enumerate()
        .map(|(place, point)| {
            let point = placed(point, "game", epoch, 0);
            match scores.get(place) {
                Some(score) => scored(point, context, score),
                None => point,
            }
        })
        .collect();
    let due = schedule.distil_every > 0 && (epoch + 1).is_multiple_of(schedule.distil_every);
    if due && pairs > 1 {
        points.extend(distil(context, state, &mut scores, epoch)?);
        points.extend(fine_tune(context, state, &mut scores, epoch)?);
    }
    for (generator, score) in state.generators.iter_mut().zip(&scores) {
        if !generator.stopped {
            record_score(context, generator, score, epoch);
        }
    }
    Ok(points)
}

/// Distils the best generator by validation loss into the worst that is not stopped.
fn distil(
    context: &TrainContext<'_>,
    state: &mut State,
    scores: &mut [Score],
    epoch: usize,
) -> Result<Option<Point>, TrainError> {
    let loss = |place: &usize| context.validation_loss(&scores[*place]);
    let all = 0..state.generators.len();
    let best = all.clone().min_by(|a, b| loss(a).total_cmp(&loss(b)));
    let worst = all
        .filter(|place| !state.generators[*place].stopped)
        .max_by(|a, b| loss(a).total_cmp(&loss(b)));
    let (Some(best), Some(worst)) = (best, worst) else {
        return Ok(None);
    };
    if best == worst {
        return Ok(None);
    }
    let teacher = state.generators[best].clone();
    let student = &mut state.generators[worst];
    let order = context.order(Phase::Adversarial, epoch, 1);
    let mut noise = context.noise(Phase::Adversarial, epoch, 1);
    let point = epoch::supervised(context, student, Some(&teacher), &order, &mut noise)?;
    scores[worst] = context.score(student)?;
    let point = placed(point, "distil", epoch, 1);
    Ok(Some(scored(point, context, &scores[worst])))
}

/// Trains the best generator that is not stopped against the best discriminator for a few passes, and keeps the weights with the
/// least validation loss: when no pass was better than before, both are rolled back.
fn fine_tune(
    context: &TrainContext<'_>,
    state: &mut State,
    scores: &mut [Score],
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let epochs = context.config.schedule.fine_tune_epochs;
    let loss = |place: &usize| context.validation_loss(&scores[*place]);
    let best = (0..state.generators.len())
        .filter(|place| !state.generators[*place].stopped)
        .min_by(|a, b| loss(a).total_cmp(&loss(b)));
    let (Some(g), true) = (best, epochs > 0) else {
        return Ok(vec![]);
    };
    let mut noise = context.noise(Phase::Adversarial, epoch, EVALUATION_PASS);
    let losses = adversarial::discriminator_losses(
        context,
        &state.generators,
        &state.discriminators,
        &mut noise,
    )?;
    let d = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
    let Some(d) = d else { return Ok(vec![]) };
    let mut kept = (
        state.generators[g].clone(),
        state.discriminators[d].clone(),
        scores[g],
    );
    let mut points = Vec::new();
    for pass in 2..2 + epochs {
        let order = context.order(Phase::Adversarial, epoch, pass);
        let mut noise = context.noise(Phase::Adversarial, epoch, pass);
        let pass_points = adversarial::pass(
            context,
            &mut [&mut state.generators[g]],
            &mut [&mut state.discriminators[d]],
            &PairWeights::identity(1),
            &order,
            &mut noise,
        )?;
        let score = context.score(&state.generators[g])?;
        for (at, point) in pass_points.into_iter().enumerate() {
            let point = placed(point, "fine_tune", epoch, pass);
            points.push(match at {
                0 => scored(point, context, &score),
                _ => point,
            });
        }
        if context.validation_loss(&score) < context.validation_loss(&kept.2) {
            kept = (
                state.generators[g].clone(),
                state.discriminators[d].clone(),
                score,
            );
        }
    }
    (state.generators[g], state.discriminators[d], scores[g]) = kept;
    Ok(points)
}
