//! The device that networks are trained on: the CPU, or a GPU if the build supports it.

use burn::module::Module;
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// The kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The CPU, in plain Rust. A training is reproducible bit for bit.
    #[default]
    Cpu,
    /// A GPU by Vulkan, DirectX 12 or Metal; needs the Cargo feature `wgpu`. Random numbers are the same as on the
    /// CPU; sums are added in another order.
    Gpu,
}

impl DeviceKind {
    /// Returns whether this is the CPU.
    #[must_use]
    pub(crate) fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }

    /// Opens the device.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the build does not support GPUs, or the machine has no usable one.
    pub fn open(self) -> Result<Device, TrainError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Gpu => gpu(),
        }
    }
}

#[cfg(feature = "wgpu")]
fn gpu() -> Result<Device, TrainError> {
    // Opened once per process; several trainings share it.
    static GPU: std::sync::OnceLock<Result<Device, String>> = std::sync::OnceLock::new();
    let open = || {
        let options = Device::wgpu_options();
        options.init().map_err(|error| error.to_string())
    };
    let refused = |error| TrainError::training("device", format!("no usable GPU: {error}"));
    GPU.get_or_init(open).clone().map_err(refused)
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Result<Device, TrainError> {
    let rule = "this build does not support GPUs: build with `--features wgpu`, or use cpu";
    Err(TrainError::training("device", rule.to_owned()))
}

/// Returns the device of a network without gradients.
pub(crate) fn device_of<M: Module>(net: &M) -> Device {
    let devices = net.devices();
    devices.into_iter().next().unwrap_or_else(Device::flex)
}
