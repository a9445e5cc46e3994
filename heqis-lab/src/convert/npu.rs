//! Rockchip's toolkit: models for the NPU, and the simulator of one.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use heqis_infer::bundle::MODEL_FILE;
use heqis_infer::{BackendKind, Bundle};

use crate::error::LabError;
use crate::implementation::Implementation;
use crate::python;
use crate::windows::{Outputs, Windows};

/// The program that runs the toolkit.
const SCRIPT: &str = include_str!("npu.py");

/// A chip with an NPU that the toolkit builds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Chip {
    /// RK3562.
    Rk3562,
    /// RK3566.
    Rk3566,
    /// RK3568.
    Rk3568,
    /// RK3588.
    Rk3588,
}

/// Number formats that an NPU computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Build {
    /// 16-bit floats.
    Fp16,
    /// 8-bit integers, each tensor with scale and zero point.
    Int8,
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rk3562 => "rk3562",
            Self::Rk3566 => "rk3566",
            Self::Rk3568 => "rk3568",
            Self::Rk3588 => "rk3588",
        })
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}

/// The toolkit with the settings of a build. The same model and settings give the same bytes.
#[derive(Clone, Debug)]
pub struct Npu {
    /// Python of the toolkit's environment.
    pub python: PathBuf,
    /// The chip.
    pub chip: Chip,
    /// The number format.
    pub build: Build,
    /// Windows that 8-bit builds are calibrated on.
    pub calibration: Option<Windows>,
}

impl Npu {
    /// Builds a bundle's model and returns the toolkit's description of itself and the built file.
    ///
    /// # Errors
    ///
    /// [`LabError::Rule`] with the toolkit's message.
    pub fn convert(&self, bundle: &Bundle) -> Result<(String, Vec<u8>), LabError> {
        let none = Windows {
            count: 0,
            inputs: vec![Vec::new(); bundle.manifest().inputs.len()],
        };
        let (about, model, _) = self.run(bundle, &none)?;
        Ok((about, model))
    }

    /// Builds a bundle's model and computes windows in the simulator of that build.
    fn run(
        &self,
        bundle: &Bundle,
        windows: &Windows,
    ) -> Result<(String, Vec<u8>, Outputs), LabError> {
        let model = bundle.dir().join(MODEL_FILE);
        // The toolkit writes to a path. One next to the bundle lies on a file system that has accepted such files.
        let out = bundle
            .dir()
            .with_extension(format!("{}.rknn", std::process::id()));
        let calibration = self.calibration.as_ref();
        let arguments = [
            model.display().to_string(),
            self.chip.to_string(),
            self.build.to_string(),
            calibration.map_or(0, |windows| windows.count).to_string(),
            windows.count.to_string(),
            out.display().to_string(),
        ];
        let inputs = calibration.iter().flat_map(|windows| &windows.inputs);
        let input = inputs.chain(&windows.inputs).flatten().copied();
        let specs = bundle.manifest().outputs.iter();
        let lengths: Vec<usize> = specs
            .map(|spec| spec.checked_len().unwrap_or_default())
            .collect();
        let computed = python::compute(
            "RKNN toolkit",
            &self.python,
            SCRIPT,
            &arguments,
            input,
            (&lengths, windows.count),
        );
        let built = std::fs::read(&out).map_err(|source| LabError::file(&out, source));
        // The file is absent when the build failed.
        let _ = std::fs::remove_file(&out);
        let (about, outputs) = computed?;
        Ok((about, built?, outputs))
    }
}

/// The simulator as an implementation.
#[derive(Debug)]
pub struct Simulator {
    npu: Npu,
    bundle: Bundle,
    about: String,
}

impl Simulator {
    /// Prepares to simulate the build in a bundle.
    #[must_use]
    pub fn new(npu: Npu, bundle: &Bundle) -> Self {
        Self {
            npu,
            bundle: bundle.clone(),
            about: String::new(),
        }
    }
}

impl Implementation for Simulator {
    fn name(&self) -> String {
        match self.about.is_empty() {
            true => "RKNN simulator".to_owned(),
            false => format!("RKNN simulator ({})", self.about),
        }
    }

    fn backend(&self) -> Option<BackendKind> {
        Some(BackendKind::Rknn)
    }

    fn compute(&mut self, windows: &Windows) -> Result<Outputs, LabError> {
        let (about, built, outputs) = self.npu.run(&self.bundle, windows)?;
        let build = heqis_infer::backend::RKNN_BUILD;
        if self.bundle.file(build) != Some(&built[..]) {
            return Err(LabError::rule(
                "verify",
                format!(
                    "{}: {build} is not what the toolkit builds from the model with these settings; convert it again",
                    self.bundle.dir().display()
                ),
            ));
        }
        self.about = about;
        Ok(outputs)
    }
}
