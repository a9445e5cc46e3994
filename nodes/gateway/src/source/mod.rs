//! Sources of bars.

mod csv_replay;
mod simulated;
mod tcp_lines;

pub use csv_replay::{CsvReplay, CsvReplayConfig, Max, Speed};
pub use simulated::{Simulated, SimulatedConfig};
pub use tcp_lines::{LineFormat, TcpLines, TcpLinesConfig};

/// Lets the first few lines of a flood into the log.
#[derive(Debug)]
struct LogLimit(u32);

impl LogLimit {
    /// Lines that are shown before the rest is only counted.
    const SHOWN: u32 = 20;

    fn new() -> Self {
        Self(Self::SHOWN)
    }

    /// Whether the next line is to be shown.
    fn admit(&mut self) -> bool {
        let admitted = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        admitted
    }
}
