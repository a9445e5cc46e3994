//! `indicators`: takes [`BarMessage`]s and emits a [`FeatureRow`] for each bar after a symbol's warm-up.
//!
//! Counts `warmup` for the bars that only filled the indicators, or on which a factor is missing, and `refused` for bars that
//! no indicator can take, such as a price of zero; a cleaner in front lets none of them through.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use heqis_actors::{
    BuildContext, Counter, Emitter, Frame, Key, LogLimit, PortContract, Property, Snapshot, Stage,
    StageError,
};
use heqis_factors::{feature_set, of_text};
use heqis_messages::{BarMessage, FILTER_INDICATORS, FeatureRow, MARKET, put_series, symbol_of};
use heqis_quant::decision::FilterIndicators;
use heqis_quant::rules::Markets;
use heqis_quant::{
    Bar, BarRef, CleanConfig, FeatureSet, FeatureState, MarketSnapshot, MarketState, QuantError,
    StPeriod, Symbol,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of an `indicators` stage.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndicatorsConfig {
    /// The features in order: names, or definitions `name = expression`, or the name of one shipped set of factors; absent, the
    /// standard set.
    #[serde(default)]
    pub features: Option<Vec<String>>,
    /// A file of definitions, one a line, instead of `features`; as for `heqis-lab prepare --feature-file`.
    #[serde(default)]
    pub feature_file: Option<PathBuf>,
    /// The inputs of the filters of the `signal` stage; absent, none are sent, and no filter that needs them can be on.
    #[serde(default)]
    pub market: Option<MarketConfig>,
}

/// The filters' inputs that are sent with each row.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarketConfig {
    /// The indicators that the filters read; they must be those of the filters.
    #[schemars(extend("x-formerly" = "gauges"))]
    pub filter_indicators: FilterIndicators,
    /// The stocks under special treatment (ST) on all days, whose limits differ; as for the cleaner.
    pub st_symbols: BTreeSet<Symbol>,
    /// Periods of special treatment; as for the cleaner.
    pub st_periods: BTreeMap<Symbol, Vec<StPeriod>>,
}

impl IndicatorsConfig {
    /// Returns the features, or the reason why they cannot be computed for one symbol after the other.
    ///
    /// # Errors
    /// The text of the fault.
    pub fn set(&self, base: &Path) -> Result<FeatureSet, String> {
        match (&self.features, &self.feature_file) {
            (Some(_), Some(_)) => {
                Err("features and feature_file are given; one must be left out".into())
            }
            (Some(names), None) => feature_set(names).map_err(|error| error.to_string()),
            (None, Some(path)) => {
                let path = base.join(path);
                let fault = |error: &dyn Display| format!("{}: {error}", path.display());
                let text = std::fs::read_to_string(&path).map_err(|error| fault(&error))?;
                of_text(&text).map_err(|error| fault(&error))
            }
            (None, None) => Ok(FeatureSet::standard()),
        }
    }
}

/// Computes features, per symbol.
#[derive(Debug)]
pub struct Indicators {
    set: FeatureSet,
    market: Option<MarketConfig>,
    /// The stocks under special treatment, as the cleaner has them.
    special: CleanConfig,
    markets: Markets,
    series: HashMap<Symbol, Series>,
    stage: String,
    warmup: Counter,
    refused: Counter,
    log: LogLimit,
}

/// The outputs of one bar after the warm-up.
struct Reading {
    values: Vec<f64>,
    snapshot: Option<MarketSnapshot>,
}

/// The state of one symbol.
#[derive(Debug, Serialize, Deserialize)]
struct Series {
    features: FeatureState,
    market: Option<MarketState>,
}

impl Series {
    fn new(set: &FeatureSet, market: Option<&MarketConfig>) -> Result<Self, QuantError> {
        Ok(Self {
            features: FeatureState::new(set)?,
            market: market
                .map(|market| MarketState::new(&market.filter_indicators))
                .transpose()?,
        })
    }

    fn attach(&mut self, set: &FeatureSet) -> Result<(), StageError> {
        self.features.attach(set).map_err(StageError::config)
    }

    /// The same calls as in `heqis_quant::pipeline`.
    fn update(
        &mut self,
        markets: &Markets,
        st: bool,
        bar: &Bar,
    ) -> Result<Option<Reading>, QuantError> {
        let values = self.features.update(bar)?;
        let snapshot = self
            .market
            .as_mut()
            .map(|market| market.update(markets, st, bar))
            .transpose()?;
        Ok(values.map(|values| Reading { values, snapshot }))
    }
}

impl Stage for Indicators {
    type Config = IndicatorsConfig;
    type In = BarMessage;
    type Out = FeatureRow;
    const KIND: &'static str = "indicators";
    const ABOUT: &'static str = "Computes streaming indicators and features per symbol.";

    fn check(config: &IndicatorsConfig, base: &Path) -> Vec<String> {
        let market = config
            .market
            .as_ref()
            .and_then(|market| MarketState::new(&market.filter_indicators).err());
        let market = market.map(|error| error.to_string());
        config.set(base).err().into_iter().chain(market).collect()
    }

    fn contract(config: &IndicatorsConfig, base: &Path) -> PortContract {
        let mut contract = PortContract::default();
        if let Ok(set) = config.set(base) {
            contract = contract.provide("feature", Property::Names(set.names().to_vec()));
        }
        let names = match &config.market {
            Some(market) => format!("{:?}", market.filter_indicators.names()),
            None => "nothing".to_owned(),
        };
        let market = match config.market {
            Some(_) => "given",
            None => "nothing",
        };
        contract
            .provide(FILTER_INDICATORS, Property::Text(names))
            .provide(MARKET, Property::Text(market.to_owned()))
    }

    fn build(config: &IndicatorsConfig, cx: &BuildContext) -> Result<Self, StageError> {
        let set = config.set(&cx.path("")).map_err(StageError::config)?;
        Ok(Self {
            set,
            special: config
                .market
                .as_ref()
                .map_or_else(CleanConfig::default, |market| CleanConfig {
                    st_symbols: market.st_symbols.clone(),
                    st_periods: market.st_periods.clone(),
                    ..CleanConfig::default()
                }),
            market: config.market.clone(),
            markets: Markets::shipped().map_err(StageError::failed)?,
            series: HashMap::new(),
            stage: cx.stage().to_owned(),
            warmup: cx.counter("warmup"),
            refused: cx.counter("refused"),
            log: LogLimit::new(cx.clock().clone()),
        })
    }

    fn snapshot(&self) -> Snapshot {
        // Ordered, so that the same state gives the same bytes.
        let series: BTreeMap<_, _> = self.series.iter().collect();
        Snapshot::of(&(self.set.id(), series))
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StageError> {
        let (set_id, mut series): (u32, HashMap<Symbol, Series>) = Snapshot::read(state)?;
        if set_id != self.set.id() {
            return Err(StageError::config(format!(
                "the state is of feature set {set_id:#010x}, not {:#010x}",
                self.set.id()
            )));
        }
        for series in series.values_mut() {
            series.attach(&self.set)?;
        }
        self.series = series;
        Ok(())
    }

    fn take_key(&mut self, key: Key) -> Result<Option<Vec<u8>>, StageError> {
        let symbol = symbol_of(key)?;
        let state = self.series.get(&symbol).map(Snapshot::bytes).transpose()?;
        self.series.remove(&symbol);
        Ok(state)
    }

    fn put_key(
        &mut self,
        key: Key,
        state: &[u8],
        _: &mut Emitter<'_, FeatureRow>,
    ) -> Result<(), StageError> {
        let mut series: Series = Snapshot::read(state)?;
        series.attach(&self.set)?;
        put_series(&mut self.series, symbol_of(key)?, series)
    }

    fn process(
        &mut self,
        frame: &Frame<BarMessage>,
        out: &mut Emitter<'_, FeatureRow>,
    ) -> Result<(), StageError> {
        let bar = &frame.0;
        let market = self.market.as_ref();
        let st = self.special.is_st(bar.symbol, bar.date);
        let series = match self.series.entry(bar.symbol) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Series::new(&self.set, market).map_err(StageError::failed)?)
            }
        };
        match series.update(&self.markets, st, bar) {
            Ok(Some(Reading { values, snapshot })) => {
                out.emit(
                    frame.head(),
                    FeatureRow {
                        bar: BarRef::from(bar),
                        set_id: series.features.set_id(),
                        values,
                        snapshot,
                    },
                );
            }
            Ok(None) => self.warmup.inc(),
            // Not a failure: a rebuilt stage would have forgotten every symbol because of one bar.
            Err(error) => {
                self.refused.inc();
                if let Some(left_out) = self.log.admit() {
                    tracing::warn!(stage = %self.stage, symbol = %bar.symbol, date = %bar.date, %error, suppressed = left_out, "bar refused");
                }
            }
        }
        Ok(())
    }
}
