//! Heterogeneous edge quant inference: market data through two small boards, trading signals back in milliseconds.
//!
//! This package is the façade for programs that embed HEQIS. Each room is a crate of its own:
//!
//! - [`actors`]: stages as actors, edges with closed books, the NNG bridge between nodes. Knows no market word.
//! - [`quant`]: bars, instruments, dated A-share rules, streaming indicators, scaler, decision rules. Pure.
//! - [`infer`]: one `Engine` trait, its backends, and the checked model bundle.
//!
//! The stages of the two boards live in `nodes/`, the binary that reads topologies in `heqis-runtime/`, the host's
//! workbench in `heqis-lab/`. `examples/` shows graphs that need no topology file.

pub use heqis_actors as actors;
pub use heqis_infer as infer;
pub use heqis_quant as quant;
