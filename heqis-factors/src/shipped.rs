//! Sets that come with this crate, as texts.

/// A shipped set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShippedSet {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its definitions, over [`Columns::bars`](crate::Columns::bars).
    pub text: &'static str,
}

/// Every shipped set.
///
/// ```
/// use heqis_factors::{Columns, FactorSet, shipped};
///
/// let sets = shipped::SETS.map(|set| Ok((set.name, FactorSet::parse(set.text, &Columns::bars())?.len())));
/// let sets = sets.into_iter().collect::<Result<Vec<_>, heqis_factors::FactorError>>()?;
/// assert_eq!(sets, [("alpha158", 158), ("alpha101", 41), ("twelve", 12)]);
/// # Ok::<(), heqis_factors::FactorError>(())
/// ```
pub const SETS: [ShippedSet; 3] = [
    ShippedSet {
        name: "alpha158",
        about: "158 factors of prices and volume, as Qlib defines them",
        text: include_str!("../sets/alpha158.txt"),
    },
    ShippedSet {
        name: "alpha101",
        about: "41 of the 101 formulaic alphas, with ranks across the day",
        text: include_str!("../sets/alpha101.txt"),
    },
    ShippedSet {
        name: "twelve",
        about: "the standard features of heqis-quant as expressions",
        text: include_str!("../sets/twelve.txt"),
    },
];

/// Returns the shipped set of a name.
#[must_use]
pub fn find(name: &str) -> Option<ShippedSet> {
    SETS.into_iter().find(|set| set.name == name)
}
