//! Sources of bars.
//!
//! - `csv_replay`, `simulated`: the same bars in every run. `tcp_lines`: live, whatever clients send, each
//!   read by a `tcp_client`.
//!   `serial`: live, from a serial line; `frames`: what holds its bytes together. `json_bar`: a bar as both write it.
//! - `live`: what live sources ask of every bar; `symbols`: the list of codes that a file admits. `span`: a span of time
//!   among the parameters.
//! - `bad_input`: what happens to rows and lines that are no bars. `whole_lines`: lines of bounded length from a socket.

mod bad_input;
mod csv_replay;
mod frames;
mod json_bar;
mod live;
mod past;
mod serial;
mod simulated;
mod span;
mod symbols;
mod tcp_client;
mod tcp_lines;
mod whole_lines;

pub use csv_replay::{CsvReplay, CsvReplayConfig, Max, Speed};
pub use frames::encode_frame;
pub use json_bar::json_bar;
pub use serial::{Flow, Parity, Serial, SerialConfig};
pub use simulated::{Simulated, SimulatedConfig};
pub use span::Span;
pub use tcp_lines::{LineFormat, TcpLines, TcpLinesConfig};
