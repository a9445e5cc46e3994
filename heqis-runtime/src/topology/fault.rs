//! Faults of a topology: one stable code for each rule.

use super::place::{Place, Sources};

macro_rules! codes {
    ($($variant:ident $number:literal $name:literal $rule:literal,)*) => {
        /// The rule that a fault breaks. Numbers and names are stable: scripts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $rule] $variant,)*
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the number, as in `E0103`.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$variant => $number,)* }
            }

            /// Returns the name, as in `unknown-stage`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns whether it is a warning: what it names is allowed.
            #[must_use]
            pub fn is_warning(self) -> bool {
                self.number().starts_with('W')
            }

            /// Returns the rule in one sentence.
            #[must_use]
            pub fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)* }
            }
        }
    };
}

codes! {
    UnreadableFile "E0001" "unreadable-file" "The file must exist and hold UTF-8 text.",
    TomlSyntax "E0002" "toml-syntax" "The file must be TOML; what follows the first syntax fault is not examined.",
    SchemaVersion "E0003" "schema-version" "The file must say `heqis = 1`; other versions are not examined.",
    OverrideSyntax "E0004" "override-syntax" "An override must read `dotted.path=value`.",
    UnknownProfile "E0005" "unknown-profile" "`--profile` must name a profile of the file.",
    NothingToOverride "E0006" "nothing-to-override" "A profile or an override changes nodes, stages and edges of the file; it adds none.",
    UnknownKey "E0101" "unknown-key" "A table holds only the keys of the format.",
    UnknownNode "E0102" "unknown-node" "A stage must be placed on a node of the file, and a node watches one of them.",
    UnknownStage "E0103" "unknown-stage" "An edge or a budget must name stages of the file.",
    UnknownKind "E0104" "unknown-kind" "A stage must be of a kind that this binary knows; `heqis-runtime stages` lists them.",
    UnknownParameter "E0105" "unknown-parameter" "`params` holds only the parameters of the stage's kind.",
    BadName "E0106" "bad-name" "A name is a lower-case letter followed by lower-case letters, digits and hyphens.",
    DuplicateName "E0107" "duplicate-name" "A name is given once.",
    BothNames "E0108" "both-names" "A renamed key is given under one of its names.",
    MissingKey "E0201" "missing-key" "A key or parameter without a default must be given.",
    WrongType "E0202" "wrong-type" "A value must be of the type of its key or parameter.",
    OutOfRange "E0203" "out-of-range" "A number, text or list must lie within its limits.",
    UnknownValue "E0204" "unknown-value" "A value must be one of those that its key or parameter knows.",
    BadTime "E0205" "bad-time" "A span of time is a number directly followed by ns, us, ms, s, m or h.",
    BadAddress "E0206" "bad-address" "An address is a host name or an IP address; with a port, `host:port`.",
    UnusableParameters "E0207" "unusable-parameters" "The stage itself must accept its parameters: files are there, hashes and shapes match.",
    UnusableFile "E0208" "unusable-file" "A file that a node reads must be a regular file of a bounded size.",
    PayloadMismatch "E0301" "payload-mismatch" "The output of an edge's first stage must be the input of its second.",
    NoInput "E0302" "no-input" "No edge leads to a source.",
    NoOutput "E0303" "no-output" "No edge leaves a sink.",
    UnfedStage "E0304" "unfed-stage" "A stage that takes frames must have an edge leading to it.",
    UnconsumedStage "E0305" "unconsumed-stage" "A stage that makes frames must have an edge leaving it.",
    Cycle "E0306" "cycle" "Edges must not lead back to where they came from; a feedback edge ends in a sink.",
    DuplicateEdge "E0307" "duplicate-edge" "Two stages are joined by one edge at most.",
    UnusedNode "E0308" "unused-node" "A node must have a stage.",
    SinglePartition "E0309" "single-partition" "`partition_by` shares a stage's frames among at least two edges.",
    SecondCommitLog "E0310" "second-commit-log" "A node has one commit log at most, because what is committed is known per node.",
    TermsMismatch "E0311" "terms-mismatch" "What a stage provides must be what the next requires: features, rows, scaler, model of the factors, indicators of the filters.",
    TwoWays "E0312" "two-ways" "A stage gets each item of a source by one way, because frames are known by the item that they derive from.",
    RecordWithoutState "E0313" "record-without-state" "A node whose source is recorded saves its state, which says what of the recording is still needed.",
    NotRecordable "E0314" "not-recordable" "Only a source that gives its items once is recorded.",
    MissingTransport "E0401" "missing-transport" "An edge between two nodes must say how it crosses.",
    NeedlessTransport "E0402" "needless-transport" "An edge within one node has no `transport` and no `delivery`.",
    IncompleteTransport "E0403" "incomplete-transport" "A transport has the keys of its scheme: `port` for tcp, `path` for ipc.",
    AddressInUse "E0404" "address-in-use" "Everything that listens has an address of its own.",
    NotBuiltYet "E0405" "not-built-yet" "The value is part of the format, but this version does not offer it.",
    DeliveryPolicyConflict "E0406" "delivery-policy-conflict" "`at-least-once` needs the policy `block`: the other policies drop frames.",
    IpcAcrossMachines "E0407" "ipc-across-machines" "Both ends of an ipc transport are on one machine.",
    NothingToWatch "E0408" "nothing-to-watch" "A node watches another one that an edge joins it to.",
    FrameTooSmall "E0409" "frame-too-small" "`max_frame` must hold the largest frame of its edge.",
    LatestHoldsOne "E0501" "latest-holds-one" "The policy `latest` has the capacity 1.",
    MemoryExceeded "E0502" "memory-exceeded" "The frames that may wait on a node must fit into half of its memory.",
    UnknownCore "E0503" "unknown-core" "A stage runs on cores that its node has.",
    SharedCore "E0504" "shared-core" "A core is pinned to one thread.",
    ConflictingAffinity "E0505" "conflicting-affinity" "Stages that share an arbiter share its cores.",
    DelayOnSharedArbiter "E0506" "delay-on-shared-arbiter" "`batch.max_delay` waits on the thread, so the stage must have its arbiter for itself.",
    NotForASource "E0507" "not-for-a-source" "`workers`, `batch` and `restart` do not apply to a source.",
    NotForABuffer "E0508" "not-for-a-buffer" "`workers`, `batch` and `restart` do not apply to a ring buffer, which only moves frames.",
    BrokenBudgetPath "E0601" "broken-budget-path" "Each stage of a budget's path must be reached from the one before.",
    OrderNotRepeatable "W0001" "order-not-repeatable" "With several workers before a journal its bytes differ from run to run.",
    RenamedKey "W0002" "renamed-key" "A key has a new name; the former one is accepted for one version.",
    StateNotSaved "W0003" "state-not-saved" "The state of a stage that is fed from another node is not saved.",
}

/// One fault of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The rule that is broken.
    pub code: Code,
    /// What is wrong, with the value, in one sentence.
    pub message: String,
    /// Where it was written.
    pub place: Place,
    /// A hint: the nearest existing name, or what is allowed.
    pub help: Option<String>,
    /// A further place that belongs to the fault, with its label.
    pub(crate) related: Option<(Place, String)>,
}

impl Fault {
    pub(crate) fn new(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place,
            help: None,
            related: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the nearest of `known` to `name`, or all of them when none is near.
    pub(crate) fn nearest<'a>(
        mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.help = nearest(name, known);
        self
    }

    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
    }
}

/// Returns a hint: the name in `known` that is nearest to `name`, or the list of them when none is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
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

/// Every fault of a topology, in the order of the file, with the texts that they point into.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The file and the overrides.
    pub sources: Sources,
    /// Faults and warnings; at least one fault where a topology was refused, warnings alone in a plan.
    pub list: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(sources: Sources, mut list: Vec<Fault>) -> Self {
        list.sort_by_key(|fault| (fault.place, fault.code));
        list.dedup();
        Self { sources, list }
    }
}

/// One line per fault; [`super::report`] draws them with the text that they point at.
impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            let (line, column) = self.sources.line_column(fault.place);
            let (number, name) = (fault.code.number(), fault.code.name());
            let file = self.sources.name(fault.place);
            let separator = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{separator}{file}:{line}:{column}: {number} {name}: {}",
                fault.message
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_rise_and_names_are_used_once() {
        assert!(
            Code::ALL
                .windows(2)
                .all(|pair| pair[0].number() < pair[1].number())
        );
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn a_hint_names_the_nearest_or_lists_what_there_is() {
        assert_eq!(
            nearest("cleanre", ["market", "cleaner"]).as_deref(),
            Some("did you mean `cleaner`?")
        );
        assert_eq!(
            nearest("zzz", ["a", "b"]).as_deref(),
            Some("known here: `a`, `b`")
        );
        assert_eq!(nearest("zzz", []), None);
    }
}
