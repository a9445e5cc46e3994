//! A bundle's model in a stage.
//!
//! ```text
//! parameters ▸ ModelRequest ▸ StageModel::open ▸ run, run, … ▸ outputs ▸ record_validity
//!                                  ▼                ▼
//!                  notes `bundle`, `backend`, `skipped.BACKEND`, `failed.BACKEND`; counters `fallback`, `forced`, `state_kept`
//! ```
//!
//! [`StageModel`] opens the bundle on the backend that the parameters request, and reports in the node's notes which backend
//! it is and why the earlier ones of the list are unavailable. When a backend fails while it computes, the next one has
//! computed the same rows by the time [`StageModel::run`] returns, and the notes say so. Results may be invalid: the stage
//! records the validity of each row, and when too many are invalid ([`ValidityPolicy`]), the backend counts as failed.
//!
//! Not here: what a bundle must be (`heqis-bundle`), and what a stage does with the outputs.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod config;
mod validity;

use std::path::Path;

use heqis_actors::{BuildContext, Counter, StageCounters, StageError};
use heqis_bundle::{BundleError, Layout, Loaded};
use heqis_infer::{
    BackendKind, BackendPolicy, Libraries, ModelState, Opened, StatefulModel, TensorView,
    select_with,
};

pub use config::{default_invalid_window, default_max_invalid_share};
use validity::ValidityWindow;
pub use validity::{MAX_WINDOW, OnInvalid, ValidityPolicy};

/// Which bundle a stage runs, and on which backend.
#[derive(Clone, Copy, Debug)]
pub struct ModelRequest<'a> {
    /// Directory of the bundle.
    pub bundle: &'a Path,
    /// Backends in order of preference.
    pub backends: &'a [BackendKind],
    /// Whether the first backend must work.
    pub strict: bool,
    /// Whether a backend may be used that failed its gate.
    pub force: bool,
    /// Which of the working backends is used.
    pub policy: BackendPolicy,
    /// When the model counts as broken.
    pub validity: ValidityPolicy,
}

impl ModelRequest<'_> {
    /// Loads the bundle, which must have the layout of the stage.
    ///
    /// # Errors
    ///
    /// [`BundleError`] with the first rule that the bundle breaks.
    pub fn load<L: Layout>(&self, base: &Path) -> Result<Loaded<L>, BundleError> {
        heqis_bundle::load(base.join(self.bundle))
    }

    /// Returns the faults of the parameters, for a stage's check: of the bundle, which must have the layout of the stage and
    /// pass `further`, and of the list of backends.
    pub fn faults<L: Layout>(
        &self,
        base: &Path,
        further: impl FnOnce(&L) -> Result<(), String>,
    ) -> Vec<String> {
        let bundle = self
            .load(base)
            .map_err(|error| error.to_string())
            .and_then(|loaded| further(&loaded.layout))
            .err();
        let backends = self
            .backends
            .is_empty()
            .then(|| "backends is empty, it must name at least one".to_owned());
        bundle
            .into_iter()
            .chain(backends)
            .chain(self.validity.faults())
            .collect()
    }
}

/// A model that computes for one stage.
#[derive(Debug)]
pub struct StageModel {
    model: StatefulModel,
    /// Number of failed backends that are counted.
    failed_over: usize,
    validity: ValidityWindow,
    state_kept: Counter,
    stage: String,
    fallback: Counter,
    counters: StageCounters,
}

impl StageModel {
    /// Opens a bundle's model with the vendors' libraries that the environment names, and returns it with the bundle.
    ///
    /// # Errors
    ///
    /// [`StageError::Config`] when the bundle breaks a rule of its layout, or when no backend works.
    pub fn open<L: Layout>(
        request: &ModelRequest<'_>,
        cx: &BuildContext,
    ) -> Result<(Self, Loaded<L>), StageError> {
        Self::open_with(request, cx, Libraries::from_env())
    }

    /// Opens as [`StageModel::open`] does, with these libraries. Work that takes minutes is cancelled when the graph stops.
    ///
    /// # Errors
    ///
    /// As [`StageModel::open`].
    pub fn open_with<L: Layout>(
        request: &ModelRequest<'_>,
        cx: &BuildContext,
        libraries: Libraries,
    ) -> Result<(Self, Loaded<L>), StageError> {
        let loaded = heqis_bundle::load(cx.path(request.bundle)).map_err(StageError::config)?;
        let Loaded { mut bundle, layout } = loaded;
        if request.force {
            bundle = bundle.force();
        }
        let (opened, _) = select_with(
            &bundle,
            request.backends,
            request.strict,
            request.policy,
            &libraries.with_stop(cx.stopping()),
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
            model: StatefulModel::new(&bundle, engine),
            failed_over: 0,
            validity: ValidityWindow::new(request.validity),
            state_kept: cx.counter("state_kept"),
            stage: cx.stage().to_owned(),
            fallback,
            counters: cx.counters().clone(),
        };
        Ok((model, Loaded { bundle, layout }))
    }

    /// Computes rows from `state`, as [`StatefulModel::step`] does.
    ///
    /// # Errors
    ///
    /// [`StageError::Unavailable`] when the last backend fails, so that the frame is not to blame, else
    /// [`StageError::Failed`].
    pub fn run(
        &mut self,
        state: &mut ModelState,
        inputs: &[TensorView<'_>],
    ) -> Result<(), StageError> {
        let kept = self.model.kept_states();
        let computed = self.model.step(state, inputs);
        self.state_kept.add(self.model.kept_states() - kept);
        self.report_failed_over();
        computed.map_err(|error| match error.is_of_the_backend() {
            true => StageError::unavailable(error),
            false => StageError::failed(error),
        })
    }

    /// Records, in order, whether the rows of one run are valid. When too many of the last ones are not, the next backend
    /// takes over, or the node has to end, as [`ValidityPolicy::on_invalid`] says.
    ///
    /// # Errors
    ///
    /// [`StageError::Config`] when the model counts as broken and no backend is left, or the policy is to stop.
    pub fn record_validity(
        &mut self,
        are_valid: impl IntoIterator<Item = bool>,
    ) -> Result<(), StageError> {
        // The rest of the run came from the backend that is replaced, and is not recorded for the next one.
        let broken = are_valid
            .into_iter()
            .find_map(|is_valid| self.validity.record(is_valid));
        let Some(share) = broken else {
            return Ok(());
        };
        let backend = self.model.engine().backend();
        let reason = format!("the model is broken: {share}");
        match self.validity.policy.on_invalid {
            OnInvalid::Stop => Err(StageError::config(format!("backend {backend}: {reason}"))),
            OnInvalid::FallBack => {
                let replaced = self.model.fail_over(&reason);
                self.report_failed_over();
                replaced.map_err(StageError::config)
            }
        }
    }

    /// Returns the `index`th of the outputs that are no state, from the last run.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        self.model.output(index)
    }

    /// Counts and reports the backends that failed since the last call.
    fn report_failed_over(&mut self) {
        let engine = self.model.engine();
        let failed = engine.failed_over();
        for unavailable in &failed[self.failed_over..] {
            self.fallback.inc();
            let (stage, now) = (&self.stage, engine.backend());
            tracing::error!(%stage, %unavailable, %now, "backend failed over");
            // A backend that computed and failed is a fault on any machine; one that a laptop lacks from the start is not.
            for state in ["skipped", "failed"] {
                let note = self
                    .counters
                    .note(&format!("{state}.{}", unavailable.backend));
                note.set(unavailable.reason.as_str());
            }
            self.counters.note("backend").set(now.name());
        }
        self.failed_over = failed.len();
    }
}
