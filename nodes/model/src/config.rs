//! The parameters that every stage with a model has.

use crate::validity::ValidityPolicy;

/// Returns the default of the parameter `max_invalid_share`.
#[must_use]
pub fn default_max_invalid_share() -> f64 {
    ValidityPolicy::default().max_share
}

/// Returns the default of the parameter `invalid_window`.
#[must_use]
pub fn default_invalid_window() -> usize {
    ValidityPolicy::default().window
}

/// Declares the parameters of a stage that runs a model: its own fields, then those that all such stages share. A struct of
/// its own for the shared ones, flattened, would accept unknown keys.
///
/// `backends` is the default list. The struct gets a method `request` that returns the [`ModelRequest`](crate::ModelRequest).
#[macro_export]
macro_rules! model_config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$own_meta:meta])* pub $own:ident: $type:ty,)*
        }
        backends: $backends:expr
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$own_meta])* pub $own: $type,)*
            /// Backends in order of preference; the first that works is used, and the log says which and why.
            #[serde(default = "default_backends")]
            pub backends: Vec<heqis_infer::BackendKind>,
            /// Whether the first backend must work.
            #[serde(default)]
            pub strict: bool,
            /// Whether a backend may be used that failed its gate when the bundle was verified.
            #[serde(default)]
            pub force: bool,
            /// Which of the working backends is used: the first, or the one that a start-up test on the bundle's golden windows
            /// finds fastest. With `strict`, "fastest" requires that all of them work.
            #[serde(default)]
            pub prefer: heqis_infer::BackendPolicy,
            /// Largest share of the last `invalid_window` results that may be invalid (values that are not finite, or
            /// probabilities that do not sum to one), 0 to 1. Above it the backend counts as failed.
            #[serde(default = "heqis_model::default_max_invalid_share")]
            #[schemars(range(min = 0.0, max = 1.0))]
            pub max_invalid_share: f64,
            /// Number of results that the share is taken of; with fewer results the backend never counts as failed.
            #[serde(default = "heqis_model::default_invalid_window")]
            #[schemars(range(min = 1, max = $crate::MAX_WINDOW))]
            pub invalid_window: usize,
            /// The action above that share: "fall-back", the next of `backends` takes over and without one the node ends, or
            /// "stop", the node ends.
            #[serde(default)]
            pub on_invalid: $crate::OnInvalid,
        }

        fn default_backends() -> Vec<heqis_infer::BackendKind> {
            $backends.to_vec()
        }

        impl $name {
            fn request(&self) -> $crate::ModelRequest<'_> {
                $crate::ModelRequest {
                    bundle: &self.bundle,
                    backends: &self.backends,
                    strict: self.strict,
                    force: self.force,
                    policy: self.prefer,
                    validity: $crate::ValidityPolicy {
                        max_share: self.max_invalid_share,
                        window: self.invalid_window,
                        on_invalid: self.on_invalid,
                    },
                }
            }
        }
    };
}
