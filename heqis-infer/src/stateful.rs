//! A model that carries a state from one step to the next.
//!
//! The model's metadata says which inputs take a state and which outputs give the next one
//! ([`STATE_KEY`](crate::bundle::STATE_KEY)). The engine itself keeps no state, so that any backend can be used, and another
//! backend can take over between two steps: the caller keeps a [`ModelState`] for each series, such as that of one stock, and
//! passes it to each step.

use crate::bundle::{Bundle, State, States};
use crate::engine::Engine;
use crate::error::InferError;
use crate::tensor::TensorView;

/// The state of one series: empty at first, which stands for zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelState(Vec<Vec<f32>>);

impl ModelState {
    /// Returns the state's tensors in the model's order, to be saved; none before the first step.
    #[must_use]
    pub fn tensors(&self) -> &[Vec<f32>] {
        &self.0
    }

    /// Returns the state with tensors that [`ModelState::tensors`] gave for the same bundle. Tensors of another bundle are
    /// refused by their lengths at the next step.
    #[must_use]
    pub fn from_tensors(tensors: Vec<Vec<f32>>) -> Self {
        Self(tensors)
    }
}

/// A bundle's model whose state is carried from step to step: callers neither pass nor receive state tensors.
///
/// A model without a state is the special case of an empty one.
///
/// ```
/// use std::collections::BTreeMap;
/// use heqis_infer::bundle::STATE_KEY;
/// use heqis_infer::onnx::GraphBuilder;
/// use heqis_infer::{BackendKind, Bundle, ModelState, StatefulModel, TensorView, open};
/// # use heqis_infer::{BundleParts, Golden, GoldenWindow, Precision, TrainingSpan};
///
/// // A running sum: the next state is the state plus the input.
/// let mut graph = GraphBuilder::new("running-sum");
/// let (sum, x) = (graph.input("sum", &[1, 1]), graph.input("x", &[1, 1]));
/// let next = graph.node("next", "Add", &[&sum, &x], &[]);
/// let shown = graph.node("shown", "Identity", &[&next], &[]);
/// graph.output(&next, &[1, 1]);
/// graph.output(&shown, &[1, 1]);
/// graph.metadata(STATE_KEY, "sum=next");
/// # let directory = tempfile::tempdir()?;
/// # let tensor = |name: &str, value: f32| (name.to_owned(), vec![value]);
/// # let parts = BundleParts {
/// #     name: "running-sum".to_owned(),
/// #     task: "example".to_owned(),
/// #     created_by: "an example".to_owned(),
/// #     precision: Precision::F32,
/// #     model: graph.finish()?,
/// #     scaler_params: b"{}".to_vec(),
/// #     other_files: BTreeMap::new(),
/// #     model_card: String::new(),
/// #     feature_names: vec!["x".to_owned()],
/// #     window_bars: 1,
/// #     training_span: TrainingSpan {
/// #         source: String::new(),
/// #         source_sha256: String::new(),
/// #         from: "2024-01-02".to_owned(),
/// #         to: "2024-01-02".to_owned(),
/// #         rows: 1,
/// #     },
/// #     figures: BTreeMap::new(),
/// #     golden: Golden {
/// #         tolerance: 0.0,
/// #         windows: vec![GoldenWindow {
/// #             label: "one".to_owned(),
/// #             inputs: BTreeMap::from([tensor("sum", 0.0), tensor("x", 1.0)]),
/// #             outputs: BTreeMap::from([tensor("next", 1.0), tensor("shown", 1.0)]),
/// #         }],
/// #     },
/// # };
/// # let bundle = Bundle::write(directory.path().join("running-sum"), &parts)?;
/// // … written as a bundle, and opened on the reference backend:
/// let mut model = StatefulModel::new(&bundle, open(&bundle, &[BackendKind::Cpu], true)?.engine);
/// let mut state = ModelState::default();
/// for (x, expected) in [(1.0, 1.0), (2.0, 3.0), (4.0, 7.0)] {
///     model.step(&mut state, &[TensorView::f32(&[1, 1], &[x])])?;
///     assert_eq!(model.output(0), [expected]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StatefulModel {
    engine: Box<dyn Engine>,
    states: States,
    /// All outputs of the model in its order, kept for their capacity.
    outputs: Vec<Vec<f32>>,
    /// Indices of the outputs that are no state.
    plain: Vec<usize>,
    kept_states: u64,
}

impl StatefulModel {
    /// Returns a bundle's model on an engine that was opened for that bundle.
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

    /// Computes one step from `state` and stores the next state there. `inputs` are the model's inputs without its state
    /// inputs, in its order; a model without a state takes any number of rows in one call, as [`Engine::run`] does.
    ///
    /// A step that fails leaves the state unchanged, so that it can be repeated. A step whose next state is not finite
    /// leaves it unchanged too, since no later step could start from that ([`StatefulModel::kept_states`]).
    ///
    /// # Errors
    ///
    /// As [`Engine::run`].
    pub fn step(
        &mut self,
        state: &mut ModelState,
        inputs: &[TensorView<'_>],
    ) -> Result<(), InferError> {
        let states = &self.states.0;
        if state.0.len() != states.len() {
            let zeros = |state: &State| vec![0.0; state.shape.iter().product()];
            state.0 = states.iter().map(zeros).collect();
        }
        let mut given = inputs.iter().copied();
        let mut views: Vec<TensorView<'_>> = (0..self.engine.inputs().len())
            .filter_map(
                |input| match states.iter().position(|state| state.input == input) {
                    Some(at) => Some(TensorView::f32(&states[at].shape, &state.0[at])),
                    None => given.next(),
                },
            )
            .collect();
        // The engine refuses too few or too many.
        views.extend(given);
        self.engine.run(&views, &mut self.outputs)?;
        let is_finite = |state: &State| self.outputs[state.output].iter().all(|v| v.is_finite());
        if !states.iter().all(is_finite) {
            self.kept_states += 1;
            return Ok(());
        }
        for (place, values) in states.iter().zip(&mut state.0) {
            std::mem::swap(values, &mut self.outputs[place.output]);
        }
        Ok(())
    }

    /// Switches to the next backend, as [`Engine::fail_over`] does.
    ///
    /// # Errors
    ///
    /// As [`Engine::fail_over`].
    pub fn fail_over(&mut self, reason: &str) -> Result<(), InferError> {
        self.engine.fail_over(reason)
    }

    /// Returns the number of steps that left the state unchanged because the next state was not finite.
    #[must_use]
    pub fn kept_states(&self) -> u64 {
        self.kept_states
    }

    /// Returns the `index`th of the outputs that are no state, from the last step.
    ///
    /// # Panics
    ///
    /// When the model has no such output.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        &self.outputs[self.plain[index]]
    }
}
