//! What a training's settings say of one network; the data set adds the number of features.

use serde::{Deserialize, Serialize};

use crate::nets::cae::CaeConfig;
use crate::nets::encoder::EncoderConfig;
use crate::nets::generator::{GeneratorConfig, GeneratorKind};
use crate::nets::t3vae::T3VaeConfig;

/// One generator, by the number of features known from the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSpec {
    /// Its name, which files carry: letters, digits, `-` and `_`.
    pub name: String,
    /// Its kind.
    pub kind: GeneratorKind,
    /// Rows of its window.
    pub window_bars: usize,
    /// Width of the hidden state; without it, the kind's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Number of layers; without it, the kind's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Attention heads; without it, the kind's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Whether a recurrent network reads the window in both directions.
    #[serde(default)]
    pub bidirectional: bool,
    /// Share of the hidden state that is left out in training.
    #[serde(default)]
    pub dropout: f64,
}

impl GeneratorSpec {
    /// Returns a generator of the kind's own shape.
    #[must_use]
    pub fn new(name: &str, kind: GeneratorKind, window_bars: usize) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            window_bars,
            hidden: None,
            layers: None,
            heads: None,
            bidirectional: false,
            dropout: 0.0,
        }
    }

    /// Returns the three default generators: G1 GRU, G2 LSTM, G3 Transformer with rotary positions, each with another
    /// window.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::new("g1", GeneratorKind::Gru, 16),
            Self::new("g2", GeneratorKind::Lstm, 24),
            Self::new("g3", GeneratorKind::Transformer, 32),
        ]
    }

    /// Returns the shape of the network for rows of so many features, without and with the factors of the encoder.
    ///
    /// An `mpd` has the encoder inside and sees features alone; every other kind sees all columns.
    #[must_use]
    pub fn network(
        &self,
        features: usize,
        columns: usize,
        encoder: &EncoderSpec,
    ) -> GeneratorConfig {
        let seen = match self.kind {
            GeneratorKind::Mpd => features,
            _ => columns,
        };
        let mut config = GeneratorConfig::new(self.kind, self.window_bars, seen);
        config.hidden = self.hidden.unwrap_or(config.hidden);
        config.layers = self.layers;
        config.heads = self.heads.unwrap_or(config.heads);
        config.bidirectional = self.bidirectional;
        config.dropout = self.dropout;
        if self.kind == GeneratorKind::Mpd {
            config.encoder = encoder.network(features);
        }
        config
    }
}

/// The encoder, fitted on the training span alone before the generators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EncoderSpec {
    /// No factors.
    #[default]
    None,
    /// Convolutional autoencoder.
    Cae {
        /// Rows of its window.
        window_bars: usize,
        /// Number of factors.
        #[serde(default = "factors")]
        factors: usize,
        /// Channels after each convolution; without it, 16, 32 and 64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Vec<usize>>,
    },
    /// t³-VAE.
    T3vae {
        /// Rows of its window.
        window_bars: usize,
        /// Number of factors.
        #[serde(default = "factors")]
        factors: usize,
        /// Degrees of freedom ν, above 2.
        #[serde(default = "degrees")]
        degrees: f64,
        /// Scale of the decoder.
        #[serde(default = "half")]
        sigma: f64,
        /// Weight of the regulariser.
        #[serde(default = "unit")]
        beta: f64,
    },
}

impl EncoderSpec {
    /// Returns the shape of the network for rows of so many features, or `None` without an encoder.
    #[must_use]
    pub fn network(&self, features: usize) -> Option<EncoderConfig> {
        match self {
            Self::None => None,
            Self::Cae {
                window_bars,
                factors,
                channels,
            } => {
                let mut config = CaeConfig::new(*window_bars, features);
                config.latent = *factors;
                if let Some(channels) = channels {
                    config.channels.clone_from(channels);
                }
                Some(EncoderConfig::Cae(config))
            }
            Self::T3vae {
                window_bars,
                factors,
                degrees,
                sigma,
                beta,
            } => {
                let mut config = T3VaeConfig::new(*window_bars, features);
                config.latent = *factors;
                config.nu = *degrees;
                config.sigma = *sigma;
                config.beta = *beta;
                Some(EncoderConfig::T3Vae(config))
            }
        }
    }

    /// Returns the rows of its window and the number of factors; 1 and 0 without an encoder.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::None => (1, 0),
            Self::Cae {
                window_bars,
                factors,
                ..
            }
            | Self::T3vae {
                window_bars,
                factors,
                ..
            } => (*window_bars, *factors),
        }
    }
}

fn factors() -> usize {
    8
}

fn degrees() -> f64 {
    5.0
}

fn half() -> f64 {
    0.5
}

fn unit() -> f64 {
    1.0
}
