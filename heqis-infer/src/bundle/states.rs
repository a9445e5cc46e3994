//! Which tensors of a model carry its state from one step to the next.

use std::collections::BTreeMap;

use crate::tensor::{Dtype, TensorSpec};

/// Key of the model's `metadata_props` that pairs each state input with the output that holds the next state:
/// `input=output`, several separated by commas. A model without the key carries no state.
pub const STATE_KEY: &str = "heqis.state";

/// A state: its input, the output that holds the next one, and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) shape: Vec<usize>,
}

/// All states of a model; most models have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct States(pub(crate) Vec<State>);

impl States {
    /// Reads the states from a model's metadata, or returns the rule that they break.
    pub(crate) fn read(
        metadata: &BTreeMap<String, String>,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Self, String> {
        let Some(text) = metadata.get(STATE_KEY) else {
            return Ok(Self::default());
        };
        let find = |kind: &str, name: &str, specs: &[TensorSpec]| {
            let position = specs.iter().position(|spec| spec.name == name);
            position.ok_or_else(|| format!("{STATE_KEY}: the model has no {kind} {name}"))
        };
        let mut states: Vec<State> = Vec::new();
        for pair in text.split(',') {
            let (input, output) = pair
                .split_once('=')
                .ok_or_else(|| format!("{STATE_KEY} must be input=output,…, got {text:?}"))?;
            let state = State {
                input: find("input", input, inputs)?,
                output: find("output", output, outputs)?,
                shape: inputs[find("input", input, inputs)?].shape.clone(),
            };
            let (takes, gives) = (&inputs[state.input], &outputs[state.output]);
            if takes.dtype != Dtype::F32 || takes.shape != gives.shape {
                return Err(format!(
                    "{STATE_KEY}: {input} takes {} {:?}, {output} gives {} {:?}",
                    takes.dtype, takes.shape, gives.dtype, gives.shape
                ));
            }
            if states
                .iter()
                .any(|other| other.input == state.input || other.output == state.output)
            {
                return Err(format!("{STATE_KEY}: {pair} uses a tensor twice"));
            }
            states.push(state);
        }
        Ok(Self(states))
    }

    pub(crate) fn takes(&self, input: usize) -> bool {
        self.0.iter().any(|state| state.input == input)
    }

    pub(crate) fn gives(&self, output: usize) -> bool {
        self.0.iter().any(|state| state.output == output)
    }
}
