//! Which board this is.

use std::path::Path;

use crate::topology::Board;

/// Where the kernel shows the device tree; the second is the older way.
const DEVICE_TREES: [&str; 2] = ["sys/firmware/devicetree/base", "proc/device-tree"];

/// Parts of the device tree's `compatible` strings by which a board is known, the narrowest first: NVIDIA's are part
/// numbers of modules (`p3767-0000` and `-0001` are the Orin NX, the others of `p3767` the Orin Nano).
const KNOWN: [(&str, Board); 11] = [
    ("rockchip,rk3568", Board::Rk3568),
    ("p3767-0000", Board::JetsonOrinNx),
    ("p3767-0001", Board::JetsonOrinNx),
    ("p3767", Board::JetsonOrinNano),
    ("p3701", Board::JetsonAgxOrin),
    ("p3668", Board::JetsonXavierNx),
    ("p2888", Board::JetsonAgxXavier),
    ("p3448", Board::JetsonNano),
    ("p3450", Board::JetsonNano),
    ("jetson-nano", Board::JetsonNano),
    ("nvidia,tegra", Board::Jetson),
];

/// What a machine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The board; [`Board::Host`] for a machine that is none of the known ones.
    pub board: Board,
    /// The device tree's `model`, for people.
    pub model: Option<String>,
    /// The device tree's `compatible`, the narrowest first.
    pub compatible: Vec<String>,
}

impl Identity {
    /// Reads the device tree below `root`; a machine without one is a [`Board::Host`].
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let words = |file: &str| -> Vec<String> {
            let bytes = DEVICE_TREES
                .iter()
                .find_map(|tree| std::fs::read(root.join(tree).join(file)).ok());
            // Each string ends with a zero byte.
            String::from_utf8_lossy(&bytes.unwrap_or_default())
                .split('\0')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let compatible = words("compatible");
        let board = KNOWN
            .iter()
            .find(|(part, _)| compatible.iter().any(|word| word.contains(part)))
            .map_or(Board::Host, |&(_, board)| board);
        Self {
            board,
            model: words("model").into_iter().next(),
            compatible,
        }
    }
}
