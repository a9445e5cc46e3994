//! What can be wrong with a graph, and where.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident $number:literal $name:literal $rule:literal,)*) => {
        /// The rule that a fault breaks. Numbers and names are stable, and the same as those of a topology file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FaultKind {
            $(#[doc = $rule] $variant,)*
        }

        impl FaultKind {
            /// Every kind, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number, as in `E0301`.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$variant => $number,)* }
            }

            /// The name, as in `payload-mismatch`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The rule in one sentence.
            #[must_use]
            pub fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)* }
            }
        }
    };
}

kinds! {
    UnknownStage "E0103" "unknown-stage" "An edge or a budget must name stages of the file.",
    BadName "E0106" "bad-name" "A name is a lower-case letter followed by lower-case letters, digits and hyphens.",
    DuplicateName "E0107" "duplicate-name" "A name is given once.",
    UnknownEdge "E0109" "unknown-edge" "The peer of a bridged edge must name the route of one.",
    OutOfRange "E0203" "out-of-range" "A number, text or list must lie within its limits.",
    UnusableParameters "E0207" "unusable-parameters" "The stage itself must accept its parameters: files are there, hashes and shapes match.",
    PayloadMismatch "E0301" "payload-mismatch" "The output of an edge's first stage must be the input of its second.",
    NoInput "E0302" "no-input" "No edge leads to a source.",
    NoOutput "E0303" "no-output" "No edge leaves a sink.",
    UnfedStage "E0304" "unfed-stage" "A stage that takes frames must have an edge leading to it, and to each of its ports that is not optional.",
    UnconsumedStage "E0305" "unconsumed-stage" "A stage that makes frames must have an edge leaving it, and each of its ports that is not optional.",
    Cycle "E0306" "cycle" "Edges must not lead back to where they came from; a feedback edge ends in a sink.",
    DuplicateEdge "E0307" "duplicate-edge" "Two stages, or two ports of theirs, are joined by one edge at most.",
    SinglePartition "E0309" "single-partition" "`partition_by` shares a stage's frames among at least two edges.",
    SecondCommitLog "E0310" "second-commit-log" "A node has one commit log at most, because what is committed is known per node.",
    ContractMismatch "E0311" "contract-mismatch" "What a stage provides must be what the next requires: features, rows, scaler, model of the factors, indicators of the filters.",
    TwoWays "E0312" "two-ways" "A stage receives each item of a source over one path, because frames are identified by the item that they derive from.",
    RecordWithoutState "E0313" "record-without-state" "A node whose source is recorded saves its state, which says what of the recording is still needed.",
    NotRecordable "E0314" "not-recordable" "Only a source that gives its items once is recorded.",
    EmptyGraph "E0315" "empty-graph" "A graph has a stage.",
    PayloadWithoutCodec "E0316" "payload-without-codec" "A payload without a codec stays on its node, and is not recorded.",
    UnknownPort "E0317" "unknown-port" "An edge names a port that its stage has; the only port of a side has the stage's own name.",
    MissingTransport "E0401" "missing-transport" "An edge between two nodes must say how it crosses.",
    NeedlessTransport "E0402" "needless-transport" "An edge within one node has no `transport` and no `delivery`.",
    AddressInUse "E0404" "address-in-use" "Everything that listens has an address of its own.",
    DeliveryPolicyConflict "E0406" "delivery-policy-conflict" "`at-least-once` needs the policy `block`: the other policies drop frames.",
    FrameTooSmall "E0409" "frame-too-small" "`max_frame` must hold the largest frame of its edge.",
    OpenEdge "E0410" "open-edge" "An edge that leaves the machine uses TLS, unless `insecure = true` accepts that it does not.",
    LatestHoldsOne "E0501" "latest-holds-one" "The policy `latest` has the capacity 1.",
    UnknownCore "E0503" "unknown-core" "A stage runs on cores that its node has.",
    SharedCore "E0504" "shared-core" "A core is pinned to one thread.",
    ConflictingAffinity "E0505" "conflicting-affinity" "Stages that share an arbiter share its cores.",
    NotForASource "E0507" "not-for-a-source" "`workers`, `batch` and `restart` do not apply to a source.",
    NotForABuffer "E0508" "not-for-a-buffer" "`workers`, `batch` and `restart` do not apply to a ring buffer, which only moves frames.",
    BrokenBudgetPath "E0601" "broken-budget-path" "Each stage of a budget's path must be reached from the one before.",
    OrderNotRepeatable "W0001" "order-not-repeatable" "With several workers before a journal its bytes differ from run to run.",
    StateNotSaved "W0003" "state-not-saved" "The state of a stage is not saved: it is fed from another node, or has none that can be.",
    StreamWithoutIdentity "W0004" "stream-without-identity" "A replayable source is resumed only if its items have an identity, derived or said.",
    InsecureEdge "W0005" "insecure-edge" "An edge leaves the machine without TLS, as `insecure = true` accepts.",
}

impl FaultKind {
    /// Whether it is a warning: the graph runs all the same.
    #[must_use]
    pub fn is_warning(self) -> bool {
        self.number().starts_with('W')
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a fault is about; the index is the one in the order in which nodes, stages, edges and budgets were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FaultSubject {
    /// The graph as a whole.
    Graph,
    /// A node.
    Node(usize),
    /// A stage.
    Stage(usize),
    /// An edge.
    Edge(usize),
    /// A budget.
    Budget(usize),
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct FaultPlace {
    /// What it is about.
    pub subject: FaultSubject,
    /// The name of that; `from->to` for an edge, empty for the graph and for a budget.
    pub name: String,
    /// The faulty option, with its path and dots between, as in `batch.max`; empty where no single one is.
    pub option: String,
}

/// One fault of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GraphFault {
    /// The rule that is broken.
    pub kind: FaultKind,
    /// Where.
    pub place: FaultPlace,
    /// What is wrong, with the value, in one sentence.
    pub message: String,
    /// A hint: the nearest existing name, or what is allowed.
    pub help: Option<String>,
    /// A further place that belongs to the fault, with what it is.
    pub related: Option<(FaultPlace, &'static str)>,
}

impl GraphFault {
    /// A fault without help or related places.
    pub fn new(kind: FaultKind, place: FaultPlace, message: impl Into<String>) -> Self {
        Self {
            kind,
            place,
            message: message.into(),
            help: None,
            related: None,
        }
    }

    /// Adds how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place that the fault also concerns, and what it is.
    pub fn related(mut self, place: FaultPlace, what: &'static str) -> Self {
        self.related = Some((place, what));
        self
    }

    /// Whether the graph runs all the same.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.kind.is_warning()
    }
}

impl fmt::Display for GraphFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind.number(), self.kind, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Returns a hint: the name in `known` that is nearest to `name`, or the list of them when none is near.
pub fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let best = known
        .iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), *known))
        // The first of equally near names, so that the hint does not depend on the comparison's direction.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        });
    match best {
        Some((likeness, best)) if likeness >= 0.5 => Some(format!("did you mean `{best}`?")),
        Some(_) if known.len() <= 16 => {
            let list: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
            Some(format!("known here: {}", list.join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_rise_and_names_are_used_once() {
        assert!(
            FaultKind::ALL
                .windows(2)
                .all(|pair| pair[0].number() < pair[1].number())
        );
        let names: BTreeSet<_> = FaultKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
    }

    #[test]
    fn a_hint_names_the_nearest_or_lists_what_there_is() {
        assert_eq!(
            nearest_name("cleanre", ["market", "cleaner"]).as_deref(),
            Some("did you mean `cleaner`?")
        );
        assert_eq!(
            nearest_name("zzz", ["a", "b"]).as_deref(),
            Some("known here: `a`, `b`")
        );
        assert_eq!(nearest_name("zzz", []), None);
    }
}
