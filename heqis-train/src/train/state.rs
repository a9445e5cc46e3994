//! The state that a training passes from one epoch to the next, saved to and loaded from a checkpoint.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::config::{GeneratorSpec, TrainConfig};
use super::curves::Point;
use super::optimiser::Optimiser;
use super::phase::Phase;
use super::random::network_seed;
use super::schedule::{BestSoFar, Plateau};
use super::tensors::Tensors;
use crate::error::TrainError;
use crate::nets::discriminator::Discriminator;
use crate::nets::encoder::Encoder;
use crate::nets::generator::Generator;

/// Parts of a discriminator in a checkpoint, after the name of its generator: the names of the first version's files.
const DISCRIMINATOR_NET: &str = "judge.net";
const DISCRIMINATOR_ADAM: &str = "judge.adam";

/// The epoch that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextEpoch {
    /// Its phase.
    pub phase: Phase,
    /// Its number in the phase, from 0.
    pub epoch: usize,
}

/// A generator with its optimiser and its progress.
#[derive(Clone, Debug)]
pub struct GeneratorState {
    /// Its settings.
    pub spec: GeneratorSpec,
    /// The network in training.
    pub net: Generator,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its learning rate.
    pub plateau: Plateau,
    /// Its best validation loss in this phase.
    pub best: BestSoFar,
    /// Its weights at the best validation loss.
    pub best_net: Generator,
    /// The best weights of pre-training.
    pub pretrained_net: Generator,
    /// Whether early stopping has ended its training in this phase.
    pub stopped: bool,
    /// Columns of a row that it reads.
    pub columns: usize,
}

/// A discriminator with its optimiser.
#[derive(Clone, Debug)]
pub struct DiscriminatorState {
    /// The network.
    pub net: Discriminator,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its name: `d-` and that of its generator.
    pub name: String,
    /// Length of the series that it classifies.
    pub series_bars: usize,
}

/// The encoder with its optimiser and its progress.
#[derive(Clone, Debug)]
pub struct EncoderState {
    /// The network in training.
    pub net: Encoder,
    /// Its optimiser.
    pub optimiser: Optimiser,
    /// Its best validation loss.
    pub best: BestSoFar,
    /// Its weights at the best validation loss.
    pub best_net: Encoder,
    /// Rows of its window.
    pub window_bars: usize,
    /// Number of factors.
    pub factors: usize,
}

/// The state that a training passes from one epoch to the next.
#[derive(Clone, Debug)]
pub struct State {
    /// The epoch that comes next.
    pub next: NextEpoch,
    /// The generators.
    pub generators: Vec<GeneratorState>,
    /// The discriminators, one for each generator.
    pub discriminators: Vec<DiscriminatorState>,
    /// The encoder, if configured.
    pub encoder: Option<EncoderState>,
    /// The points of the curves so far.
    pub curves: Vec<Point>,
}

/// The part of a state that is not tensors.
#[derive(Serialize, Deserialize)]
struct Notes {
    // The names in a checkpoint are those of former versions.
    #[serde(rename = "clock")]
    next: NextEpoch,
    #[serde(rename = "players")]
    generators: Vec<GeneratorNotes>,
    #[serde(rename = "coder")]
    encoder: Option<BestSoFar>,
    curves: Vec<Point>,
}

#[derive(Serialize, Deserialize)]
struct GeneratorNotes {
    plateau: Plateau,
    best: BestSoFar,
    stopped: bool,
}

const NOTES: &str = "state";

impl State {
    /// Initialises all networks of a training from its seed, for rows of `features` features.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the configuration of a network is invalid.
    pub fn new(config: &TrainConfig, features: usize, device: &Device) -> Result<Self, TrainError> {
        let optimiser = Optimiser::new(&config.optimiser);
        let (window_bars, factors) = config.encoder.shape();
        let columns = features + factors;
        let pairs = config.generators.len();
        let encoder = match config.encoder.network(features) {
            None => None,
            Some(shape) => {
                let net = shape.init(device, network_seed(config.seed, 2 * pairs))?;
                Some(EncoderState {
                    best_net: net.clone(),
                    net,
                    optimiser: optimiser.clone(),
                    best: BestSoFar::default(),
                    window_bars,
                    factors,
                })
            }
        };
        let (mut generators, mut discriminators) = (Vec::new(), Vec::new());
        for (place, spec) in config.generators.iter().enumerate() {
            let shape = spec.network(features, columns, &config.encoder);
            let net = shape.init(device, network_seed(config.seed, place))?;
            generators.push(GeneratorState {
                spec: spec.clone(),
                best_net: net.clone(),
                pretrained_net: net.clone(),
                net,
                optimiser: optimiser.clone(),
                plateau: Plateau::new(config.optimiser.learning_rate),
                best: BestSoFar::default(),
                stopped: false,
                columns: shape.features,
            });
            let seed = network_seed(config.seed, pairs + place);
            discriminators.push(DiscriminatorState {
                net: config.discriminator.init(device, seed)?,
                optimiser: optimiser.clone(),
                name: format!("d-{}", spec.name),
                series_bars: spec.window_bars,
            });
        }
        Ok(Self {
            next: NextEpoch {
                phase: Phase::Encoder,
                epoch: 0,
            },
            generators,
            discriminators,
            encoder,
            curves: Vec::new(),
        })
    }

    /// Returns the state as named tensors and text.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a tensor cannot be read.
    pub fn save(&self) -> Result<Tensors, TrainError> {
        let mut out = Tensors::default();
        if let Some(encoder) = &self.encoder {
            out.put_network("encoder.net", &encoder.net)?;
            out.put_network("encoder.best", &encoder.best_net)?;
            encoder.optimiser.save("encoder.adam", &mut out)?;
        }
        for (generator, discriminator) in self.generators.iter().zip(&self.discriminators) {
            let name = |part: &str| format!("{}.{part}", generator.spec.name);
            out.put_network(&name("net"), &generator.net)?;
            out.put_network(&name("best"), &generator.best_net)?;
            out.put_network(&name("alone"), &generator.pretrained_net)?;
            generator.optimiser.save(&name("adam"), &mut out)?;
            out.put_network(&name(DISCRIMINATOR_NET), &discriminator.net)?;
            discriminator
                .optimiser
                .save(&name(DISCRIMINATOR_ADAM), &mut out)?;
        }
        let notes = Notes {
            next: self.next,
            generators: self
                .generators
                .iter()
                .map(|generator| GeneratorNotes {
                    plateau: generator.plateau,
                    best: generator.best,
                    stopped: generator.stopped,
                })
                .collect(),
            encoder: self.encoder.as_ref().map(|encoder| encoder.best),
            curves: self.curves.clone(),
        };
        let text = serde_json::to_string(&notes)
            .map_err(|source| TrainError::training("state", source.to_string()))?;
        out.note(NOTES, text);
        Ok(out)
    }

    /// Restores the state that [`State::save`] returned.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when something is missing or was saved with other settings.
    pub fn load(mut self, from: &Tensors, device: &Device) -> Result<Self, TrainError> {
        let fault = |rule: String| TrainError::training("checkpoint", rule);
        let text = from
            .text(NOTES)
            .ok_or_else(|| fault("has no state".to_owned()))?;
        let notes: Notes =
            serde_json::from_str(text).map_err(|source| fault(source.to_string()))?;
        if notes.generators.len() != self.generators.len()
            || notes.encoder.is_some() != self.encoder.is_some()
        {
            return Err(fault("was written with other networks".to_owned()));
        }
        self.next = notes.next;
        self.curves = notes.curves;
        if let (Some(encoder), Some(best)) = (&mut self.encoder, notes.encoder) {
            encoder.net = from.fill_network("encoder.net", encoder.net.clone())?;
            encoder.best_net = from.fill_network("encoder.best", encoder.best_net.clone())?;
            encoder.optimiser.load("encoder.adam", from, device)?;
            encoder.best = best;
        }
        for ((generator, discriminator), notes) in self
            .generators
            .iter_mut()
            .zip(&mut self.discriminators)
            .zip(notes.generators)
        {
            let prefix = generator.spec.name.clone();
            let name = |part: &str| format!("{prefix}.{part}");
            generator.net = from.fill_network(&name("net"), generator.net.clone())?;
            generator.best_net = from.fill_network(&name("best"), generator.best_net.clone())?;
            generator.pretrained_net =
                from.fill_network(&name("alone"), generator.pretrained_net.clone())?;
            generator.optimiser.load(&name("adam"), from, device)?;
            discriminator.net =
                from.fill_network(&name(DISCRIMINATOR_NET), discriminator.net.clone())?;
            discriminator
                .optimiser
                .load(&name(DISCRIMINATOR_ADAM), from, device)?;
            (generator.plateau, generator.best, generator.stopped) =
                (notes.plateau, notes.best, notes.stopped);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_checkpoint_names_its_parts_as_the_first_version_did() {
        let settings = "[data]\nset = \"set\"\n[[generators]]\nname = \"g1\"\nkind = \"gru\"\nwindow_bars = 5\n[encoder]\nkind = \"cae\"\nwindow_bars = 16\n";
        let config: TrainConfig = toml::from_str(settings).unwrap();
        let state = State::new(&config, 3, &Device::flex().autodiff()).unwrap();
        let saved = state.save().unwrap();
        let parts: BTreeSet<&str> = saved
            .names()
            .map(|name| name.split('/').next().unwrap())
            .collect();
        let networks = ["net", "best", "alone", "judge.net"].map(|part| format!("g1.{part}"));
        let mut expected: BTreeSet<&str> = networks.iter().map(String::as_str).collect();
        expected.extend(["encoder.net", "encoder.best"]);
        assert_eq!(parts, expected);
        let notes: serde_json::Value = serde_json::from_str(saved.text(NOTES).unwrap()).unwrap();
        let notes: BTreeSet<&String> = notes.as_object().unwrap().keys().collect();
        let expected = ["clock", "coder", "curves", "players"].map(str::to_owned);
        assert_eq!(notes, expected.iter().collect());
        // And what it saved, it loads.
        let fresh = State::new(&config, 3, &Device::flex().autodiff()).unwrap();
        fresh.load(&saved, &Device::flex().autodiff()).unwrap();
    }
}
