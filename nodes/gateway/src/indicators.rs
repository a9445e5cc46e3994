//! `indicators`: takes [`BarMessage`]s and emits a [`FeatureRow`] for each bar after a symbol's warm-up.
//!
//! Counts `warmup` for the bars that only filled the indicators, and `refused` for bars that no indicator can take, such
//! as a price of zero; a cleaner in front lets none of them through.

use std::collections::HashMap;
use std::path::Path;

use heqis_actors::{BuildContext, Counter, Emitter, Fact, Facts, Frame, Stage, StageError, Terms};
use heqis_messages::{BarMessage, BarRef, FeatureRow};
use heqis_quant::{FeatureSet, FeatureState, Symbol};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::log_limit::LogLimit;

/// Parameters of an `indicators` stage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndicatorsConfig {
    /// Names of the features in order; absent, the standard set.
    #[serde(default)]
    pub features: Option<Vec<String>>,
}

impl IndicatorsConfig {
    fn set(&self) -> Result<FeatureSet, heqis_quant::QuantError> {
        self.features.as_ref().map_or_else(
            || Ok(FeatureSet::standard()),
            |names| FeatureSet::parse(names),
        )
    }
}

/// Computes features, per symbol.
#[derive(Debug)]
pub struct Indicators {
    set: FeatureSet,
    states: HashMap<Symbol, FeatureState>,
    stage: String,
    warmup: Counter,
    refused: Counter,
    log: LogLimit,
}

impl Stage for Indicators {
    type Config = IndicatorsConfig;
    type In = BarMessage;
    type Out = FeatureRow;
    const KIND: &'static str = "indicators";
    const ABOUT: &'static str = "Computes streaming indicators and features per symbol.";

    fn check(config: &IndicatorsConfig, _: &Path) -> Vec<String> {
        config
            .set()
            .err()
            .map(|error| error.to_string())
            .into_iter()
            .collect()
    }

    fn terms(config: &IndicatorsConfig, _: &Path) -> Terms {
        let names = config.set().map(|set| Fact::Names(set.names().to_vec()));
        Terms {
            makes: names.map_or_else(|_| Facts::new(), |names| Facts::from([("feature", names)])),
            ..Terms::default()
        }
    }

    fn build(config: &IndicatorsConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let set = config.set().map_err(StageError::config)?;
        Ok(Self {
            set,
            states: HashMap::new(),
            stage: cx.stage().to_owned(),
            warmup: cx.counter("warmup"),
            refused: cx.counter("refused"),
            log: LogLimit::new(),
        })
    }

    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        out: &mut Emitter<'_, FeatureRow>,
    ) -> Result<(), StageError> {
        let bar = &frame.0;
        let state = match self.states.entry(bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(FeatureState::new(&self.set).map_err(StageError::failed)?)
            }
        };
        match state.update(bar) {
            Ok(Some(values)) => {
                let bar = BarRef {
                    symbol: bar.symbol,
                    date: bar.date,
                    time_ns: bar.time_ns,
                    close: bar.close,
                };
                out.emit(
                    frame.head(),
                    FeatureRow {
                        bar,
                        set_id: state.set_id(),
                        values,
                    },
                );
            }
            Ok(None) => self.warmup.inc(),
            // Not a failure: a rebuilt stage would have forgotten every symbol because of one bar.
            Err(error) => {
                self.refused.inc();
                if self.log.admit() {
                    tracing::warn!(stage = %self.stage, symbol = %bar.symbol, date = %bar.date, %error, "bar refused");
                }
            }
        }
        Ok(())
    }
}
