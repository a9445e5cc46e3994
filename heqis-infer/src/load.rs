//! Loading a bundle's model on one backend.

use crate::backend::{BackendKind, Unavailable, for_each_backend};
use crate::bundle::{Bundle, SelfTest};
use crate::engine::Engine;
use crate::libraries::Libraries;

macro_rules! openers {
    ($(
        #[doc = $about:literal]
        $kind:ident {
            name: $name:tt, exact: $exact:literal, build_file: $build_file:expr,
            settings: [$($setting:ident),*], open: $($open:ident)::+
        }
    )*) => {
        /// Calls the function that the catalogue names.
        fn dispatch(
            bundle: &Bundle,
            backend: BackendKind,
            libraries: &Libraries,
        ) -> Result<Box<dyn Engine>, String> {
            match backend {
                $(BackendKind::$kind => crate::$($open)::+(bundle, libraries),)*
            }
        }
    };
}
for_each_backend!(openers);

/// Loads a bundle's model on one backend and ignores both the gate and the self-test. It serves the measurements that set
/// them; a pipeline calls [`open`](crate::open()).
///
/// # Errors
///
/// [`Unavailable`] with the first step that failed.
pub fn load(
    bundle: &Bundle,
    backend: BackendKind,
    libraries: &Libraries,
) -> Result<Box<dyn Engine>, Unavailable> {
    dispatch(bundle, backend, libraries).map_err(|reason| Unavailable::new(backend, reason))
}

/// Loads a bundle's model on one backend, and checks its gate and the self-test. Every failure is a reason, since the caller
/// may have another backend to try.
pub(crate) fn load_checked(
    bundle: &Bundle,
    backend: BackendKind,
    libraries: &Libraries,
) -> Result<(Box<dyn Engine>, SelfTest), Unavailable> {
    if let Some(reason) = bundle.gate(backend) {
        if !bundle.is_forced() {
            return Err(Unavailable::new(backend, reason));
        }
        let (bundle, backend) = (bundle.manifest().name.as_str(), backend.name());
        tracing::warn!(bundle, backend, reason, "forced");
    }
    let mut engine = load(bundle, backend, libraries)?;
    let self_test = bundle
        .self_test(engine.as_mut())
        .map_err(|error| Unavailable::new(backend, error))?;
    Ok((engine, self_test))
}
