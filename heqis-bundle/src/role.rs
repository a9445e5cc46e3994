//! The roles of bundles, and the names of the values that pass between them.

use std::fmt;
use std::str::FromStr;

/// What a bundle does in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A feature model: turns a window of scaled features into factors, on the gateway.
    Factors,
    /// A direction model: turns rows of factors and scaled features into a predicted return and probabilities, on the compute
    /// node.
    Direction,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 2] = [Role::Factors, Role::Direction];

    /// Returns the word of the manifest's `task`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Factors => "factors",
            Role::Direction => "direction",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(task: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == task);
        found.ok_or_else(|| {
            let names = Role::ALL.map(Role::name);
            format!("must be {}, got {task}", names.join(" or "))
        })
    }
}

/// Returns the names of a feature model's factors: `factor_0`, `factor_1`, …
#[must_use]
pub fn factor_names(factors: usize) -> Vec<String> {
    (0..factors).map(|k| format!("factor_{k}")).collect()
}

/// Returns the names of one row that a direction model reads: the factors, then the scaled features.
#[must_use]
pub fn joined_names(factors: usize, features: &[String]) -> Vec<String> {
    let mut names = factor_names(factors);
    names.extend_from_slice(features);
    names
}
