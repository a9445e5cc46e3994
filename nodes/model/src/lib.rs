//! A bundle's model at work in a stage of either node.
//!
//! ```text
//! parameters ▸ Wanted ▸ StageModel::open ▸ run, run, … ▸ outputs ▸ judge
//!                           ▼                ▼
//!                  notes `bundle`, `backend`, `skipped.BACKEND`; counters `fallback`, `forced`, `state_kept`
//! ```
//!
//! [`StageModel`] opens the bundle on the backend that the parameters ask for and says in the node's report which one it
//! is, and why not another. When a backend is lost in mid-run, the next has computed the same rows by the time
//! [`StageModel::run`] returns, and the report says so. What a run gave may be of no use ([`Judge`]): the stage says so of
//! each row, and when that happens too often, the backend counts as lost.
//!
//! Not here: what a bundle must be to be of use to a stage, and what its outputs mean; each stage knows that.

mod judge;

use std::path::Path;

use heqis_actors::{BuildContext, Counter, StageCounters, StageError};
use heqis_infer::{
    BackendKind, Bundle, Libraries, Memory, Opened, Prefer, Stream, TensorView, choose_with,
};

use judge::Verdicts;
pub use judge::{Judge, MAX_WINDOW, OnInvalid};

/// Which bundle a stage runs, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Directory of the bundle.
    pub bundle: &'a Path,
    /// Backends in order of preference.
    pub backends: &'a [BackendKind],
    /// Whether the first backend must work.
    pub strict: bool,
    /// Whether a backend may be used that failed its gate.
    pub force: bool,
    /// Which of the backends that work is used.
    pub prefer: Prefer,
    /// When the model counts as broken.
    pub judge: Judge,
}

impl Wanted<'_> {
    /// Returns what is wrong with the parameters, for a stage's check: with the bundle, as it is in itself and as `fit`
    /// judges it, and with the list of backends.
    pub fn faults<T>(
        &self,
        base: &Path,
        fit: impl FnOnce(&Bundle) -> Result<T, String>,
    ) -> Vec<String> {
        let bundle = Bundle::load(base.join(self.bundle))
            .map_err(|error| error.to_string())
            .and_then(|bundle| fit(&bundle))
            .err();
        let backends = self
            .backends
            .is_empty()
            .then(|| "backends is empty, it must name at least one".to_owned());
        bundle
            .into_iter()
            .chain(backends)
            .chain(self.judge.faults())
            .collect()
    }
}

/// A model that computes for one stage.
#[derive(Debug)]
pub struct StageModel {
    stream: Stream,
    /// Backends that were lost in mid-run and are counted.
    lost: usize,
    verdicts: Verdicts,
    state_kept: Counter,
    stage: String,
    fallback: Counter,
    counters: StageCounters,
}

impl StageModel {
    /// Opens a bundle's model with the vendors' libraries that the environment names, and gives it to the stage with what
    /// `fit` makes of the bundle.
    ///
    /// # Errors
    ///
    /// [`StageError::Config`] when the bundle cannot be loaded, does not fit, or when no backend works.
    pub fn open<T>(
        wanted: &Wanted<'_>,
        cx: &BuildContext,
        fit: impl FnOnce(&Bundle) -> Result<T, String>,
    ) -> Result<(Self, Bundle, T), StageError> {
        Self::open_with(wanted, cx, Libraries::from_env(), fit)
    }

    /// Opens as [`StageModel::open`] does, with these libraries. What takes minutes is broken off when the graph stops.
    ///
    /// # Errors
    ///
    /// As [`StageModel::open`].
    pub fn open_with<T>(
        wanted: &Wanted<'_>,
        cx: &BuildContext,
        libraries: Libraries,
        fit: impl FnOnce(&Bundle) -> Result<T, String>,
    ) -> Result<(Self, Bundle, T), StageError> {
        let mut bundle = Bundle::load(cx.path(wanted.bundle)).map_err(StageError::config)?;
        if wanted.force {
            bundle = bundle.force();
        }
        let fitted = fit(&bundle).map_err(StageError::Config)?;
        let libraries = Libraries {
            stop: cx.stopping(),
            ..libraries
        };
        let (opened, _) = choose_with(
            &bundle,
            wanted.backends,
            wanted.strict,
            wanted.prefer,
            &libraries,
        )
        .map_err(StageError::config)?;
        let Opened {
            engine,
            fallbacks,
            forced,
            ..
        } = opened;
        let fallback = cx.counter("fallback");
        fallback.add(fallbacks.len() as u64);
        cx.counter("forced").add(u64::from(forced));
        cx.note("bundle").set(bundle.manifest().name.as_str());
        cx.note("backend").set(engine.backend().name());
        for skipped in &fallbacks {
            let note = cx.note(&format!("skipped.{}", skipped.backend));
            note.set(skipped.reason.as_str());
        }
        let model = Self {
            stream: Stream::new(&bundle, engine),
            lost: 0,
            verdicts: Verdicts::new(wanted.judge),
            state_kept: cx.counter("state_kept"),
            stage: cx.stage().to_owned(),
            fallback,
            counters: cx.counters().clone(),
        };
        Ok((model, bundle, fitted))
    }

    /// Computes rows from the state in `memory`, as [`Stream::tick`] does.
    ///
    /// # Errors
    ///
    /// [`StageError::Unavailable`] when the last backend is lost, so that no frame is to blame, else
    /// [`StageError::Failed`].
    pub fn run(
        &mut self,
        memory: &mut Memory,
        inputs: &[TensorView<'_>],
    ) -> Result<(), StageError> {
        let kept = self.stream.kept_states();
        let computed = self.stream.tick(memory, inputs);
        self.state_kept.add(self.stream.kept_states() - kept);
        self.note_lost();
        computed.map_err(|error| match error.is_of_the_backend() {
            true => StageError::unavailable(error),
            false => StageError::failed(error),
        })
    }

    /// Takes note, in order, of whether the rows that the model computed in one run are of use. When too many of the last
    /// ones are not, the next backend takes over, or the node has to end, as [`Judge::then`] says.
    ///
    /// # Errors
    ///
    /// [`StageError::Config`] when the model counts as broken and no backend is left, or none is to be tried.
    pub fn judge(&mut self, are_valid: impl IntoIterator<Item = bool>) -> Result<(), StageError> {
        // What is left of the run says nothing of the next backend.
        let said = are_valid
            .into_iter()
            .find_map(|is_valid| self.verdicts.take(is_valid));
        let Some(share) = said else {
            return Ok(());
        };
        let backend = self.stream.engine().backend();
        let reason = format!("the model is broken: {share}");
        match self.verdicts.judge.then {
            OnInvalid::Stop => Err(StageError::config(format!("backend {backend}: {reason}"))),
            OnInvalid::FallBack => {
                let replaced = self.stream.give_up(&reason);
                self.note_lost();
                replaced.map_err(StageError::config)
            }
        }
    }

    /// Returns what the last run gave in the `index`th of the outputs that are no state.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        self.stream.output(index)
    }

    /// Counts and reports backends that were lost since the last call.
    fn note_lost(&mut self) {
        let engine = self.stream.engine();
        let lost = engine.lost();
        for unavailable in &lost[self.lost..] {
            self.fallback.inc();
            let (stage, now) = (&self.stage, engine.backend());
            tracing::error!(%stage, %unavailable, %now, "backend lost in mid-run");
            let skipped = format!("skipped.{}", unavailable.backend);
            self.counters
                .note(&skipped)
                .set(unavailable.reason.as_str());
            self.counters.note("backend").set(now.name());
        }
        self.lost = lost.len();
    }
}
