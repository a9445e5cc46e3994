//! Where networks are trained: on the processor, or on a GPU when the build has one.

use burn::module::Module;
use burn::tensor::Device;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor, in plain Rust. With one thread a training repeats bit for bit.
    #[default]
    Cpu,
    /// A GPU by Vulkan, DirectX 12 or Metal; needs the Cargo feature `wgpu`. Random numbers are the same as on the
    /// processor, sums are added in another order.
    Gpu,
}

impl DeviceKind {
    /// Returns whether this is the processor.
    #[must_use]
    pub(crate) fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }

    /// Opens the device.
    ///
    /// # Errors
    ///
    /// [`TrainError::Rule`] when the build has no GPU, or the machine has none that can be used.
    pub fn open(self) -> Result<Device, TrainError> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            Self::Gpu => gpu(),
        }
    }
}

#[cfg(feature = "wgpu")]
fn gpu() -> Result<Device, TrainError> {
    // A process opens it once; several trainings share it.
    static GPU: std::sync::OnceLock<Result<Device, String>> = std::sync::OnceLock::new();
    let open = || {
        let options = Device::wgpu_options();
        options.init().map_err(|error| error.to_string())
    };
    let refused = |error| TrainError::training("device", format!("no GPU can be used: {error}"));
    GPU.get_or_init(open).clone().map_err(refused)
}

#[cfg(not(feature = "wgpu"))]
fn gpu() -> Result<Device, TrainError> {
    let rule = "this build has no GPU: build with `--features wgpu`, or take cpu";
    Err(TrainError::training("device", rule.to_owned()))
}

/// Returns the device on which a network without gradients lies.
pub(crate) fn device_of<M: Module>(net: &M) -> Device {
    let devices = net.devices();
    devices.into_iter().next().unwrap_or_else(Device::flex)
}
