//! The generators: networks that predict from a window the next scaled target and the probabilities of its direction.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use heqis_infer::onnx::{GraphBuilder, Value};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::discriminator::CLASSES;
use super::encoder::{Encoder, EncoderConfig};
use super::graph::Operators;
use super::init::Init;
use super::layers::activation::silu;
use super::layers::inception::Inception;
use super::layers::linear::Linear;
use super::layers::recurrent::{CellKind, Recurrent};
use super::layers::rope;
use super::layers::tcn::Tcn;
use super::layers::transformer::Transformer;
use super::positive;
use crate::error::TrainError;
use heqis_bundle::Provenance;

/// Kind of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorKind {
    /// Elman's recurrent network.
    Rnn,
    /// Gated recurrent units.
    Gru,
    /// Long short-term memory.
    Lstm,
    /// Temporal convolutions.
    Tcn,
    /// Transformer with rotary positions.
    Transformer,
    /// The same, six layers deep by default.
    DeepTransformer,
    /// Inception-style network over each bar's neighbourhood, then a Transformer.
    Dct,
    /// Transformer whose rows also contain the factors of an encoder, usually pre-trained.
    Mpd,
}

/// Shape of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Kind of the network.
    pub kind: GeneratorKind,
    /// Rows of a window.
    pub window_rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Width of the hidden state; 64 by default.
    #[serde(default = "default_hidden")]
    pub hidden: usize,
    /// Number of layers; by default 1 of a recurrent network, 4 of a TCN, 6 of a deep Transformer, otherwise 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Attention heads; 4 by default. `hidden` divided by it must be even. Networks without attention ignore it.
    #[serde(default = "default_heads")]
    pub heads: usize,
    /// Whether a recurrent network reads the window in both directions; only for rnn, gru and lstm.
    #[serde(default)]
    pub bidirectional: bool,
    /// Dropout rate of the hidden state before the heads in training, from 0 to below 1; 0 by default.
    #[serde(default)]
    pub dropout: f64,
    /// The encoder of an MPD, for the same windows; a CAE by default. Only for mpd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderConfig>,
}

fn default_hidden() -> usize {
    64
}
fn default_heads() -> usize {
    4
}

impl GeneratorConfig {
    /// Returns the default shape of a kind for windows of the given size.
    pub fn new(kind: GeneratorKind, window_rows: usize, features: usize) -> Self {
        GeneratorConfig {
            kind,
            window_rows,
            features,
            hidden: default_hidden(),
            layers: None,
            heads: default_heads(),
            bidirectional: false,
            dropout: 0.0,
            encoder: None,
        }
    }

    /// Returns the number of layers, by default that of the kind.
    pub fn layers(&self) -> usize {
        self.layers.unwrap_or(match self.kind {
            GeneratorKind::Rnn | GeneratorKind::Gru | GeneratorKind::Lstm => 1,
            GeneratorKind::Tcn => 4,
            GeneratorKind::DeepTransformer => 6,
            GeneratorKind::Transformer | GeneratorKind::Dct | GeneratorKind::Mpd => 2,
        })
    }

    /// Initialises a generator from a seed.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when a size is 0 or out of its range, or a field does not go with the kind.
    pub fn init(&self, device: &Device, seed: u64) -> Result<Generator, TrainError> {
        self.check()?;
        let mut init = Init::new(device, seed, "generator");
        let (init, hidden, layers) = (&mut init, self.hidden, self.layers());
        let transformer = |init: &mut Init<'_>| {
            Transformer::init(init, self.window_rows, hidden, self.heads, layers)
        };
        let recurrent = |init: &mut Init<'_>, kind| {
            Recurrent::init(
                init,
                kind,
                self.features,
                hidden,
                layers,
                self.bidirectional,
            )
        };
        let body = match self.kind {
            GeneratorKind::Rnn => Body::Recurrent(recurrent(init, CellKind::Rnn)),
            GeneratorKind::Gru => Body::Recurrent(recurrent(init, CellKind::Gru)),
            GeneratorKind::Lstm => Body::Recurrent(recurrent(init, CellKind::Lstm)),
            GeneratorKind::Tcn => Body::Tcn(Tcn::init(init, self.features, hidden, layers)),
            GeneratorKind::Transformer | GeneratorKind::DeepTransformer => {
                Body::Attentive(Attentive {
                    embed: Linear::init(init, self.features, hidden),
                    transformer: transformer(init),
                })
            }
            GeneratorKind::Dct => Body::Dct(Dct {
                inception: Inception::init(init, self.features, hidden),
                transformer: transformer(init),
            }),
            GeneratorKind::Mpd => {
                let encoder = self.encoder();
                Body::Mpd(Mpd {
                    encoder: encoder.init(device, seed)?,
                    embed: Linear::init(init, self.features, hidden),
                    context: Linear::init(init, encoder.latent(), hidden),
                    transformer: transformer(init),
                })
            }
        };
        let directions = 1 + usize::from(self.bidirectional);
        Ok(Generator {
            body,
            value: Linear::init(init, hidden * directions, 1),
            logits: Linear::init(init, hidden * directions, CLASSES),
            dropout: self.dropout,
            window: [self.window_rows, self.features],
        })
    }

    /// Returns the encoder of an MPD: the given one, or a CAE of the default shape.
    pub fn encoder(&self) -> EncoderConfig {
        self.encoder.clone().unwrap_or_else(|| {
            EncoderConfig::Cae(super::cae::CaeConfig::new(self.window_rows, self.features))
        })
    }

    fn check(&self) -> Result<(), TrainError> {
        let refuse = |rule: String| Err(TrainError::rule("generator", rule));
        positive(
            "generator",
            &[
                ("window_rows", self.window_rows),
                ("features", self.features),
                ("hidden", self.hidden),
                ("layers", self.layers()),
                ("heads", self.heads),
            ],
        )?;
        let (kind, recurrent) = (
            self.kind,
            matches!(
                self.kind,
                GeneratorKind::Rnn | GeneratorKind::Gru | GeneratorKind::Lstm
            ),
        );
        let attentive = !recurrent && kind != GeneratorKind::Tcn;
        if attentive && !self.hidden.is_multiple_of(2 * self.heads) {
            return refuse(format!(
                "heads must divide hidden {} into an even width, got {}",
                self.hidden, self.heads
            ));
        }
        if self.bidirectional && !recurrent {
            return refuse(format!("bidirectional is not for kind {kind:?}"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse(format!(
                "dropout must lie from 0 to below 1, got {}",
                self.dropout
            ));
        }
        if kind == GeneratorKind::Tcn && self.layers() > 16 {
            return refuse(format!(
                "layers of a tcn must be at most 16, got {}",
                self.layers()
            ));
        }
        match &self.encoder {
            Some(_) if kind != GeneratorKind::Mpd => {
                refuse(format!("encoder is not for kind {kind:?}"))
            }
            Some(encoder) if encoder.window() != [self.window_rows, self.features] => {
                refuse(format!(
                    "encoder must take windows of {} rows and {} features, got {:?}",
                    self.window_rows,
                    self.features,
                    encoder.window()
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The output of a generator.
#[derive(Clone, Debug)]
pub struct GeneratorOutput {
    /// The next target, scaled: `[B, 1]`.
    pub value: Tensor<2>,
    /// Logits of the classes down, flat, up: `[B, 3]`.
    pub logits: Tensor<2>,
}

/// A generator: a body that reads the window, and one head for each output.
#[derive(Module, Debug)]
pub struct Generator {
    /// Reads the window.
    pub body: Body,
    /// Hidden state → scaled target.
    pub value: Linear,
    /// Hidden state → class logits.
    pub logits: Linear,
    /// Dropout rate of the hidden state before the heads in training.
    #[module(skip)]
    pub dropout: f64,
    /// Rows and features of a window.
    #[module(skip)]
    window: [usize; 2],
}

/// The conversion of a scaled target into a return: `return = scaled · scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetScale {
    /// Factor.
    pub scale: f32,
    /// Added after the factor.
    pub offset: f32,
}

/// The part of a generator that reads the window.
#[expect(
    clippy::large_enum_variant,
    reason = "a network contains one, and it is rarely moved"
)]
#[derive(Module, Debug)]
pub enum Body {
    /// RNN, GRU or LSTM.
    Recurrent(Recurrent),
    /// Temporal convolutions.
    Tcn(Tcn),
    /// Embedded rows, then a Transformer.
    Attentive(Attentive),
    /// Inception, then a Transformer.
    Dct(Dct),
    /// Encoder, then a Transformer.
    Mpd(Mpd),
}

/// Rows embedded one by one, then a Transformer.
#[derive(Module, Debug)]
pub struct Attentive {
    /// Row → token.
    pub embed: Linear,
    /// Over the tokens.
    pub transformer: Transformer,
}

/// Rows with their neighbourhood, then a Transformer.
#[derive(Module, Debug)]
pub struct Dct {
    /// Rows → tokens.
    pub inception: Inception,
    /// Over the tokens.
    pub transformer: Transformer,
}

/// Rows embedded together with the window's factors, then a Transformer.
#[derive(Module, Debug)]
pub struct Mpd {
    /// Window → factors.
    pub encoder: Encoder,
    /// Row → token.
    pub embed: Linear,
    /// Factors → added to every token, which is equivalent to embedding rows with the factors appended.
    pub context: Linear,
    /// Over the tokens.
    pub transformer: Transformer,
}

impl Generator {
    /// Predicts windows `[B, W, F]`, without dropout.
    pub fn forward(&self, x: Tensor<3>) -> GeneratorOutput {
        self.heads(self.hidden(x))
    }

    /// Predicts windows `[B, W, F]` in training, with a mask of [`Self::dropout_mask`].
    pub fn forward_train(&self, x: Tensor<3>, mask: Option<Tensor<2>>) -> GeneratorOutput {
        let hidden = self.hidden(x);
        self.heads(match mask {
            Some(mask) => hidden * mask,
            None => hidden,
        })
    }

    /// Draws the dropout mask of the hidden state of `batch` windows, `[batch, hidden]`; with a dropout of 0 it draws nothing and
    /// returns `None`.
    pub fn dropout_mask<R: Rng>(&self, batch: usize, rng: &mut R) -> Option<Tensor<2>> {
        if self.dropout == 0.0 {
            return None;
        }
        let [hidden, _] = self.value.weight.dims();
        let scale = (1.0 / (1.0 - self.dropout)) as f32;
        let threshold = (self.dropout * f64::from(u32::MAX)) as u32;
        let mask: Vec<f32> = (0..batch * hidden)
            .map(|_| {
                if rng.next_u32() < threshold {
                    0.0
                } else {
                    scale
                }
            })
            .collect();
        let device = self.value.weight.device();
        let mask = TensorData::new(mask, [batch, hidden]);
        Some(Tensor::from_data(mask, &device))
    }

    /// Replaces the encoder of an MPD.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the generator has no encoder.
    pub(crate) fn with_encoder(mut self, encoder: Encoder) -> Result<Self, TrainError> {
        match &mut self.body {
            Body::Mpd(mpd) => {
                mpd.encoder = encoder;
                Ok(self)
            }
            _ => Err(TrainError::rule(
                "generator",
                "only an mpd has an encoder to replace".to_owned(),
            )),
        }
    }

    fn heads(&self, hidden: Tensor<2>) -> GeneratorOutput {
        GeneratorOutput {
            value: self.value.forward(hidden.clone()),
            logits: self.logits.forward(hidden),
        }
    }

    fn hidden(&self, x: Tensor<3>) -> Tensor<2> {
        match &self.body {
            Body::Recurrent(recurrent) => recurrent.forward(x),
            Body::Tcn(tcn) => tcn.forward(x),
            Body::Attentive(body) => body.transformer.forward(body.embed.forward_rows(x)),
            Body::Dct(body) => body.transformer.forward(body.inception.forward(x)),
            Body::Mpd(body) => {
                let context = body.context.forward(body.encoder.encode(x.clone()));
                let [batch, hidden] = context.dims();
                let tokens = body.embed.forward_rows(x) + context.reshape([batch, 1, hidden]);
                body.transformer.forward(silu(tokens))
            }
        }
    }

    /// Returns the prediction model `features` f32 `[batch, W, F]` → `predicted_return` f32 `[batch, 1]`, which is the
    /// scaled target converted by `target`, and `probabilities` f32 `[batch, 3]`.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the provenance's window is not the generator's; [`TrainError::Infer`] when a weight is
    /// not finite.
    pub fn to_onnx(
        &self,
        batch: usize,
        target: TargetScale,
        provenance: &Provenance<'_>,
    ) -> Result<Vec<u8>, TrainError> {
        let shape = provenance.window(batch);
        if shape[1..] != self.window {
            let rule = format!("takes windows of {:?}, got {:?}", self.window, &shape[1..]);
            return Err(TrainError::rule("generator", rule));
        }
        let mut graph = GraphBuilder::new("generator");
        let window = graph.input("features", &shape);
        let (predicted_return, probabilities) =
            self.write_outputs(&mut graph, "", &window, shape, target);
        graph.output(&predicted_return, &[batch, 1]);
        graph.output(&probabilities, &[batch, CLASSES]);
        provenance.write(&mut graph);
        if self.is_attentive() {
            graph.metadata("heqis.rope_layout", rope::LAYOUT);
        }
        Ok(graph.finish()?)
    }

    /// Returns whether the network has rotary positions.
    pub(crate) fn is_attentive(&self) -> bool {
        !matches!(self.body, Body::Recurrent(_) | Body::Tcn(_))
    }

    /// Writes the whole network for `[N, W, F]` of the given shape → `predicted_return` `[N, 1]` and `probabilities`
    /// `[N, 3]`, its values named below `prefix` unless that is empty.
    pub(crate) fn write_outputs(
        &self,
        graph: &mut GraphBuilder,
        prefix: &str,
        x: &Value,
        shape: [usize; 3],
        target: TargetScale,
    ) -> (Value, Value) {
        let part = |part: &str| match prefix {
            "" => part.to_owned(),
            prefix => format!("{prefix}.{part}"),
        };
        let hidden = self.write(graph, &part("body"), x, shape);
        let value = self.value.to_onnx(graph, &part("value"), &hidden);
        let scale = graph.weights(&part("target_scale"), &[1], &[target.scale]);
        let offset = graph.weights(&part("target_offset"), &[1], &[target.offset]);
        let stretched = graph.binary(&part("stretched"), "Mul", &value, &scale);
        let predicted_return = graph.binary(&part("predicted_return"), "Add", &stretched, &offset);
        let logits = self.logits.to_onnx(graph, &part("logits"), &hidden);
        let probabilities = graph.softmax(&part("probabilities"), &logits, 1);
        (predicted_return, probabilities)
    }

    /// Writes the body for `[N, W, F]` of the given shape → `[N, hidden]`.
    fn write(&self, graph: &mut GraphBuilder, name: &str, x: &Value, shape: [usize; 3]) -> Value {
        let part = |part: &str| format!("{name}.{part}");
        let [batch, rows, _] = shape;
        let (tokens, transformer) = match &self.body {
            Body::Recurrent(recurrent) => return recurrent.to_onnx(graph, name, x, shape),
            Body::Tcn(tcn) => return tcn.to_onnx(graph, name, x, shape),
            Body::Attentive(body) => (
                body.embed.to_onnx(graph, &part("embed"), x),
                &body.transformer,
            ),
            Body::Dct(body) => (
                body.inception.to_onnx(graph, &part("inception"), x, shape),
                &body.transformer,
            ),
            Body::Mpd(body) => {
                let factors = body.encoder.write(graph, &part("factors"), x, shape);
                let context = body.context.to_onnx(graph, &part("context"), &factors);
                let [_, hidden] = body.context.weight.dims();
                let context = graph.reshape(&part("context_row"), &context, &[batch, 1, hidden]);
                let embed = body.embed.to_onnx(graph, &part("embed"), x);
                let tokens = graph.binary(&part("tokens"), "Add", &embed, &context);
                (graph.silu(&part("tokens_silu"), &tokens), &body.transformer)
            }
        };
        let [width, _] = self.value.weight.dims();
        transformer.to_onnx(graph, name, &tokens, [batch, rows, width])
    }
}
