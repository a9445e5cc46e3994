//! A backend of one's own: an engine that computes in fixed point, compared with the CPU engine on a bundle's golden windows.
//!
//! ```sh
//! cargo run --example custom_backend
//! ```
//!
//! A stage sees only the `Engine` trait. The self-test of a bundle is the gate of every backend: it runs the golden windows
//! and compares the outputs with those of the CPU engine. Enough bits pass it, too few do not. A backend that topologies can
//! name is an entry of the catalogue in `heqis_infer::backend` on top of this.

use heqis::infer::{BackendKind, Bundle, CpuEngine, Engine, InferError, TensorSpec, TensorView};

/// Rounds the outputs of a model to a fixed number of fractional bits, as an accelerator without floats would.
#[derive(Debug)]
struct FixedPoint {
    inner: CpuEngine,
    /// Steps per unit, a power of two.
    steps: f32,
}

impl FixedPoint {
    fn load(model: &[u8], bits: u8) -> Result<Self, InferError> {
        Ok(Self {
            inner: CpuEngine::load(model)?,
            steps: f32::from(bits).exp2(),
        })
    }
}

impl Engine for FixedPoint {
    fn backend(&self) -> BackendKind {
        // Selects the tolerance of the self-test; a backend of the catalogue has a kind of its own.
        BackendKind::Cpu
    }

    fn inputs(&self) -> &[TensorSpec] {
        self.inner.inputs()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.inner.outputs()
    }

    fn run(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [Vec<f32>],
    ) -> Result<(), InferError> {
        self.inner.run(inputs, outputs)?;
        for value in outputs.iter_mut().flatten() {
            *value = (*value * self.steps).round() / self.steps;
        }
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bundle = Bundle::load(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/models/baseline-direction"
    ))?;
    let exact = bundle.self_test(&mut CpuEngine::load(bundle.model())?)?;
    println!(
        "cpu: {} golden windows, largest error {:e}",
        exact.windows, exact.max_abs_error
    );

    let fine = bundle.self_test(&mut FixedPoint::load(bundle.model(), 20)?)?;
    println!("20 bits: largest error {:e}", fine.max_abs_error);

    assert!(exact.max_abs_error < fine.max_abs_error);

    let coarse = bundle.self_test(&mut FixedPoint::load(bundle.model(), 4)?);
    println!(
        "4 bits: {}",
        coarse
            .as_ref()
            .err()
            .map_or("accepted".to_owned(), ToString::to_string)
    );
    assert!(matches!(coarse, Err(InferError::SelfTest { .. })));
    Ok(())
}
