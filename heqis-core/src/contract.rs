//! What a stage requires of the frames at its input ports and provides at its output ports, beyond their type.
//!
//! Two stages that agree on the payload may still not fit: a model may have been trained on other inputs than the stage
//! in front of it sends. What follows from the parameters alone is compared before anything starts.
//!
//! ```
//! use heqis_actors::{PortSchema, Property, mismatch};
//!
//! let provided = PortSchema::from([("rows", Property::Number(1))]);
//! let required = PortSchema::from([("rows", Property::Number(16))]);
//! let found = mismatch(&provided, &required).expect("1 row is not 16");
//! assert_eq!((found.subject.as_str(), found.required.as_str()), ("rows", "16"));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Name of the port type that accepts every payload: the ring buffer's.
pub const ANY: &str = "any";

/// A property that every frame at a port has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Property {
    /// A count, such as a number of rows.
    Number(u64),
    /// A text, such as the hash of a file.
    Text(String),
    /// Names in their order, such as those of a model's inputs.
    Names(Vec<String>),
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
            Self::Names(names) => write!(f, "{names:?}"),
        }
    }
}

/// Properties by subject. A subject that only one side states is no mismatch.
pub type PortSchema = BTreeMap<&'static str, Property>;

/// The contract of a stage's ports. What it states itself holds at each port; a stage with several adds what holds at one.
///
/// ```
/// use heqis_actors::{PortContract, PortSchema, Property};
///
/// let rows = |rows| PortContract::default().require("rows", Property::Number(rows));
/// let join = PortContract::default().at("prices", rows(1)).at("orders", rows(16));
/// assert_eq!(join.required_at("orders"), PortSchema::from([("rows", Property::Number(16))]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortContract {
    /// Properties that incoming frames must have.
    pub requires: PortSchema,
    /// Properties that emitted frames have.
    pub provides: PortSchema,
    /// Subjects that pass through: emitted frames have the property of the incoming ones.
    pub passthrough: BTreeSet<&'static str>,
    /// What the properties were read from, such as a bundle. Not compared.
    pub read_from: Option<PathBuf>,
    /// Words a mismatch with a stage in front, where the properties alone say too little.
    pub explain: Option<Explain>,
    /// What holds at one port only, by the port's name. Subjects that pass through at an input port pass from it to each
    /// output; those at an output port pass to it from each input.
    pub ports: BTreeMap<&'static str, PortContract>,
}

impl PortContract {
    /// Adds what holds at the port called `port` only.
    #[must_use]
    pub fn at(mut self, port: &'static str, contract: Self) -> Self {
        self.ports.insert(port, contract);
        self
    }

    /// Properties that frames which arrive at `port` must have.
    #[must_use]
    pub fn required_at(&self, port: &str) -> PortSchema {
        let own = self.ports.get(port).map(|own| own.requires.clone());
        self.requires
            .clone()
            .into_iter()
            .chain(own.into_iter().flatten())
            .collect()
    }

    /// Properties of frames that leave by `port`.
    #[must_use]
    pub fn provided_at(&self, port: &str) -> PortSchema {
        let own = self.ports.get(port).map(|own| own.provides.clone());
        self.provides
            .clone()
            .into_iter()
            .chain(own.into_iter().flatten())
            .collect()
    }

    /// Subjects that pass through from the port `input` to the port `output`.
    #[must_use]
    pub fn passed(&self, input: &str, output: &str) -> BTreeSet<&'static str> {
        let own = [input, output]
            .into_iter()
            .filter_map(|port| self.ports.get(port));
        let own = own.flat_map(|own| own.passthrough.iter().copied());
        self.passthrough.iter().copied().chain(own).collect()
    }

    /// Adds a property that incoming frames must have.
    ///
    /// ```
    /// use heqis_actors::{PortContract, Property};
    ///
    /// let contract = PortContract::default()
    ///     .require("rows", Property::Number(3))
    ///     .provide("scaler", Property::Text("z-score".into()))
    ///     .pass("market");
    /// assert_eq!(contract.requires["rows"], Property::Number(3));
    /// ```
    #[must_use]
    pub fn require(mut self, subject: &'static str, property: Property) -> Self {
        self.requires.insert(subject, property);
        self
    }

    /// Adds a property that emitted frames have.
    #[must_use]
    pub fn provide(mut self, subject: &'static str, property: Property) -> Self {
        self.provides.insert(subject, property);
        self
    }

    /// Adds a subject that passes through.
    #[must_use]
    pub fn pass(mut self, subject: &'static str) -> Self {
        self.passthrough.insert(subject);
        self
    }

    /// Sets what the properties were read from.
    #[must_use]
    pub fn read_from(mut self, path: impl Into<PathBuf>) -> Self {
        self.read_from = Some(path.into());
        self
    }

    /// Sets how a mismatch with a stage in front is worded.
    #[must_use]
    pub fn explain(mut self, explain: Explain) -> Self {
        self.explain = Some(explain);
        self
    }
}

/// Returns a sentence on why what was read from the first path does not fit what was read from the second, if it can say.
#[derive(Clone, Copy, Debug)]
pub struct Explain(pub fn(&Path, &Path) -> Option<String>);

impl PartialEq for Explain {
    /// Two contracts differ by their properties, not by how a difference is worded.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Explain {}

/// The first property in which two ports differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// What differs, as in `rows` or `feature 3`.
    pub subject: String,
    /// What the consuming stage requires.
    pub required: String,
    /// What the producing stage provides.
    pub provided: String,
}

/// Compares what one stage provides with what the next requires.
#[must_use]
pub fn mismatch(provides: &PortSchema, requires: &PortSchema) -> Option<Mismatch> {
    requires.iter().find_map(|(&subject, required)| {
        let provided = provides.get(subject)?;
        if provided == required {
            return None;
        }
        let (subject, required, provided) = match (required, provided) {
            (Property::Names(required), Property::Names(provided)) => {
                let mut pairs = required.iter().zip(provided).enumerate();
                match pairs.find(|(_, (required, provided))| required != provided) {
                    Some((index, (required, provided))) => (
                        format!("{subject} {}", index + 1),
                        format!("`{required}`"),
                        format!("`{provided}`"),
                    ),
                    None => (
                        format!("number of {subject}s"),
                        required.len().to_string(),
                        provided.len().to_string(),
                    ),
                }
            }
            (required, provided) => (
                subject.to_owned(),
                required.to_string(),
                provided.to_string(),
            ),
        };
        Some(Mismatch {
            subject,
            required,
            provided,
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> Property {
        Property::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn found(provided: Property, required: Property) -> Option<(String, String, String)> {
        let found = mismatch(
            &PortSchema::from([("feature", provided)]),
            &PortSchema::from([("feature", required)]),
        )?;
        Some((found.subject, found.required, found.provided))
    }

    #[test]
    fn the_first_differing_name_is_reported_or_else_the_number_of_names() {
        assert_eq!(found(names(&["a", "b"]), names(&["a", "b"])), None);
        assert_eq!(
            found(names(&["a", "x", "y"]), names(&["a", "b", "c"])).unwrap(),
            ("feature 2".into(), "`b`".into(), "`x`".into())
        );
        assert_eq!(
            found(names(&["a"]), names(&["a", "b"])).unwrap(),
            ("number of features".into(), "2".into(), "1".into())
        );
    }

    #[test]
    fn single_properties_are_compared_and_an_unstated_subject_matches() {
        let text = |text: &str| Property::Text(text.to_owned());
        assert_eq!(
            found(text("1"), text("16")).unwrap(),
            ("feature".into(), "16".into(), "1".into())
        );
        let rows = PortSchema::from([("rows", Property::Number(16))]);
        assert_eq!(mismatch(&PortSchema::new(), &rows), None);
        assert_eq!(mismatch(&rows, &PortSchema::new()), None);
    }
}
