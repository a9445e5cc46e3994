//! What a command answers.

/// The lines of a command for standard output, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The lines to show.
    pub lines: Vec<String>,
    /// Whether nothing was found that must be put right; otherwise the exit code is 1.
    pub good: bool,
}

impl From<Vec<String>> for Answer {
    fn from(lines: Vec<String>) -> Self {
        Self { lines, good: true }
    }
}
