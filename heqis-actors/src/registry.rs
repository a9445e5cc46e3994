//! The one list of stage kinds that a topology may name.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::actor::{
    InputSource, RING_KIND, RingBufferConfig, SourceFactory, StageFactory, TypedSource, TypedStage,
};
use crate::channel::{InputEnd, OutputEnd};
use crate::context::BuildContext;
use crate::stage::{Config, Source, Stage};
use heqis_core::PayloadType;
use heqis_core::contained;
use heqis_core::renamed::former_names;
use heqis_core::{Inputs as _, Outputs as _};
use heqis_core::{KindDescription, Payload, Port, PortContract, StageError, Window, limits};

/// A stage kind: what the check of a graph needs to know of it, by `Deref`, and how it is described and built.
#[derive(Clone)]
pub struct StageKind {
    description: KindDescription,
    /// One line of description.
    pub about: &'static str,
    /// JSON schema of its parameters.
    pub schema: Value,
    prepare: Arc<Prepare>,
}

/// Returns the identity of a source's items; relative paths start at the directory.
type Identity = dyn Fn(&Path) -> Result<Option<u64>, StageError> + Send + Sync;

type Prepare = dyn Fn(Value, &Path) -> Result<Prepared, Vec<String>> + Send + Sync;

/// Checks parameters and returns what they say about the ports; relative paths start at the directory.
type Inspect = dyn Fn(&Path) -> Result<PortContract, Vec<String>> + Send + Sync;

impl StageKind {
    /// What the check of a graph needs to know of the kind.
    #[must_use]
    pub fn description(&self) -> KindDescription {
        self.description
    }
}

impl Deref for StageKind {
    type Target = KindDescription;

    fn deref(&self) -> &KindDescription {
        &self.description
    }
}

impl std::fmt::Debug for StageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StageKind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a stage has one worker.
const ONE_CLOSURE: &str = "it is one closure with its state";
const UNKEYED_WINDOW: &str =
    "its windows are over all frames: `Window::per_key` gives each key windows of its own";

/// A stage with its parameters; it can be built any number of times.
#[derive(Clone)]
pub struct Prepared {
    pub(crate) kind: StageKind,
    pub(crate) factory: Factory,
    /// Whether it can be built one time only, because a closure holds its state: it has one worker and no restart.
    pub(crate) once: bool,
    /// Hash of the parameters; `None` for typed ones, which have no text that could be hashed.
    pub(crate) fingerprint: Option<u64>,
    contract: PortContract,
    /// How typed parameters are checked, which nothing has done yet.
    inspect: Option<Arc<Inspect>>,
}

impl Prepared {
    pub(crate) fn stage<S: Stage>(config: S::Config) -> Self {
        let config = Arc::new(config);
        let inspected = config.clone();
        Self::typed(
            StageKind::of_stage::<S>(),
            stage_factory(move |cx| S::build(&config, cx)),
            move |base| match S::check(&inspected, base) {
                faults if faults.is_empty() => Ok(S::contract(&inspected, base)),
                faults => Err(faults),
            },
        )
    }

    /// A stage that `build` builds, without parameters.
    pub(crate) fn stage_with<S: Stage>(
        build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Self {
        Self::unchecked(StageKind::of_stage::<S>(), stage_factory(build))
    }

    /// A stage that `build` builds one time only, from a closure that holds its state.
    pub(crate) fn stage_once<S: Stage>(
        build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Self {
        let mut prepared = Self::stage_with(build);
        prepared.once = true;
        prepared.kind.description.one_worker = Some(ONE_CLOSURE);
        prepared
    }

    /// The stage of `window` that `build` builds.
    pub(crate) fn window<S: Stage>(
        window: Window,
        build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Self {
        let mut kind = StageKind::of_stage::<S>();
        if !window.is_per_key() {
            kind.description.one_worker = Some(UNKEYED_WINDOW);
        }
        Self::typed(kind, stage_factory(build), move |_| {
            let checked = window.check().map(|()| PortContract::default());
            checked.map_err(|error| vec![error.to_string()])
        })
    }

    pub(crate) fn source<S: Source>(config: S::Config) -> Self {
        let config = Arc::new(config);
        let (identified, inspected) = (config.clone(), config.clone());
        Self::typed(
            StageKind::of_source::<S>(),
            Factory::Source {
                build: Arc::new(move |cx| Ok(Box::new(TypedSource::new(S::build(&config, cx)?)))),
                identity: Arc::new(move |base| contained(|| S::identity(&identified, base))),
                input: None,
            },
            move |base| match S::check(&inspected, base) {
                faults if faults.is_empty() => Ok(PortContract::default()),
                faults => Err(faults),
            },
        )
    }

    /// A source that `build` builds, without parameters.
    pub(crate) fn source_with<S: Source>(
        build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
    ) -> Self {
        let factory = Factory::Source {
            build: Arc::new(move |cx| Ok(Box::new(TypedSource::new(build(cx)?)))),
            identity: Arc::new(|_| Ok(None)),
            input: None,
        };
        Self::unchecked(StageKind::of_source::<S>(), factory)
    }

    /// The source of a channel.
    pub(crate) fn input<P: Payload>(end: Arc<InputEnd>) -> Self {
        let mut kind = StageKind::in_code("input", "Takes what a program sends.");
        kind.description.outputs = Port::only::<P>();
        let (capacity, max_age) = (end.options.capacity, end.options.max_age);
        let factory = Factory::Source {
            input: Some(end.clone()),
            build: Arc::new(move |_| Ok(Box::new(InputSource::<P>::new(&end)?))),
            identity: Arc::new(|_| Ok(None)),
        };
        Self::typed(kind, factory, move |_| {
            let age = max_age.is_some_and(|max_age| max_age.is_zero());
            let age = age.then(|| "max_age must be longer than nothing".to_owned());
            let faults: Vec<_> = within_capacity(capacity)
                .err()
                .into_iter()
                .chain(age)
                .collect();
            match faults.is_empty() {
                true => Ok(PortContract::default()),
                false => Err(faults),
            }
        })
    }

    /// A way out to the program.
    pub(crate) fn output<P: Payload>(end: Arc<OutputEnd>) -> Self {
        let mut kind = StageKind::in_code("output", "Gives frames to a program.");
        kind.description.inputs = Port::only::<P>();
        kind.description.one_worker = Some("the end of a channel has one worker");
        Self::unchecked(kind, Factory::Output(end))
    }

    pub(crate) fn ring_buffer(config: RingBufferConfig) -> Self {
        let inspect = move |_: &Path| {
            let checked = within_capacity(config.capacity).map(|()| PortContract::default());
            checked.map_err(|fault| vec![fault])
        };
        Self::typed(StageKind::ring_buffer(), Factory::Ring(config), inspect)
    }

    fn typed(
        kind: StageKind,
        factory: Factory,
        inspect: impl Fn(&Path) -> Result<PortContract, Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inspect: Some(Arc::new(inspect)),
            ..Self::unchecked(kind, factory)
        }
    }

    /// A stage of code alone, which has nothing that could be checked.
    fn unchecked(kind: StageKind, factory: Factory) -> Self {
        Self {
            kind,
            factory,
            once: false,
            fingerprint: None,
            contract: PortContract::default(),
            inspect: None,
        }
    }

    /// Sets what a file says about typed parameters: their hash, and that they are checked.
    fn checked(mut self, fingerprint: u64, base: &Path) -> Result<Self, Vec<String>> {
        self.contract = self.inspect(base)?;
        self.inspect = None;
        self.fingerprint = Some(fingerprint);
        Ok(self)
    }

    /// The contract of the stage's ports; of parameters that were not checked yet, these are checked.
    pub(crate) fn inspect(&self, base: &Path) -> Result<PortContract, Vec<String>> {
        let Some(inspect) = &self.inspect else {
            return Ok(self.contract.clone());
        };
        contained(|| Ok(inspect(base))).unwrap_or_else(|panic| Err(vec![panic.to_string()]))
    }

    /// The contract of the stage's ports.
    #[must_use]
    pub fn contract(&self) -> &PortContract {
        &self.contract
    }
}

fn within_capacity(frames: usize) -> Result<(), String> {
    let (low, high) = (limits::CAPACITY.start(), limits::CAPACITY.end());
    match limits::CAPACITY.contains(&frames) {
        true => Ok(()),
        false => Err(format!(
            "capacity must lie between {low} and {high}, not {frames}"
        )),
    }
}

#[derive(Clone)]
pub(crate) enum Factory {
    Source {
        build: SourceFactory,
        identity: Arc<Identity>,
        /// The channel that the source empties.
        input: Option<Arc<InputEnd>>,
    },
    Stage(StageFactory),
    Ring(RingBufferConfig),
    /// A way out to the program.
    Output(Arc<OutputEnd>),
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({})", self.kind.name)
    }
}

impl StageKind {
    /// Describes a stage type.
    #[must_use]
    pub fn stage<S: Stage>() -> Self
    where
        S::Config: Config,
    {
        const { assert!(!S::KIND.is_empty(), "a topology names a stage by its KIND") };
        Self {
            schema: schemars::schema_for!(S::Config).to_value(),
            prepare: Arc::new(|params, base| {
                let (config, fingerprint) = read(params)?;
                Prepared::stage::<S>(config).checked(fingerprint, base)
            }),
            ..Self::of_stage::<S>()
        }
    }

    /// Describes a source type.
    #[must_use]
    pub fn source<S: Source>() -> Self
    where
        S::Config: Config,
    {
        const { assert!(!S::KIND.is_empty(), "a topology names a source by its KIND") };
        Self {
            schema: schemars::schema_for!(S::Config).to_value(),
            prepare: Arc::new(|params, base| {
                let (config, fingerprint) = read(params)?;
                Prepared::source::<S>(config).checked(fingerprint, base)
            }),
            ..Self::of_source::<S>()
        }
    }

    /// Describes a stage type, whose parameters no file may name.
    fn of_stage<S: Stage>() -> Self {
        let mut kind = Self::in_code(named::<S>(S::KIND), S::ABOUT);
        let of = &mut kind.description;
        (of.inputs, of.outputs) = (S::In::PORTS, S::Out::PORTS);
        of.routes = S::ROUTES;
        of.blocking = S::BLOCKING;
        of.commit_log = S::COMMIT_LOG;
        of.output_optional = S::OUTPUT_OPTIONAL;
        kind
    }

    /// Describes a source type, whose parameters no file may name.
    fn of_source<S: Source>() -> Self {
        let mut kind = Self::in_code(named::<S>(S::KIND), S::ABOUT);
        let of = &mut kind.description;
        of.outputs = Port::only::<S::Out>();
        of.replayable = S::REPLAYABLE;
        of.identity_optional = S::IDENTITY_OPTIONAL;
        kind
    }

    /// States that what the stage holds cannot be saved.
    pub(crate) fn leave_unsaved(&mut self, unsaved: bool) {
        let why = "what it holds has no form that could be written";
        self.description.unsaved = unsaved.then_some(why);
    }

    /// A kind without ports, that only code can add to a graph.
    fn in_code(name: &'static str, about: &'static str) -> Self {
        Self {
            description: KindDescription::new(name),
            about,
            schema: Value::Null,
            prepare: Arc::new(move |_, _| {
                Err(vec![format!("'{name}' has no parameters in a file")])
            }),
        }
    }

    /// Describes the ring buffer, which takes any payload.
    #[must_use]
    pub fn ring_buffer() -> Self {
        let about = "Keeps frames between two stages while the next one is slow or disconnected, by a policy of its own.";
        let mut kind = Self::in_code(RING_KIND, about);
        let of = &mut kind.description;
        (of.inputs, of.outputs) = (&[Port::ANY], &[Port::ANY]);
        of.replayable = true;
        kind.schema = schemars::schema_for!(RingBufferConfig).to_value();
        kind.prepare = Arc::new(|params, base| {
            let (config, fingerprint) = read(params)?;
            Prepared::ring_buffer(config).checked(fingerprint, base)
        });
        kind
    }

    /// Reads and checks parameters; relative paths in them start at `base`.
    ///
    /// # Errors
    /// Every fault found, one sentence each.
    pub fn prepare(&self, params: Value, base: &Path) -> Result<Prepared, Vec<String>> {
        (self.prepare)(params, base)
    }
}

/// The kind's name, or that of its type where it has none.
fn named<S>(kind: &'static str) -> &'static str {
    if kind.is_empty() {
        std::any::type_name::<S>()
    } else {
        kind
    }
}

fn stage_factory<S: Stage>(
    build: impl Fn(&BuildContext) -> Result<S, StageError> + Send + Sync + 'static,
) -> Factory {
    Factory::Stage(Arc::new(move |cx| {
        Ok(Box::new(TypedStage::new(build(cx)?)))
    }))
}

/// Reads parameters, and hashes them as they are written.
fn read<C: DeserializeOwned + JsonSchema>(params: Value) -> Result<(C, u64), Vec<String>> {
    let fingerprint = fingerprint::<C>(&params);
    let config = serde_json::from_value(params).map_err(|error| vec![error.to_string()])?;
    Ok((config, fingerprint))
}

/// A renamed parameter keeps its former name here, so that what was saved under the hash is still recognised.
fn fingerprint<C: JsonSchema>(params: &Value) -> u64 {
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
    pub fn with_stage<S: Stage>(mut self) -> Self
    where
        S::Config: Config,
    {
        self.kinds.insert(S::KIND, StageKind::stage::<S>());
        self.with_payloads(S::In::payload_types())
            .with_payloads(S::Out::payload_types())
    }

    /// Adds a source type.
    #[must_use]
    pub fn with_source<S: Source>(mut self) -> Self
    where
        S::Config: Config,
    {
        self.kinds.insert(S::KIND, StageKind::source::<S>());
        self.with_payloads(vec![PayloadType::declared::<S::Out>()])
    }

    fn with_payloads(mut self, payloads: Vec<PayloadType>) -> Self {
        (self.payloads).extend(
            payloads
                .into_iter()
                .map(|payload| (payload.name(), payload)),
        );
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
