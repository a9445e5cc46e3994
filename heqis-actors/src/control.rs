//! The state of a running graph that its actors share: stop and abandon signals, who still runs, what was measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::actor::Doorbell;
use crate::events::Event;
use crate::metrics::{Counter, Metrics, Timer};
use crate::stage::StageError;

/// Shared by every actor of a graph. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Control(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// An `Arc` of its own, for stages, which know nothing of the rest.
    stopping: Arc<AtomicBool>,
    abandoned: AtomicBool,
    alive: AtomicUsize,
    all_ended: watch::Sender<bool>,
    stop_begun: watch::Sender<bool>,
    bells: Mutex<Vec<Arc<Doorbell>>>,
    failure: Mutex<Option<String>>,
    /// Stages and halves of bridged edges that have ended for good, by name.
    gone: Mutex<BTreeSet<String>>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            stopping: Arc::default(),
            abandoned: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            all_ended: watch::Sender::new(false),
            stop_begun: watch::Sender::new(false),
            bells: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
            gone: Mutex::new(BTreeSet::new()),
        }))
    }

    /// Counts an actor in; its doorbell is rung when the graph stops.
    pub(crate) fn enlist(&self, bell: Arc<Doorbell>) {
        self.0.alive.fetch_add(1, Ordering::AcqRel);
        lock(&self.0.bells).push(bell);
    }

    /// Sources end, bridges take no further frames; what is under way is finished.
    pub(crate) fn stop(&self) {
        if !self.0.stopping.swap(true, Ordering::AcqRel) {
            self.0.stop_begun.send_replace(true);
            self.ring_all();
            Event::Stopping.publish();
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// The flag that [`Control::stopping`] reads.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        self.0.stopping.clone()
    }

    /// Completes when the graph has begun to drain.
    pub(crate) async fn stopped(&self) {
        let _ = self.0.stop_begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// The drain timeout has passed: everything under way is dropped, cause `shutdown`.
    pub(crate) fn abandon(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.abandoned.store(true, Ordering::Release);
        self.ring_all();
    }

    pub(crate) fn abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Acquire)
    }

    /// Ends the graph with an error; the first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.stop();
    }

    /// Ends the graph with an error at once: what is under way is dropped here, and whatever was not acknowledged stays
    /// with the node that sent it.
    pub(crate) fn crash(&self, reason: String) {
        lock(&self.0.failure).get_or_insert(reason);
        self.abandon();
        self.0.stop_begun.send_replace(true);
        Event::Stopping.publish();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }

    /// An actor has ended for good.
    pub(crate) fn ended(&self, stage: &str) {
        lock(&self.0.gone).insert(stage.to_owned());
        Event::StageEnded {
            stage: stage.to_owned(),
        }
        .publish();
        if self.0.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.all_ended.send_replace(true);
        }
    }

    /// Whether an actor of this name has ended for good.
    pub(crate) fn has_ended(&self, stage: &str) -> bool {
        lock(&self.0.gone).contains(stage)
    }

    /// Completes when every enlisted actor has ended.
    pub(crate) async fn all_ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.all_ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn stage_failed(&self, stage: &str, error: &StageError) {
        Event::StageFailed {
            stage: stage.to_owned(),
            reason: error.to_string(),
        }
        .publish();
    }

    pub(crate) fn stage_restarted(&self, stage: &str) {
        Event::StageRestarted {
            stage: stage.to_owned(),
        }
        .publish();
    }

    fn ring_all(&self) {
        for bell in lock(&self.0.bells).iter() {
            bell.ring();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is measured of one stage. Cheap to clone; workers of a stage share it.
#[derive(Clone)]
pub(crate) struct StageStats {
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
pub(crate) struct Budget {
    pub(crate) max_age_ns: i64,
    pub(crate) overruns: Counter,
    /// When the last warning was published, so that an overload does not flood the log.
    warned_ns: Mutex<Option<i64>>,
}

impl Budget {
    pub(crate) fn new(max_age_ns: i64, overruns: Counter) -> Self {
        Self {
            max_age_ns,
            overruns,
            warned_ns: Mutex::new(None),
        }
    }
}

impl StageStats {
    pub(crate) fn new(stage: &str, metrics: &Metrics, budget: Option<Budget>) -> Self {
        // Two significant digits: a tail is read as "130 µs". From a nanosecond to an hour; longer counts as an hour.
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

    /// Adds one frame: how long the stage had it, and how old it was when the stage was done.
    pub(crate) fn processed(&self, latency_ns: i64, age_ns: i64) {
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
                Event::BudgetOverrun {
                    stage: self.stage.to_string(),
                    age_ns,
                }
                .publish();
            }
        }
    }

    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }

    pub(crate) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(crate) fn report(
        &self,
        events: Vec<(String, u64)>,
        notes: BTreeMap<String, String>,
    ) -> StageReport {
        // Quantiles take long, and the stage must not wait for them.
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

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Largest.
    pub max_us: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        Self {
            p50_us: us(histogram.value_at_quantile(0.5)),
            p99_us: us(histogram.value_at_quantile(0.99)),
            p999_us: us(histogram.value_at_quantile(0.999)),
            max_us: us(histogram.max()),
        }
    }
}

/// What one stage did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// Name in the topology.
    pub stage: String,
    /// Frames processed.
    pub frames: u64,
    /// From taking a frame until done with it.
    pub latency: Quantiles,
    /// From the frame's birth at its source until the stage was done with it.
    pub age: Quantiles,
    /// Times the stage was rebuilt.
    pub restarts: u64,
    /// What the stage counted, by event name.
    pub events: Vec<(String, u64)>,
    /// What the stage says of itself, by name.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}
