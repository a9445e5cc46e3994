//! `verify`: proves that a bundle computes what was trained, whoever computes it.
//!
//! - [`windows`]: the golden windows of the bundle, and windows drawn at random.
//! - [`mod@sides`]: RTen, ONNX Runtime, the engine as the pipeline has it. [`network`]: what was trained.
//! - [`report`]: the distances, as a table and as JSON, and what the manifest says of each backend.
//! - [`boards`]: what is asked of accelerators; [`walk`]: history along the boards' path, for what a difference comes to.
//!
//! Every side is compared with the first, which is the trained network when there is one, and with the answers that the
//! bundle carries. One difference above the tolerance refuses the bundle.

use std::path::PathBuf;

use clap::Args;
use heqis_infer::bundle::MODEL_FILE;
use heqis_infer::{BackendKind, Bundle};
use heqis_train::export::run::batch_of;
use heqis_train::train::TrainedRun;

use crate::answer::Answer;
use crate::convert::npu::Simulator;
use crate::error::LabError;
use crate::side::{Side, is_exact};
use crate::windows;

pub mod boards;
pub mod network;
pub mod report;
pub mod sides;
pub mod walk;

pub use boards::BoardArgs;
pub use report::{Distance, Report, Trading};
use sides::{Batched, OnnxRuntime, Pipeline, Rten};

/// Computes a bundle in several ways and refuses it when they differ.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Directory of the bundle.
    #[arg(long, value_name = "DIR")]
    pub bundle: PathBuf,
    /// Run directory that the bundle was exported from: the trained networks become the side that others are compared with.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// Number of random windows.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub windows: usize,
    /// Seed of the random windows.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Largest absolute difference between two sides.
    #[arg(long, value_name = "DIFFERENCE", default_value_t = 1e-5)]
    pub tolerance: f32,
    /// Python with onnx and onnxruntime, the independent side; without it that side is left out and the report says so.
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// What is asked of accelerators.
    #[command(flatten)]
    pub boards: BoardArgs,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// Verifies a bundle by what the machine offers.
///
/// # Errors
///
/// [`LabError`] when the bundle cannot be loaded or a side fails. A difference above the tolerance is no error but an
/// [`Answer`] that is not good.
pub fn run(args: &VerifyArgs) -> Result<Answer, LabError> {
    let bundle = Bundle::load(&args.bundle)?;
    heqis_bundle::check(&bundle)?;
    let mut sides = sides(&bundle, args)?;
    if let Some(dir) = &args.run {
        let run = TrainedRun::open(dir)?;
        sides.insert(0, Box::new(network::Network::new(&bundle, &run)?));
    }
    let report = verify(&bundle, sides, args)?;
    if args.boards.write {
        bundle.amend(std::collections::BTreeMap::new(), report.verified())?;
    }
    let lines = match args.json {
        true => serde_json::to_string_pretty(&report)
            .map_err(|source| LabError::json(&args.bundle, source))?,
        false => report.markdown(),
    };
    Ok(Answer {
        good: report.is_good(),
        lines: lines.lines().map(str::to_owned).collect(),
    })
}

/// Returns the sides that need nothing but the bundle, and those of the boards that are asked for.
///
/// # Errors
///
/// [`LabError::Infer`] when an engine does not take the model, [`LabError::Rule`] when the simulator cannot be calibrated.
pub fn sides(bundle: &Bundle, args: &VerifyArgs) -> Result<Vec<Box<dyn Side>>, LabError> {
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(Rten::new(bundle.model())?),
        Box::new(Pipeline::new(bundle, BackendKind::Cpu)?),
    ];
    if let Some(python) = &args.python {
        let side = OnnxRuntime::new(bundle, MODEL_FILE, 1, python);
        sides.push(Box::new(side));
    }
    for file in bundle.manifest().files.keys() {
        let (Some(batch), Some(model)) = (batch_of(file), bundle.file(file)) else {
            continue;
        };
        sides.push(Box::new(Batched::new(Rten::new(model)?, batch)));
        if let Some(python) = &args.python {
            let side = OnnxRuntime::new(bundle, file, batch, python);
            sides.push(Box::new(Batched::new(side, batch)));
        }
    }
    if args.boards.simulate {
        let npu = args.boards.npu.npu(bundle)?;
        sides.push(Box::new(Simulator::new(npu, bundle)));
    }
    for backend in &args.boards.backend {
        sides.push(Box::new(Pipeline::new(bundle, *backend)?));
    }
    Ok(sides)
}

/// Compares sides over golden and random windows: each with the bundle's golden answers, and each with the first.
///
/// # Errors
///
/// [`LabError::Rule`] when there is no side, or whatever a side reports.
pub fn verify(
    bundle: &Bundle,
    mut sides: Vec<Box<dyn Side>>,
    args: &VerifyArgs,
) -> Result<Report, LabError> {
    let bounds = [args.tolerance, args.boards.gate, args.boards.flips as f32];
    let sound = bounds
        .iter()
        .all(|bound| bound.is_finite() && *bound >= 0.0);
    if !sound || args.windows == 0 || sides.is_empty() {
        return Err(LabError::rule(
            "verify",
            format!(
                "needs a window, a side and bounds of zero or more, got {}, {} and {bounds:?}",
                args.windows,
                sides.len(),
            ),
        ));
    }
    let manifest = bundle.manifest();
    let mut report = Report {
        bundle: args.bundle.display().to_string(),
        ..Report::default()
    };
    let (golden, carried) = windows::golden(bundle)?;
    let random = windows::random(bundle, args.windows, args.seed)?;
    for (kind, windows) in [("golden", &golden), ("random", &random)] {
        let mut first: Option<(String, windows::Answers)> = None;
        for side in &mut sides {
            let answers = side.compute(windows)?;
            let name = side.name();
            let (backend, exact) = (side.backend(), is_exact(side.as_ref()));
            let mut measure = |with: (&str, &windows::Answers), narrow| {
                let side = (name.as_str(), backend, &answers);
                let tolerance = if exact { narrow } else { args.boards.gate };
                let outputs = &manifest.outputs;
                report.measure((kind, windows.count), side, with, outputs, tolerance);
            };
            if kind == "golden" {
                measure(("the bundle", &carried), manifest.golden.tolerance);
            }
            match &first {
                Some((name, answers)) => measure((name, answers), args.tolerance),
                None => first = Some((name, answers)),
            }
        }
    }
    if let Some(trade) = args.boards.trading() {
        for side in &mut sides {
            if is_exact(side.as_ref()) {
                continue;
            }
            let difference = trade.compare(bundle, side.as_mut())?;
            let allowed = args.boards.flips * difference.bars as f64;
            report.trading.push(Trading {
                side: side.name(),
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
