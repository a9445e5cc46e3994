//! Stages that state what a graph must check.
#![allow(unreachable_pub)]

use std::path::Path;

use heqis_actors::{
    BuildContext, Emitter, Frame, Next, Nothing, Payload, PortContract, Property, Source, Stage,
    StageError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::common::Number;

/// A payload of another type than `Number`.
#[derive(Debug, Payload)]
#[payload(name = "letter")]
pub struct Letter;

/// Parameters of the stages below.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct ModelConfig {
    /// The version that the model provides.
    pub version: u64,
    /// What is wrong with the parameters.
    #[serde(default)]
    pub faults: Vec<String>,
}

/// Provides a version of factors.
pub struct Factors;

impl Stage for Factors {
    type Config = ModelConfig;
    type In = Number;
    type Out = Number;
    const KIND: &'static str = "factors";
    const ABOUT: &'static str = "makes factors";

    fn check(config: &ModelConfig, _: &Path) -> Vec<String> {
        assert!(config.version < u64::MAX, "no such version");
        config.faults.clone()
    }

    fn contract(config: &ModelConfig, _: &Path) -> PortContract {
        PortContract::default().provide("model", Property::Number(config.version))
    }

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        frame: &Frame<Number>,
        out: &mut Emitter<'_, Number>,
    ) -> Result<(), StageError> {
        out.emit(frame.head(), Number::clone(frame));
        Ok(())
    }
}

/// Requires a version of factors, and is a sink; a commit log when `LOG` is set.
pub struct Direction<const LOG: bool>;

impl<const LOG: bool> Stage for Direction<LOG> {
    type Config = ModelConfig;
    type In = Number;
    type Out = Nothing;
    const KIND: &'static str = "direction";
    const ABOUT: &'static str = "takes factors of one version";
    const COMMIT_LOG: bool = LOG;

    fn contract(config: &ModelConfig, _: &Path) -> PortContract {
        PortContract::default().require("model", Property::Number(config.version))
    }

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Number>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

/// Takes letters.
pub struct Reader;

impl Stage for Reader {
    type Config = ModelConfig;
    type In = Letter;
    type Out = Nothing;
    const KIND: &'static str = "reader";
    const ABOUT: &'static str = "takes letters";

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Letter>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}

/// A source that makes its items once.
pub struct Live;

impl Source for Live {
    type Config = ModelConfig;
    type Out = Number;
    const KIND: &'static str = "live";
    const ABOUT: &'static str = "makes nothing";
    const REPLAYABLE: bool = false;

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn next(&mut self) -> Result<Next<Number>, StageError> {
        Ok(Next::End)
    }
}

pub fn model(version: u64) -> ModelConfig {
    ModelConfig {
        version,
        faults: Vec::new(),
    }
}

/// Another type under the name of numbers.
#[derive(Debug, Payload)]
#[payload(name = "number")]
pub struct Impostor;

/// Takes impostors.
pub struct Deceived;

impl Stage for Deceived {
    type Config = ModelConfig;
    type In = Impostor;
    type Out = Nothing;
    const KIND: &'static str = "deceived";
    const ABOUT: &'static str = "takes impostors";

    fn build(_: &ModelConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self)
    }

    fn process(
        &mut self,
        _: &Frame<Impostor>,
        _: &mut Emitter<'_, Nothing>,
    ) -> Result<(), StageError> {
        Ok(())
    }
}
