//! The watchdog: one node looks after another, raises an alarm when it stalls, and runs a command that may bring it back.
//!
//! ```text
//! reports of the graph ▸ Sighting ▸ Vigil ▸ Alarm ▸ log, event, metric, Remedy ▸ command
//! ```
//!
//! - `vigil`: what counts as stalled; time comes in from outside. `remedy`: the command and its limits.
//!
//! Not here: whether this node itself stalls. That is the service manager's to watch (`run::service`).

mod remedy;
mod vigil;

use std::time::Duration;

use heqis_actors::{Clock, Counters, EdgeSide, Event, Metrics, Reporter};

pub use remedy::{Outcome, Remedy, RemedySpec};
pub use vigil::{Alarm, Sighting, Vigil, VigilSpec};

/// Shortest and longest pause between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A node that is looked after, as the plan has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub peer: String,
    /// Names of the edges that lead to it.
    pub to: Vec<String>,
    /// Names of the edges that come from it.
    pub from: Vec<String>,
    /// What counts as stalled.
    pub vigil: VigilSpec,
    /// What is done about it; `None` only raises the alarm.
    pub remedy: Option<RemedySpec>,
}

/// What every watch of a node counts.
#[derive(Clone, Debug)]
pub struct WatchCounters {
    alarms: Counters,
    commands: Counters,
}

impl WatchCounters {
    /// Adds the families to `metrics`.
    ///
    /// # Panics
    /// When `metrics` has them already.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            alarms: metrics.counters(
                "heqis_watchdog_alarms_total",
                "Alarms about a watched node, by cause: link_down, no_progress, no_answer.",
                &["peer", "cause"],
            ),
            commands: metrics.counters(
                "heqis_watchdog_commands_total",
                "Commands run after an alarm, by outcome: succeeded, failed, timed_out, not_started, withheld.",
                &["peer", "outcome"],
            ),
        }
    }
}

impl WatchCounters {
    /// Makes a sample of every cause and outcome for `peer`, so that each is there at zero before it is first counted.
    pub fn touch(&self, peer: &str) {
        for cause in Alarm::CAUSES {
            self.alarms.of(&[peer, cause]).add(0);
        }
        for outcome in Outcome::NAMES {
            self.commands.of(&[peer, outcome]).add(0);
        }
    }
}

impl Watch {
    /// How the peer looks from here.
    fn sighting(&self, reporter: &Reporter) -> Sighting {
        let links = reporter.links();
        let ours = |edge: &str, side: EdgeSide| {
            let names = if side == EdgeSide::Sender {
                &self.to
            } else {
                &self.from
            };
            names.iter().any(|name| name == edge)
        };
        let mut sighting = Sighting {
            linked: true,
            done: true,
            ..Sighting::default()
        };
        for link in links.iter().filter(|link| ours(&link.edge, link.side)) {
            sighting.done &= link.ended;
            sighting.linked &= link.up || link.ended;
        }
        for edge in reporter.report().edges {
            if !ours(&edge.edge, edge.side) {
                continue;
            }
            match edge.side {
                EdgeSide::Sender => {
                    sighting.given += edge.delivered;
                    sighting.waiting += edge.in_flight;
                }
                _ => sighting.answered += edge.sent,
            }
        }
        sighting
    }

    /// Looks after the peer until its edges have ended or the graph stops.
    pub async fn keep(self, reporter: Reporter, clock: Clock, counters: WatchCounters) {
        let pause = (self.vigil.silence / 8).clamp(LOOK.0, LOOK.1);
        let mut vigil = Vigil::new(self.vigil, clock.now_ns());
        counters.touch(&self.peer);
        let mut remedy = self.remedy.clone().map(Remedy::new);
        loop {
            clock.sleep(pause).await;
            let sighting = self.sighting(&reporter);
            if sighting.done || reporter.stopping() {
                return;
            }
            let Some(alarm) = vigil.look(clock.now_ns(), &sighting) else {
                continue;
            };
            counters.alarms.of(&[&self.peer, alarm.cause()]).inc();
            Event::PeerStalled {
                peer: self.peer.clone(),
                reason: alarm.to_string(),
            }
            .publish();
            if let Some(remedy) = &mut remedy {
                let outcome = remedy.apply(&self.peer, &alarm, &clock).await;
                counters.commands.of(&[&self.peer, outcome.name()]).inc();
                tracing::warn!(peer = %self.peer, %outcome, "watchdog command");
                vigil.rest(clock.now_ns());
            }
        }
    }
}
