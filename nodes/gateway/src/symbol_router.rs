//! `symbol-router`: takes [`BarMessage`]s and emits each by one of two ports: `listed` for the symbols of a list, `others` for
//! all further ones.
//!
//! One graph can so give some symbols to one model and the rest to another. Each bar takes one way, so that the ways may meet
//! again, in a `signal` for example.

use std::collections::HashSet;
use std::path::Path;

use heqis_actors::{BuildContext, Emitter, Frame, Outputs, Snapshot, Stage, StageError};
use heqis_messages::BarMessage;
use heqis_quant::Symbol;
use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of `symbol-router`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SymbolRouterConfig {
    /// Symbols whose bars leave by the port `listed`.
    #[schemars(length(min = 1))]
    pub symbols: Vec<Symbol>,
}

/// The ports by which bars leave.
#[derive(Outputs)]
pub enum Routed {
    /// Bars of the symbols of the list.
    Listed(Frame<BarMessage>),
    /// All further bars; without an edge they end here.
    #[port(optional)]
    Others(Frame<BarMessage>),
}

/// Shares bars between two ports by symbol.
#[derive(Debug)]
pub struct SymbolRouter(HashSet<Symbol>);

impl Stage for SymbolRouter {
    type Config = SymbolRouterConfig;
    type In = BarMessage;
    type Out = Routed;
    const KIND: &'static str = "symbol-router";
    const ABOUT: &'static str = "Sends the bars of listed symbols one way, and all others another.";
    const ROUTES: bool = true;

    fn check(config: &SymbolRouterConfig, _: &Path) -> Vec<String> {
        let mut seen = HashSet::new();
        let mut faults: Vec<String> = (config.symbols.iter())
            .filter(|symbol| !seen.insert(**symbol))
            .map(|symbol| format!("symbols names {symbol} twice"))
            .collect();
        if config.symbols.is_empty() {
            faults.push("symbols names none".to_owned());
        }
        faults
    }

    fn build(config: &SymbolRouterConfig, _: &BuildContext) -> Result<Self, StageError> {
        Ok(Self(config.symbols.iter().copied().collect()))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::Stateless
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StageError> {
        Ok(())
    }

    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        out: &mut Emitter<'_, Routed>,
    ) -> Result<(), StageError> {
        let port = match self.0.contains(&frame.0.symbol) {
            true => Routed::Listed,
            false => Routed::Others,
        };
        out.emit(frame.head(), port(frame.clone()));
        Ok(())
    }
}
