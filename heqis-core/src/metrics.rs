//! The only module that uses the metrics library: small types around `prometheus`.
//!
//! Labels are resolved once, when a stage or an edge starts; counting is one atomic addition. Names are in base units.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use thiserror::Error;

use crate::clock::ClockOffset;

/// A counter that only grows.
#[derive(Clone, Debug)]
pub struct Counter(prometheus::IntCounter);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// The current value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A value that goes up and down.
#[derive(Clone, Debug)]
pub struct Gauge(prometheus::IntGauge);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.set(value);
    }

    /// The current value.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.get()
    }
}

/// A short text by which a stage describes its state. It is in reports and not in the metrics, whose labels must not grow.
#[derive(Clone, Debug)]
pub struct Note {
    notes: Notes,
    stage: String,
    name: String,
}

/// The notes of all stages of a node, by stage and name.
type Notes = Arc<Mutex<BTreeMap<(String, String), String>>>;

impl Note {
    /// Replaces the text.
    pub fn set(&self, text: impl Into<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert((self.stage.clone(), self.name.clone()), text.into());
    }
}

/// A distribution of durations, exported in seconds.
#[derive(Clone, Debug)]
pub struct Timer(prometheus::Histogram);

impl Timer {
    /// Adds an observation in nanoseconds; negative ones (clocks of two machines) count as zero.
    pub fn observe_ns(&self, ns: i64) {
        self.0.observe(ns.max(0) as f64 * 1e-9);
    }
}

/// Why a family of metrics was not registered.
#[derive(Clone, Debug, Error)]
#[error("metric '{name}': {reason}")]
#[non_exhaustive]
pub struct MetricsError {
    /// The family.
    pub name: String,
    /// Why: the name is taken or malformed.
    pub reason: String,
}

/// A family of values, one for each set of values of its `LABELS` labels.
#[derive(Clone, Debug)]
pub struct Gauges<const LABELS: usize>(GaugeVec);

impl<const LABELS: usize> Gauges<LABELS> {
    /// Sets the value of `labels`, given in the order in which the family names them.
    pub fn set(&self, labels: [&str; LABELS], value: f64) {
        self.0.with_label_values(&labels).set(value);
    }

    /// Removes the sample of `labels`, so that a value that cannot be measured now does not keep its last sample.
    pub fn remove(&self, labels: [&str; LABELS]) {
        // A sample that does not exist is already removed.
        let _ = self.0.remove_label_values(&labels);
    }
}

/// A family of counters, one for each set of values of its `LABELS` labels.
#[derive(Clone, Debug)]
pub struct Counters<const LABELS: usize>(IntCounterVec);

impl<const LABELS: usize> Counters<LABELS> {
    /// The counter of `labels`, given in the order in which the family names them.
    #[must_use]
    pub fn of(&self, labels: [&str; LABELS]) -> Counter {
        Counter(self.0.with_label_values(&labels))
    }
}

/// How far the peers' clocks are ahead, by edge. Reports read it here, because a gauge cannot be without a value.
type Clocks = Arc<Mutex<BTreeMap<String, ClockOffset>>>;

/// The metrics of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    node: String,
    stage_latency: HistogramVec,
    stage_events: IntCounterVec,
    stage_restarts: IntCounterVec,
    edge_frames: IntCounterVec,
    edge_depth: IntGaugeVec,
    edge_wait: HistogramVec,
    link_up: IntGaugeVec,
    link_credits: IntGaugeVec,
    link_connects: IntCounterVec,
    link_resent: IntCounterVec,
    link_overlaps: IntCounterVec,
    link_bytes: IntCounterVec,
    link_rejects: IntCounterVec,
    link_outage: HistogramVec,
    link_clock_offset: Gauges<1>,
    link_clock_uncertainty: Gauges<1>,
    path_latency: HistogramVec,
    budget_overruns: IntCounterVec,
    info: IntGaugeVec,
    notes: Notes,
    clocks: Clocks,
    /// Whether a graph counts in them: a report is read from them, so that a second graph would be in it too.
    used: Arc<AtomicBool>,
}

/// Latency buckets from 1 µs to 4 s, each twice the one before.
fn latency_buckets() -> Vec<f64> {
    (0..23)
        .map(|power| 1e-6 * f64::from(1u32 << power))
        .collect()
}

impl Metrics {
    /// Empty metrics of the node called `node`; every sample carries it as a label.
    #[must_use]
    pub fn new(node: &str) -> Self {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("node", node);
        let counters = |name, help, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(opts(name, help), labels))
        };
        let gauges = |name, help, labels: &[&str]| {
            registered(&registry, IntGaugeVec::new(opts(name, help), labels))
        };
        let values = |name, help, labels: &[&str]| {
            Gauges(registered(
                &registry,
                GaugeVec::new(opts(name, help), labels),
            ))
        };
        let timers = |name, help, labels: &[&str]| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(latency_buckets());
            registered(&registry, HistogramVec::new(opts, labels))
        };
        Self {
            stage_latency: timers(
                "heqis_stage_latency_seconds",
                "Time from taking a frame off its edge until the stage is done with it.",
                &["stage"],
            ),
            stage_events: counters(
                "heqis_stage_events_total",
                "What a stage counted: rejects by reason, signals by side, and the like.",
                &["stage", "event"],
            ),
            stage_restarts: counters(
                "heqis_stage_restarts_total",
                "Times a failed stage was rebuilt.",
                &["stage"],
            ),
            edge_frames: counters(
                "heqis_edge_frames_total",
                "Frames by outcome: sent, delivered, duplicate, or dropped_ and the cause.",
                &["edge", "outcome"],
            ),
            edge_depth: gauges(
                "heqis_edge_queue_depth",
                "Frames waiting on the edge now.",
                &["edge"],
            ),
            edge_wait: timers(
                "heqis_edge_wait_seconds",
                "Time from leaving one stage until the next one takes the frame, the wire included.",
                &["edge"],
            ),
            link_up: gauges(
                "heqis_link_up",
                "1 while the bridged edge has a live connection.",
                &["edge"],
            ),
            link_credits: gauges(
                "heqis_link_credits",
                "Frames that the receiver of the bridged edge still takes.",
                &["edge"],
            ),
            link_connects: counters(
                "heqis_link_connects_total",
                "Connections made, the first included.",
                &["edge"],
            ),
            link_resent: counters(
                "heqis_link_resent_frames_total",
                "Frames sent again after a reconnect.",
                &["edge"],
            ),
            link_overlaps: counters(
                "heqis_link_overlapping_frames_total",
                "Merged frames of which other frames had completed a part; they are processed.",
                &["edge"],
            ),
            link_bytes: counters(
                "heqis_link_sent_bytes_total",
                "Bytes of data frames handed to the socket, heads and envelopes included.",
                &["edge"],
            ),
            link_rejects: counters(
                "heqis_link_rejected_peers_total",
                "Peers that were disconnected, by cause.",
                &["edge", "cause"],
            ),
            link_outage: timers(
                "heqis_link_outage_seconds",
                "Length of ended link outages.",
                &["edge"],
            ),
            link_clock_offset: values(
                "heqis_link_clock_offset_seconds",
                "How far the peer's clock is ahead of this node's, negative when it is behind.",
                &["edge"],
            ),
            link_clock_uncertainty: values(
                "heqis_link_clock_uncertainty_seconds",
                "By how much the clock offset may be wrong: half the shortest round trip.",
                &["edge"],
            ),
            path_latency: timers(
                "heqis_path_latency_seconds",
                "Age of frames when a stage is done with them.",
                &["stage"],
            ),
            budget_overruns: counters(
                "heqis_budget_overruns_total",
                "Frames that were older than the latency budget at the end of its path.",
                &["path"],
            ),
            info: gauges(
                "heqis_info",
                "Constant 1; the labels say what runs.",
                &["version", "topology"],
            ),
            notes: Notes::default(),
            clocks: Clocks::default(),
            used: Arc::default(),
            registry,
            node: node.to_owned(),
        }
    }

    /// A further family of values, exported with those of the graph.
    ///
    /// ```
    /// use heqis_actors::{Metrics, MetricsError};
    ///
    /// let metrics = Metrics::new("gateway");
    /// let rooms = metrics.gauges("room_celsius", "Temperature of a room.", ["room"])?;
    /// rooms.set(["hall"], 21.5);
    /// assert!(metrics.render().contains("room_celsius{node=\"gateway\",room=\"hall\"} 21.5"));
    /// assert!(metrics.gauges("room_celsius", "Again.", ["room"]).is_err());
    /// # Ok::<(), MetricsError>(())
    /// ```
    ///
    /// # Errors
    /// When the name is taken or malformed.
    pub fn gauges<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Gauges<LABELS>, MetricsError> {
        let opts = Opts::new(name, help).const_label("node", &self.node);
        self.further(name, GaugeVec::new(opts, &labels)).map(Gauges)
    }

    /// A further family of counters.
    ///
    /// # Errors
    /// As [`Metrics::gauges`].
    pub fn counters<const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; LABELS],
    ) -> Result<Counters<LABELS>, MetricsError> {
        let opts = Opts::new(name, help).const_label("node", &self.node);
        let family = IntCounterVec::new(opts, &labels);
        self.further(name, family).map(Counters)
    }

    fn further<C: Collector + Clone + 'static>(
        &self,
        name: &str,
        family: prometheus::Result<C>,
    ) -> Result<C, MetricsError> {
        register(&self.registry, family).map_err(|error| MetricsError {
            name: name.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Whether no graph counts in these metrics yet; from now on one does.
    #[must_use]
    pub fn claim(&self) -> bool {
        !self.used.swap(true, Ordering::AcqRel)
    }

    /// The exposition text of all samples, in Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "metrics do not encode");
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Sets the running topology, as `heqis_info`.
    pub fn set_info(&self, version: &str, topology: &str) {
        self.info.with_label_values(&[version, topology]).set(1);
    }

    /// Latency of a stage per frame.
    #[must_use]
    pub fn stage_latency(&self, stage: &str) -> Timer {
        Timer(self.stage_latency.with_label_values(&[stage]))
    }

    /// Age of frames when a stage is done with them.
    #[must_use]
    pub fn path_latency(&self, stage: &str) -> Timer {
        Timer(self.path_latency.with_label_values(&[stage]))
    }

    /// Times a stage was rebuilt.
    #[must_use]
    pub fn stage_restarts(&self, stage: &str) -> Counter {
        Counter(self.stage_restarts.with_label_values(&[stage]))
    }

    /// The counters that a stage defines.
    #[must_use]
    pub fn stage_counters(&self, stage: &str) -> StageCounters {
        StageCounters {
            family: self.stage_events.clone(),
            notes: self.notes.clone(),
            stage: stage.to_owned(),
        }
    }

    /// Frames of an edge with one outcome.
    #[must_use]
    pub fn edge_frames(&self, edge: &str, outcome: &str) -> Counter {
        Counter(self.edge_frames.with_label_values(&[edge, outcome]))
    }

    /// Frames that wait on an edge.
    #[must_use]
    pub fn edge_depth(&self, edge: &str) -> Gauge {
        Gauge(self.edge_depth.with_label_values(&[edge]))
    }

    /// Time between two stages.
    #[must_use]
    pub fn edge_wait(&self, edge: &str) -> Timer {
        Timer(self.edge_wait.with_label_values(&[edge]))
    }

    /// Frames over a latency budget.
    #[must_use]
    pub fn budget_overruns(&self, path: &str) -> Counter {
        Counter(self.budget_overruns.with_label_values(&[path]))
    }

    /// Everything counted about one bridged edge.
    #[must_use]
    pub fn link(&self, edge: &str) -> LinkMetrics {
        LinkMetrics {
            up: Gauge(self.link_up.with_label_values(&[edge])),
            credits: Gauge(self.link_credits.with_label_values(&[edge])),
            connects: Counter(self.link_connects.with_label_values(&[edge])),
            resent: Counter(self.link_resent.with_label_values(&[edge])),
            overlaps: Counter(self.link_overlaps.with_label_values(&[edge])),
            sent_bytes: Counter(self.link_bytes.with_label_values(&[edge])),
            outage: Timer(self.link_outage.with_label_values(&[edge])),
            rejects: self.link_rejects.clone(),
            clock_offset: self.link_clock_offset.clone(),
            clock_uncertainty: self.link_clock_uncertainty.clone(),
            clocks: self.clocks.clone(),
            edge: edge.to_owned(),
        }
    }
}

/// Everything counted about one bridged edge.
#[derive(Clone, Debug)]
pub struct LinkMetrics {
    /// 1 while connected.
    pub up: Gauge,
    /// Frames that the receiver still accepts, as the sender knows it.
    pub credits: Gauge,
    /// Connections made.
    pub connects: Counter,
    /// Frames sent again.
    pub resent: Counter,
    /// Merged frames received of which other frames had completed a part.
    pub overlaps: Counter,
    /// Bytes of data frames.
    pub sent_bytes: Counter,
    /// Lengths of ended outages.
    pub outage: Timer,
    rejects: IntCounterVec,
    clock_offset: Gauges<1>,
    clock_uncertainty: Gauges<1>,
    clocks: Clocks,
    edge: String,
}

impl LinkMetrics {
    /// Sets how far the peer's clock is ahead; `None` while that is unknown.
    pub fn set_clock(&self, offset: Option<ClockOffset>) {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = [self.edge.as_str()];
        if let Some(offset) = offset {
            clocks.insert(self.edge.clone(), offset);
            let seconds = |ns: i64| ns as f64 * 1e-9;
            self.clock_offset.set(labels, seconds(offset.ahead_ns));
            self.clock_uncertainty
                .set(labels, seconds(offset.uncertainty_ns));
        } else if clocks.remove(&self.edge).is_some() {
            self.clock_offset.remove(labels);
            self.clock_uncertainty.remove(labels);
        }
    }

    /// How far the peer's clock is ahead, while that is known.
    #[must_use]
    pub fn clock(&self) -> Option<ClockOffset> {
        let clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.get(&self.edge).copied()
    }

    /// Counts a peer that was disconnected for `cause`, a word from a fixed set.
    pub fn reject(&self, cause: &str) {
        self.rejects
            .with_label_values(&[self.edge.as_str(), cause])
            .inc();
    }

    /// Peers disconnected for `cause` so far.
    #[must_use]
    pub fn rejected(&self, cause: &str) -> u64 {
        self.rejects
            .with_label_values(&[self.edge.as_str(), cause])
            .get()
    }
}

/// Makes counters for one stage.
#[derive(Clone, Debug)]
pub struct StageCounters {
    family: IntCounterVec,
    notes: Notes,
    stage: String,
}

impl StageCounters {
    /// Counters that are not exported, for a stage outside any graph.
    #[must_use]
    pub fn detached(stage: &str) -> Self {
        Metrics::new("detached").stage_counters(stage)
    }

    /// The counter of `event`.
    #[must_use]
    pub fn counter(&self, event: &str) -> Counter {
        Counter(self.family.with_label_values(&[self.stage.as_str(), event]))
    }

    /// The note of the stage called `name`; absent until it is set.
    #[must_use]
    pub fn note(&self, name: &str) -> Note {
        Note {
            notes: self.notes.clone(),
            stage: self.stage.clone(),
            name: name.to_owned(),
        }
    }

    /// The notes of this stage, by name.
    #[must_use]
    pub fn notes(&self) -> BTreeMap<String, String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let own = notes.iter().filter(|((stage, _), _)| *stage == self.stage);
        own.map(|((_, name), text)| (name.clone(), text.clone()))
            .collect()
    }

    /// Every event that this stage has counted, with its count.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        let mut events: Vec<(String, u64)> = self
            .family
            .collect()
            .iter()
            .flat_map(|family| family.get_metric())
            .filter(|metric| {
                metric
                    .get_label()
                    .iter()
                    .any(|l| l.name() == "stage" && l.value() == self.stage)
            })
            .filter_map(|metric| {
                let event = metric
                    .get_label()
                    .iter()
                    .find(|label| label.name() == "event")?;
                Some((
                    event.value().to_owned(),
                    metric.get_counter().get_value() as u64,
                ))
            })
            .collect();
        events.sort();
        events
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let family = family?;
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// Registers a family of this file, whose names and labels are constants.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    family: prometheus::Result<C>,
) -> C {
    match register(registry, family) {
        Ok(family) => family,
        Err(error) => unreachable!("a metric family is malformed or registered twice: {error}"),
    }
}
