//! What a node asks of others: kept in a file until it is answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use heqis_actors::requests::{Arrival, Message, Reply, Request, RequestLink, RequestPort};
use heqis_actors::{Counters, read_small_file};
use heqis_base::files::write_atomically;
use heqis_quant::TradingState;
use serde::{Deserialize, Serialize};

use super::answers::{Notify, SUBJECT};

/// Longest file of requests that is read, bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// A node that decides, and the edge over which it is asked.
#[derive(Debug)]
pub(super) struct Target {
    /// Its index in the plan.
    pub(super) node: usize,
    pub(super) name: String,
    pub(super) edge: String,
    pub(super) port: RequestPort,
}

/// The last request to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    id: u64,
    state: TradingState,
    at_ms: i64,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Open,
    Acknowledged,
    Refused(String),
}

/// What became of the last request to a node, as the page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// The state that was asked for.
    pub(crate) state: TradingState,
    /// When, milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
    /// Whether it was done: `None` while there is no reply.
    pub(crate) done: Option<bool>,
    /// Why it was refused, or why there is no reply.
    pub(crate) reason: Option<String>,
}

/// The requests of a node.
pub(crate) struct Requests {
    file: PathBuf,
    targets: Vec<Target>,
    state: Mutex<State>,
    counters: Counters<2>,
    notify: OnceLock<Notify>,
}

#[derive(Default)]
struct State {
    /// The last request to each node, by name; as in the file.
    asked: BTreeMap<String, Asked>,
    /// The state of a node as it has reported over the link that is up.
    reported: BTreeMap<String, String>,
}

impl Requests {
    /// Continues with the requests in `file`.
    pub(super) fn new(file: PathBuf, targets: Vec<Target>, counters: Counters<2>) -> Self {
        let asked = match read_small_file(&file, MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(file = %file.display(), %error, "requests for trading states are unreadable, and forgotten");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "requests for trading states are unreadable, and forgotten");
                BTreeMap::new()
            }
        };
        Self {
            file,
            targets,
            state: Mutex::new(State {
                asked,
                reported: BTreeMap::new(),
            }),
            counters,
            notify: OnceLock::new(),
        }
    }

    pub(super) fn notify(&self, notify: impl Fn(&str, String) + Send + Sync + 'static) {
        let _ = self.notify.set(Box::new(notify));
    }

    pub(super) fn targets(&self) -> usize {
        self.targets.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every node for `state`: writes the requests down, then sends those that have a link. A request for the same
    /// state that is still open keeps its identity. Returns the nodes.
    ///
    /// # Errors
    /// The file, and why it cannot be written; nothing is asked then.
    pub(crate) fn ask(&self, state: TradingState, now_ms: i64) -> Result<Vec<String>, String> {
        let mut shared = self.state();
        let mut asked = shared.asked.clone();
        for target in &self.targets {
            let before = asked.get(&target.name);
            let is_open =
                before.is_some_and(|asked| asked.outcome == Outcome::Open && asked.state == state);
            if is_open {
                continue;
            }
            // Different from every earlier one, also where the clock was set back.
            let at = u64::try_from(now_ms).unwrap_or(0);
            let id = before.map_or(at, |before| at.max(before.id + 1));
            let outcome = match target.port.link() {
                RequestLink::Refused => Outcome::Refused(refused(target)),
                RequestLink::Up | RequestLink::Down => Outcome::Open,
            };
            asked.insert(
                target.name.clone(),
                Asked {
                    id,
                    state,
                    at_ms: now_ms,
                    outcome,
                },
            );
        }
        self.write(&asked)?;
        shared.asked = asked;
        for target in &self.targets {
            let node = &target.name;
            tracing::warn!(%node, %state, "trading state requested on the dashboard");
            self.counters.of([node, "asked"]).inc();
            // Before it is sent: the answer is another event.
            if let Some(notify) = self.notify.get() {
                notify(
                    node,
                    format!("{state} requested of node '{node}' on the page"),
                );
            }
            if let Some(asked) = shared.asked.get(&target.name)
                && asked.outcome == Outcome::Open
            {
                target.port.send(message(asked, false));
            }
        }
        Ok(self
            .targets
            .iter()
            .map(|target| target.name.clone())
            .collect())
    }

    fn write(&self, asked: &BTreeMap<String, Asked>) -> Result<(), String> {
        let text = serde_json::to_vec_pretty(asked).map_err(|error| error.to_string())?;
        let folder = self.file.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = folder.and_then(|()| write_atomically(&self.file, &text));
        written.map_err(|error| format!("{}: {error}", self.file.display()))
    }

    /// Serves the port of one target until it is closed.
    pub(super) fn serve(&self, index: usize) {
        let target = &self.targets[index];
        while let Some(arrival) = target.port.next() {
            match arrival {
                Arrival::Link(link) => self.linked(target, link),
                Arrival::Message(Message::Reply(reply)) => self.replied(target, &reply),
                Arrival::Message(Message::Request(_)) => {}
            }
        }
    }

    /// A new link: sends an open request again, as late, or asks for the state.
    fn linked(&self, target: &Target, link: RequestLink) {
        let mut shared = self.state();
        shared.reported.remove(&target.name);
        let open = shared.asked.get(&target.name);
        let open = open.filter(|asked| asked.outcome == Outcome::Open).cloned();
        match (link, open) {
            (RequestLink::Down, _) | (RequestLink::Refused, None) => {}
            (RequestLink::Up, Some(open)) => {
                target.port.send(message(&open, true));
            }
            (RequestLink::Up, None) => {
                target.port.send(Message::Request(Request {
                    id: 0,
                    subject: SUBJECT.into(),
                    value: String::new(),
                    late: true,
                }));
            }
            (RequestLink::Refused, Some(open)) => {
                self.close(
                    &mut shared,
                    target,
                    &open,
                    Outcome::Refused(refused(target)),
                );
            }
        }
    }

    fn replied(&self, target: &Target, reply: &Reply) {
        let mut shared = self.state();
        shared
            .reported
            .insert(target.name.clone(), reply.value.clone());
        let open = shared.asked.get(&target.name);
        let open = open.filter(|asked| asked.outcome == Outcome::Open && asked.id == reply.id);
        if let Some(open) = open.cloned() {
            let outcome = match reply.done {
                true => Outcome::Acknowledged,
                false => Outcome::Refused(reply.reason.clone()),
            };
            self.close(&mut shared, target, &open, outcome);
        }
    }

    fn close(&self, shared: &mut State, target: &Target, open: &Asked, outcome: Outcome) {
        let node = &target.name;
        let (word, cause) = match &outcome {
            Outcome::Refused(reason) => (
                "refused",
                format!("{} refused by node '{node}': {reason}", open.state),
            ),
            _ => (
                "acknowledged",
                format!("{} acknowledged by node '{node}'", open.state),
            ),
        };
        tracing::warn!(%node, state = %open.state, outcome = word, cause, "request for a trading state answered");
        self.counters.of([node, word]).inc();
        let asked = Asked {
            outcome,
            ..open.clone()
        };
        shared.asked.insert(node.clone(), asked);
        // An answer that is not written down is asked for again after a restart, and is the same then.
        if let Err(error) = self.write(&shared.asked) {
            tracing::error!(error, "the answer to a request is not written");
        }
        if let Some(notify) = self.notify.get() {
            notify(node, cause);
        }
    }

    /// Whether the node with this index is asked by this one.
    pub(crate) fn reaches(&self, node: usize) -> bool {
        self.targets.iter().any(|target| target.node == node)
    }

    /// The state of a node, as it has reported over the link that is up.
    pub(crate) fn reported(&self, node: usize) -> Option<String> {
        let target = self.targets.iter().find(|target| target.node == node)?;
        self.state().reported.get(&target.name).cloned()
    }

    /// What became of the last request to a node; `None` where nothing was asked.
    pub(crate) fn status(&self, node: usize) -> Option<Status> {
        let target = self.targets.iter().find(|target| target.node == node)?;
        let asked = self.state().asked.get(&target.name).cloned()?;
        let (done, reason) = match asked.outcome {
            Outcome::Acknowledged => (Some(true), None),
            Outcome::Refused(reason) => (Some(false), Some(reason)),
            Outcome::Open => {
                let down = target.port.link() != RequestLink::Up;
                let reason = down.then(|| format!("no link to it over edge '{}'", target.edge));
                (None, reason)
            }
        };
        Some(Status {
            state: asked.state,
            at_ms: asked.at_ms,
            done,
            reason,
        })
    }
}

fn message(asked: &Asked, late: bool) -> Message {
    Message::Request(Request {
        id: asked.id,
        subject: SUBJECT.into(),
        value: asked.state.name().into(),
        late,
    })
}

/// Why a node with which no requests are agreed refuses them.
fn refused(target: &Target) -> String {
    format!(
        "its topology does not name this node in `trading_state_from`, or its version takes no requests (edge '{}')",
        target.edge
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_actors::Metrics;

    use super::*;

    fn requests(file: PathBuf) -> (Requests, RequestPort) {
        let counters = Metrics::new("gateway")
            .counters("requests", "Requests.", ["peer", "outcome"])
            .unwrap();
        let port = RequestPort::asking();
        let target = Target {
            node: 1,
            name: "compute".into(),
            edge: "signal->feedback".into(),
            port: port.clone(),
        };
        (Requests::new(file, vec![target], counters), port)
    }

    fn sent(port: &RequestPort) -> Option<Request> {
        match port.take_due()? {
            Message::Request(request) => Some(request),
            Message::Reply(_) => None,
        }
    }

    fn reply(id: u64, done: bool) -> Reply {
        Reply {
            id,
            done,
            value: "halted".into(),
            reason: if done {
                String::new()
            } else {
                "no file".into()
            },
        }
    }

    #[test]
    fn a_request_without_a_link_stays_open_visibly_and_is_sent_late_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("requests.json");
        let (first, _) = requests(file.clone());
        assert_eq!(first.ask(TradingState::Halted, 5).unwrap(), ["compute"]);
        let status = first.status(1).unwrap();
        assert_eq!((status.done, status.at_ms), (None, 5));
        assert!(status.reason.unwrap().contains("signal->feedback"));
        drop(first);
        let (second, port) = requests(file.clone());
        port.set_link(RequestLink::Up);
        second.linked(&second.targets[0], RequestLink::Up);
        let request = sent(&port).unwrap();
        assert_eq!((request.value.as_str(), request.late), ("halted", true));
        second.replied(&second.targets[0], &reply(request.id, true));
        assert_eq!(second.status(1).unwrap().done, Some(true));
        assert_eq!(second.reported(1).as_deref(), Some("halted"));
        drop(second);
        let (third, port) = requests(file);
        assert_eq!(third.status(1).unwrap().done, Some(true));
        port.set_link(RequestLink::Up);
        third.linked(&third.targets[0], RequestLink::Up);
        assert_eq!(sent(&port).unwrap().value, "", "it only asks");
    }

    #[test]
    fn an_open_request_keeps_its_identity_and_a_new_one_gets_another() {
        let folder = tempfile::tempdir().unwrap();
        let (requests, port) = requests(folder.path().join("requests.json"));
        port.set_link(RequestLink::Up);
        let ask = |state, at| {
            requests.ask(state, at).unwrap();
            sent(&port).unwrap()
        };
        let first = ask(TradingState::Halted, 100);
        assert!(!first.late);
        assert_eq!(ask(TradingState::Halted, 200).id, first.id);
        let other = ask(TradingState::Active, 50);
        assert_eq!(other.id, first.id + 1, "the clock was set back");
        let target = &requests.targets[0];
        requests.replied(target, &reply(first.id, true));
        assert_eq!(requests.status(1).unwrap().done, None, "of an older one");
        requests.replied(target, &reply(other.id, false));
        let status = requests.status(1).unwrap();
        assert_eq!(
            (status.done, status.reason.as_deref()),
            (Some(false), Some("no file"))
        );
        assert!(ask(TradingState::Active, 300).id > other.id);
    }

    #[test]
    fn a_node_that_takes_no_requests_of_this_one_refuses_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (requests, port) = requests(folder.path().join("requests.json"));
        requests.ask(TradingState::Halted, 1).unwrap();
        port.set_link(RequestLink::Refused);
        requests.linked(&requests.targets[0], RequestLink::Refused);
        let status = requests.status(1).unwrap();
        assert_eq!(status.done, Some(false));
        assert!(status.reason.unwrap().contains("trading_state_from"));
        requests.ask(TradingState::Active, 2).unwrap();
        assert_eq!(requests.status(1).unwrap().done, Some(false));
    }

    #[test]
    fn nothing_is_asked_that_cannot_be_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let (requests, port) = requests(folder.path().to_owned());
        port.set_link(RequestLink::Up);
        assert!(requests.ask(TradingState::Halted, 1).is_err());
        assert_eq!((sent(&port), requests.status(1)), (None, None));
    }
}
