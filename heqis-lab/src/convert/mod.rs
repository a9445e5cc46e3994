//! `convert`: builds of a bundle's model for the boards.
//!
//! - [`environment`]: a pinned Python environment for Rockchip's toolkit, made by one command.
//! - [`npu`]: ONNX → `model.rknn` in fp16 or int8, and the toolkit's simulator.
//! - [`calibration`]: the windows that a model is calibrated on.
//! - [`gpu`]: ONNX → `model.engine`: a script for the board with the GPU, and the import of its result into the bundle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use heqis_bundle::BundleError;
use heqis_infer::Bundle;
use heqis_infer::backend::RKNN_BUILD;

use crate::error::LabError;
use crate::output::CommandOutput;

pub mod calibration;
pub mod environment;
pub mod gpu;
pub mod npu;

pub use npu::{Build, Chip};

/// Build a bundle's model for the boards.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the Python environment in which Rockchip's toolkit runs (CPython 3.11 on x86-64, about 700 MB).
    Setup {
        /// Directory of the environment.
        #[arg(long, value_name = "DIR", default_value = ENVIRONMENT)]
        env: PathBuf,
        /// Python that makes it.
        #[arg(long, value_name = "PROGRAM", default_value = "python3.11")]
        python: PathBuf,
    },
    Rknn(RknnArgs),
    /// Write a script that builds TensorRT engines on the board that will run them.
    Tensorrt {
        /// Directories of the bundles.
        #[arg(value_name = "BUNDLE", required = true)]
        bundles: Vec<PathBuf>,
        /// Directory to write the script and the models into; it is copied to the board.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Add engines that a board has built by that script to their bundles.
    Adopt {
        /// Directories of the bundles.
        #[arg(value_name = "BUNDLE", required = true)]
        bundles: Vec<PathBuf>,
        /// The directory that was copied to the board and back.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

/// Build models for Rockchip's NPU and add them to their bundles.
#[derive(Debug, Args)]
pub struct RknnArgs {
    /// Directories of the bundles.
    #[arg(value_name = "BUNDLE", required = true)]
    pub bundles: Vec<PathBuf>,
    /// Settings of the build.
    #[command(flatten)]
    pub npu: NpuArgs,
}

/// Settings of a build for the NPU.
#[derive(Args, Clone, Debug)]
pub struct NpuArgs {
    /// Directory of the environment that `convert setup` made.
    #[arg(long, value_name = "DIR", default_value = ENVIRONMENT)]
    pub env: PathBuf,
    /// The chip.
    #[arg(long, value_enum, default_value = "rk3568")]
    pub chip: Chip,
    /// Number format that the NPU computes in.
    #[arg(long, value_enum, default_value = "fp16")]
    pub precision: Build,
    /// Daily bars whose windows of the training span int8 is calibrated on.
    #[arg(long, value_name = "BARS", required_if_eq("precision", "int8"))]
    pub calibrate: Vec<PathBuf>,
    /// Number of those windows, evenly spaced over the span.
    #[arg(long, value_name = "COUNT", default_value_t = CALIBRATION)]
    pub calibration: usize,
}

/// Default directory of the toolkit's environment.
const ENVIRONMENT: &str = "target/rknn";
/// Default number of calibration windows for int8.
const CALIBRATION: usize = 200;

impl Default for NpuArgs {
    fn default() -> Self {
        Self {
            env: ENVIRONMENT.into(),
            chip: Chip::Rk3568,
            precision: Build::Fp16,
            calibrate: Vec::new(),
            calibration: CALIBRATION,
        }
    }
}

impl NpuArgs {
    /// Returns the toolkit with these settings for a bundle.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] when the environment does not exist, and as [`calibration::training_windows`].
    pub fn npu(&self, bundle: &Bundle) -> Result<npu::Npu, LabError> {
        let python = environment::python(&self.env);
        if !python.exists() {
            let env = self.env.display();
            let rule = format!(
                "has no Python for the toolkit: `heqis-lab convert setup --env {env}` makes it"
            );
            return Err(LabError::rule(env, rule));
        }
        Ok(npu::Npu {
            python,
            chip: self.chip,
            build: self.precision,
            calibration: match self.precision {
                Build::Fp16 => None,
                Build::Int8 => Some(calibration::training_windows(
                    bundle,
                    &self.calibrate,
                    self.calibration,
                )?),
            },
        })
    }
}

/// Runs the command and returns the lines to print.
///
/// # Errors
///
/// [`LabError`] with the first bundle or step that failed.
pub fn run(args: &ConvertArgs) -> Result<CommandOutput, LabError> {
    let lines = match &args.command {
        Command::Setup { env, python } => environment::make(python, env)?,
        Command::Rknn(args) => load_all(&args.bundles)?
            .iter()
            .map(|bundle| rknn(bundle, &args.npu))
            .collect::<Result<_, LabError>>()?,
        Command::Tensorrt { bundles, out } => gpu::script(bundles, out)?,
        Command::Adopt { bundles, from } => gpu::adopt(bundles, from)?,
    };
    Ok(lines.into())
}

/// Loads the bundles, which must be valid for their roles before anything is built of the first.
///
/// # Errors
///
/// [`LabError::Bundle`] with the first rule that a bundle breaks.
pub(crate) fn load_all(dirs: &[PathBuf]) -> Result<Vec<Bundle>, LabError> {
    let load = |dir: &PathBuf| {
        let bundle = Bundle::load(dir).map_err(BundleError::from)?;
        heqis_bundle::check(&bundle)?;
        Ok(bundle)
    };
    dirs.iter().map(load).collect()
}

/// Builds one bundle's model for the NPU, adds it to the bundle, and returns a summary.
///
/// # Errors
///
/// [`LabError::Rule`] with the toolkit's message, and as [`Bundle::amend`].
pub fn rknn(bundle: &Bundle, npu: &NpuArgs) -> Result<String, LabError> {
    let (about, model) = npu.npu(bundle)?.convert(bundle)?;
    let bytes = model.len();
    bundle.amend(
        BTreeMap::from([(RKNN_BUILD.to_owned(), model)]),
        BTreeMap::new(),
    )?;
    let dir = bundle.dir().display();
    Ok(format!("{dir}: {RKNN_BUILD} of {bytes} bytes, {about}"))
}
