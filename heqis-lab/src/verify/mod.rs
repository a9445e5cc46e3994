//! `verify`: checks that every implementation computes what was trained.
//!
//! - [`windows`]: the golden windows of the bundle, and windows drawn at random.
//! - [`mod@implementations`]: RTen, ONNX Runtime, the pipeline's engine. [`network`]: the trained networks.
//! - [`report`]: the distances, as a table and as JSON, and the manifest's entry for each backend.
//! - [`boards`]: bounds for accelerators; [`trading`]: the effect of differences on decisions and returns.
//!
//! Every implementation is compared with the first, which is the trained network where given, and with the bundle's golden
//! outputs. One difference above the tolerance rejects the bundle.

use std::path::PathBuf;

use clap::Args;
use heqis_infer::bundle::MODEL_FILE;
use heqis_infer::{BackendKind, Bundle, InferError, Libraries, Unavailable};
use heqis_train::export::run::batch_of;
use heqis_train::train::TrainedRun;

use crate::convert::npu::Simulator;
use crate::error::LabError;
use crate::implementation::{Implementation, is_exact};
use crate::output::CommandOutput;
use crate::windows;

pub mod boards;
pub mod implementations;
pub mod network;
pub mod report;
pub mod trading;

pub use boards::BoardArgs;
use implementations::{Batched, OnnxRuntime, Pipeline, Rten};
pub use report::{Distance, Report, Trading};

/// Compute a bundle by several implementations and reject it when they differ.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Directory of the bundle.
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// Run directory that the bundle was exported from: the trained networks become the reference.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Number of random windows.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub windows: usize,
    /// Seed of the random windows.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Largest absolute difference between two implementations.
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 1e-5)]
    pub tolerance: f32,
    /// Python with onnx and onnxruntime, an independent implementation; without it the report lists ONNX Runtime as not
    /// compared.
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// Bounds for accelerators.
    #[command(flatten)]
    pub boards: BoardArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Verifies a bundle by the implementations that this machine has.
///
/// # Errors
///
/// [`LabError`] when the bundle cannot be loaded or an implementation fails. A difference above the tolerance is not an
/// error but a [`CommandOutput`] that is not good.
pub fn run(args: &VerifyArgs) -> Result<CommandOutput, LabError> {
    let bundle = Bundle::load(&args.bundle)?;
    heqis_bundle::check(&bundle)?;
    if let Some(trade) = args.boards.trading() {
        trade.check_pair(&bundle)?;
    }
    check_model(&bundle)?;
    let mut implementations = implementations(&bundle, args)?;
    if let Some(dir) = &args.run {
        let run = TrainedRun::open(dir)?;
        implementations.insert(0, Box::new(network::Network::new(&bundle, &run)?));
    }
    let report = verify(&bundle, implementations, args)?;
    if args.boards.write {
        bundle.amend(std::collections::BTreeMap::new(), report.verified())?;
    }
    let lines = match args.json {
        true => serde_json::to_string_pretty(&report)
            .map_err(|source| LabError::json(&args.bundle, source))?,
        false => report.markdown(),
    };
    Ok(CommandOutput {
        good: report.is_good(),
        lines: lines.lines().map(str::to_owned).collect(),
    })
}

/// Checks that the CPU computes the model at all, in the words in which a stage or a backtest rejects it. A difference from the
/// golden outputs is what the report measures.
fn check_model(bundle: &Bundle) -> Result<(), InferError> {
    let cpu = BackendKind::Cpu;
    let rejected = |unavailable| InferError::NoBackend {
        bundle: bundle.dir().display().to_string(),
        tried: vec![unavailable],
    };
    let mut engine = heqis_infer::load(bundle, cpu, &Libraries::from_env()).map_err(rejected)?;
    match bundle.self_test(engine.as_mut()) {
        Ok(_) | Err(InferError::SelfTest { .. }) => Ok(()),
        Err(error) => Err(rejected(Unavailable::new(cpu, error))),
    }
}

/// Returns the implementations that need only the bundle, and those of the boards that the arguments name.
///
/// # Errors
///
/// [`LabError::Infer`] when an engine rejects the model, [`LabError::Rule`] when the simulator cannot be calibrated.
pub fn implementations(
    bundle: &Bundle,
    args: &VerifyArgs,
) -> Result<Vec<Box<dyn Implementation>>, LabError> {
    let mut implementations: Vec<Box<dyn Implementation>> = vec![
        Box::new(Rten::new(bundle.model())?),
        Box::new(Pipeline::new(bundle, BackendKind::Cpu)?),
    ];
    if let Some(python) = &args.python {
        let implementation = OnnxRuntime::new(bundle, MODEL_FILE, 1, python);
        implementations.push(Box::new(implementation));
    }
    for file in bundle.manifest().files.keys() {
        let (Some(batch), Some(model)) = (batch_of(file), bundle.file(file)) else {
            continue;
        };
        implementations.push(Box::new(Batched::new(Rten::new(model)?, batch)));
        if let Some(python) = &args.python {
            let implementation = OnnxRuntime::new(bundle, file, batch, python);
            implementations.push(Box::new(Batched::new(implementation, batch)));
        }
    }
    if args.boards.simulate {
        let npu = args.boards.npu.npu(bundle)?;
        implementations.push(Box::new(Simulator::new(npu, bundle)));
    }
    for backend in &args.boards.backend {
        implementations.push(Box::new(Pipeline::new(bundle, *backend)?));
    }
    Ok(implementations)
}

/// Compares implementations over golden and random windows: each with the bundle's golden outputs, and each with the first.
///
/// # Errors
///
/// [`LabError::Rule`] when there is no implementation, and the errors of implementations.
pub fn verify(
    bundle: &Bundle,
    mut implementations: Vec<Box<dyn Implementation>>,
    args: &VerifyArgs,
) -> Result<Report, LabError> {
    let bounds = [args.tolerance, args.boards.gate, args.boards.flips as f32];
    let is_valid = bounds
        .iter()
        .all(|bound| bound.is_finite() && *bound >= 0.0);
    if !is_valid || args.windows == 0 || implementations.is_empty() {
        return Err(LabError::rule(
            "verify",
            format!(
                "needs a window, an implementation and bounds of zero or more, got {}, {} and {bounds:?}",
                args.windows,
                implementations.len(),
            ),
        ));
    }
    let trading = args.boards.trading();
    if trading.is_some() && implementations.iter().all(|one| is_exact(one.as_ref())) {
        let rule = "compares the decisions of accelerators: name one by --backend, or the simulator by --simulate";
        return Err(LabError::rule("--trade", rule));
    }
    let manifest = bundle.manifest();
    let mut report = Report {
        bundle: args.bundle.display().to_string(),
        ..Report::default()
    };
    let (golden, expected) = windows::golden(bundle)?;
    let random = windows::random(bundle, args.windows, args.seed)?;
    for (kind, windows) in [("golden", &golden), ("random", &random)] {
        let mut first: Option<(String, windows::Outputs)> = None;
        for implementation in &mut implementations {
            let outputs = implementation.compute(windows)?;
            let name = implementation.name();
            let (backend, exact) = (implementation.backend(), is_exact(implementation.as_ref()));
            let mut measure = |with: (&str, &windows::Outputs), narrow| {
                let implementation = (name.as_str(), backend, &outputs);
                let tolerance = if exact { narrow } else { args.boards.gate };
                let specs = &manifest.outputs;
                report.measure(
                    (kind, windows.count),
                    implementation,
                    with,
                    specs,
                    tolerance,
                );
            };
            if kind == "golden" {
                measure(("the bundle", &expected), manifest.golden.tolerance);
            }
            match &first {
                Some((name, first)) => measure((name, first), args.tolerance),
                None => first = Some((name, outputs)),
            }
        }
    }
    if let Some(trade) = trading {
        for implementation in &mut implementations {
            if is_exact(implementation.as_ref()) {
                continue;
            }
            let difference = trade.compare(bundle, implementation.as_mut())?;
            let allowed = args.boards.flips * difference.bars as f64;
            report.trading.push(Trading {
                implementation: implementation.name(),
                within: difference.class_flips as f64 <= allowed,
                difference,
            });
        }
    }
    if args.python.is_none() {
        let reason = "ONNX Runtime, because no --python was given".to_owned();
        report.skipped.push(reason);
    }
    Ok(report)
}
