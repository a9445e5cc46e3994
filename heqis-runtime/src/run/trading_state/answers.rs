//! What a node does when another one asks for a trading state.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use heqis_actors::Counters;
use heqis_actors::requests::{Reply, Request};

use super::switch::{TradingStateSwitch, parse, restricts, switches};
use crate::topology::Plan;

/// Subject of a request for a trading state.
pub(super) const SUBJECT: &str = "trading_state";

/// Who is notified of a change: the stage or node, and the change in words.
pub(super) type Notify = Box<dyn Fn(&str, String) + Send + Sync>;

/// Answers one node.
pub(super) struct Answers {
    node: String,
    /// The node that asks. The bridge has checked that it is that one.
    asker: String,
    switches: Vec<TradingStateSwitch>,
    counters: Counters<2>,
    notify: OnceLock<Notify>,
}

impl Answers {
    pub(super) fn new(plan: &Plan, node: usize, asker: String, counters: Counters<2>) -> Self {
        Self {
            node: plan.nodes[node].name.clone(),
            asker,
            switches: switches(plan, node),
            counters,
            notify: OnceLock::new(),
        }
    }

    pub(super) fn notify(&self, notify: impl Fn(&str, String) + Send + Sync + 'static) {
        let _ = self.notify.set(Box::new(notify));
    }

    /// Does what is asked for, once: a request that is sent again gets the same answer and changes nothing.
    pub(super) fn answer(&self, request: &Request) -> Reply {
        let done = match (request.subject.as_str(), request.value.as_str()) {
            (SUBJECT, "") => Ok(()),
            (SUBJECT, value) => self.set(request, value),
            (other, _) => Err(format!("node '{}' offers no '{other}'", self.node)),
        };
        if !request.value.is_empty() {
            let outcome = if done.is_ok() { "done" } else { "denied" };
            self.counters.of([&self.asker, outcome]).inc();
        }
        if let Err(reason) = &done {
            tracing::warn!(node = %self.node, asker = %self.asker, reason, "trading state not set");
        }
        Reply {
            id: request.id,
            done: done.is_ok(),
            value: self.now(),
            reason: done.err().unwrap_or_default(),
        }
    }

    fn set(&self, request: &Request, value: &str) -> Result<(), String> {
        let state = parse(value).ok_or_else(|| format!("'{value}' is no trading state"))?;
        if self.switches.is_empty() {
            return Err(format!(
                "no stage of node '{}' has a trading_state_file",
                self.node
            ));
        }
        let switches = self.switches.iter();
        let open: Vec<_> = switches
            .filter(|switch| switch.last_request(&self.asker) != Some(request.id))
            .collect();
        // Meanwhile it may have been changed here, for a reason.
        if request.late
            && let Some(switch) = open.iter().find(|switch| !restricts(state, switch.state()))
        {
            return Err(format!(
                "the request came late, and '{state}' allows more than '{}' of stage '{}'",
                switch.state(),
                switch.stage
            ));
        }
        for switch in open {
            switch.set_for(state, &self.asker, request.id)?;
            let cause = format!("set to {state} by node '{}'", self.asker);
            tracing::warn!(stage = %switch.stage, %state, asker = %self.asker, "trading state set by another node");
            if let Some(notify) = self.notify.get() {
                notify(&switch.stage, cause);
            }
        }
        Ok(())
    }

    /// The states of the stages now; one word where they agree.
    fn now(&self) -> String {
        let states = self.switches.iter().map(TradingStateSwitch::state);
        let states: BTreeMap<_, _> = states.map(|state| (state.name(), ())).collect();
        states.into_keys().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use heqis_actors::Metrics;
    use heqis_quant::TradingState;

    use super::*;

    fn answers(folder: &std::path::Path) -> Answers {
        let counters = Metrics::new("compute")
            .counters("requests", "Requests.", ["peer", "outcome"])
            .unwrap();
        Answers {
            node: "compute".into(),
            asker: "gateway".into(),
            switches: vec![TradingStateSwitch::new(
                "signal",
                TradingState::Active,
                folder.join("trading-state"),
            )],
            counters,
            notify: OnceLock::new(),
        }
    }

    fn request(id: u64, value: &str, late: bool) -> Request {
        Request {
            id,
            subject: SUBJECT.into(),
            value: value.into(),
            late,
        }
    }

    #[test]
    fn a_request_changes_the_state_once_and_is_answered_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trading-state");
        let reply = answers(folder.path()).answer(&request(7, "halted", false));
        assert_eq!((reply.done, reply.value.as_str()), (true, "halted"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "halted\n");
        // The operator of this node changes it; then the request comes again, also to a node that was restarted.
        std::fs::write(&file, "active").unwrap();
        let reply = answers(folder.path()).answer(&request(7, "halted", true));
        assert_eq!(
            (reply.id, reply.done, reply.value.as_str()),
            (7, true, "active")
        );
        let reply = answers(folder.path()).answer(&request(8, "reducing", true));
        assert_eq!((reply.done, reply.value.as_str()), (true, "reducing"));
    }

    #[test]
    fn a_request_that_comes_late_restricts_and_does_not_loosen() {
        let folder = tempfile::tempdir().unwrap();
        let answers = answers(folder.path());
        assert!(answers.answer(&request(1, "reducing", false)).done);
        let reply = answers.answer(&request(2, "active", true));
        assert!(!reply.done && reply.reason.contains("late"), "{reply:?}");
        assert_eq!(reply.value, "reducing");
        assert!(answers.answer(&request(3, "halted", true)).done);
        assert!(answers.answer(&request(4, "active", false)).done);
    }

    #[test]
    fn what_is_not_offered_is_refused_and_a_question_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut answers = answers(folder.path());
        assert_eq!(answers.answer(&request(0, "", true)).value, "active");
        assert!(!folder.path().join("trading-state").exists());
        assert!(!answers.answer(&request(1, "stopped", false)).done);
        let other = Request {
            subject: "positions".into(),
            ..request(2, "0", false)
        };
        assert!(!answers.answer(&other).done);
        answers.switches.clear();
        let reply = answers.answer(&request(3, "halted", false));
        assert!(!reply.done && reply.reason.contains("trading_state_file"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_refusal_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("trading-state")).unwrap();
        let reply = answers(folder.path()).answer(&request(1, "active", false));
        assert!(
            !reply.done && reply.reason.contains("trading-state"),
            "{reply:?}"
        );
        assert_eq!(reply.value, "halted", "a file without a state halts");
    }
}
