//! A Python program that computes windows: the border to what other people wrote.

use std::io::{BufRead, Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::LabError;
use crate::windows::Answers;

/// Runs `script` with arguments, gives it `input` as little-endian `f32` on its standard input, and returns what it says of
/// itself and its answers: for each of `lengths`, the elements of `count` windows.
///
/// # Errors
///
/// [`LabError::Rule`] with the program's own last words, or when it answers something else; [`LabError::Data`] when it
/// does not start.
pub(crate) fn compute(
    what: &str,
    python: &Path,
    script: &str,
    arguments: &[String],
    input: impl Iterator<Item = f32>,
    (lengths, count): (&[usize], usize),
) -> Result<(String, Answers), LabError> {
    let fault = |rule: String| LabError::rule("verify", format!("{what}: {rule}"));
    let run = |error: std::io::Error| LabError::file(python, error);
    let mut child = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(run)?;
    let bytes: Vec<u8> = input.flat_map(f32::to_le_bytes).collect();
    // The program reads everything before it writes anything. When it ends early, its own words say more than a broken
    // pipe.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(&bytes);
    }
    let output = child.wait_with_output().map_err(run)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rev().find(|line| !line.trim().is_empty());
        return Err(fault(last.unwrap_or("ended without a word").to_owned()));
    }
    let mut answer = Cursor::new(output.stdout);
    let mut about = String::new();
    answer.read_line(&mut about).map_err(run)?;
    let about: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&about).map_err(|error| fault(error.to_string()))?;
    let about: Vec<String> = about
        .iter()
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    let mut rest = Vec::new();
    answer.read_to_end(&mut rest).map_err(run)?;
    let expected = lengths.iter().sum::<usize>() * count * 4;
    if rest.len() != expected {
        return Err(fault(format!(
            "must answer {expected} bytes, got {}",
            rest.len()
        )));
    }
    let mut values = rest
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes));
    let answers = lengths
        .iter()
        .map(|length| values.by_ref().take(length * count).collect())
        .collect();
    Ok((about.join(", ").replace('"', ""), answers))
}
