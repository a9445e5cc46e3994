//! The order of things: phases, epochs, and what happens between them.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Device;
use heqis_data::store::DataSet;

use super::config::TrainConfig;
use super::corpus::{Corpus, Part};
use super::crew::Crew;
use super::curves::Point;
use super::device::device_of;
use super::game;
use super::optimiser::Optimiser;
use super::passes::{self, Room};
use super::predict::Score;
use super::progress::{Event, Listener};
use super::run::{RunDir, RunManifest};
use super::schedule::{BestSoFar, PairWeights, Plateau};
use super::state::{Clock, Phase, Player, State};
use super::tensors::numbers;
use crate::error::TrainError;
use crate::nets::generator::GeneratorKind;

/// Trains by settings into a run directory, and returns its manifest.
///
/// A new run needs a directory without one. With `resume`, a run of the same settings and data goes on behind its last
/// checkpoint, to the same result as if it had never stopped.
///
/// # Errors
///
/// [`TrainError`] when settings or data are refused, the directory holds another run, or a file cannot be written.
pub fn train(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    listener: &mut dyn Listener,
) -> Result<RunManifest, TrainError> {
    config.check()?;
    let networks = match config.device.is_cpu() {
        true => config.generators.len(),
        false => 1,
    };
    let crew = Crew::new(config.threads, networks)?;
    crew.lead(|| work(config, out, resume, &crew, listener))
}

fn work(
    config: &TrainConfig,
    out: &Path,
    resume: bool,
    crew: &Crew,
    listener: &mut dyn Listener,
) -> Result<RunManifest, TrainError> {
    let data = DataSet::open(&config.data.set)?;
    let corpus = Corpus::load(&data, &config.data, config.look_back())?;
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
        crew,
        listener: Mutex::new(listener),
    };
    trainer.settle()?;
    trainer.append_factors()?;
    trainer.hear(&Event::Start {
        resumed: resume,
        clock: trainer.state.clock,
        cost: config.cost(trainer.steps()),
        left: config.cost_left(trainer.steps(), trainer.state.clock),
        parameters: &manifest.parameters,
    })?;
    while trainer.state.clock.phase != Phase::Done {
        let clock = trainer.state.clock;
        let first = trainer.state.curves.len();
        trainer.epoch(clock)?;
        check_finite(&trainer.state.curves[first..])?;
        trainer.state.clock.epoch += 1;
        trainer.settle()?;
        run.checkpoint(&trainer.state)?;
        trainer.hear(&Event::Epoch {
            phase: clock.phase,
            epoch: clock.epoch,
            of: config.epochs(clock.phase),
            next: trainer.state.clock,
            left: config.cost_left(trainer.steps(), trainer.state.clock),
            points: &trainer.state.curves[first..],
        })?;
        trainer.append_factors()?;
    }
    let manifest = run.finish(manifest, &trainer.state, &trainer.corpus)?;
    trainer.hear(&Event::End {
        figures: &manifest.figures,
    })?;
    Ok(manifest)
}

/// Refuses an epoch that a network came out of with a loss that is no number: its weights are worth nothing, and no later
/// epoch can mend them.
fn check_finite(points: &[Point]) -> Result<(), TrainError> {
    for point in points {
        let losses = [
            ("loss", point.loss),
            ("mse", point.mse),
            ("cross_entropy", point.cross_entropy),
            ("deception", point.deception),
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
                    "{name} must be finite, got {loss}: the training has diverged; the run keeps the epochs before, and \
                     needs a smaller learning rate or clip_norm to begin again"
                );
                return Err(TrainError::training(place, rule));
            }
        }
    }
    Ok(())
}

impl TrainConfig {
    /// Returns the number of epochs that a phase has at most.
    #[must_use]
    pub fn epochs(&self, phase: Phase) -> usize {
        let (_, factors) = self.encoder.shape();
        match phase {
            Phase::Encoder if factors == 0 => 0,
            Phase::Encoder => self.schedule.encoder_epochs,
            Phase::Alone => self.schedule.alone_epochs,
            Phase::Game => self.schedule.game_epochs,
            Phase::Done => 0,
        }
    }

    /// Returns about how much work an epoch of so many steps is, in steps of one generator alone: what an estimate of
    /// the remaining time goes by.
    fn epoch_cost(&self, phase: Phase, steps: usize) -> usize {
        let n = self.generators.len();
        match phase {
            Phase::Encoder => steps,
            Phase::Alone => steps * n,
            // Each generator twice, before the discriminators and through them.
            Phase::Game => 2 * steps * n,
            Phase::Done => 0,
        }
    }

    fn cost(&self, steps: usize) -> usize {
        let start = Clock {
            phase: Phase::Encoder,
            epoch: 0,
        };
        self.cost_left(steps, start)
    }

    fn cost_left(&self, steps: usize, clock: Clock) -> usize {
        [Phase::Encoder, Phase::Alone, Phase::Game]
            .into_iter()
            .filter(|phase| *phase >= clock.phase)
            .map(|phase| {
                let gone = if phase == clock.phase { clock.epoch } else { 0 };
                self.epochs(phase).saturating_sub(gone) * self.epoch_cost(phase, steps)
            })
            .sum()
    }
}

/// The pass whose noise discriminators are compared with; no epoch has as many passes.
const JUDGING_PASS: usize = 1_000;

/// A training on its way.
struct Trainer<'a, 'b> {
    config: &'a TrainConfig,
    corpus: Corpus,
    state: State,
    device: Device,
    crew: &'a Crew,
    listener: Mutex<&'b mut dyn Listener>,
}

impl Trainer<'_, '_> {
    fn hear(&self, event: &Event<'_>) -> Result<(), TrainError> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener.hear(event)
    }

    /// Returns the number of steps in one pass over the training samples.
    fn steps(&self) -> usize {
        let all = self.corpus.samples(Part::Training).len();
        let samples = match self.config.data.samples_per_epoch {
            0 => all,
            wanted => wanted.min(all),
        };
        samples.div_ceil(self.config.batch_size)
    }

    /// Leaves every phase that has no epoch left.
    fn settle(&mut self) -> Result<(), TrainError> {
        while self.state.clock.phase != Phase::Done && self.is_over() {
            let next = match self.state.clock.phase {
                Phase::Encoder => {
                    self.leave_encoder()?;
                    Phase::Alone
                }
                Phase::Alone => {
                    self.leave_alone();
                    Phase::Game
                }
                Phase::Game | Phase::Done => Phase::Done,
            };
            self.state.clock = Clock {
                phase: next,
                epoch: 0,
            };
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let Clock { phase, epoch } = self.state.clock;
        let patience = self.config.schedule.patience_epochs;
        let tired = match (phase, &self.state.coder) {
            (Phase::Encoder, Some(coder)) => coder.best.is_over(patience),
            (Phase::Encoder, None) => true,
            _ => self.state.players.iter().all(|player| player.stopped),
        };
        tired || epoch >= self.config.epochs(phase)
    }

    /// The encoder is at its best from now on, and inside the generators that hold one.
    fn leave_encoder(&mut self) -> Result<(), TrainError> {
        let Some(coder) = &mut self.state.coder else {
            return Ok(());
        };
        coder.net = coder.best_net.clone();
        for player in &mut self.state.players {
            if player.spec.kind == GeneratorKind::Mpd {
                player.net = player.net.clone().with_encoder(coder.net.clone())?;
                player.best_net = player.net.clone();
                player.alone_net = player.net.clone();
            }
        }
        Ok(())
    }

    /// Every generator goes into the game at its best, with a fresh optimiser.
    fn leave_alone(&mut self) {
        for player in &mut self.state.players {
            player.net = player.best_net.clone();
            player.alone_net = player.best_net.clone();
            if self.config.schedule.game_epochs > 0 {
                player.optimiser = Optimiser::new(&self.config.optimiser);
                player.plateau = Plateau::new(self.config.optimiser.learning_rate);
                player.best = BestSoFar::default();
                player.stopped = false;
            }
        }
    }

    /// Gives every row its factors once the encoder has learned.
    fn append_factors(&mut self) -> Result<(), TrainError> {
        let Some(coder) = &self.state.coder else {
            return Ok(());
        };
        let done = self.corpus.columns > self.corpus.features();
        if done || self.state.clock.phase == Phase::Encoder {
            return Ok(());
        }
        let net = coder.best_net.valid();
        self.corpus
            .append_factors(coder.factors, &device_of(&net), |windows| {
                Ok(numbers(net.encode(windows))?.1)
            })
    }

    /// Runs one epoch.
    fn epoch(&mut self, clock: Clock) -> Result<(), TrainError> {
        let listener = &self.listener;
        let on_step = || {
            let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
            listener.step();
        };
        let room = Room {
            config: self.config,
            corpus: &self.corpus,
            device: self.device.clone(),
            crew: self.crew,
            on_step: &on_step,
        };
        let points = match clock.phase {
            Phase::Encoder => encoder_epoch(&room, &mut self.state, clock.epoch)?,
            Phase::Alone => alone_epoch(&room, &mut self.state, clock.epoch)?,
            Phase::Game => game_epoch(&room, &mut self.state, clock.epoch)?,
            Phase::Done => vec![],
        };
        self.state.curves.extend(points);
        Ok(())
    }
}

/// Names the phase, epoch and pass of a point.
fn placed(point: Point, phase: &str, epoch: usize, pass: usize) -> Point {
    Point {
        phase: phase.to_owned(),
        epoch,
        pass,
        ..point
    }
}

/// Adds a score to a point.
fn scored(point: Point, room: &Room<'_>, score: &Score) -> Point {
    Point {
        validation_loss: Some(room.validation_loss(score)),
        validation_mse: Some(score.mse),
        validation_cross_entropy: Some(score.cross_entropy),
        validation_direction: Some(score.direction.share),
        ..point
    }
}

fn encoder_epoch(
    room: &Room<'_>,
    state: &mut State,
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let Some(coder) = &mut state.coder else {
        return Ok(vec![]);
    };
    let phase = Phase::Encoder;
    let order = room.order(phase, epoch, 0);
    let mut noise = room.noise(phase, epoch, 0);
    // Every epoch is judged with the same draws.
    let mut judged_with = room.noise(phase, 0, 1);
    let point = passes::encoder(room, coder, &order, &mut noise, &mut judged_with)?;
    if coder
        .best
        .observe(point.validation_loss.unwrap_or(f64::NAN), epoch)
    {
        coder.best_net = coder.net.clone();
    }
    Ok(vec![placed(point, "encoder", epoch, 0)])
}

fn alone_epoch(room: &Room<'_>, state: &mut State, epoch: usize) -> Result<Vec<Point>, TrainError> {
    let phase = Phase::Alone;
    let players = state.players.iter_mut().enumerate();
    let learning = players.filter(|(_, player)| !player.stopped);
    room.crew.try_each(learning, |(place, player)| {
        let order = room.order(phase, epoch, place);
        let mut noise = room.noise(phase, epoch, place);
        let point = passes::alone(room, player, None, &order, &mut noise)?;
        let score = room.score(player)?;
        learn(room, player, &score, epoch);
        Ok(scored(placed(point, "alone", epoch, 0), room, &score))
    })
}

/// Takes the score of an epoch: keeps the best weights, lowers the rate on a plateau, stops.
fn learn(room: &Room<'_>, player: &mut Player, score: &Score, epoch: usize) {
    let loss = room.validation_loss(score);
    if player.best.observe(loss, epoch) {
        player.best_net = player.net.clone();
    }
    player.plateau.observe(loss, &room.config.plateau);
    if player.best.is_over(room.config.schedule.patience_epochs) {
        player.stopped = true;
        player.net = player.best_net.clone();
    }
}

fn game_epoch(room: &Room<'_>, state: &mut State, epoch: usize) -> Result<Vec<Point>, TrainError> {
    let (phase, schedule) = (Phase::Game, &room.config.schedule);
    let pairs = state.players.len();
    let weights = PairWeights::at(epoch, schedule.identity_epochs, pairs);
    let order = room.order(phase, epoch, 0);
    let mut noise = room.noise(phase, epoch, 0);
    let mut players: Vec<&mut Player> = state.players.iter_mut().collect();
    let mut judges: Vec<_> = state.judges.iter_mut().collect();
    let played = game::pass(
        room,
        &mut players,
        &mut judges,
        &weights,
        &order,
        &mut noise,
    )?;
    let mut scores = room
        .crew
        .try_each(&state.players, |player| room.score(player))?;
    let mut points: Vec<Point> = played
        .into_iter()
        .enumerate()
        .map(|(place, point)| {
            let point = placed(point, "game", epoch, 0);
            match scores.get(place) {
                Some(score) => scored(point, room, score),
                None => point,
            }
        })
        .collect();
    let due = schedule.distil_every > 0 && (epoch + 1).is_multiple_of(schedule.distil_every);
    if due && pairs > 1 {
        points.extend(distil(room, state, &mut scores, epoch)?);
        points.extend(fine_tune(room, state, &mut scores, epoch)?);
    }
    for (player, score) in state.players.iter_mut().zip(&scores) {
        if !player.stopped {
            learn(room, player, score, epoch);
        }
    }
    Ok(points)
}

/// Lets the best generator by validation loss teach the worst that still learns.
fn distil(
    room: &Room<'_>,
    state: &mut State,
    scores: &mut [Score],
    epoch: usize,
) -> Result<Option<Point>, TrainError> {
    let loss = |place: &usize| room.validation_loss(&scores[*place]);
    let all = 0..state.players.len();
    let best = all.clone().min_by(|a, b| loss(a).total_cmp(&loss(b)));
    let worst = all
        .filter(|place| !state.players[*place].stopped)
        .max_by(|a, b| loss(a).total_cmp(&loss(b)));
    let (Some(best), Some(worst)) = (best, worst) else {
        return Ok(None);
    };
    if best == worst {
        return Ok(None);
    }
    let teacher = state.players[best].clone();
    let student = &mut state.players[worst];
    let order = room.order(Phase::Game, epoch, 1);
    let mut noise = room.noise(Phase::Game, epoch, 1);
    let point = passes::alone(room, student, Some(&teacher), &order, &mut noise)?;
    scores[worst] = room.score(student)?;
    let point = placed(point, "distil", epoch, 1);
    Ok(Some(scored(point, room, &scores[worst])))
}

/// Lets the best generator that still learns play the best discriminator for a few epochs, and keeps what was best by
/// validation loss: when no epoch was better than before, both are rolled back.
fn fine_tune(
    room: &Room<'_>,
    state: &mut State,
    scores: &mut [Score],
    epoch: usize,
) -> Result<Vec<Point>, TrainError> {
    let epochs = room.config.schedule.fine_tune_epochs;
    let loss = |place: &usize| room.validation_loss(&scores[*place]);
    let best = (0..state.players.len())
        .filter(|place| !state.players[*place].stopped)
        .min_by(|a, b| loss(a).total_cmp(&loss(b)));
    let (Some(g), true) = (best, epochs > 0) else {
        return Ok(vec![]);
    };
    let mut noise = room.noise(Phase::Game, epoch, JUDGING_PASS);
    let judged = game::judge_losses(room, &state.players, &state.judges, &mut noise)?;
    let d = (0..judged.len()).min_by(|a, b| judged[*a].total_cmp(&judged[*b]));
    let Some(d) = d else { return Ok(vec![]) };
    let mut kept = (state.players[g].clone(), state.judges[d].clone(), scores[g]);
    let mut points = Vec::new();
    for pass in 2..2 + epochs {
        let order = room.order(Phase::Game, epoch, pass);
        let mut noise = room.noise(Phase::Game, epoch, pass);
        let played = game::pass(
            room,
            &mut [&mut state.players[g]],
            &mut [&mut state.judges[d]],
            &PairWeights::identity(1),
            &order,
            &mut noise,
        )?;
        let score = room.score(&state.players[g])?;
        for (at, point) in played.into_iter().enumerate() {
            let point = placed(point, "fine_tune", epoch, pass);
            points.push(match at {
                0 => scored(point, room, &score),
                _ => point,
            });
        }
        if room.validation_loss(&score) < room.validation_loss(&kept.2) {
            kept = (state.players[g].clone(), state.judges[d].clone(), score);
        }
    }
    (state.players[g], state.judges[d], scores[g]) = kept;
    Ok(points)
}
