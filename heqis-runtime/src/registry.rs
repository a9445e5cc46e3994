//! The one list of stage kinds that a topology may name.

use heqis_actors::Registry;
use heqis_compute::{Journal, PortfolioStage, Rank, Signal, TrtEngine};
use heqis_gateway::source::{CsvReplay, Serial, Simulated, TcpLines};
use heqis_gateway::{Cleaner, Feedback, Indicators, NpuFeature, SymbolRouter};

/// Every kind that this binary can run.
#[must_use]
pub fn registry() -> Registry {
    Registry::new()
        .with_source::<CsvReplay>()
        .with_source::<Simulated>()
        .with_source::<TcpLines>()
        .with_source::<Serial>()
        .with_stage::<Cleaner>()
        .with_stage::<SymbolRouter>()
        .with_stage::<Indicators>()
        .with_stage::<NpuFeature>()
        .with_stage::<TrtEngine>()
        .with_stage::<Signal>()
        .with_stage::<Rank>()
        .with_stage::<PortfolioStage>()
        .with_stage::<Journal>()
        .with_stage::<Feedback>()
}
