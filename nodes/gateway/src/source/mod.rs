//! Sources of bars.
//!
//! - `csv_replay`, `simulated`: the same bars in every run. `tcp_lines`: live, whatever clients send.
//!   `serial`: live, from a serial line; `frames`: what holds its bytes together. `json_bar`: a bar as both write it.
//! - `live`: what live sources ask of every bar.
//! - `bad_input`: what happens to rows and lines that are no bars. `whole_lines`: lines of bounded length from a socket.

mod bad_input;
mod csv_replay;
mod frames;
mod json_bar;
mod live;
mod serial;
mod simulated;
mod tcp_lines;
mod whole_lines;

pub use csv_replay::{CsvReplay, CsvReplayConfig, Max, Speed};
pub use frames::encode_frame;
pub use json_bar::json_bar;
pub use serial::{Flow, Parity, Serial, SerialConfig};
pub use simulated::{Simulated, SimulatedConfig};
pub use tcp_lines::{LineFormat, TcpLines, TcpLinesConfig};
