//! Selecting a backend by measured time instead of by its place in the list.
//!
//! An accelerator may be slower than the CPU: for a small model the transfer costs more than the computation. So every backend
//! of the list that works can be timed at start-up, on the bundle's golden windows.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::backend::{BackendKind, Unavailable};
use crate::bundle::Bundle;
use crate::engine::Engine;
use crate::error::InferError;
use crate::libraries::Libraries;
use crate::open::{Opened, open_with};

/// Timed rounds over the golden windows, and the time after which no further round begins. The first round of an
/// accelerator, in which it allocates and warms up, is not timed.
const ROUNDS: usize = 25;
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// Which of the working backends is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackendPolicy {
    /// The first of the list.
    #[default]
    First,
    /// The one with the shortest time for a golden window; the others follow in the order of the list.
    Fastest,
}

/// The measured time of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// The backend.
    pub backend: BackendKind,
    /// Median time of a golden window.
    pub window: Duration,
}

/// Opens a bundle's model as [`open`](crate::open()) does, on the backend that `policy` selects, and returns the times of the
/// working backends. With [`BackendPolicy::First`] nothing is timed.
///
/// With `strict`, [`BackendPolicy::Fastest`] requires that every backend of the list works, and does not fall back later.
///
/// # Errors
///
/// As [`open`](crate::open()); with `strict` and [`BackendPolicy::Fastest`], [`InferError::Strict`] for the first backend that does not work.
pub fn select(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    policy: BackendPolicy,
) -> Result<(Opened, Vec<Timing>), InferError> {
    select_with(bundle, backends, strict, policy, &Libraries::from_env())
}

/// Selects as [`select`] does, with these libraries.
///
/// # Errors
///
/// As [`select`].
pub fn select_with(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    policy: BackendPolicy,
    libraries: &Libraries,
) -> Result<(Opened, Vec<Timing>), InferError> {
    let open = |backends: &[BackendKind], strict| open_with(bundle, backends, strict, libraries);
    if policy == BackendPolicy::First || backends.len() < 2 {
        return Ok((open(backends, strict)?, Vec::new()));
    }
    let mut timings = Vec::new();
    let mut tried: Vec<Unavailable> = Vec::new();
    for &backend in backends {
        match open(&[backend], true) {
            Ok(mut opened) => {
                let window = time(bundle, opened.engine.as_mut())?;
                tracing::info!(
                    bundle = bundle.manifest().name.as_str(),
                    backend = backend.name(),
                    window_us = window.as_secs_f64() * 1e6,
                    "backend timed"
                );
                timings.push(Timing { backend, window });
            }
            Err(InferError::NoBackend {
                bundle,
                tried: mut failed,
            }) => match failed.pop() {
                Some(unavailable) if strict => {
                    return Err(InferError::Strict {
                        bundle,
                        unavailable,
                    });
                }
                failed => tried.extend(failed),
            },
            Err(error) => return Err(error),
        }
    }
    let Some(fastest) = timings.iter().min_by_key(|timing| timing.window) else {
        return Err(InferError::NoBackend {
            bundle: bundle.dir().display().to_string(),
            tried,
        });
    };
    // Of equal times the earlier backend wins: `min_by_key` returns the first of equals.
    let mut order = vec![fastest.backend];
    if !strict {
        let others = timings.iter().map(|timing| timing.backend);
        order.extend(others.filter(|&backend| backend != fastest.backend));
    }
    let mut opened = open(&order, strict)?;
    opened.fallbacks.splice(..0, tried);
    Ok((opened, timings))
}

/// Returns the median time of a golden window.
#[expect(
    clippy::disallowed_methods,
    reason = "times backends against each other, which is its task"
)]
fn time(bundle: &Bundle, engine: &mut dyn Engine) -> Result<Duration, InferError> {
    let windows = bundle.self_test(engine)?.windows.max(1);
    let begin = Instant::now();
    let mut rounds = Vec::with_capacity(ROUNDS);
    while rounds.is_empty() || (rounds.len() < ROUNDS && begin.elapsed() < TIME_LIMIT) {
        let round = Instant::now();
        bundle.self_test(engine)?;
        rounds.push(round.elapsed());
    }
    rounds.sort_unstable();
    let windows = u32::try_from(windows).unwrap_or(u32::MAX);
    Ok(rounds[rounds.len() / 2] / windows)
}
