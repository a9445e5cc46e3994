//! Measurements of a running stage.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;

use crate::events::{Event, EventBus};
use crate::metrics::{Counter, Metrics, Timer};
use crate::report::{Quantiles, StageReport};

/// Measurements of one stage. Cheap to clone; workers of a stage share it.
#[derive(Clone)]
pub struct StageStats {
    latency: Timer,
    age: Timer,
    restarts: Counter,
    exact: Arc<Mutex<Exact>>,
    budget: Option<Arc<Budget>>,
    stage: Arc<str>,
}

#[derive(Clone)]
struct Exact {
    latency: Histogram<u64>,
    age: Histogram<u64>,
}

/// A latency budget that ends at this stage.
pub struct Budget {
    max_age_ns: i64,
    overruns: Counter,
    events: EventBus,
    /// When the last warning was published, so that an overload does not flood the log.
    warned_ns: Mutex<Option<i64>>,
}

impl Budget {
    /// At most `max_age_ns`, nanoseconds; older frames are counted, and the first one is an event.
    pub fn new(max_age_ns: i64, overruns: Counter, events: EventBus) -> Self {
        Self {
            max_age_ns,
            overruns,
            events,
            warned_ns: Mutex::new(None),
        }
    }
}

impl StageStats {
    /// Measurements that are exported by `metrics`.
    pub fn new(stage: &str, metrics: &Metrics, budget: Option<Budget>) -> Self {
        // Two significant digits, from a nanosecond to an hour; longer counts as an hour.
        let histogram = || {
            Histogram::new_with_bounds(1, 3_600_000_000_000, 2).unwrap_or_else(|_| {
                unreachable!("the bounds are constants that the histogram accepts")
            })
        };
        Self {
            latency: metrics.stage_latency(stage),
            age: metrics.path_latency(stage),
            restarts: metrics.stage_restarts(stage),
            exact: Arc::new(Mutex::new(Exact {
                latency: histogram(),
                age: histogram(),
            })),
            budget: budget.map(Arc::new),
            stage: stage.into(),
        }
    }

    /// Adds one frame: how long the stage processed it, and its age when the stage was done.
    pub fn processed(&self, latency_ns: i64, age_ns: i64) {
        self.latency.observe_ns(latency_ns);
        self.age.observe_ns(age_ns);
        {
            let mut exact = lock(&self.exact);
            exact
                .latency
                .saturating_record(u64::try_from(latency_ns).unwrap_or(0));
            exact
                .age
                .saturating_record(u64::try_from(age_ns).unwrap_or(0));
        }
        if let Some(budget) = &self.budget
            && age_ns > budget.max_age_ns
        {
            budget.overruns.inc();
            if lock(&budget.warned_ns).replace(age_ns).is_none() {
                budget.events.publish(Event::BudgetOverrun {
                    stage: self.stage.to_string(),
                    age_ns,
                });
            }
        }
    }

    /// Name of the stage.
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Counts a rebuild of the stage.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// Sums up, with the counts of the stage's events and its notes.
    pub fn report(
        &self,
        events: Vec<(String, u64)>,
        notes: BTreeMap<String, String>,
    ) -> StageReport {
        // Computing quantiles is slow, and the stage must not wait for it.
        let exact = lock(&self.exact).clone();
        StageReport {
            stage: self.stage.to_string(),
            frames: exact.latency.len(),
            latency: Quantiles::of(&exact.latency),
            age: Quantiles::of(&exact.age),
            restarts: self.restarts.get(),
            events,
            notes,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
