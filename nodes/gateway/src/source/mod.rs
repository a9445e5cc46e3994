//! Sources of bars.
//!
//! - `csv_replay`, `simulated`: the same bars in every run.
//! - `tcp_lines`, with a `tcp_client` for each connection, and `serial`, with its `frames`: live. `json_bar`: a bar as both
//!   read it. `whole_lines`: lines of bounded length from a socket.
//! - `live`, `live_config`: the channel and the parameters that live sources share. `admission`: which of their bars are admitted;
//!   `symbols`: the file that lists codes. `past`: bars from before.
//! - `bad_input`: counts and logs rows and lines that are no bars.

mod admission;
mod bad_input;
mod csv_replay;
mod frames;
mod json_bar;
mod live;
mod live_config;
mod past;
mod serial;
mod simulated;
mod symbols;
mod tcp_access;
mod tcp_client;
mod tcp_config;
mod tcp_lines;
mod whole_lines;

pub use csv_replay::{CsvReplay, CsvReplayConfig, Max, Speed};
pub use frames::encode_frame;
pub use json_bar::json_bar;
pub use live_config::LiveConfig;
pub use serial::{Flow, Parity, Serial, SerialConfig};
pub use simulated::{Simulated, SimulatedConfig};
pub use tcp_config::{LineFormat, TcpLinesConfig, TcpTls};
pub use tcp_lines::TcpLines;
