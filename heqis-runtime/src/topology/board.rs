//! What is known of the machines that a node may be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A machine type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Board {
    /// Rockchip RK3568: 4 cores, 2 GiB of memory, one NPU.
    Rk3568,
    /// NVIDIA Jetson Orin Nano: 6 cores, 8 GiB of memory shared with the GPU.
    Jetson,
    /// Any machine; `check` assumes no limit of cores or memory unless the node states one.
    Host,
}

impl Board {
    /// Name in topologies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rk3568 => "rk3568",
            Self::Jetson => "jetson",
            Self::Host => "host",
        }
    }

    /// Number of cores; `None` when nothing is assumed.
    #[must_use]
    pub fn cores(self) -> Option<usize> {
        match self {
            Self::Rk3568 => Some(4),
            Self::Jetson => Some(6),
            Self::Host => None,
        }
    }

    /// Memory, MiB; `None` when nothing is assumed. The smallest variant on sale of the RK3568, because a check
    /// that passes must hold on each of them.
    #[must_use]
    pub fn memory_mib(self) -> Option<u64> {
        match self {
            Self::Rk3568 => Some(2 * 1024),
            Self::Jetson => Some(8 * 1024),
            Self::Host => None,
        }
    }
}
