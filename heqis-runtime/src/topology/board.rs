//! What is known of the machines that a node may be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A machine type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Board {
    /// Rockchip RK3568: 4 cores, 2 GiB of memory, one NPU.
    Rk3568,
    /// NVIDIA Jetson, taken to be an Orin Nano development kit: 6 cores, 8 GiB of memory shared with the GPU.
    Jetson,
    /// NVIDIA Jetson Nano (JetPack 4): 4 cores, 2 GiB of memory shared with the GPU.
    JetsonNano,
    /// NVIDIA Jetson Xavier NX (JetPack 4 and 5): 6 cores, 8 GiB of memory shared with the GPU.
    JetsonXavierNx,
    /// NVIDIA Jetson AGX Xavier (JetPack 4 and 5): 8 cores, 16 GiB of memory shared with the GPU.
    JetsonAgxXavier,
    /// NVIDIA Jetson Orin Nano (JetPack 5 and 6): 6 cores, 4 GiB of memory shared with the GPU.
    JetsonOrinNano,
    /// NVIDIA Jetson Orin NX (JetPack 5 and 6): 6 cores, 8 GiB of memory shared with the GPU.
    JetsonOrinNx,
    /// NVIDIA Jetson AGX Orin (JetPack 5 and 6): 8 cores, 32 GiB of memory shared with the GPU.
    JetsonAgxOrin,
    /// Any machine; `check` assumes no limit of cores or memory unless the node states one.
    Host,
    /// Whatever the node finds itself on, by the device tree; `check` assumes no limit, as for `host`.
    Auto,
}

impl Board {
    /// Name in topologies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rk3568 => "rk3568",
            Self::Jetson => "jetson",
            Self::JetsonNano => "jetson-nano",
            Self::JetsonXavierNx => "jetson-xavier-nx",
            Self::JetsonAgxXavier => "jetson-agx-xavier",
            Self::JetsonOrinNano => "jetson-orin-nano",
            Self::JetsonOrinNx => "jetson-orin-nx",
            Self::JetsonAgxOrin => "jetson-agx-orin",
            Self::Host => "host",
            Self::Auto => "auto",
        }
    }

    /// Whether it is a Jetson of any sort.
    #[must_use]
    pub fn is_jetson(self) -> bool {
        self.name().starts_with("jetson")
    }

    /// Number of cores; `None` when nothing is assumed. The smallest variant on sale, because a check that passes must
    /// hold on each of them.
    #[must_use]
    pub fn cores(self) -> Option<usize> {
        match self {
            Self::Rk3568 | Self::JetsonNano => Some(4),
            Self::Jetson | Self::JetsonXavierNx | Self::JetsonOrinNano | Self::JetsonOrinNx => {
                Some(6)
            }
            Self::JetsonAgxXavier | Self::JetsonAgxOrin => Some(8),
            Self::Host | Self::Auto => None,
        }
    }

    /// Memory, MiB; `None` when nothing is assumed. The smallest variant on sale, as for the cores.
    #[must_use]
    pub fn memory_mib(self) -> Option<u64> {
        let gib = match self {
            Self::Rk3568 | Self::JetsonNano => 2,
            Self::JetsonOrinNano => 4,
            Self::Jetson | Self::JetsonXavierNx | Self::JetsonOrinNx => 8,
            Self::JetsonAgxXavier => 16,
            Self::JetsonAgxOrin => 32,
            Self::Host | Self::Auto => return None,
        };
        Some(gib * 1024)
    }

    /// Whether a node that was declared to be `self` may be on a machine that was found to be `found`.
    #[must_use]
    pub fn admits(self, found: Self) -> bool {
        match self {
            Self::Auto | Self::Host => true,
            Self::Jetson => found.is_jetson(),
            declared => declared == found,
        }
    }
}
