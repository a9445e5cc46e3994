//! The rows of one symbol → its bars, features and labels, every one of them computed by `heqis-quant`.

use std::sync::Arc;

use heqis_quant::label::next_bar_labels;
use heqis_quant::rules::Markets;
use heqis_quant::{Cleaner, Date, FeatureSet, FeatureState, Marks, Reject, Span, Symbol};
use sha2::{Digest, Sha256};

use super::contradictions;
use super::findings::Finding;
use super::reference::ReferenceTables;
use super::runs::{BARE_BYTES, Origin, encode};
use crate::bars::Prices;
use crate::digest::hex;
use crate::error::DataError;
use crate::prices::judge_prices;
use crate::store::manifest::SymbolEntry;
use crate::store::{NextBar, Rows};

/// A row that the cleaner turned down.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The row.
    pub origin: Origin,
    /// Why.
    pub reject: Reject,
}

/// One series, ready to be stored.
#[derive(Clone, Debug)]
pub struct PreparedSeries {
    /// Its line in the manifest.
    pub entry: SymbolEntry,
    /// Its rows.
    pub rows: Rows,
    /// What the cleaner turned down, in the order of time.
    pub rejected: Vec<Rejected>,
    /// Where what is known disagrees with the bars, in the order of kinds and days.
    pub findings: Vec<Finding>,
}

/// What is done to every series.
#[derive(Clone, Debug)]
pub struct SeriesConfig {
    /// A cleaner that has seen no bar.
    pub cleaner: Cleaner,
    /// The features.
    pub features: FeatureSet,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// What prices are, where it was declared.
    pub prices: Option<Prices>,
    /// What is known beside the rows.
    pub reference: Arc<ReferenceTables>,
    /// The rules of all markets, for the findings.
    pub markets: Markets,
}

/// Returns the digest of a series as read: the same rows give the same digest, whatever files they lie in.
#[must_use]
pub fn digest(origins: &[Origin]) -> String {
    let mut digest = Sha256::new();
    for origin in origins {
        let bytes = encode(&Origin {
            file: 0,
            row: 0,
            ..*origin
        });
        let marked = !origin.bar.marks.is_empty();
        digest.update(if marked {
            &bytes[..]
        } else {
            &bytes[..BARE_BYTES]
        });
    }
    hex(&digest.finalize())
}

/// Cleans a series, computes its features and looks up its labels.
///
/// # Errors
///
/// [`DataError::Table`] when a setting is refused; a bar that passed the cleaner is not.
pub fn prepare(
    config: &SeriesConfig,
    symbol: Symbol,
    origins: &[Origin],
    input_sha256: String,
    reference_sha256: String,
) -> Result<PreparedSeries, DataError> {
    let mut cleaner = config.cleaner.clone();
    let mut bars = Vec::with_capacity(origins.len());
    let mut rejected = Vec::new();
    let raw = origins.iter().map(|origin| &origin.bar);
    let adjusted = judge_prices(raw, config.prices, &config.markets);
    for origin in origins {
        let mut bar = origin.bar;
        if adjusted.is_some() {
            bar.marks.insert(Marks::ADJUSTED);
        }
        match cleaner.check(bar) {
            Ok(bar) => bars.push(bar),
            Err(reject) => rejected.push(Rejected {
                origin: *origin,
                reject,
            }),
        }
    }
    let turned_down: Vec<(Date, &str)> = rejected
        .iter()
        .map(|row| (row.origin.bar.date, row.reject.reason()))
        .collect();
    // Factors and events are held against prices as traded.
    let judged = if adjusted.is_some() { &[][..] } else { &bars };
    let findings =
        contradictions::of_series(&config.reference, &config.markets, judged, &turned_down)?;
    let rows = compute(&bars, &config.features, config.flat_band)?;
    let span = match (bars.first(), bars.last()) {
        (Some(first), Some(last)) => Some(Span::new(first.date, last.date)?),
        _ => None,
    };
    Ok(PreparedSeries {
        entry: SymbolEntry {
            symbol,
            input_sha256,
            reference_sha256,
            read_to: origins.last().map(|origin| origin.bar.date),
            bars: bars.len() as u64,
            gaps: bars
                .iter()
                .filter(|bar| bar.marks.contains(Marks::GAP) || bar.marks.contains(Marks::HOLE))
                .count() as u64,
            rejected: rejected.len() as u64,
            adjusted,
            span,
        },
        rows,
        rejected,
        findings,
    })
}

/// Streams clean bars through the features, as a board does, and lays the labels beside them.
///
/// # Errors
///
/// As [`prepare`].
pub fn compute(
    bars: &[heqis_quant::Bar],
    features: &FeatureSet,
    flat_band: f64,
) -> Result<Rows, DataError> {
    let labels = next_bar_labels(bars, flat_band)?;
    let mut state = FeatureState::new(features)?;
    let mut row = vec![0.0; features.len()];
    let mut rows = Rows::new(features.len());
    for (i, (bar, label)) in bars.iter().zip(labels).enumerate() {
        let known = state.update_into(bar, &mut row)?;
        let next = label.and_then(|label| {
            Some(NextBar {
                date: bars.get(i + 1)?.date,
                next_return: label.next_return,
                direction: label.direction,
            })
        });
        rows.push(*bar, known.then_some(&row[..]), next);
    }
    Ok(rows)
}
