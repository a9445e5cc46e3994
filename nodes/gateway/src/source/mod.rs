//! Sources of bars.
//!
//! - `csv_replay`, `simulated`: the same bars in every run. `tcp_lines`: live, whatever clients send.
//! - `bad_input`: what happens to rows and lines that are no bars. `whole_lines`: lines of bounded length from a socket.

mod bad_input;
mod csv_replay;
mod simulated;
mod tcp_lines;
mod whole_lines;

pub use csv_replay::{CsvReplay, CsvReplayConfig, Max, Speed};
pub use simulated::{Simulated, SimulatedConfig};
pub use tcp_lines::{LineFormat, TcpLines, TcpLinesConfig};
