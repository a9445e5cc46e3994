//! A Python program that computes windows: the interface to third-party libraries.

use std::io::{BufRead, Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::LabError;
use crate::windows::Outputs;

/// Runs `script` with arguments and `input` as little-endian `f32` on its standard input. Returns the program's
/// description of itself and its outputs: for each of `lengths`, the elements of `count` windows.
///
/// # Errors
///
/// [`LabError::Rule`] with the last line of the program's standard error, or when its output has another form;
/// [`LabError::Data`] when it does not start.
pub(crate) fn compute(
    what: &str,
    python: &Path,
    script: &str,
    arguments: &[String],
    input: impl Iterator<Item = f32>,
    (lengths, count): (&[usize], usize),
) -> Result<(String, Outputs), LabError> {
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
    // The program reads all input before it writes. When it ends early, its own message is more specific than a broken
    // pipe.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(&bytes);
    }
    let output = child.wait_with_output().map_err(run)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().rev().find(|line| !line.trim().is_empty());
        return Err(fault(last.unwrap_or("ended without a message").to_owned()));
    }
    let mut reader = Cursor::new(output.stdout);
    let mut about = String::new();
    reader.read_line(&mut about).map_err(run)?;
    let about: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&about).map_err(|error| fault(error.to_string()))?;
    let about: Vec<String> = about
        .iter()
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).map_err(run)?;
    let expected = lengths.iter().sum::<usize>() * count * 4;
    if rest.len() != expected {
        return Err(fault(format!(
            "must write {expected} bytes, got {}",
            rest.len()
        )));
    }
    let mut values = rest
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes));
    let outputs = lengths
        .iter()
        .map(|length| values.by_ref().take(length * count).collect())
        .collect();
    Ok((about.join(", ").replace('"', ""), outputs))
}
