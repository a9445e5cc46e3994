//! Faults of a topology: one stable code for each rule.

use heqis_actors::{FaultKind, nearest_name};

use super::place::{Place, Sources};

/// Codes of the rules of a file have a number, a name and a rule here; those of every graph have them in [`FaultKind`].
macro_rules! codes {
    (@number $variant:ident $number:literal $name:literal $rule:literal) => { $number };
    (@number $variant:ident) => { FaultKind::$variant.number() };
    (@name $variant:ident $number:literal $name:literal $rule:literal) => { $name };
    (@name $variant:ident) => { FaultKind::$variant.name() };
    (@rule $variant:ident $number:literal $name:literal $rule:literal) => { $rule };
    (@rule $variant:ident) => { FaultKind::$variant.rule() };
    ($($variant:ident $($number:literal $name:literal $rule:literal)?,)*) => {
        /// The rule that a fault breaks. Numbers and names are stable: scripts may rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("The rule of [`Code::rule`] for `", stringify!($variant), "`.")] $variant,)*
        }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the number, as in `E0103`.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$variant => codes!(@number $variant $($number $name $rule)?),)* }
            }

            /// Returns the name, as in `unknown-stage`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => codes!(@name $variant $($number $name $rule)?),)* }
            }

            /// Returns the rule in one sentence.
            #[must_use]
            pub fn rule(self) -> &'static str {
                match self { $(Self::$variant => codes!(@rule $variant $($number $name $rule)?),)* }
            }
        }
    };
}

impl Code {
    /// Returns whether it is a warning: what it names is allowed.
    #[must_use]
    pub fn is_warning(self) -> bool {
        self.number().starts_with('W')
    }

    /// Returns the code of a rule of graphs; `None` for one that no topology can break.
    #[must_use]
    pub fn of(kind: FaultKind) -> Option<Self> {
        let mut codes = Self::ALL.iter().copied();
        codes.find(|code| code.number() == kind.number())
    }
}

codes! {
    UnreadableFile "E0001" "unreadable-file" "The file must exist and hold UTF-8 text.",
    TomlSyntax "E0002" "toml-syntax" "The file must be TOML; what follows the first syntax fault is not examined.",
    SchemaVersion "E0003" "schema-version" "The file must say `heqis = 1`; other versions are not examined.",
    OverrideSyntax "E0004" "override-syntax" "An override must read `dotted.path=value`.",
    UnknownProfile "E0005" "unknown-profile" "`--profile` must name a profile of the file.",
    NothingToOverride "E0006" "nothing-to-override" "A profile or an override changes nodes, stages and edges of the file; it adds none.",
    UnknownKey "E0101" "unknown-key" "A table holds only the keys of the format.",
    UnknownNode "E0102" "unknown-node" "A stage must be placed on a node of the file; a node watches nodes of the file and takes its trading state from them.",
    UnknownStage,
    UnknownKind "E0104" "unknown-kind" "A stage must be of a kind that this binary knows; `heqis-runtime stages` lists them.",
    UnknownParameter "E0105" "unknown-parameter" "`params` holds only the parameters of the stage's kind.",
    BadName,
    DuplicateName,
    BothNames "E0108" "both-names" "A renamed key is given under one of its names.",
    MissingKey "E0201" "missing-key" "A key or parameter without a default must be given.",
    WrongType "E0202" "wrong-type" "A value must be of the type of its key or parameter.",
    OutOfRange,
    UnknownValue "E0204" "unknown-value" "A value must be one of those that its key or parameter knows.",
    BadTime "E0205" "bad-time" "A duration is a number directly followed by ns, us, ms, s, m or h.",
    BadAddress "E0206" "bad-address" "An address is a host name or an IP address; with a port, `host:port`.",
    UnusableParameters,
    UnusableFile "E0208" "unusable-file" "A file that a node reads must be a regular file of a bounded size.",
    PayloadMismatch,
    NoInput,
    NoOutput,
    UnfedStage,
    UnconsumedStage,
    Cycle,
    DuplicateEdge,
    UnusedNode "E0308" "unused-node" "A node must have a stage.",
    SinglePartition,
    SecondCommitLog,
    ContractMismatch,
    TwoWays,
    RecordWithoutState,
    NotRecordable,
    EmptyGraph,
    PayloadWithoutCodec,
    UnknownPort,
    MissingTransport,
    NeedlessTransport,
    IncompleteTransport "E0403" "incomplete-transport" "A transport has the keys of its scheme: `port` for tcp, `path` for ipc.",
    AddressInUse,
    DeliveryPolicyConflict,
    IpcAcrossMachines "E0407" "ipc-across-machines" "Both ends of an ipc transport are on one machine.",
    NothingToWatch "E0408" "nothing-to-watch" "A node watches another one, or takes its trading state from one, that an edge joins it to.",
    FrameTooSmall,
    OpenEdge,
    UnusableCertificate "E0411" "unusable-certificate" "The certificate of a node with a `tls+tcp` edge, or with metrics or a page that other machines reach, is there, valid, its own, and of the same authority.",
    LatestHoldsOne,
    MemoryExceeded "E0502" "memory-exceeded" "The frames that may wait on a node must fit into half of its memory.",
    UnknownCore,
    SharedCore,
    ConflictingAffinity,
    NotForASource,
    NotForABuffer,
    BrokenBudgetPath,
    OrderNotRepeatable,
    RenamedKey "W0002" "renamed-key" "A key has a new name; the former one is accepted for one version.",
    StateNotSaved,
    InsecureEdge,
    InsecureServer "W0006" "insecure-server" "Metrics or a page leave the machine as plain HTTP, as `insecure = true` accepts.",
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
        self.help = nearest_name(name, known);
        self
    }

    pub(crate) fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
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
    fn every_rule_of_graphs_is_one_of_topologies_apart_from_those_of_programs() {
        let without = FaultKind::ALL
            .iter()
            .filter(|kind| Code::of(**kind).is_none());
        assert!(without.eq(&[FaultKind::UnknownEdge, FaultKind::StreamWithoutIdentity]));
    }
}
