//! A handful of stage kinds, enough to break every rule of a topology without touching a model or a market.

#![allow(dead_code, unreachable_pub, missing_docs)]

use std::path::{Path, PathBuf};

use heqis_actors::{
    BuildContext, Emitter, Frame, Inputs, Next, Nothing, Outputs, Payload, PortContract,
    PortSchema, Property, Registry, Source, Stage, StageError,
};
use schemars::JsonSchema;
use serde::Deserialize;

macro_rules! payloads {
    ($($name:ident $wire:literal,)*) => {
        $(
            #[derive(Debug, Payload)]
            #[payload(name = $wire)]
            pub struct $name;
        )*
    };
}

payloads! { Bar "bar", Row "row", Prediction "prediction", }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayConfig {
    /// File with one bar a line.
    pub path: PathBuf,
    /// Bars a second, or "max".
    #[serde(default)]
    pub speed: Option<Speed>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Speed {
    Rate(#[schemars(range(min = 0.1))] f64),
    Word(SpeedWord),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpeedWord {
    Max,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CleanerConfig {
    /// Largest move of one bar, as a fraction.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_move: Option<f64>,
    /// What happens to a bar that breaks a rule.
    #[serde(default)]
    pub on_reject: Option<OnReject>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "action", deny_unknown_fields)]
pub enum OnReject {
    /// It is dropped.
    Drop,
    /// It is repaired.
    Repair {
        /// From how many bars before it.
        bars: u8,
    },
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Directory of the model.
    pub bundle: PathBuf,
    /// Backends in the order of preference.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub backends: Option<Vec<Backend>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// Always there.
    Cpu,
    /// NVIDIA.
    Tensorrt,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

pub struct Replay;

impl Source for Replay {
    type Config = ReplayConfig;
    type Out = Bar;
    const KIND: &'static str = "replay";
    const ABOUT: &'static str = "reads bars from a file";
    const REPLAYABLE: bool = true;

    fn check(config: &ReplayConfig, base: &Path) -> Vec<String> {
        let there = base.join(&config.path).exists();
        if there {
            Vec::new()
        } else {
            vec![format!("there is no file {}", config.path.display())]
        }
    }

    fn build(_: &ReplayConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Bar>, StageError> {
        Ok(Next::End)
    }
}

/// What stays on its node.
#[derive(Payload)]
#[payload(local)]
pub struct Reply(std::sync::mpsc::Sender<u64>);

pub struct Asks;

impl Source for Asks {
    type Config = NoConfig;
    type Out = Reply;
    const KIND: &'static str = "asks";
    const ABOUT: &'static str = "asks within a process";
    const REPLAYABLE: bool = false;

    fn build(_: &NoConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Reply>, StageError> {
        Ok(Next::End)
    }
}

pub struct Feed;

impl Source for Feed {
    type Config = NoConfig;
    type Out = Bar;
    const KIND: &'static str = "feed";
    const ABOUT: &'static str = "reads bars from a file";
    const REPLAYABLE: bool = false;

    fn build(_: &NoConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Bar>, StageError> {
        Ok(Next::End)
    }
}

macro_rules! stages {
    ($($name:ident $kind:literal $about:literal $config:ty, $input:ty => $output:ty, $blocking:literal;)*) => {
        $(
            pub struct $name;

            impl Stage for $name {
                type Config = $config;
                type In = $input;
                type Out = $output;
                const KIND: &'static str = $kind;
                const ABOUT: &'static str = $about;
                const BLOCKING: bool = $blocking;
                const COMMIT_LOG: bool = matches!($kind.as_bytes(), b"journal");

                fn build(_: &Self::Config, _: &BuildContext) -> Result<Self, StageError> {
                    Ok(Self)
                }

                fn process(&mut self, _: &Frame<$input>, _: &mut Emitter<'_, $output>) -> Result<(), StageError> {
                    Ok(())
                }
            }
        )*
    };
}

stages! {
    Cleaner "cleaner" "drops impossible bars" CleanerConfig, Bar => Bar, false;
    Rows "rows" "makes model inputs of bars" NoConfig, Bar => Row, false;
    Engine "engine" "predicts" EngineConfig, Row => Prediction, true;
    Journal "journal" "writes predictions down" NoConfig, Prediction => Nothing, false;
    Tap "tap" "looks at bars" NoConfig, Bar => Nothing, false;
    Answers "answers" "answers within a process" NoConfig, Reply => Nothing, false;
}

/// What a stage of the test says of the frames at its ports.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsConfig {
    /// How many rows there are in a frame; absent, the stage does not say.
    #[serde(default)]
    pub rows: Option<u32>,
    /// Names of the features.
    #[serde(default)]
    pub features: Option<Vec<String>>,
}

impl TermsConfig {
    fn facts(&self) -> PortSchema {
        let rows = self
            .rows
            .map(|rows| ("rows", Property::Number(rows.into())));
        let names = self.features.clone();
        let features = names.map(|names| ("feature", Property::Names(names)));
        rows.into_iter().chain(features).collect()
    }
}

pub struct Windows;

impl Stage for Windows {
    type Config = TermsConfig;
    type In = Bar;
    type Out = Row;
    const KIND: &'static str = "windows";
    const ABOUT: &'static str = "makes windows of rows";

    fn contract(config: &TermsConfig, _: &Path) -> PortContract {
        let mut contract = PortContract::default();
        contract.provides = config.facts();
        contract
    }

    fn build(_: &TermsConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(&mut self, _: &Frame<Bar>, _: &mut Emitter<'_, Row>) -> Result<(), StageError> {
        Ok(())
    }
}

pub struct Network;

impl Stage for Network {
    type Config = TermsConfig;
    type In = Row;
    type Out = Prediction;
    const KIND: &'static str = "network";
    const ABOUT: &'static str = "predicts from windows";

    fn contract(config: &TermsConfig, _: &Path) -> PortContract {
        let mut contract = PortContract::default();
        contract.requires = config.facts();
        contract
    }

    fn build(_: &TermsConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Row>,
        _: &mut Emitter<'_, Prediction>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Inputs)]
pub enum PairIn {
    Bars(Frame<Bar>),
    Rows(Frame<Row>),
    #[port(optional)]
    Earlier(Frame<Prediction>),
}

/// A stage with several input ports.
pub struct Pair;

impl Stage for Pair {
    type Config = TermsConfig;
    type In = PairIn;
    type Out = Prediction;
    const KIND: &'static str = "pair";
    const ABOUT: &'static str = "predicts from bars and rows";

    fn contract(config: &TermsConfig, _: &Path) -> PortContract {
        let mut rows = PortContract::default();
        rows.requires = config.facts();
        PortContract::default().at("rows", rows)
    }

    fn build(_: &TermsConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(&mut self, _: &PairIn, _: &mut Emitter<'_, Prediction>) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Outputs)]
pub enum SplitOut {
    Up(Bar),
    Down(Bar),
}

/// A stage with several output ports.
pub struct Split;

impl Stage for Split {
    type Config = NoConfig;
    type In = Bar;
    type Out = SplitOut;
    const KIND: &'static str = "split";
    const ABOUT: &'static str = "separates bars that rise from those that fall";

    fn build(_: &NoConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(&mut self, _: &Frame<Bar>, _: &mut Emitter<'_, SplitOut>) -> Result<(), StageError> {
        Ok(())
    }
}

/// The registry that the fault files are written for.
pub fn registry() -> Registry {
    Registry::new()
        .with_source::<Replay>()
        .with_source::<Feed>()
        .with_source::<Asks>()
        .with_stage::<Cleaner>()
        .with_stage::<Rows>()
        .with_stage::<Engine>()
        .with_stage::<Journal>()
        .with_stage::<Tap>()
        .with_stage::<Answers>()
        .with_stage::<Windows>()
        .with_stage::<Network>()
        .with_stage::<Pair>()
        .with_stage::<Split>()
}

/// A topology without a fault, in which every part of the format occurs.
pub const SOUND: &str = r#"
heqis = 1

[topology]
name = "sound"
drain_timeout = "1.5s"

[tls]
directory = "certs"

[defaults.edge]
capacity = 256
max_age = "1s"

[nodes.gateway]
board = "rk3568"
address = "10.0.0.1"
metrics = "0.0.0.0:9101"

[nodes.compute]
board = "jetson"
address = "10.0.0.2"

[stages.market]
kind = "replay"
node = "gateway"
params = { path = "bars.csv", speed = "max" }

[stages.rows]
kind = "rows"
node = "gateway"
cores = [1]

[stages.ring]
kind = "ring-buffer"
node = "gateway"
params = { capacity = 4096, policy = "drop-oldest" }

[stages.engine]
kind = "engine"
node = "compute"
batch = { max = 8, max_delay = "200us" }
restart = { max = 2, window = "1m", backoff = ["10ms", "1s"], then = "stop-stage" }
params = { bundle = "." }

[stages.journal]
kind = "journal"
node = "compute"
restart = { policy = "never" }

[stages.feedback]
kind = "journal"
node = "gateway"

[[edges]]
from = "market"
to = "rows"

[[edges]]
from = "rows"
to = "ring"
policy = "latest"

[[edges]]
from = "ring"
to = "engine"
max_age = "50ms"
transport = { kind = "nng", scheme = "tls+tcp", port = 5555, credit = 32 }

[[edges]]
from = "engine"
to = "journal"

[[edges]]
from = "engine"
to = "feedback"
policy = "drop-oldest"
transport = { scheme = "tls+tcp", port = 5556 }

[[budgets]]
path = ["market", "engine"]
p99 = "5ms"

[profiles.laptop.nodes.compute]
board = "host"
address = "localhost"

[profiles.laptop.edges."ring->engine"]
transport = { port = 6000 }
"#;
