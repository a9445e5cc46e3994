//! The settings of one network; the number of features comes from the data set.

use serde::{Deserialize, Serialize};

use crate::nets::cae::CaeConfig;
use crate::nets::encoder::EncoderConfig;
use crate::nets::generator::{GeneratorConfig, GeneratorKind};
use crate::nets::t3vae::T3VaeConfig;

/// The settings of one generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSpec {
    /// Its name, part of file names: letters, digits, `-` and `_`.
    pub name: String,
    /// Its kind.
    pub kind: GeneratorKind,
    /// Rows of its window.
    pub window_bars: usize,
    /// Width of the hidden state; default: that of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Number of layers; default: that of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Attention heads; default: that of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Whether a recurrent network reads the window in both directions.
    #[serde(default)]
    pub bidirectional: bool,
    /// Dropout rate of the hidden state in training.
    #[serde(default)]
    pub dropout: f64,
}

impl GeneratorSpec {
    /// Returns a generator with the defaults of its kind.
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

    /// Returns the three default generators: G1 GRU, G2 LSTM, G3 Transformer with rotary positions, each with a
    /// different window.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::new("g1", GeneratorKind::Gru, 16),
            Self::new("g2", GeneratorKind::Lstm, 24),
            Self::new("g3", GeneratorKind::Transformer, 32),
        ]
    }

    /// Returns the configuration of the network for rows of `features` features, or `columns` columns with the encoder's factors.
    ///
    /// An `mpd` contains the encoder and reads only the features; every other kind reads all columns.
    #[must_use]
    pub fn network(
        &self,
        features: usize,
        columns: usize,
        encoder: &EncoderSpec,
    ) -> GeneratorConfig {
        let inputs = match self.kind {
            GeneratorKind::Mpd => features,
            _ => columns,
        };
        let mut config = GeneratorConfig::new(self.kind, self.window_bars, inputs);
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

/// The settings of the encoder, which is fitted on the training span before the generators.
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
        /// Channels after each convolution; default: 16, 32 and 64.
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
    /// Returns the configuration of the network for rows of `features` features, or `None` without an encoder.
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
