//! The convolutional autoencoder: a window as an image of rows × features, compressed to a few factors.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Int, Tensor};
use heqis_infer::onnx::{GraphBuilder, Value};
use serde::{Deserialize, Serialize};

use super::graph::Operators;
use super::init::Init;
use super::layers::conv::Conv3x3;
use super::layers::linear::Linear;
use super::positive;
use crate::error::TrainError;

/// Shape of a convolutional autoencoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaeConfig {
    /// Rows of a window.
    pub window_rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Channels after each convolution; 16, 32 and 64 by default. A pool of 2 × 2 follows each.
    #[serde(default = "default_channels")]
    pub channels: Vec<usize>,
    /// Number of factors; 8 by default.
    #[serde(default = "default_latent")]
    pub latent: usize,
}

fn default_channels() -> Vec<usize> {
    vec![16, 32, 64]
}

fn default_latent() -> usize {
    8
}

impl CaeConfig {
    /// Returns the default shape for windows of the given size.
    pub fn new(window_rows: usize, features: usize) -> Self {
        CaeConfig {
            window_rows,
            features,
            channels: default_channels(),
            latent: default_latent(),
        }
    }

    /// Initialises an autoencoder from a seed.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a size is 0 or `channels` is empty.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Cae, TrainError> {
        positive(
            "cae",
            &[
                ("window_rows", self.window_rows),
                ("features", self.features),
                ("latent", self.latent),
                ("channels", self.channels.iter().copied().min().unwrap_or(0)),
            ],
        )?;
        let mut init = Init::new(device, seed, "cae");
        let mut sizes = vec![[self.window_rows, self.features]];
        let mut down = Vec::new();
        let mut inputs = 1;
        for &channels in &self.channels {
            down.push(Conv3x3::init(&mut init, inputs, channels));
            let [height, width] = sizes[sizes.len() - 1];
            let pool = pool([height, width]);
            sizes.push([height / pool[0], width / pool[1]]);
            inputs = channels;
        }
        let [height, width] = sizes[sizes.len() - 1];
        let flat = inputs * height * width;
        let code = Linear::init(&mut init, flat, self.latent);
        let expand = Linear::init(&mut init, self.latent, flat);
        let up = (0..self.channels.len())
            .rev()
            .map(|layer| {
                let outputs = if layer == 0 {
                    1
                } else {
                    self.channels[layer - 1]
                };
                Conv3x3::init(&mut init, self.channels[layer], outputs)
            })
            .collect();
        Ok(Cae {
            down,
            code,
            expand,
            up,
            sizes,
        })
    }
}

/// Returns the pool of an image: 2 along each axis that has at least two pixels. The last pixel of an odd axis is left out.
fn pool(size: [usize; 2]) -> [usize; 2] {
    size.map(|side| side.min(2))
}

/// The autoencoder.
#[derive(Module, Debug)]
pub struct Cae {
    /// The encoder's convolutions.
    pub down: Vec<Conv3x3>,
    /// Last image → factors.
    pub code: Linear,
    /// Factors → last image.
    pub expand: Linear,
    /// The decoder's convolutions.
    pub up: Vec<Conv3x3>,
    /// Rows and columns of the image before the first pool and after each.
    #[module(skip)]
    sizes: Vec<[usize; 2]>,
}

impl Cae {
    /// Returns the factors: `[B, W, F]` → `[B, latent]`.
    pub fn encode(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, height, width] = x.dims();
        let mut image = x.reshape([batch, 1, height, width]);
        for (conv, &size) in self.down.iter().zip(&self.sizes) {
            let options = MaxPoolOptions::new(pool(size));
            image = max_pool2d(relu(conv.forward(image)), options);
        }
        let [flat, _] = self.code.weight.dims();
        self.code.forward(image.reshape([batch, flat]))
    }

    /// Writes the encoder for `[N, W, F]` → `[N, latent]` with convolutions, ReLUs and pools only.
    pub(crate) fn to_onnx(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &Value,
        batch: usize,
    ) -> Value {
        let [height, width] = self.sizes[0];
        let mut image = graph.reshape(&format!("{name}.image"), x, &[batch, 1, height, width]);
        let mut channels = 1;
        for (index, (conv, &size)) in self.down.iter().zip(&self.sizes).enumerate() {
            let part = |part: &str| format!("{name}.{index}.{part}");
            image = conv.to_onnx(graph, &part("conv"), &image);
            image = graph.unary(&part("relu"), "Relu", &image);
            image = graph.pool(&part("pool"), "MaxPool", &image, pool(size));
            [channels, ..] = conv.weight.dims();
        }
        let [height, width] = self.sizes[self.sizes.len() - 1];
        self.code.to_onnx_conv(
            graph,
            name,
            &image,
            batch,
            [channels, height, width],
            [0, 1, 2],
        )
    }

    /// Returns the windows decoded from factors: `[B, latent]` → `[B, W, F]`.
    pub fn decode(&self, factors: Tensor<2>) -> Tensor<3> {
        let [batch, _] = factors.dims();
        let last = self.sizes.len() - 1;
        let [height, width] = self.sizes[last];
        let [_, flat] = self.expand.weight.dims();
        let mut image = relu(self.expand.forward(factors)).reshape([
            batch,
            flat / (height * width),
            height,
            width,
        ]);
        for (index, conv) in self.up.iter().enumerate() {
            let larger = enlarge(image, self.sizes[last - index - 1]);
            image = conv.forward(larger);
            if index + 1 < self.up.len() {
                image = relu(image);
            }
        }
        image.reshape([batch, self.sizes[0][0], self.sizes[0][1]])
    }

    /// Returns the reconstruction of windows: `[B, W, F]` → `[B, W, F]`.
    pub fn reconstruct(&self, x: Tensor<3>) -> Tensor<3> {
        self.decode(self.encode(x))
    }

    /// Returns the mean squared error of the reconstruction, shape `[1]`.
    pub fn loss(&self, x: Tensor<3>) -> Tensor<1> {
        (self.reconstruct(x.clone()) - x).square().mean()
    }
}

/// Enlarges `[B, C, h, w]` to the given rows and columns by repeating the nearest pixel.
fn enlarge(image: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let (device, [_, _, height, width]) = (image.device(), image.dims());
    let nearest = |from: usize, to: usize| {
        let indices: Vec<i32> = (0..to).map(|index| (index * from / to) as i32).collect();
        Tensor::<1, Int>::from_data(indices.as_slice(), &device)
    };
    image
        .select(2, nearest(height, size[0]))
        .select(3, nearest(width, size[1]))
}
