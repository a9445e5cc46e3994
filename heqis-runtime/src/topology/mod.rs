//! From a topology file to a plan that can be run.
//!
//! ```text
//! text ▸ tree ▸ overlay (profile, --set) ▸ parsed::Topology ▸ check (all passes) ▸ Plan
//!        place      every value knows its place       │
//!                   document + schema: the format     └▸ Faults ▸ report (drawn, JSON)
//! ```
//!
//! - `place`, `tree`: texts, and TOML values that know where they stand. `overlay`: profiles and overrides. `renamed`:
//!   former names of keys.
//! - `document`: the format as types; its JSON schema serves editors and the check alike. `schema`: the check of
//!   a tree against a JSON schema, also used for the parameters of each stage kind. `board`: what is known of the machines.
//! - `written`: the topology as written. `check`: one pass per rule. `plan`: the topology resolved.
//!   `node_graph`: the graph of one of its nodes. `trading_state`: which edges carry requests for trading states.
//! - `fault`, `report`: what can be wrong, and how it is reported. `graph`: the plan as mermaid or dot. `editor`: the
//!   JSON schema with the parameters of every kind.
//!
//! Every fault is reported at once; nothing here starts anything.

mod board;
mod check;
pub mod document;
mod editor;
mod fault;
pub mod graph;
mod load;
mod node_graph;
mod overlay;
mod parsed;
mod place;
mod plan;
mod renamed;
pub mod report;
mod schema;
mod trading_state;
mod tree;

pub use board::Board;
pub use document::DashboardSpec;
pub use editor::editor_schema;
pub use fault::{Code, Fault, Faults};
pub use heqis_actors::nearest_name;
pub use heqis_actors::units::Time;
pub use load::{Outline, Request, load, load_text, outline};
pub use overlay::Override;
pub use place::{Place, Sources};
pub use plan::{Bridge, Budget, Edge, Node, Plan, Stage};
