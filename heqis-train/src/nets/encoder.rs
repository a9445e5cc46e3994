//! One type for the encoders: a convolutional autoencoder or a t³-VAE.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use heqis_infer::onnx::{GraphBuilder, Value};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::cae::{Cae, CaeConfig};
use super::t3vae::{T3Vae, T3VaeConfig};
use crate::error::TrainError;
use heqis_bundle::Provenance;

/// Shape of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum EncoderConfig {
    /// Convolutional autoencoder.
    #[serde(rename = "cae")]
    Cae(CaeConfig),
    /// t³-VAE.
    #[serde(rename = "t3vae")]
    T3Vae(T3VaeConfig),
}

impl EncoderConfig {
    /// Initialises an encoder from a seed.
    ///
    /// # Errors
    ///
    /// As [`CaeConfig::init`] and [`T3VaeConfig::init`].
    pub fn init(&self, device: &Device, seed: u64) -> Result<Encoder, TrainError> {
        Ok(match self {
            EncoderConfig::Cae(config) => Encoder::Cae(config.init(device, seed)?),
            EncoderConfig::T3Vae(config) => Encoder::T3Vae(config.init(device, seed)?),
        })
    }

    /// Returns rows and features of a window.
    pub fn window(&self) -> [usize; 2] {
        match self {
            EncoderConfig::Cae(config) => [config.window_rows, config.features],
            EncoderConfig::T3Vae(config) => [config.window_rows, config.features],
        }
    }

    /// Returns the number of factors.
    pub fn latent(&self) -> usize {
        match self {
            EncoderConfig::Cae(config) => config.latent,
            EncoderConfig::T3Vae(config) => config.latent,
        }
    }
}

/// An encoder with the decoder that trains it.
#[expect(
    clippy::large_enum_variant,
    reason = "a network contains one, and it is rarely moved"
)]
#[derive(Module, Debug)]
pub enum Encoder {
    /// Convolutional autoencoder.
    Cae(Cae),
    /// t³-VAE.
    T3Vae(T3Vae),
}

impl Encoder {
    /// Returns the factors: `[B, W, F]` → `[B, latent]`.
    pub fn encode(&self, x: Tensor<3>) -> Tensor<2> {
        match self {
            Encoder::Cae(cae) => cae.encode(x),
            Encoder::T3Vae(t3vae) => t3vae.encode(x),
        }
    }

    /// Returns the reconstruction of windows: `[B, W, F]` → `[B, W, F]`, or `[B, pooled_rows, F]` of a t³-VAE.
    pub fn reconstruct(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Encoder::Cae(cae) => cae.reconstruct(x),
            Encoder::T3Vae(t3vae) => t3vae.reconstruct(x),
        }
    }

    /// Returns the target of [`Self::reconstruct`]: the windows themselves, or pooled rows of a t³-VAE.
    pub fn target(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Encoder::Cae(_) => x,
            Encoder::T3Vae(t3vae) => t3vae.pool(x),
        }
    }

    /// Returns the training loss of a batch, shape `[1]`; only a t³-VAE uses `rng`.
    ///
    /// # Errors
    ///
    /// As [`T3Vae::loss`].
    pub fn loss<R: Rng>(&self, x: Tensor<3>, rng: &mut R) -> Result<Tensor<1>, TrainError> {
        match self {
            Encoder::Cae(cae) => Ok(cae.loss(x)),
            Encoder::T3Vae(t3vae) => t3vae.loss(x, rng),
        }
    }

    /// Returns the feature model `window` f32 `[batch, W, F]` → `factors` f32 `[batch, latent]`, convolutional only.
    ///
    /// # Errors
    ///
    /// [`TrainError::Infer`] when a weight is not finite, or the provenance's window has another shape.
    pub fn to_onnx(
        &self,
        batch: usize,
        provenance: &Provenance<'_>,
    ) -> Result<Vec<u8>, TrainError> {
        let shape = provenance.window(batch);
        let mut graph = GraphBuilder::new("encoder");
        let window = graph.input("window", &shape);
        let factors = self.write(&mut graph, "factors", &window, shape);
        graph.output(&factors, &[batch, self.latent()]);
        provenance.write(&mut graph);
        Ok(graph.finish()?)
    }

    /// Returns the number of factors.
    pub fn latent(&self) -> usize {
        let code = match self {
            Encoder::Cae(cae) => &cae.code,
            Encoder::T3Vae(t3vae) => &t3vae.mean,
        };
        code.weight.dims()[1]
    }

    /// Writes the encoder for `[N, W, F]` of the given shape → `[N, latent]`.
    pub(crate) fn write(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
    ) -> Value {
        match self {
            Encoder::Cae(cae) => cae.to_onnx(graph, name, x, shape[0]),
            Encoder::T3Vae(t3vae) => t3vae.to_onnx(graph, name, x, shape),
        }
    }
}
