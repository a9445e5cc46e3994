//! The rows of one symbol → its bars, features and labels, all computed by `heqis-quant`.

use std::sync::Arc;

use heqis_quant::label::{Direction, check_flat_band};
use heqis_quant::rules::Markets;
use heqis_quant::target::{Target, forward_returns};
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

/// A row that the cleaner rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The row.
    pub origin: Origin,
    /// The reason.
    pub reject: Reject,
}

/// One series, ready to be stored.
#[derive(Clone, Debug)]
pub struct PreparedSeries {
    /// Its entry in the manifest.
    pub entry: SymbolEntry,
    /// Its rows.
    pub rows: Rows,
    /// Rejected rows, in the order of time.
    pub rejected: Vec<Rejected>,
    /// Contradictions with the reference data, by kind and day.
    pub findings: Vec<Finding>,
}

/// The settings that are common to all series.
#[derive(Clone, Debug)]
pub struct SeriesConfig {
    /// A cleaner in its initial state.
    pub cleaner: Cleaner,
    /// The features.
    pub features: FeatureSet,
    /// Largest absolute return that counts as flat.
    pub flat_band: f64,
    /// What the labels are.
    pub target: Target,
    /// The kind of the prices, if declared.
    pub prices: Option<Prices>,
    /// The reference data.
    pub reference: Arc<ReferenceTables>,
    /// The rules of all markets, for findings.
    pub markets: Markets,
}

/// Returns the digest of a series as read, which depends on the rows but not on their files.
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

/// Cleans a series and computes its features and labels.
///
/// # Errors
///
/// [`DataError::Table`] when a setting is refused. Bars that passed the cleaner are never refused.
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
    let rejects: Vec<(Date, &str)> = rejected
        .iter()
        .map(|row| (row.origin.bar.date, row.reject.reason()))
        .collect();
    // Factors and events are compared with traded prices only.
    let judged = if adjusted.is_some() { &[][..] } else { &bars };
    let findings = contradictions::of_series(&config.reference, &config.markets, judged, &rejects)?;
    let rows = compute_for(&bars, &config.features, config.flat_band, &config.target)?;
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

/// Streams clean bars through the features, like a board, and adds the labels of the default target.
///
/// # Errors
///
/// As [`prepare`].
pub fn compute(
    bars: &[heqis_quant::Bar],
    features: &FeatureSet,
    flat_band: f64,
) -> Result<Rows, DataError> {
    compute_for(bars, features, flat_band, &Target::default())
}

/// As [`compute`], for any target. The label of a target that compares the instruments of a day is the return that is
/// compared: see [`super::labels`].
///
/// # Errors
///
/// As [`prepare`].
pub fn compute_for(
    bars: &[heqis_quant::Bar],
    features: &FeatureSet,
    flat_band: f64,
    target: &Target,
) -> Result<Rows, DataError> {
    check_flat_band(flat_band)?;
    let returns = forward_returns(bars, target)?;
    let mut state = FeatureState::new(features)?;
    let mut row = vec![0.0; features.len()];
    let mut rows = Rows::new(features.len());
    for (bar, forward) in bars.iter().zip(returns) {
        let known = state.update_into(bar, &mut row)?;
        let next = forward.map(|forward| NextBar {
            date: forward.known,
            next_return: forward.value,
            direction: Direction::of(forward.value, flat_band),
        });
        rows.push(*bar, known.then_some(&row[..]), next);
    }
    Ok(rows)
}
