//! Choosing a backend by what it takes, not only by what it is called.
//!
//! An accelerator is not faster because it is one: a small model costs more to hand over than to compute. So every backend
//! of the list that works can be timed at start-up, on the bundle's golden windows, beside the others.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::engine::{BackendKind, Engine, Libraries, Opened, Unavailable, open_with};
use crate::error::InferError;

/// Rounds over the golden windows that are timed, and the time after which no further round begins. The first round of an
/// accelerator, in which it allocates and warms up, is not timed.
const ROUNDS: usize = 25;
const PATIENCE: Duration = Duration::from_millis(500);

/// Which of the backends that work is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// The first of the list.
    #[default]
    First,
    /// The one that takes least time for a golden window; the others follow in the order of the list.
    Fastest,
}

/// What a backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The backend.
    pub backend: BackendKind,
    /// Median time of a golden window.
    pub window: Duration,
}

/// Opens a bundle's model as [`crate::open`] does, on the backend that `prefer` asks for, and tells what each backend that works
/// takes. With [`Prefer::First`] nothing is timed.
///
/// With `strict`, [`Prefer::Fastest`] asks that every backend of the list works, and does not fall back later.
///
/// # Errors
///
/// As [`crate::open`]; with `strict` and [`Prefer::Fastest`], [`InferError::Strict`] for the first backend that does not work.
pub fn choose(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    prefer: Prefer,
) -> Result<(Opened, Vec<Timing>), InferError> {
    choose_with(bundle, backends, strict, prefer, &Libraries::from_env())
}

/// Chooses as [`choose`] does, with these libraries.
///
/// # Errors
///
/// As [`choose`].
pub fn choose_with(
    bundle: &Bundle,
    backends: &[BackendKind],
    strict: bool,
    prefer: Prefer,
    libraries: &Libraries,
) -> Result<(Opened, Vec<Timing>), InferError> {
    let open = |backends: &[BackendKind], strict| open_with(bundle, backends, strict, libraries);
    if prefer == Prefer::First || backends.len() < 2 {
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
            Err(error) if strict => return Err(error),
            Err(InferError::Strict(unavailable)) => tried.push(unavailable),
            Err(error) => return Err(error),
        }
    }
    let Some(fastest) = timings.iter().min_by_key(|timing| timing.window) else {
        return Err(InferError::NoBackend { tried });
    };
    // The first keeps its place among those that take as long: `min_by_key` returns the first of equals.
    let mut order = vec![fastest.backend];
    if !strict {
        let others = timings.iter().map(|timing| timing.backend);
        order.extend(others.filter(|&backend| backend != fastest.backend));
    }
    let mut opened = open(&order, strict)?;
    opened.fallbacks.splice(..0, tried);
    Ok((opened, timings))
}

/// Median time of a golden window.
fn time(bundle: &Bundle, engine: &mut dyn Engine) -> Result<Duration, InferError> {
    let windows = bundle.self_test(engine)?.windows.max(1);
    let begin = Instant::now();
    let mut rounds = Vec::with_capacity(ROUNDS);
    while rounds.is_empty() || (rounds.len() < ROUNDS && begin.elapsed() < PATIENCE) {
        let round = Instant::now();
        bundle.self_test(engine)?;
        rounds.push(round.elapsed());
    }
    rounds.sort_unstable();
    let windows = u32::try_from(windows).unwrap_or(u32::MAX);
    Ok(rounds[rounds.len() / 2] / windows)
}
