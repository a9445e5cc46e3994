//! The direction model of a run: one generator, or the mean of several.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use heqis_infer::bundle::FACTORS_HASH_KEY;
use heqis_infer::onnx::{GraphBuilder, Value};

use crate::corpus::CLASSES;
use crate::error::TrainError;
use crate::nets::generator::TargetScale;
use crate::nets::graph::Operators;
use crate::train::TrainedGenerator;
use crate::train::tensors::numbers;
use heqis_bundle::Provenance;

/// Key of a model's `metadata_props` with the names of its generators, separated by commas.
pub const GENERATORS_KEY: &str = "heqis.generators";

/// Generators whose predictions are averaged, with one input in the pipeline's order: the factors of a row, then its scaled
/// features.
#[derive(Clone, Debug)]
pub struct Direction {
    members: Vec<TrainedGenerator>,
    features: usize,
    factors: usize,
    target_scale: f32,
}

impl Direction {
    /// Joins generators that were trained on rows of `features` scaled features and then `factors` factors; a generator
    /// may read only the features.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when `members` is empty, or one reads other columns.
    pub fn new(
        members: Vec<TrainedGenerator>,
        features: usize,
        factors: usize,
        target_scale: f64,
    ) -> Result<Self, TrainError> {
        let fits = |member: &TrainedGenerator| {
            [features, features + factors].contains(&member.config.features)
        };
        match members.iter().find(|member| !fits(member)) {
            Some(member) => Err(TrainError::training(
                &member.name,
                format!(
                    "reads {} columns, the rows have {features} features and {factors} factors",
                    member.config.features
                ),
            )),
            None if members.is_empty() => {
                let rule = "needs at least one generator".to_owned();
                Err(TrainError::training("export", rule))
            }
            None => Ok(Self {
                members,
                features,
                factors,
                target_scale: target_scale as f32,
            }),
        }
    }

    /// Returns the rows of a window: those of the generator with the longest one.
    pub fn rows(&self) -> usize {
        let rows = self.members.iter().map(|member| member.config.window_rows);
        rows.max().unwrap_or(1)
    }

    /// Returns the number of values in a row: factors and features.
    pub fn width(&self) -> usize {
        self.factors + self.features
    }

    /// Returns the names of the generators.
    pub fn names(&self) -> Vec<&str> {
        self.members
            .iter()
            .map(|member| member.name.as_str())
            .collect()
    }

    /// Returns the model `features` f32 `[batch, rows, factors + features]` → `predicted_return` f32 `[batch, 1]` in plain
    /// units and `probabilities` f32 `[batch, 3]` of down, flat and up.
    ///
    /// # Errors
    ///
    /// [`TrainError::Infer`] when a weight is not finite.
    pub fn to_onnx(
        &self,
        batch: usize,
        provenance: &Provenance<'_>,
        factors_sha256: Option<&str>,
    ) -> Result<Vec<u8>, TrainError> {
        let mut graph = GraphBuilder::new("direction");
        let g = &mut graph;
        let input = g.input("features", &[batch, self.rows(), self.width()]);
        let mut values: Vec<Value> = Vec::new();
        let mut odds: Vec<Value> = Vec::new();
        let is_single = self.members.len() == 1;
        let target = TargetScale {
            scale: self.target_scale,
            offset: 0.0,
        };
        for member in &self.members {
            let window = self.window_node(g, &input, member);
            let prefix = if is_single { "" } else { member.name.as_str() };
            let shape = [batch, member.config.window_rows, member.config.features];
            let (value, probabilities) =
                member.net.write_outputs(g, prefix, &window, shape, target);
            values.push(value);
            odds.push(probabilities);
        }
        let (value, probabilities) = match is_single {
            true => (values.swap_remove(0), odds.swap_remove(0)),
            false => (
                self.mean_node(g, "predicted_return", &values),
                self.mean_node(g, "probabilities", &odds),
            ),
        };
        g.output(&value, &[batch, 1]);
        g.output(&probabilities, &[batch, CLASSES.len()]);
        provenance.write(g);
        g.metadata(GENERATORS_KEY, self.names().join(","));
        if let Some(hash) = factors_sha256 {
            g.metadata(FACTORS_HASH_KEY, hash);
        }
        if self.members.iter().any(|member| member.net.is_attentive()) {
            g.metadata("heqis.rope_layout", crate::nets::layers::rope::LAYOUT);
        }
        Ok(graph.finish()?)
    }

    /// Cuts the last rows, and reorders the columns as in training: features first.
    fn window_node(&self, g: &mut GraphBuilder, input: &Value, member: &TrainedGenerator) -> Value {
        let (rows, bars) = (self.rows(), member.config.window_rows);
        let part = |part: &str| format!("{}.{part}", member.name);
        let cut = match bars < rows {
            true => g.slice(&part("rows"), input, 1, rows - bars, rows),
            false => input.clone(),
        };
        if self.factors == 0 {
            return cut;
        }
        let features = g.slice(&part("features"), &cut, 2, self.factors, self.width());
        if member.config.features == self.features {
            return features;
        }
        let factors = g.slice(&part("factors"), &cut, 2, 0, self.factors);
        g.concat(&part("window"), &[features, factors], 2)
    }

    fn mean_node(&self, g: &mut GraphBuilder, name: &str, parts: &[Value]) -> Value {
        let mut sum = parts[0].clone();
        for (index, part) in parts.iter().enumerate().skip(1) {
            sum = g.binary(&format!("{name}.sum_{index}"), "Add", &sum, part);
        }
        let share = g.weights(&format!("{name}.share"), &[1], &[1.0 / parts.len() as f32]);
        g.binary(name, "Mul", &sum, &share)
    }

    /// Runs the networks on windows `[count, rows, factors + features]`: returns predicted returns `[count]` and probabilities
    /// `[count * 3]`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] when a tensor cannot be read.
    pub fn forward(&self, windows: &[f32], count: usize) -> Result<[Vec<f32>; 2], TrainError> {
        /// Windows in one forward pass.
        const CHUNK: usize = 256;
        let (rows, width) = (self.rows(), self.width());
        let (mut values, mut odds) = (Vec::new(), Vec::new());
        for chunk in windows
            .chunks(CHUNK * rows * width)
            .take(count.div_ceil(CHUNK))
        {
            let shape = [chunk.len() / (rows * width), rows, width];
            let data = TensorData::new(chunk.to_vec(), shape);
            let input = Tensor::<3>::from_data(data, &Device::flex());
            let (mut value, mut probabilities): (Option<Tensor<2>>, Option<Tensor<2>>) =
                (None, None);
            for member in &self.members {
                let output = member
                    .net
                    .forward(self.window_tensor(input.clone(), member));
                let add = |sum: Option<Tensor<2>>, part: Tensor<2>| match sum {
                    Some(sum) => Some(sum + part),
                    None => Some(part),
                };
                value = add(value, output.value * self.target_scale);
                probabilities = add(probabilities, softmax(output.logits, 1));
            }
            let share = 1.0 / self.members.len() as f32;
            for (sum, out) in [(value, &mut values), (probabilities, &mut odds)] {
                if let Some(sum) = sum {
                    out.extend(numbers(sum * share)?.1);
                }
            }
        }
        Ok([values, odds])
    }

    fn window_tensor(&self, input: Tensor<3>, member: &TrainedGenerator) -> Tensor<3> {
        let (rows, bars) = (self.rows(), member.config.window_rows);
        let cut = input.narrow(1, rows - bars, bars);
        if self.factors == 0 {
            return cut;
        }
        let features = cut.clone().narrow(2, self.factors, self.features);
        if member.config.features == self.features {
            return features;
        }
        Tensor::cat(vec![features, cut.narrow(2, 0, self.factors)], 2)
    }
}
