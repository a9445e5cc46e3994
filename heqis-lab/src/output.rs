//! The output of a command.

/// A command's lines for standard output, and its success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// The lines to print.
    pub lines: Vec<String>,
    /// Whether the command found no fault; otherwise the exit code is 1.
    pub good: bool,
}

impl From<Vec<String>> for CommandOutput {
    fn from(lines: Vec<String>) -> Self {
        Self { lines, good: true }
    }
}
