//! Everything that a training carries from one epoch to the next, and its way into a file and back.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::config::{GeneratorSpec, TrainConfig};
use super::curves::Point;
use super::optimiser::Optimiser;
use super::random::network_seed;
use super::schedule::{BestSoFar, Plateau};
use super::tensors::Tensors;
use crate::error::TrainError;
use crate::nets::discriminator::Discriminator;
use crate::nets::encoder::Encoder;
use crate::nets::generator::Generator;

/// The phases of a training, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The encoder learns.
    Encoder,
    /// Each generator learns alone.
    Alone,
    /// Generators play discriminators.
    Game,
    /// Nothing is left to do.
    Done,
}

/// Which epoch comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Its phase.
    pub phase: Phase,
    /// Its number in the phase, from 0.
    pub epoch: usize,
}

/// A generator with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Player {
    /// What the settings say of it.
    pub spec: GeneratorSpec,
    /// The network that learns.
    pub net: Generator,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its learning rate.
    pub plateau: Plateau,
    /// Its best loss on the validation span in this phase.
    pub best: BestSoFar,
    /// Its weights then.
    pub best_net: Generator,
    /// Its best weights before the game.
    pub alone_net: Generator,
    /// Whether it learns no more in this phase.
    pub stopped: bool,
    /// Columns of a row that it sees.
    pub columns: usize,
}

/// A discriminator with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Judge {
    /// The network.
    pub net: Discriminator,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its name: `d-` and that of its generator.
    pub name: String,
    /// Length of the series that it judges.
    pub series_bars: usize,
}

/// The encoder with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Coder {
    /// The network that learns.
    pub net: Encoder,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its best loss on the validation span.
    pub best: BestSoFar,
    /// Its weights then.
    pub best_net: Encoder,
    /// Rows of its window.
    pub window_bars: usize,
    /// Number of factors.
    pub factors: usize,
}

/// Everything that a training carries from one epoch to the next.
#[derive(Clone, Debug)]
pub struct State {
    /// Which epoch comes next.
    pub clock: Clock,
    /// The generators.
    pub players: Vec<Player>,
    /// The discriminators, one for each generator.
    pub judges: Vec<Judge>,
    /// The encoder, when there is one.
    pub coder: Option<Coder>,
    /// What happened so far.
    pub curves: Vec<Point>,
}

/// The numbers of a state that are no tensors.
#[derive(Serialize, Deserialize)]
struct Notes {
    clock: Clock,
    players: Vec<PlayerNotes>,
    coder: Option<BestSoFar>,
    curves: Vec<Point>,
}

#[derive(Serialize, Deserialize)]
struct PlayerNotes {
    plateau: Plateau,
    best: BestSoFar,
    stopped: bool,
}

const NOTES: &str = "state";

impl State {
    /// Draws all networks of a training from its seed, for rows of so many features.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a network cannot have its shape.
    pub fn new(config: &TrainConfig, features: usize, device: &Device) -> Result<Self, TrainError> {
        let optimiser = Optimiser::new(&config.optimiser);
        let (window_bars, factors) = config.encoder.shape();
        let columns = features + factors;
        let pairs = config.generators.len();
        let coder = match config.encoder.network(features) {
            None => None,
            Some(shape) => {
                let net = shape.init(device, network_seed(config.seed, 2 * pairs))?;
                Some(Coder {
                    best_net: net.clone(),
                    net,
                    optimiser: optimiser.clone(),
                    best: BestSoFar::default(),
                    window_bars,
                    factors,
                })
            }
        };
        let (mut players, mut judges) = (Vec::new(), Vec::new());
        for (place, spec) in config.generators.iter().enumerate() {
            let shape = spec.network(features, columns, &config.encoder);
            let net = shape.init(device, network_seed(config.seed, place))?;
            players.push(Player {
                spec: spec.clone(),
                best_net: net.clone(),
                alone_net: net.clone(),
                net,
                optimiser: optimiser.clone(),
                plateau: Plateau::new(config.optimiser.learning_rate),
                best: BestSoFar::default(),
                stopped: false,
                columns: shape.features,
            });
            let seed = network_seed(config.seed, pairs + place);
            judges.push(Judge {
                net: config.discriminator.init(device, seed)?,
                optimiser: optimiser.clone(),
                name: format!("d-{}", spec.name),
                series_bars: spec.window_bars,
            });
        }
        Ok(Self {
            clock: Clock {
                phase: Phase::Encoder,
                epoch: 0,
            },
            players,
            judges,
            coder,
            curves: Vec::new(),
        })
    }

    /// Puts everything into tensors and text.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a tensor cannot be read.
    pub fn save(&self) -> Result<Tensors, TrainError> {
        let mut out = Tensors::default();
        if let Some(coder) = &self.coder {
            out.put_network("encoder.net", &coder.net)?;
            out.put_network("encoder.best", &coder.best_net)?;
            coder.optimiser.save("encoder.adam", &mut out)?;
        }
        for (player, judge) in self.players.iter().zip(&self.judges) {
            let name = |part: &str| format!("{}.{part}", player.spec.name);
            out.put_network(&name("net"), &player.net)?;
            out.put_network(&name("best"), &player.best_net)?;
            out.put_network(&name("alone"), &player.alone_net)?;
            player.optimiser.save(&name("adam"), &mut out)?;
            out.put_network(&name("judge.net"), &judge.net)?;
            judge.optimiser.save(&name("judge.adam"), &mut out)?;
        }
        let notes = Notes {
            clock: self.clock,
            players: self
                .players
                .iter()
                .map(|player| PlayerNotes {
                    plateau: player.plateau,
                    best: player.best,
                    stopped: player.stopped,
                })
                .collect(),
            coder: self.coder.as_ref().map(|coder| coder.best),
            curves: self.curves.clone(),
        };
        let text = serde_json::to_string(&notes)
            .map_err(|source| TrainError::training("state", source.to_string()))?;
        out.note(NOTES, text);
        Ok(out)
    }

    /// Takes everything back that [`State::save`] put away.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when something is missing or was saved with other settings.
    pub fn load(mut self, from: &Tensors, device: &Device) -> Result<Self, TrainError> {
        let fault = |rule: String| TrainError::training("checkpoint", rule);
        let text = from
            .text(NOTES)
            .ok_or_else(|| fault("holds no state".to_owned()))?;
        let notes: Notes =
            serde_json::from_str(text).map_err(|source| fault(source.to_string()))?;
        if notes.players.len() != self.players.len()
            || notes.coder.is_some() != self.coder.is_some()
        {
            return Err(fault("was written with other networks".to_owned()));
        }
        self.clock = notes.clock;
        self.curves = notes.curves;
        if let (Some(coder), Some(best)) = (&mut self.coder, notes.coder) {
            coder.net = from.fill_network("encoder.net", coder.net.clone())?;
            coder.best_net = from.fill_network("encoder.best", coder.best_net.clone())?;
            coder.optimiser.load("encoder.adam", from, device)?;
            coder.best = best;
        }
        for ((player, judge), notes) in self
            .players
            .iter_mut()
            .zip(&mut self.judges)
            .zip(notes.players)
        {
            let prefix = player.spec.name.clone();
            let name = |part: &str| format!("{prefix}.{part}");
            player.net = from.fill_network(&name("net"), player.net.clone())?;
            player.best_net = from.fill_network(&name("best"), player.best_net.clone())?;
            player.alone_net = from.fill_network(&name("alone"), player.alone_net.clone())?;
            player.optimiser.load(&name("adam"), from, device)?;
            judge.net = from.fill_network(&name("judge.net"), judge.net.clone())?;
            judge.optimiser.load(&name("judge.adam"), from, device)?;
            (player.plateau, player.best, player.stopped) =
                (notes.plateau, notes.best, notes.stopped);
        }
        Ok(self)
    }
}
