//! The trained networks as an implementation.

use heqis_infer::Bundle;
use heqis_train::export::direction::{Direction, GENERATORS_KEY};
use heqis_train::export::run::{direction, encode};
use heqis_train::nets::encoder::Encoder;
use heqis_train::train::{SavedWeights, TrainedRun};

use crate::error::LabError;
use crate::implementation::Implementation;
use crate::windows::{Outputs, Windows};

/// The networks of a run, computed by the framework that trained them.
#[derive(Debug)]
pub enum Network {
    /// The encoder, with the rows and features of its window.
    Factors(Box<Encoder>, usize, usize),
    /// The generators that the bundle names.
    Direction(Direction),
}

impl Network {
    /// Finds the networks of a run that a bundle was exported from.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] when the run lacks them.
    pub fn new(bundle: &Bundle, run: &TrainedRun) -> Result<Self, LabError> {
        let manifest = bundle.manifest();
        let fault = |rule: String| {
            Err(LabError::rule(
                "verify",
                format!("{}: {rule}", run.dir().display()),
            ))
        };
        if manifest.task == "factors" {
            let bars = run.manifest.config.encoder.shape().0;
            return match run.encoder()? {
                Some(encoder) => {
                    let features = run.manifest.features.len();
                    Ok(Self::Factors(Box::new(encoder), bars, features))
                }
                None => fault("has no encoder".to_owned()),
            };
        }
        let Some(names) = bundle.metadata(GENERATORS_KEY) else {
            let task = &manifest.task;
            return fault(format!("the bundle of task '{task}' names no generators"));
        };
        let mut generators = run.generators(SavedWeights::Best)?;
        generators.retain(|generator| names.split(',').any(|name| name == generator.name));
        match generators.len() == names.split(',').count() {
            true => Ok(Self::Direction(direction(run, generators)?)),
            false => fault(format!("lacks some of the generators {names}")),
        }
    }
}

impl Implementation for Network {
    fn name(&self) -> String {
        "trained network (burn)".to_owned()
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        match self {
            Self::Factors(encoder, bars, features) => {
                Ok(vec![encode(encoder, &windows.inputs[0], *bars, *features)?])
            }
            Self::Direction(direction) => {
                let outputs = direction.forward(&windows.inputs[0], windows.count)?;
                Ok(outputs.to_vec())
            }
        }
    }
}
