//! What a stage demands of the frames it takes and promises of those it makes, beyond their type.
//!
//! Two stages that agree on the payload may still not fit: a model may have been made for other inputs than the stage
//! before it sends. What can be known from the parameters alone is compared before anything starts.

use std::collections::{BTreeMap, BTreeSet};

/// One thing that holds of every frame at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A single value, such as a number of rows or the hash of a file.
    Value(String),
    /// Names in their order, such as those of a model's inputs.
    Names(Vec<String>),
}

/// Facts by subject. A subject that only one side speaks of is no disagreement.
pub type Facts = BTreeMap<&'static str, Fact>;

/// What a stage says of its two ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What must hold of the frames it takes.
    pub takes: Facts,
    /// What holds of the frames it makes.
    pub makes: Facts,
    /// Subjects that go through: what holds of the frames it takes holds of those it makes.
    pub passes: BTreeSet<&'static str>,
}

/// The first thing in which two sides disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// What it is about, as in `rows` or `feature 3`.
    pub subject: String,
    /// What is taken.
    pub wanted: String,
    /// What is made.
    pub made: String,
}

/// Compares what one stage makes with what the next takes.
#[must_use]
pub fn disagreement(makes: &Facts, takes: &Facts) -> Option<Disagreement> {
    takes.iter().find_map(|(subject, wanted)| {
        let made = makes.get(subject)?;
        if made == wanted {
            return None;
        }
        let differ = |subject: String, wanted: String, made: String| {
            Some(Disagreement {
                subject,
                wanted,
                made,
            })
        };
        match (wanted, made) {
            (Fact::Names(wanted), Fact::Names(made)) => {
                let mut pairs = wanted.iter().zip(made).enumerate();
                match pairs.find(|(_, (wanted, made))| wanted != made) {
                    Some((index, (wanted, made))) => differ(
                        format!("{subject} {}", index + 1),
                        format!("`{wanted}`"),
                        format!("`{made}`"),
                    ),
                    None => differ(
                        format!("number of {subject}s"),
                        wanted.len().to_string(),
                        made.len().to_string(),
                    ),
                }
            }
            (wanted, made) => differ((*subject).to_owned(), wanted.to_string(), made.to_string()),
        }
    })
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => f.write_str(value),
            Self::Names(names) => write!(f, "{names:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> Fact {
        Fact::Names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn found(makes: Fact, takes: Fact) -> Option<(String, String, String)> {
        let found = disagreement(
            &Facts::from([("feature", makes)]),
            &Facts::from([("feature", takes)]),
        )?;
        Some((found.subject, found.wanted, found.made))
    }

    #[test]
    fn the_first_name_that_differs_is_told_and_else_how_many_there_are() {
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
    fn values_are_compared_as_they_are_and_silence_is_no_disagreement() {
        let value = |value: &str| Fact::Value(value.to_owned());
        assert_eq!(
            found(value("1"), value("16")).unwrap(),
            ("feature".into(), "16".into(), "1".into())
        );
        let rows = Facts::from([("rows", value("16"))]);
        assert_eq!(disagreement(&Facts::new(), &rows), None);
        assert_eq!(disagreement(&rows, &Facts::new()), None);
    }
}
