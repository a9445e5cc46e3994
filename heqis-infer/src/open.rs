//! Opening a bundle's model on the first backend of a list that works.

use crate::backend::{BackendKind, Unavailable};
use crate::bundle::{Bundle, SelfTest};
use crate::engine::Engine;
use crate::error::InferError;
use crate::fallback::Fallback;
use crate::libraries::Libraries;
use crate::load::load_checked;

/// An opened model: its engine has passed the bundle's self-test.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// The selected backend.
    pub backend: BackendKind,
    /// The earlier backends of the list, which were unavailable, in order. Empty when the first one works.
    pub fallbacks: Vec<Unavailable>,
    /// The result of the self-test.
    pub self_test: SelfTest,
    /// Whether the backend failed its gate when the bundle was verified and was opened because
    /// [`Bundle::force`] allows it.
    pub forced: bool,
}

/// Opens a bundle's model on the first backend of `backends` that loads it and passes its self-test, with the libraries
/// of [`Libraries::from_env`].
///
/// Each backend that is unavailable is logged as a warning and returned in [`Opened::fallbacks`]. Unless `strict` is set,
/// an engine whose backend fails while it computes switches to the next that works, computes the same batch there, and
/// reports it in [`Engine::failed_over`].
///
/// # Errors
///
/// [`InferError::BackendList`] when the list is empty or names a backend twice; [`InferError::Strict`] when `strict`
/// is set, the list names several, and the first is unavailable; [`InferError::NoBackend`] when none is available.
///
/// # Examples
///
/// ```
/// use heqis_infer::{BackendKind, Bundle, TensorView, open};
///
/// let bundle = Bundle::load("../models/baseline-direction")?;
/// let mut engine = open(&bundle, &[BackendKind::Cpu], true)?.engine;
/// // One row of features; the outputs are in the order of the model file.
/// let shape = &bundle.manifest().inputs[0].shape;
/// let row = vec![0.0; shape.iter().product()];
/// let mut outputs = vec![Vec::new(); engine.outputs().len()];
/// engine.run(&[TensorView::f32(shape, &row)], &mut outputs)?;
/// assert_eq!(outputs.iter().map(Vec::len).sum::<usize>(), 4, "a return and three probabilities");
/// # Ok::<(), heqis_infer::InferError>(())
/// ```
pub fn open(bundle: &Bundle, backends: &[BackendKind], strict: bool) -> Result<Opened, InferError> {
    open_with(bundle, backends, strict, &Libraries::from_env())
}

/// Opens a bundle's model as [`open`] does, with these libraries.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    libraries: &Libraries,
) -> Result<Opened, InferError> {
    if backends.is_empty() {
        return Err(InferError::BackendList(
            "must name at least one backend, got none".to_owned(),
        ));
    }
    let mut kinds = backends.iter().enumerate();
    if let Some((_, twice)) = kinds.find(|(i, kind)| backends[..*i].contains(kind)) {
        return Err(InferError::BackendList(format!(
            "must name each backend once, got {twice} twice"
        )));
    }
    let name = bundle.manifest().name.as_str();
    let mut fallbacks = Vec::new();
    for (i, &backend) in backends.iter().enumerate() {
        match load_checked(bundle, backend, libraries) {
            Ok((engine, self_test)) => {
                tracing::info!(
                    bundle = name,
                    backend = backend.name(),
                    golden_windows = self_test.windows,
                    max_abs_error = self_test.max_abs_error,
                    "engine ready"
                );
                let rest = &backends[i + 1..];
                let engine: Box<dyn Engine> = match strict || rest.is_empty() {
                    true => engine,
                    false => Box::new(Fallback {
                        bundle: bundle.clone(),
                        libraries: libraries.clone(),
                        engine,
                        rest: rest.iter().copied().collect(),
                        failed_over: Vec::new(),
                    }),
                };
                return Ok(Opened {
                    engine,
                    backend,
                    fallbacks,
                    self_test,
                    forced: bundle.gate(backend).is_some(),
                });
            }
            Err(unavailable) => {
                tracing::warn!(
                    bundle = name,
                    backend = backend.name(),
                    reason = unavailable.reason.as_str(),
                    strict,
                    "backend unavailable"
                );
                // A list of one backend has nothing to fall back to.
                if strict && backends.len() > 1 {
                    return Err(InferError::Strict {
                        bundle: bundle.dir().display().to_string(),
                        unavailable,
                    });
                }
                fallbacks.push(unavailable);
            }
        }
    }
    Err(InferError::NoBackend {
        bundle: bundle.dir().display().to_string(),
        tried: fallbacks,
    })
}
