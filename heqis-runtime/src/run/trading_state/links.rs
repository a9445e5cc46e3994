//! The ports of a node, and the threads that serve them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use heqis_actors::requests::{Arrival, Message, RequestPort};
use heqis_actors::{Metrics, MetricsError};

use super::answers::Answers;
use super::requests::{Requests, Target};
use crate::topology::Plan;

/// Everything by which a node asks and is asked for trading states. Dropping it ends the threads.
pub(crate) struct Links {
    /// The ports by the route of their edge.
    pub(crate) ports: BTreeMap<u32, RequestPort>,
    /// What this node asks; `None` where its page may not.
    pub(crate) requests: Option<Arc<Requests>>,
    answers: Vec<(RequestPort, Arc<Answers>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Links {
    /// The ports of the node with index `node`.
    ///
    /// # Errors
    /// When `metrics` has their counters already.
    pub(crate) fn of(plan: &Plan, node: usize, metrics: &Metrics) -> Result<Self, MetricsError> {
        let mut links = Self {
            ports: BTreeMap::new(),
            requests: None,
            answers: Vec::new(),
            threads: Vec::new(),
        };
        let routes = plan.trading_state_edges();
        if !routes
            .iter()
            .any(|link| link.asks == node || link.answers == node)
        {
            return Ok(links);
        }
        let counters = metrics.counters(
            "heqis_trading_state_requests_total",
            "Requests for a trading state, by the other node and outcome: `asked`, `acknowledged` and `refused` on the node that \
             asks, `done` and `denied` on the one that is asked.",
            ["peer", "outcome"],
        )?;
        let page = plan.nodes[node].dashboard.as_ref();
        let file = page.filter(|page| page.control);
        let file = file.and_then(|page| Some(plan.base.join(page.requests.as_ref()?)));
        let mut targets = Vec::new();
        for link in routes {
            let edge = plan.edges.iter().find(|edge| edge.route == link.route);
            let edge = edge.map_or_else(String::new, |edge| edge.name.clone());
            if link.asks == node && file.is_some() {
                let port = RequestPort::asking();
                links.ports.insert(link.route, port.clone());
                targets.push(Target {
                    node: link.answers,
                    name: plan.nodes[link.answers].name.clone(),
                    edge,
                    port,
                });
            } else if link.answers == node {
                let port = RequestPort::answering();
                links.ports.insert(link.route, port.clone());
                let asker = plan.nodes[link.asks].name.clone();
                let answers = Answers::new(plan, node, asker, counters.clone());
                links.answers.push((port, Arc::new(answers)));
            }
        }
        links.requests = file
            .filter(|_| !targets.is_empty())
            .map(|file| Arc::new(Requests::new(file, targets, counters)));
        Ok(links)
    }

    /// Sets who is notified of a changed trading state, with the stage or node and the change in words.
    pub(crate) fn notify(&self, notify: impl Fn(&str, String) + Send + Sync + Clone + 'static) {
        for (_, answers) in &self.answers {
            answers.notify(notify.clone());
        }
        if let Some(requests) = &self.requests {
            requests.notify(notify);
        }
    }

    /// Starts one thread for each port.
    ///
    /// # Errors
    /// When the system has no further thread.
    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        for (port, answers) in std::mem::take(&mut self.answers) {
            self.spawn("answers", move || {
                while let Some(arrival) = port.next() {
                    if let Arrival::Message(Message::Request(request)) = arrival {
                        port.send(Message::Reply(answers.answer(&request)));
                    }
                }
            })?;
        }
        for index in 0..self
            .requests
            .as_ref()
            .map_or(0, |requests| requests.targets())
        {
            let Some(requests) = self.requests.clone() else {
                continue;
            };
            self.spawn("requests", move || requests.serve(index))?;
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "threads that write files, past every arbiter"
    )]
    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.ports.values().for_each(RequestPort::close);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
