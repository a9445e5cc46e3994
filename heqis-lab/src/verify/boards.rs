//! Bounds for the boards' backends, in addition to those for every bundle.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use heqis_infer::BackendKind;
use heqis_quant::Date;

use super::trading::Trade;
use crate::convert::NpuArgs;

/// How backends with another arithmetic are measured and evaluated.
#[derive(Args, Clone, Debug)]
pub struct BoardArgs {
    /// Also compute in the simulator of Rockchip's toolkit, which must reproduce the build in the bundle.
    #[arg(long)]
    pub simulate: bool,
    /// The simulator's settings.
    #[command(flatten)]
    pub npu: NpuArgs,
    /// Backends of this machine to compare as well; each must work.
    #[arg(long, value_delimiter = ',', value_name = "BACKEND", value_parser = backend_parser())]
    pub backend: Vec<BackendKind>,
    /// Largest absolute difference of an accelerator, in half precision or less, from the reference.
    #[arg(long, value_name = "DIFFERENCE", default_value_t = GATE)]
    pub gate: f32,
    /// Daily bars on which decisions and profit are compared, of an accelerator by `--backend` or `--simulate`.
    #[arg(long, value_name = "BARS")]
    pub trade: Vec<PathBuf>,
    /// The other bundle of the pair, for decisions.
    #[arg(long, value_name = "DIR", requires = "trade")]
    pub with: Option<PathBuf>,
    /// TOML file with rule, filters, broker and allocation.
    #[arg(long, value_name = "TOML", requires = "trade")]
    pub settings: Option<PathBuf>,
    /// First day that is traded.
    #[arg(long, value_name = "DATE", requires = "trade")]
    pub from: Option<Date>,
    /// Last day that is traded.
    #[arg(long, value_name = "DATE", requires = "trade")]
    pub to: Option<Date>,
    /// Proportion of the bars whose most likely class an accelerator may change.
    #[arg(long, value_name = "SHARE", default_value_t = FLIPS)]
    pub flips: f64,
    /// Write the measurements of each backend into the manifest, where they decide whether the backend may be used.
    #[arg(long)]
    pub write: bool,
}

/// Twice the difference measured for fp16 on factors of magnitude 3.
const GATE: f32 = 5e-3;
/// One bar in two hundred.
const FLIPS: f64 = 0.005;

/// Parses the catalogue's names and lists them in the help text.
fn backend_parser() -> impl TypedValueParser<Value = BackendKind> {
    let values = BackendKind::ALL
        .iter()
        .map(|kind| PossibleValue::new(kind.name()).help(kind.info().about));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<BackendKind>())
}

impl Default for BoardArgs {
    fn default() -> Self {
        Self {
            simulate: false,
            npu: NpuArgs::default(),
            backend: Vec::new(),
            gate: GATE,
            trade: Vec::new(),
            with: None,
            settings: None,
            from: None,
            to: None,
            flips: FLIPS,
            write: false,
        }
    }
}

impl BoardArgs {
    /// Returns the data for comparing decisions, if any is given.
    #[must_use]
    pub fn trading(&self) -> Option<Trade> {
        (!self.trade.is_empty()).then(|| Trade {
            bars: self.trade.clone(),
            with: self.with.clone(),
            settings: self.settings.clone(),
            from: self.from,
            to: self.to,
        })
    }
}
