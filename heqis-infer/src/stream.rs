//! A model that carries a state from one tick to the next.
//!
//! Which inputs take a state, and which outputs give the next one, the model says in its metadata under [`STATE_KEY`]. The
//! engine stays without memory, so that any backend serves and one can take over from another in mid-stream: the caller
//! keeps a [`Memory`] for each stream of ticks, such as one stock's, and hands it in with each.

use std::collections::BTreeMap;

use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::tensor::{Dtype, TensorSpec, TensorView};

/// Key of the model's `metadata_props` that pairs each input that takes a state with the output that gives the next one:
/// `input=output`, several separated by commas. A model without the key carries none.
pub const STATE_KEY: &str = "heqis.state";

/// A state: where the model takes it, where it gives the next one, and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    input: usize,
    output: usize,
    shape: Vec<usize>,
}

/// All states of a model; none for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct States(Vec<State>);

impl States {
    /// Reads them from a model's metadata, or says which rule they break.
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

/// What a model remembers of one stream of ticks: nothing at first, which is a state of zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory(Vec<Vec<f32>>);

impl Memory {
    /// The states in the model's order, for whoever saves them; none before the first tick.
    #[must_use]
    pub fn states(&self) -> &[Vec<f32>] {
        &self.0
    }

    /// A memory of states that [`Memory::states`] gave for the same bundle. Another bundle's are found out by their lengths
    /// when the model runs.
    #[must_use]
    pub fn of_states(states: Vec<Vec<f32>>) -> Self {
        Self(states)
    }
}

/// A bundle's model as its callers see it: the states are handed on from tick to tick and are neither given nor returned.
#[derive(Debug)]
pub struct Stream {
    engine: Box<dyn Engine>,
    states: States,
    /// All outputs of the model in its order, kept for their capacity.
    outputs: Vec<Vec<f32>>,
    /// Where the outputs that are no state are among them.
    plain: Vec<usize>,
    kept_states: u64,
}

impl Stream {
    /// Returns the stream of a bundle's model on an engine that was opened for that bundle.
    #[must_use]
    pub fn new(bundle: &Bundle, engine: Box<dyn Engine>) -> Self {
        let states = bundle.states().clone();
        let count = engine.outputs().len();
        Self {
            plain: (0..count).filter(|&output| !states.gives(output)).collect(),
            outputs: vec![Vec::new(); count],
            engine,
            states,
            kept_states: 0,
        }
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Computes one tick from the state in `memory` and leaves the next one there. `inputs` are those of the model that
    /// take no state, in its order; a model that carries none takes any number of rows in one call, as [`Engine::run`] does.
    ///
    /// A tick that fails leaves the memory as it was, so that the same tick can be given again. So does one whose next
    /// state is not finite: no later tick could start from that ([`Stream::kept_states`]).
    ///
    /// # Errors
    ///
    /// As [`Engine::run`].
    pub fn tick(
        &mut self,
        memory: &mut Memory,
        inputs: &[TensorView<'_>],
    ) -> Result<(), InferError> {
        let states = &self.states.0;
        if memory.0.len() != states.len() {
            let zeros = |state: &State| vec![0.0; state.shape.iter().product()];
            memory.0 = states.iter().map(zeros).collect();
        }
        let mut given = inputs.iter().copied();
        let mut views: Vec<TensorView<'_>> = (0..self.engine.inputs().len())
            .filter_map(
                |input| match states.iter().position(|state| state.input == input) {
                    Some(state) => Some(TensorView::f32(&states[state].shape, &memory.0[state])),
                    None => given.next(),
                },
            )
            .collect();
        // Too few or too many are the engine's to refuse.
        views.extend(given);
        self.engine.run(&views, &mut self.outputs)?;
        let is_finite = |state: &State| self.outputs[state.output].iter().all(|v| v.is_finite());
        if !states.iter().all(is_finite) {
            self.kept_states += 1;
            return Ok(());
        }
        for (state, values) in states.iter().zip(&mut memory.0) {
            std::mem::swap(values, &mut self.outputs[state.output]);
        }
        Ok(())
    }

    /// Leaves the backend in use for the next one, as [`Engine::give_up`] does.
    ///
    /// # Errors
    ///
    /// As [`Engine::give_up`].
    pub fn give_up(&mut self, reason: &str) -> Result<(), InferError> {
        self.engine.give_up(reason)
    }

    /// Returns how many ticks have left the memory as it was because the next state was not finite.
    #[must_use]
    pub fn kept_states(&self) -> u64 {
        self.kept_states
    }

    /// Returns what the last tick gave in the `index`th of the outputs that are no state.
    ///
    /// # Panics
    ///
    /// When the model has no such output.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        &self.outputs[self.plain[index]]
    }
}
