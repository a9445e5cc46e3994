//! Model bundles as a subject: they are already fitted, so only their decisions and trades can be checked.

use heqis_backtest::BrokerConfig;
use heqis_backtest::strategy::{BundleModel, Predictor, Source, decide};
use heqis_quant::{Bar, CleanConfig, Date, ExRight, Markets, Scaler, Span, Strategy};

use super::linear::trade;
use super::subject::{Decision, Fitted, Subject, Trades};
use crate::error::LabError;

/// Bundles with their strategy.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// The bundles.
    pub source: Source,
    /// The decision rule and filters.
    pub strategy: Strategy,
    /// The broker's settings.
    pub broker: BrokerConfig,
    /// Ex-right events of any stocks.
    pub events: Vec<ExRight>,
    /// The rules of all markets [default: the shipped ones].
    pub markets: Option<Markets>,
}

/// Bundles that were loaded once for their scaler.
#[derive(Debug)]
struct Read {
    bundles: Bundles,
    scaler: Option<Scaler>,
}

impl Subject for Bundles {
    fn fit(&self, _: &[Bar], _: Date) -> Result<Box<dyn Fitted>, LabError> {
        let scaler = match &self.source {
            Source::Bundles { factors, direction } => {
                Some(BundleModel::load(factors.as_deref(), direction)?.1)
            }
            Source::Table(_) => None,
        };
        Ok(Box::new(Read {
            bundles: self.clone(),
            scaler,
        }))
    }
}

impl Fitted for Read {
    fn fingerprint(&self) -> String {
        // The files do not depend on the bars.
        let scaler = self.scaler.as_ref().map(Scaler::to_json);
        format!(
            "{:?} {scaler:?} {:?}",
            self.bundles.source, self.bundles.strategy
        )
    }

    fn scaler_span(&self) -> Option<Span> {
        self.scaler.as_ref().map(Scaler::span)
    }

    fn decide(&self, bars: &[Bar]) -> Result<Vec<Decision>, LabError> {
        let (strategy, clean) = (&self.bundles.strategy, CleanConfig::default());
        // A pipeline holds the state of a series, so every history gets a new one.
        let mut predictor = Predictor::load(&self.bundles.source, *strategy, &clean)?;
        let predicted = predictor.predict(bars, strategy, &clean)?.predicted;
        let decided = decide(strategy, &predicted, &[]);
        let decisions = predicted
            .iter()
            .zip(decided)
            .map(|(predicted, decision)| Decision {
                date: predicted.bar.date,
                time_ns: predicted.bar.time_ns,
                predicted_return: predicted.prediction.predicted_return,
                side: decision.side,
            });
        Ok(decisions.collect())
    }

    fn trade(&self, bars: &[Bar], decisions: &[Decision]) -> Result<Trades, LabError> {
        let Bundles {
            broker,
            events,
            markets,
            ..
        } = &self.bundles;
        trade(bars, decisions, *broker, events, markets.as_ref())
    }
}
