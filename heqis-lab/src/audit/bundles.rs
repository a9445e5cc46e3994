//! Model bundles as a subject: they come fitted, so only what they decide and trade can be looked at.

use heqis_backtest::BrokerConfig;
use heqis_backtest::strategy::{BundleModel, Predictor, Source, decide};
use heqis_quant::{Bar, CleanConfig, Date, ExRight, Markets, Scaler, Span, Strategy};

use super::linear::trade;
use super::subject::{Decision, Fitted, Subject, Trades};
use crate::error::LabError;

/// Bundles with the strategy that follows them.
#[derive(Clone, Debug)]
pub struct Bundles {
    /// The bundles.
    pub source: Source,
    /// When to trade.
    pub strategy: Strategy,
    /// The account.
    pub broker: BrokerConfig,
    /// Ex-right events, of any stock.
    pub events: Vec<ExRight>,
    /// The rules of all markets; those that are shipped when left out.
    pub markets: Option<Markets>,
}

/// Bundles that have been read once, for their scaler.
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
        // What is read from files does not depend on bars.
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
        // A path remembers a series, so every history gets one of its own.
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
