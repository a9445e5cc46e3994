//! The watchdog: one node observes another, raises an alarm when it stalls, and runs a command that may recover it.
//!
//! ```text
//! reports of the graph ▸ PeerObservation ▸ StallDetector ▸ Alarm ▸ log, event, metric, RecoveryCommand
//! ```
//!
//! - `stall`: what counts as stalled; time is a parameter. `recovery`: the command and its limits.
//!
//! Not here: whether this node itself stalls. The service manager watches that (`run::service`).

mod recovery;
mod stall;

use std::time::Duration;

use heqis_actors::{Clock, Counters, EdgeSide, Event, Metrics, MetricsError, Reporter};

pub use recovery::{Outcome, RecoveryCommand, RecoverySpec};
pub use stall::{Alarm, PeerObservation, StallDetector, StallSpec};

/// Shortest and longest time between two observations.
const OBSERVE_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A watched node, as the plan states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub peer: String,
    /// Names of the edges that lead to it.
    pub to: Vec<String>,
    /// Names of the edges that come from it.
    pub from: Vec<String>,
    /// What counts as stalled.
    pub stall: StallSpec,
    /// The command to run; `None` only raises the alarm.
    pub recovery: Option<RecoverySpec>,
}

/// Counters of all watches of a node.
#[derive(Clone, Debug)]
pub struct WatchCounters {
    alarms: Counters<2>,
    commands: Counters<2>,
}

impl WatchCounters {
    /// Registers the families with `metrics`.
    ///
    /// # Errors
    /// When `metrics` has the families already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            alarms: metrics.counters(
                "heqis_watchdog_alarms_total",
                "Alarms about a watched node, by cause: link_down, no_progress, no_answer.",
                ["peer", "cause"],
            )?,
            commands: metrics.counters(
                "heqis_watchdog_commands_total",
                "Commands run after an alarm, by outcome: succeeded, failed, timed_out, not_started, withheld.",
                ["peer", "outcome"],
            )?,
        })
    }
}

impl WatchCounters {
    /// Creates a sample of every cause and outcome for `peer`, so that each is exported as zero before it is first counted.
    pub fn touch(&self, peer: &str) {
        for cause in Alarm::CAUSES {
            self.alarms.of([peer, cause]).add(0);
        }
        for outcome in Outcome::NAMES {
            self.commands.of([peer, outcome]).add(0);
        }
    }
}

impl Watch {
    /// Observes the peer.
    fn observe(&self, reporter: &Reporter) -> PeerObservation {
        let links = reporter.links();
        let is_ours = |edge: &str, side: EdgeSide| {
            let names = if side == EdgeSide::Sender {
                &self.to
            } else {
                &self.from
            };
            names.iter().any(|name| name == edge)
        };
        let mut observation = PeerObservation {
            connected: true,
            ended: true,
            ..PeerObservation::default()
        };
        for link in links.iter().filter(|link| is_ours(&link.edge, link.side)) {
            observation.ended &= link.ended;
            observation.connected &= link.up || link.ended;
        }
        for edge in reporter.report().edges {
            if !is_ours(&edge.edge, edge.side) {
                continue;
            }
            match edge.side {
                EdgeSide::Sender => {
                    observation.delivered += edge.delivered;
                    observation.waiting += edge.in_flight;
                }
                _ => observation.received += edge.sent,
            }
        }
        observation
    }

    /// Watches the peer until its edges have ended or the graph stops.
    pub async fn run(self, reporter: Reporter, clock: Clock, counters: WatchCounters) {
        let pause = (self.stall.stall_timeout / 8).clamp(OBSERVE_EVERY.0, OBSERVE_EVERY.1);
        let mut detector = StallDetector::new(self.stall, clock.now_ns());
        counters.touch(&self.peer);
        let mut recovery = self.recovery.clone().map(RecoveryCommand::new);
        loop {
            clock.sleep(pause).await;
            let observation = self.observe(&reporter);
            if observation.ended || reporter.stopping() {
                return;
            }
            let Some(alarm) = detector.observe(clock.now_ns(), &observation) else {
                continue;
            };
            counters.alarms.of([&self.peer, alarm.cause()]).inc();
            reporter.publish(Event::PeerStalled {
                peer: self.peer.clone(),
                reason: alarm.to_string(),
            });
            if let Some(command) = &mut recovery {
                let outcome = command.run(&self.peer, &alarm, &clock).await;
                counters.commands.of([&self.peer, outcome.name()]).inc();
                tracing::warn!(peer = %self.peer, %outcome, "watchdog command");
                detector.rearm(clock.now_ns());
            }
        }
    }
}
