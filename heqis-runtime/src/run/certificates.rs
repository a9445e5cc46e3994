//! The certificate of a node while it runs: read again when its files change, with the days that are left as a metric.

use std::time::Duration;

use heqis_actors::sp::Endpoint;
use heqis_actors::{Clock, Gauges, Metrics, MetricsError};
use heqis_tls::Identity;

use crate::topology::Plan;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(5);

/// Days before the end from which the log says so, once a day, and the page has an alarm.
pub(super) const WARN_DAYS: i64 = 30;

const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// Registers the metrics of a node's certificates: the days that are left, and why new files cannot be used.
///
/// # Errors
/// When `metrics` has them already.
pub fn certificate_gauges(metrics: &Metrics) -> Result<[Gauges<1>; 2], MetricsError> {
    let days = metrics.gauges(
        "heqis_certificate_days_left",
        "Days for which the certificate of this node, and that of its authority, are still valid.",
        ["certificate"],
    )?;
    let unusable = metrics.gauges(
        "heqis_certificate_unusable",
        "1 while new certificate files cannot be used, so that the ones before stay in use.",
        ["cause"],
    )?;
    Ok([days, unusable])
}

/// The identity of the node with this index; `None` when neither an edge nor a server of it uses TLS.
pub(super) fn identity(plan: &Plan, node: usize) -> Option<Identity> {
    let uses_tls = plan.edges.iter().any(|edge| {
        let bridge = edge.bridge.as_ref();
        bridge.is_some_and(|bridge| {
            (bridge.from_node == node || bridge.to_node == node)
                && matches!(bridge.options.endpoint, Endpoint::Tls { .. })
        })
    });
    let node = &plan.nodes[node];
    (uses_tls || node.https_servers().next().is_some()).then(|| node.tls.clone())
}

/// The certificate of a node with an edge or a server that needs one.
pub(super) struct CertificateWatch {
    identity: Identity,
    days: Gauges<1>,
    unusable: Gauges<1>,
}

impl CertificateWatch {
    /// The watch for the node with this index; `None` when neither an edge nor a server of it uses TLS.
    pub(super) fn of(
        plan: &Plan,
        node: usize,
        metrics: &Metrics,
    ) -> Result<Option<Self>, MetricsError> {
        let Some(identity) = identity(plan, node) else {
            return Ok(None);
        };
        let [days, unusable] = certificate_gauges(metrics)?;
        Ok(Some(Self {
            identity,
            days,
            unusable,
        }))
    }

    /// Looks at the files until it is aborted.
    pub(super) async fn run(self, clock: Clock) {
        let mut warned_ns: Option<i64> = None;
        let mut cause: Option<&'static str> = None;
        loop {
            let problem = self.identity.problem();
            if let Some(old) = cause {
                self.unusable.remove([old]);
            }
            cause = problem.as_ref().map(|problem| problem.cause());
            if let Some(cause) = cause {
                self.unusable.set([cause], 1.0);
            }
            let own = self.identity.days_left();
            let of_authority = self.identity.authority_days_left();
            for (name, days) in [("node", own), ("authority", of_authority)] {
                if let Some(days) = days {
                    self.days.set([name], days as f64);
                }
            }
            let left = own.into_iter().chain(of_authority).min();
            let now_ns = clock.now_ns();
            if let Some(days_left) = left.filter(|left| *left <= WARN_DAYS)
                && warned_ns.is_none_or(|last| now_ns - last > DAY_NS)
            {
                warned_ns = Some(now_ns);
                tracing::warn!(
                    days_left,
                    "the certificate ends soon: renew it with `heqis-runtime certs renew`"
                );
            }
            clock.sleep(PERIOD).await;
        }
    }
}
