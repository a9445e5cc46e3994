//! Rockchip's NPU through its runtime library `librknnrt.so`, which is loaded at run time and never linked.
//!
//! - `library`: the raw calls under a session that owns the context and its memory; the only unsafe code here.
//! - `layout`: the place and encoding of each element in the NPU's native memory layout.
//! - `fault`: what can go wrong.
//!
//! The zero-copy interface is used: one buffer per tensor is allocated at load time in the NPU's native layout, so that a
//! call is *write, sync, run, sync, read* and neither library copies or converts anything.
//!
//! Written against Rockchip's runtime interface 2.x for RK3566, RK3568 and RK3588. The tests run without a board, against a
//! stand-in library: they cover the loader, the call sequence, every error code and every layout, but not a real NPU.

mod fault;
mod layout;
mod library;

use std::fmt;
use std::path::Path;

use crate::backend::{BackendKind, RKNN_BUILD, RKNN_CORES, RKNN_LIBRARY};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::libraries::Libraries;
use crate::rows::{self, RowEngine, Tensors};
use crate::tensor::{Dtype, TensorData, TensorSpec, TensorView};
pub use fault::{RknnFault, Versions};
use layout::Layout;
use library::Session;

/// A model on the NPU.
///
/// One engine has one context and is used by one thread at a time, as the vendor demands. Batches are computed row by
/// row, since the model's shapes are static.
pub struct RknnEngine {
    session: Session,
    tensors: Tensors,
    input_layouts: Vec<Layout>,
    output_layouts: Vec<Layout>,
}

impl fmt::Debug for RknnEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RknnEngine")
            .field("tensors", &self.tensors)
            .field("versions", self.session.versions())
            .finish_non_exhaustive()
    }
}

impl RknnEngine {
    /// Loads a model that was built for this chip into the NPU.
    ///
    /// `inputs` and `outputs` are the bundle's tensors. The model must have the same number, in the same order and with the
    /// same numbers of elements; names may differ, since the converter appends to them.
    ///
    /// # Errors
    ///
    /// [`RknnFault`] with the first step that failed.
    pub fn load(
        library: &Path,
        model: &[u8],
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<RknnEngine, RknnFault> {
        let session = Session::open(library, model)?;
        let input_layouts = layouts("input", inputs, session.inputs())?;
        let output_layouts = layouts("output", outputs, session.outputs())?;
        Ok(RknnEngine {
            tensors: Tensors::new(inputs.to_vec(), outputs.to_vec()),
            session,
            input_layouts,
            output_layouts,
        })
    }

    /// Selects the cores of the NPU that the model runs on: `auto`, or core numbers separated by commas. Chips with one core
    /// refuse it.
    ///
    /// # Errors
    ///
    /// [`RknnFault::Cores`] when the text is neither, [`RknnFault::Symbol`] and [`RknnFault::Call`] when the runtime does not
    /// support cores, or not these.
    pub fn set_cores(&mut self, library: &Path, cores: &str) -> Result<(), RknnFault> {
        let mask = match cores {
            "auto" => 0,
            list => list
                .split(',')
                .try_fold(0, |mask: u8, core| match core.parse::<u8>() {
                    Ok(core @ 0..3) => Ok(mask | 1 << core),
                    _ => Err(RknnFault::Cores(cores.to_owned())),
                })?,
        };
        self.session.set_cores(library, mask)
    }

    /// Returns the versions of runtime and driver.
    #[must_use]
    pub fn versions(&self) -> &Versions {
        self.session.versions()
    }
}

/// Opens a bundle's build for the NPU and logs the versions that a report of a fault must name.
pub(crate) fn open(bundle: &Bundle, libraries: &Libraries) -> Result<Box<dyn Engine>, String> {
    let model = bundle
        .build(BackendKind::Rknn)
        .ok_or_else(|| format!("the bundle has no {RKNN_BUILD}"))?;
    let (library, manifest) = (libraries.path(RKNN_LIBRARY), bundle.manifest());
    let mut engine = RknnEngine::load(&library, model, &manifest.inputs, &manifest.outputs)
        .map_err(|fault| fault.to_string())?;
    if let Some(cores) = libraries.get(RKNN_CORES) {
        let set = engine.set_cores(&library, &cores.to_string_lossy());
        set.map_err(|fault| fault.to_string())?;
    }
    let versions = engine.versions();
    tracing::info!(
        runtime = versions.runtime.as_str(),
        driver = versions.driver.as_str(),
        "rknn runtime"
    );
    Ok(Box::new(engine))
}

impl RowEngine for RknnEngine {
    fn kind(&self) -> BackendKind {
        BackendKind::Rknn
    }

    fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    fn run_row(
        &mut self,
        row: usize,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), String> {
        for (i, (layout, input)) in self.input_layouts.iter().zip(inputs).enumerate() {
            let spec = &self.tensors.inputs[i];
            match rows::row(spec, input, row) {
                Some(TensorData::F32(values)) => layout.write(values, self.session.input_bytes(i)),
                _ => return Err(not_f32("input", spec).to_string()),
            }
        }
        self.session.run().map_err(|fault| fault.to_string())?;
        for (o, (layout, buffer)) in self.output_layouts.iter().zip(outputs).enumerate() {
            layout.read(self.session.output_bytes(o), buffer);
        }
        Ok(())
    }
}

fn not_f32(kind: &'static str, spec: &TensorSpec) -> RknnFault {
    RknnFault::Tensor {
        kind,
        name: spec.name.clone(),
        rule: format!("element type must be f32, the bundle says {}", spec.dtype),
    }
}

/// Returns the layouts of the model's tensors, which must match the bundle's.
fn layouts(
    kind: &'static str,
    specs: &[TensorSpec],
    found: &[library::TensorAttr],
) -> Result<Vec<Layout>, RknnFault> {
    if specs.len() != found.len() {
        return Err(RknnFault::Count {
            kind,
            expected: specs.len(),
            got: found.len(),
        });
    }
    specs
        .iter()
        .zip(found)
        .map(|(spec, attr)| {
            if spec.dtype != Dtype::F32 {
                return Err(not_f32(kind, spec));
            }
            let fault = |rule: String| RknnFault::Tensor {
                kind,
                name: spec.name.clone(),
                rule,
            };
            let layout = Layout::of(attr).map_err(fault)?;
            if spec.checked_len() != Some(layout.len()) {
                return Err(fault(format!(
                    "shape must be {:?}, the model has {} elements in {:?}",
                    spec.shape,
                    layout.len(),
                    attr.dims
                )));
            }
            Ok(layout)
        })
        .collect()
}
