//! The one list of stage kinds that a topology may name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::actor::{
    RING_KIND, RingBufferConfig, SourceFactory, StageFactory, TypedSource, TypedStage,
};
use crate::contract::PortContract;
use crate::error::StageError;
use crate::frame::PayloadType;
use crate::payload::Payload;
use crate::renamed::former_names;
use crate::stage::{Source, Stage};

/// Description of a stage kind.
#[derive(Clone)]
pub struct StageKind {
    /// Name in topologies, kebab-case.
    pub name: &'static str,
    /// One line of description.
    pub about: &'static str,
    /// Payload name of its input port; `None` for a source.
    pub input: Option<&'static str>,
    /// Payload name of its output port; `None` for a sink.
    pub output: Option<&'static str>,
    /// Whether it gets an arbiter of its own by default.
    pub blocking: bool,
    /// Whether it is a commit log, of which a node has one at most.
    pub commit_log: bool,
    /// Whether it may be the last stage of a graph although it has an output port.
    pub output_optional: bool,
    /// For a source: whether two builds from one config give the same items.
    pub replayable: bool,
    /// JSON schema of its parameters.
    pub schema: Value,
    prepare: Arc<Prepare>,
}

/// Returns the identity of a source's items; relative paths start at the directory.
type Identity = dyn Fn(&Path) -> Result<Option<u64>, StageError> + Send + Sync;

type Prepare = dyn Fn(Value, &Path) -> Result<Prepared, Vec<String>> + Send + Sync;

impl std::fmt::Debug for StageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageKind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Name of the port type that accepts every payload: the ring buffer's.
pub const ANY: &str = "any";

/// A stage with checked parameters; it can be built any number of times.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) factory: Factory,
    /// Hash of the parameters.
    pub(crate) fingerprint: u64,
    contract: PortContract,
}

impl Prepared {
    pub(crate) fn new(factory: Factory, fingerprint: u64, contract: PortContract) -> Self {
        Self {
            factory,
            fingerprint,
            contract,
        }
    }

    /// The contract of the stage's ports.
    #[must_use]
    pub fn contract(&self) -> &PortContract {
        &self.contract
    }
}

#[derive(Clone)]
pub(crate) enum Factory {
    Source {
        build: SourceFactory,
        replayable: bool,
        identity: Arc<Identity>,
        /// What a recording would write.
        payload: PayloadType,
    },
    Stage {
        build: StageFactory,
        blocking: bool,
        commit_log: bool,
        /// Whether the stage is a commit log that emits the frames it has recorded.
        relays: bool,
    },
    Ring(RingBufferConfig),
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.factory {
            Factory::Source { .. } => "Prepared(source)",
            Factory::Stage { .. } => "Prepared(stage)",
            Factory::Ring(_) => "Prepared(ring-buffer)",
        })
    }
}

impl StageKind {
    /// Describes a stage type.
    #[must_use]
    pub fn stage<S: Stage>() -> Self {
        Self {
            name: S::KIND,
            about: S::ABOUT,
            input: port::<S::In>(),
            output: port::<S::Out>(),
            blocking: S::BLOCKING,
            commit_log: S::COMMIT_LOG,
            output_optional: S::OUTPUT_OPTIONAL,
            replayable: true,
            schema: schemars::schema_for!(S::Config).to_value(),
            prepare: Arc::new(|params, base| {
                let fingerprint = fingerprint::<S::Config>(&params);
                let config = read::<S::Config>(params, |config| S::check(config, base))?;
                let contract = S::contract(&config, base);
                Ok(Prepared::new(
                    stage_factory::<S>(config),
                    fingerprint,
                    contract,
                ))
            }),
        }
    }

    /// Describes a source type.
    #[must_use]
    pub fn source<S: Source>() -> Self {
        Self {
            name: S::KIND,
            about: S::ABOUT,
            input: None,
            output: port::<S::Out>(),
            blocking: false,
            commit_log: false,
            output_optional: false,
            replayable: S::REPLAYABLE,
            schema: schemars::schema_for!(S::Config).to_value(),
            prepare: Arc::new(|params, base| {
                let fingerprint = fingerprint::<S::Config>(&params);
                let config = read::<S::Config>(params, |config| S::check(config, base))?;
                Ok(Prepared::new(
                    source_factory::<S>(config),
                    fingerprint,
                    PortContract::default(),
                ))
            }),
        }
    }

    /// Describes the ring buffer, which takes any payload.
    #[must_use]
    pub fn ring_buffer() -> Self {
        Self {
            name: RING_KIND,
            about: "Keeps frames between two stages while what follows is slow or away, by a policy of its own.",
            input: Some(ANY),
            output: Some(ANY),
            blocking: false,
            commit_log: false,
            output_optional: false,
            replayable: true,
            schema: schemars::schema_for!(RingBufferConfig).to_value(),
            prepare: Arc::new(|params, _| {
                let fingerprint = fingerprint::<RingBufferConfig>(&params);
                let config = read::<RingBufferConfig>(params, |config| {
                    if config.capacity == 0 {
                        vec!["capacity is 0, it must be at least 1".into()]
                    } else {
                        Vec::new()
                    }
                })?;
                Ok(Prepared::new(
                    Factory::Ring(config),
                    fingerprint,
                    PortContract::default(),
                ))
            }),
        }
    }

    /// Reads and checks parameters; relative paths in them start at `base`.
    ///
    /// # Errors
    /// Every fault found, one sentence each.
    pub fn prepare(&self, params: Value, base: &Path) -> Result<Prepared, Vec<String>> {
        (self.prepare)(params, base)
    }
}

fn read<C: serde::de::DeserializeOwned>(
    params: Value,
    check: impl FnOnce(&C) -> Vec<String>,
) -> Result<C, Vec<String>> {
    let config = serde_json::from_value(params).map_err(|error| vec![error.to_string()])?;
    let faults = check(&config);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}

pub(crate) fn stage_factory<S: Stage>(config: S::Config) -> Factory {
    Factory::Stage {
        build: Arc::new(move |cx| Ok(Box::new(TypedStage::new(S::build(&config, cx)?)))),
        blocking: S::BLOCKING,
        commit_log: S::COMMIT_LOG,
        relays: S::COMMIT_LOG && S::In::NAME == S::Out::NAME,
    }
}

pub(crate) fn source_factory<S: Source>(config: S::Config) -> Factory {
    let config = Arc::new(config);
    let same = config.clone();
    Factory::Source {
        build: Arc::new(move |cx| Ok(Box::new(TypedSource(S::build(&config, cx)?)))),
        replayable: S::REPLAYABLE,
        identity: Arc::new(move |base| S::identity(&same, base)),
        payload: PayloadType::declared::<S::Out>(),
    }
}

/// A renamed parameter keeps its former name here, so that what was saved under the hash is still recognised.
fn fingerprint<C: schemars::JsonSchema>(params: &Value) -> u64 {
    let schema = schemars::schema_for!(C).to_value();
    let params = former_names(params.clone(), &schema);
    fnv1a(params.to_string().as_bytes())
}

/// FNV-1a, 64 bits: the same over builds and machines, which the standard library's hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    fnv1a_from(FNV_OFFSET, bytes)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv1a_from(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Hash of contents, for [`Source::identity`]: the same over builds and machines. Not secure against crafted contents.
///
/// ```
/// use std::io::Write as _;
///
/// let mut hash = heqis_actors::ContentHash::default();
/// hash.write_all(b"foobar")?;
/// assert_eq!(hash.value(), 0x8594_4171_f739_67e8);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ContentHash(u64);

impl Default for ContentHash {
    fn default() -> Self {
        Self(FNV_OFFSET)
    }
}

impl ContentHash {
    /// The hash of the bytes written so far.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

impl std::io::Write for ContentHash {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = fnv1a_from(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn port<P: Payload>() -> Option<&'static str> {
    (P::NAME != crate::payload::Nothing::NAME).then_some(P::NAME)
}

/// Stage kinds and payload decoders by name.
#[derive(Clone, Debug)]
pub struct Registry {
    kinds: BTreeMap<&'static str, StageKind>,
    payloads: BTreeMap<&'static str, PayloadType>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// A registry of the framework's own kind: the ring buffer.
    #[must_use]
    pub fn new() -> Self {
        let ring = StageKind::ring_buffer();
        Self {
            kinds: BTreeMap::from([(ring.name, ring)]),
            payloads: BTreeMap::new(),
        }
    }

    /// Adds a stage type; a later one of the same kind name replaces the earlier.
    #[must_use]
    pub fn with_stage<S: Stage>(mut self) -> Self {
        self.kinds.insert(S::KIND, StageKind::stage::<S>());
        self.with_payload::<S::In>().with_payload::<S::Out>()
    }

    /// Adds a source type.
    #[must_use]
    pub fn with_source<S: Source>(mut self) -> Self {
        self.kinds.insert(S::KIND, StageKind::source::<S>());
        self.with_payload::<S::Out>()
    }

    fn with_payload<P: Payload>(mut self) -> Self {
        self.payloads.insert(P::NAME, PayloadType::declared::<P>());
        self
    }

    /// The kind called `name`.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&StageKind> {
        self.kinds.get(name)
    }

    /// All kinds by name.
    pub fn kinds(&self) -> impl Iterator<Item = &StageKind> {
        self.kinds.values()
    }

    /// The payload type called `name`.
    #[must_use]
    pub fn payload(&self, name: &str) -> Option<PayloadType> {
        self.payloads.get(name).copied()
    }
}
