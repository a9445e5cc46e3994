//! The t³-VAE: a variational autoencoder whose prior, encoder and decoder are Student's t, for heavy-tailed returns.
//!
//! With n data elements the encoder has ν + n degrees of freedom, so that for large windows it is close to a normal distribution.
//! The window is therefore first pooled over time to a few rows, which are the model's data.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use heqis_infer::onnx::{GraphBuilder, Value};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::graph::Operators;
use super::init::Init;
use super::layers::conv::Conv1d;
use super::layers::linear::Linear;
use super::positive;
use super::student::{LOG_VARIANCE_BOUND, StudentConstants};
use crate::error::TrainError;

/// Shape and constants of a t³-VAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct T3VaeConfig {
    /// Rows of a window.
    pub window_rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Rows after pooling, a divisor of `window_rows`; 4 by default.
    #[serde(default = "default_pooled_rows")]
    pub pooled_rows: usize,
    /// Channels of the convolutions; 32 by default.
    #[serde(default = "default_hidden")]
    pub hidden: usize,
    /// Number of factors; 8 by default.
    #[serde(default = "default_latent")]
    pub latent: usize,
    /// Degrees of freedom ν, above 2; 5 by default.
    #[serde(default = "default_nu")]
    pub nu: f64,
    /// Scale σ of the decoder; 0.5 by default.
    #[serde(default = "default_sigma")]
    pub sigma: f64,
    /// Weight β of the regulariser; 1 by default.
    #[serde(default = "default_beta")]
    pub beta: f64,
}

fn default_pooled_rows() -> usize {
    4
}
fn default_hidden() -> usize {
    32
}
fn default_latent() -> usize {
    8
}
fn default_nu() -> f64 {
    5.0
}
fn default_sigma() -> f64 {
    0.5
}
fn default_beta() -> f64 {
    1.0
}

impl T3VaeConfig {
    /// Returns the default shape for windows of the given size.
    pub fn new(window_rows: usize, features: usize) -> Self {
        T3VaeConfig {
            window_rows,
            features,
            pooled_rows: default_pooled_rows(),
            hidden: default_hidden(),
            latent: default_latent(),
            nu: default_nu(),
            sigma: default_sigma(),
            beta: default_beta(),
        }
    }

    /// Initialises a t³-VAE from a seed.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a size is 0, `pooled_rows` does not divide `window_rows`, β is not a finite number of at
    /// least 0, or ν or σ is out of its range.
    pub fn init(&self, device: &Device, seed: u64) -> Result<T3Vae, TrainError> {
        positive(
            "t3vae",
            &[
                ("window_rows", self.window_rows),
                ("features", self.features),
                ("pooled_rows", self.pooled_rows),
                ("hidden", self.hidden),
                ("latent", self.latent),
            ],
        )?;
        if !self.window_rows.is_multiple_of(self.pooled_rows) {
            let rule = format!(
                "pooled_rows must divide window_rows {}, got {}",
                self.window_rows, self.pooled_rows
            );
            return Err(TrainError::rule("t3vae", rule));
        }
        if !(self.beta.is_finite() && self.beta >= 0.0) {
            let rule = format!("beta must be a number of at least 0, got {}", self.beta);
            return Err(TrainError::rule("t3vae", rule));
        }
        let data = self.pooled_rows * self.features;
        let constants = StudentConstants::new(self.nu, data, self.latent, self.sigma)?;
        let mut init = Init::new(device, seed, "t3vae");
        let (init, hidden) = (&mut init, self.hidden);
        Ok(T3Vae {
            first: Conv1d::init(init, self.features, hidden, 3, 1, false),
            second: Conv1d::init(init, hidden, hidden, 3, 1, false),
            mean: Linear::init(init, self.pooled_rows * hidden, self.latent),
            log_variance: Linear::init(init, self.pooled_rows * hidden, self.latent),
            expand: Linear::init(init, self.latent, hidden),
            data: Linear::init(init, hidden, data),
            pooled_rows: self.pooled_rows,
            constants,
            beta: self.beta,
        })
    }
}

/// The t³-VAE.
#[derive(Module, Debug)]
pub struct T3Vae {
    /// First convolution over the pooled rows.
    pub first: Conv1d,
    /// Second convolution.
    pub second: Conv1d,
    /// The encoder's mean.
    pub mean: Linear,
    /// The encoder's log-variance.
    pub log_variance: Linear,
    /// First layer of the decoder.
    pub expand: Linear,
    /// Last layer of the decoder.
    pub data: Linear,
    /// Rows after pooling.
    pub pooled_rows: usize,
    #[module(skip)]
    constants: StudentConstants,
    #[module(skip)]
    beta: f64,
}

impl T3Vae {
    /// Returns the constants of the loss.
    pub fn constants(&self) -> &StudentConstants {
        &self.constants
    }

    /// Returns the data of the model, means over consecutive groups of rows: `[B, W, F]` → `[B, pooled_rows, F]`.
    pub fn pool(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, rows, features] = x.dims();
        let run = rows / self.pooled_rows;
        x.reshape([batch, self.pooled_rows, run, features])
            .mean_dim(2)
            .reshape([batch, self.pooled_rows, features])
    }

    /// Returns mean and log-variance `[B, latent]` of pooled rows.
    fn distribution(&self, pooled: Tensor<3>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.hidden(pooled);
        let log_variance = self.log_variance.forward(hidden.clone());
        (
            self.mean.forward(hidden),
            log_variance.clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND),
        )
    }

    fn hidden(&self, pooled: Tensor<3>) -> Tensor<2> {
        let hidden = relu(self.second.forward(relu(self.first.forward(pooled))));
        let [batch, rows, channels] = hidden.dims();
        hidden.reshape([batch, rows * channels])
    }

    /// Returns the factors, the encoder's mean: `[B, W, F]` → `[B, latent]`.
    pub fn encode(&self, x: Tensor<3>) -> Tensor<2> {
        self.mean.forward(self.hidden(self.pool(x)))
    }

    /// Writes the encoder's mean for `[N, W, F]` of the given shape → `[N, latent]`: convolutions, ReLUs and one pool.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        shape: [usize; 3],
    ) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let [batch, rows, _] = shape;
        let image = graph.image(&part("image"), x, shape);
        let run = rows / self.pooled_rows;
        let pooled = graph.pool(&part("pooled"), "AveragePool", &image, [1, run]);
        let first = self.first.to_onnx(graph, &part("first"), &pooled);
        let first = graph.unary(&part("first.relu"), "Relu", &first);
        let second = self.second.to_onnx(graph, &part("second"), &first);
        let second = graph.unary(&part("second.relu"), "Relu", &second);
        let [_, channels] = self.second.weight.dims();
        // `hidden` flattens rows of channels, an image is channels of rows.
        self.mean.to_onnx_conv(
            graph,
            name,
            &second,
            batch,
            [channels, 1, self.pooled_rows],
            [1, 2, 0],
        )
    }

    /// Returns the pooled rows decoded from factors: `[B, latent]` → `[B, pooled_rows, F]`.
    pub fn decode(&self, factors: Tensor<2>) -> Tensor<3> {
        let [batch, _] = factors.dims();
        let data = self.data.forward(relu(self.expand.forward(factors)));
        let [_, width] = data.dims();
        data.reshape([batch, self.pooled_rows, width / self.pooled_rows])
    }

    /// Returns the reconstruction of pooled rows from the mean factors: `[B, W, F]` → `[B, pooled_rows, F]`.
    pub fn reconstruct(&self, x: Tensor<3>) -> Tensor<3> {
        self.decode(self.encode(x))
    }

    /// Returns the γ-power loss of a batch with one sample of the latents per row, shape `[1]`.
    ///
    /// # Errors
    ///
    /// As [`StudentConstants::sample`].
    pub fn loss<R: Rng>(&self, x: Tensor<3>, rng: &mut R) -> Result<Tensor<1>, TrainError> {
        let pooled = self.pool(x);
        let (mean, log_variance) = self.distribution(pooled.clone());
        let latents = self
            .constants
            .sample(mean.clone(), log_variance.clone(), rng)?;
        let [batch, rows, features] = pooled.dims();
        let flat = |x: Tensor<3>| x.reshape([batch, rows * features]);
        let reconstruction = flat(self.decode(latents));
        Ok(self
            .constants
            .loss(flat(pooled), reconstruction, mean, log_variance, self.beta))
    }
}
