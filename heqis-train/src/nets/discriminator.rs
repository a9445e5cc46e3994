//! The conditional convolutional discriminator: classifies a series of targets, given its direction classes, as real or fake.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use heqis_infer::onnx::GraphBuilder;
use serde::{Deserialize, Serialize};

use super::graph::{Operators, elements};
use super::init::Init;
use super::layers::activation::leaky_relu;
use super::layers::conv::Conv1d;
use super::layers::linear::Linear;
use super::positive;
use crate::error::TrainError;

/// Number of direction classes: down, flat, up.
pub const CLASSES: usize = 3;

/// Factor of the leaky ReLUs below 0.
const LEAK: f64 = 0.2;

/// Widths of a discriminator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorConfig {
    /// Channels of the branch for the series and of that for the classes; 32 by default.
    pub branch_channels: usize,
    /// Channels of the joint convolution; 128 by default.
    pub channels: usize,
    /// Width of the two hidden layers after the mean over time; 220 by default.
    pub hidden: usize,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        DiscriminatorConfig {
            branch_channels: 32,
            channels: 128,
            hidden: 220,
        }
    }
}

impl DiscriminatorConfig {
    /// Initialises a discriminator from a seed.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a width is 0.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Discriminator, TrainError> {
        positive(
            "discriminator",
            &[
                ("branch_channels", self.branch_channels),
                ("channels", self.channels),
                ("hidden", self.hidden),
            ],
        )?;
        let mut init = Init::new(device, seed, "discriminator");
        let (init, branch) = (&mut init, self.branch_channels);
        Ok(Discriminator {
            embedding: init.uniform([CLASSES, branch], 1.0),
            series: Conv1d::init(init, 1, branch, 3, 1, false),
            classes: Conv1d::init(init, branch, branch, 3, 1, false),
            joint: Conv1d::init(init, 2 * branch, self.channels, 3, 1, false),
            first: Linear::init(init, self.channels, self.hidden),
            second: Linear::init(init, self.hidden, self.hidden),
            logit: Linear::init(init, self.hidden, 1),
        })
    }
}

/// The discriminator. It returns a logit; gradients flow through both inputs, so that a generator learns from both.
#[derive(Module, Debug)]
pub struct Discriminator {
    /// One row per class, shape `[3, branch_channels]`.
    pub embedding: Param<Tensor<2>>,
    /// Over the series: 1 → branch_channels.
    pub series: Conv1d,
    /// Over the embedded classes: branch_channels → branch_channels.
    pub classes: Conv1d,
    /// Over both: 2 · branch_channels → channels.
    pub joint: Conv1d,
    /// First layer after the mean over time.
    pub first: Linear,
    /// Second layer.
    pub second: Linear,
    /// Hidden state → logit.
    pub logit: Linear,
}

impl Discriminator {
    /// Classifies scaled targets `[B, T]` with their class probabilities `[B, T, 3]` (one-hot where the class is known) and
    /// returns logits `[B, 1]`, positive for real.
    pub fn forward(&self, series: Tensor<2>, classes: Tensor<3>) -> Tensor<2> {
        let [batch, rows] = series.dims();
        let [_, branch] = self.embedding.dims();
        let rectify = |x| leaky_relu(x, LEAK);
        let series = rectify(self.series.forward(series.reshape([batch, rows, 1])));
        let embedded = classes
            .reshape([batch * rows, CLASSES])
            .matmul(self.embedding.val())
            .reshape([batch, rows, branch]);
        let classes = rectify(self.classes.forward(embedded));
        let joint = self.joint.forward(Tensor::cat(vec![series, classes], 2));
        let [_, _, channels] = joint.dims();
        let mean = rectify(joint).mean_dim(1).reshape([batch, channels]);
        let hidden = leaky_relu(self.first.forward(mean), LEAK);
        let hidden = leaky_relu(self.second.forward(hidden), LEAK);
        self.logit.forward(hidden)
    }

    /// Returns the model `series` f32 `[batch, rows]` and `classes` f32 `[batch, rows, 3]` → `logit` f32 `[batch, 1]`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Infer`] when a weight is not finite or a size is 0.
    pub fn to_onnx(&self, batch: usize, rows: usize) -> Result<Vec<u8>, TrainError> {
        let [_, branch] = self.embedding.dims();
        let [_, channels] = self.joint.weight.dims();
        let mut graph = GraphBuilder::new("discriminator");
        let g = &mut graph;
        let series = g.input("series", &[batch, rows]);
        let classes = g.input("classes", &[batch, rows, CLASSES]);
        let image = g.reshape("series_image", &series, &[batch, 1, 1, rows]);
        let series = self.series.to_onnx(g, "series_conv", &image);
        let series = g.leaky_relu("series_rectified", &series, LEAK);
        let embedding = g.weights("embedding", &[CLASSES, branch], &elements(&self.embedding));
        let embedded = g.binary("embedded", "MatMul", &classes, &embedding);
        let image = g.image("classes_image", &embedded, [batch, rows, branch]);
        let classes = self.classes.to_onnx(g, "classes_conv", &image);
        let classes = g.leaky_relu("classes_rectified", &classes, LEAK);
        let both = g.concat("both", &[series, classes], 1);
        let joint = self.joint.to_onnx(g, "joint", &both);
        let joint = g.leaky_relu("joint_rectified", &joint, LEAK);
        let mean = g.mean("mean", &joint, 3, true);
        let mut hidden = g.reshape("mean_flat", &mean, &[batch, channels]);
        for (name, layer) in [("first", &self.first), ("second", &self.second)] {
            hidden = layer.to_onnx(g, name, &hidden);
            hidden = g.leaky_relu(&format!("{name}_rectified"), &hidden, LEAK);
        }
        let logit = self.logit.to_onnx(g, "logit", &hidden);
        g.output(&logit, &[batch, 1]);
        Ok(graph.finish()?)
    }
}
