//! A model that carries a state from one tick to the next.
//!
//! The engine itself stays without memory, so that any backend serves and one can take over from another: the stream holds
//! the state outside of it and gives it back with the next tick.

use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::tensor::{Dtype, TensorSpec, TensorView};

/// Key of the model's `metadata_props` that pairs each input that takes a state with the output that gives the next one:
/// `input=output`, several separated by commas.
pub const STATE_KEY: &str = "heqis.state";

/// An engine with the state of one stream of ticks, such as one stock's.
#[derive(Debug)]
pub struct Stream {
    engine: Box<dyn Engine>,
    states: Vec<State>,
    /// All outputs of the model in its order, kept for their capacity.
    outputs: Vec<Vec<f32>>,
    /// Sequence of the tick that would continue the state.
    next: Option<u64>,
}

/// A state: where the model takes it, where it gives the next one, and what it is now.
#[derive(Debug)]
struct State {
    input: usize,
    output: usize,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Whether a tick went on from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tick {
    /// The state was that of the tick before.
    Continued,
    /// The state was zero: the first tick, or the first after a gap.
    Fresh,
}

impl Stream {
    /// Returns the stream of a bundle's model, whose states the model's metadata name under [`STATE_KEY`].
    ///
    /// # Errors
    ///
    /// As [`Stream::new`], and [`InferError::State`] when the metadata name no state or are not of the form `input=output`.
    pub fn of(bundle: &Bundle, engine: Box<dyn Engine>) -> Result<Self, InferError> {
        let text = bundle.metadata(STATE_KEY).unwrap_or_default();
        let pairs = text
            .split(',')
            .map(|pair| {
                pair.split_once('=').ok_or_else(|| {
                    InferError::State(format!("{STATE_KEY} must be input=output,…, got {text:?}"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(engine, &pairs)
    }

    /// Returns a stream whose state is zero, with the names of each state's input and output.
    ///
    /// # Errors
    ///
    /// [`InferError::State`] when the model has no such tensor, uses one twice, or gives another shape or type than it takes.
    pub fn new(engine: Box<dyn Engine>, pairs: &[(&str, &str)]) -> Result<Self, InferError> {
        let mut states: Vec<State> = Vec::with_capacity(pairs.len());
        for &(input, output) in pairs {
            let find = |kind: &str, name: &str, specs: &[TensorSpec]| {
                specs
                    .iter()
                    .position(|spec| spec.name == name)
                    .ok_or_else(|| InferError::State(format!("the model has no {kind} {name}")))
            };
            let at = (
                find("input", input, engine.inputs())?,
                find("output", output, engine.outputs())?,
            );
            let (takes, gives) = (&engine.inputs()[at.0], &engine.outputs()[at.1]);
            if takes.dtype != Dtype::F32 || takes.shape != gives.shape {
                return Err(InferError::State(format!(
                    "{input} takes {} {:?}, {output} gives {} {:?}",
                    takes.dtype, takes.shape, gives.dtype, gives.shape
                )));
            }
            if states
                .iter()
                .any(|state| state.input == at.0 || state.output == at.1)
            {
                return Err(InferError::State(format!(
                    "{input}={output} uses a tensor twice"
                )));
            }
            states.push(State {
                input: at.0,
                output: at.1,
                shape: takes.shape.clone(),
                // Checked when the model was loaded: no backend takes a shape whose product overflows.
                values: vec![0.0; takes.checked_len().unwrap_or_default()],
            });
        }
        Ok(Self {
            outputs: vec![Vec::new(); engine.outputs().len()],
            engine,
            states,
            next: None,
        })
    }

    /// Returns the engine.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// Forgets: the next tick begins with a state of zero.
    pub fn reset(&mut self) {
        self.next = None;
    }

    /// Computes one tick. Inputs and outputs are those of the model that are no state, in its order.
    ///
    /// A `sequence` that does not follow the tick before is a gap, and the state begins anew. A tick that fails leaves the
    /// state as it was, so that the same tick can be given again.
    ///
    /// # Errors
    ///
    /// As [`Engine::run`].
    pub fn tick(
        &mut self,
        sequence: u64,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<Tick, InferError> {
        let tick = match self.next == Some(sequence) {
            true => Tick::Continued,
            false => {
                self.states
                    .iter_mut()
                    .for_each(|state| state.values.fill(0.0));
                // Should this tick fail, it is still the one that the zeros are for.
                self.next = Some(sequence);
                Tick::Fresh
            }
        };
        let state_of = |input: usize| self.states.iter().find(|state| state.input == input);
        let mut given = inputs.iter().copied();
        let mut views: Vec<TensorView<'_>> = (0..self.engine.inputs().len())
            .filter_map(|input| match state_of(input) {
                Some(state) => Some(TensorView::f32(&state.shape, &state.values)),
                None => given.next(),
            })
            .collect();
        // Too few or too many are the engine's to refuse.
        views.extend(given);
        self.engine.run(&views, &mut self.outputs)?;
        let states = self.states.len();
        if outputs.len() + states != self.outputs.len() {
            return Err(InferError::State(format!(
                "the model has {} outputs beside its states, the call {}",
                self.outputs.len() - states,
                outputs.len()
            )));
        }
        for state in &mut self.states {
            std::mem::swap(&mut state.values, &mut self.outputs[state.output]);
        }
        let plain = (0..self.outputs.len())
            .filter(|&output| self.states.iter().all(|state| state.output != output));
        for (output, buffer) in plain.zip(outputs) {
            std::mem::swap(&mut self.outputs[output], buffer);
        }
        self.next = Some(sequence.wrapping_add(1));
        Ok(tick)
    }
}
