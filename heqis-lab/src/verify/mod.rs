//! `verify`: proves that a bundle computes what was trained, whoever computes it.
//!
//! - [`windows`]: the golden windows of the bundle, and windows drawn at random.
//! - [`mod@sides`]: RTen, ONNX Runtime, the engine as the pipeline opens it. [`network`]: what was trained.
//! - [`report`]: the distances, as a table and as JSON.
//!
//! Every side is compared with the first, which is the trained network when there is one, and with the answers that the
//! bundle carries. One difference above the tolerance refuses the bundle.

use std::path::PathBuf;

use clap::Args;
use heqis_infer::{BackendKind, Bundle};

use crate::data::Answer;
use crate::error::LabError;
use crate::train::TrainedRun;

pub mod network;
pub mod report;
pub mod sides;
pub mod windows;

pub use report::{Distance, Report};
pub use sides::Side;

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
    let mut sides = sides(&bundle, args)?;
    if let Some(dir) = &args.run {
        let run = TrainedRun::open(dir)?;
        sides.insert(0, Box::new(network::Network::new(&bundle, &run)?));
    }
    let report = verify(&bundle, sides, args)?;
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

/// Returns the sides that need nothing but the bundle.
///
/// # Errors
///
/// [`LabError::Infer`] when no engine takes the model.
pub fn sides(bundle: &Bundle, args: &VerifyArgs) -> Result<Vec<Box<dyn Side>>, LabError> {
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(sides::Rten::new(bundle)?),
        Box::new(sides::Pipeline::new(bundle, &[BackendKind::Cpu])?),
    ];
    if let Some(python) = &args.python {
        sides.push(Box::new(sides::OnnxRuntime::new(bundle, python)));
    }
    Ok(sides)
}

/// Compares sides over golden and random windows: each with the bundle's golden answers, and each with the first.
///
/// # Errors
///
/// [`LabError::Verify`] when there is no side, or whatever a side reports.
pub fn verify(
    bundle: &Bundle,
    mut sides: Vec<Box<dyn Side>>,
    args: &VerifyArgs,
) -> Result<Report, LabError> {
    let sound = args.tolerance.is_finite() && args.tolerance >= 0.0;
    if !sound || args.windows == 0 || sides.is_empty() {
        return Err(LabError::Verify(format!(
            "needs a window, a side and a tolerance of zero or more, got {}, {} and {}",
            args.windows,
            sides.len(),
            args.tolerance
        )));
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
            let mut measure = |with: (&str, &windows::Answers), tolerance| {
                let side = (name.as_str(), &answers);
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
    if args.python.is_none() {
        let reason = "ONNX Runtime, because no --python was given".to_owned();
        report.skipped.push(reason);
    }
    Ok(report)
}
