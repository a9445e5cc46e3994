//! Decisions of a finished journal, byte by byte.

use std::path::Path;

use heqis_data::journal::{JournalError, Names, Reader};
use heqis_quant::Decision;
use heqis_quant::decision::journal::{EntryId, JournalLine};

use crate::error::LabError;

/// Reads the decisions of a finished journal, all its segments as one, as the bytes between id and checksum.
///
/// # Errors
///
/// [`LabError::Data`] when the journal cannot be read, [`LabError::Quant`] naming the line that breaks its format, and
/// [`LabError::Rule`] when it was not finished, or its bytes differ from its records.
pub fn read(path: &Path) -> Result<Vec<String>, LabError> {
    let entries = entries(path)?.into_iter();
    Ok(entries.map(|(_, record)| record.text()).collect())
}

/// As [`read`], the decisions with their ids.
///
/// # Errors
///
/// Those of [`read`].
pub fn entries(path: &Path) -> Result<Vec<(EntryId, Decision)>, LabError> {
    let refuse = |error| refused(path, error);
    let names = Names::of(path);
    let mut text = Vec::new();
    for number in names.find().map_err(refuse)?.segments {
        append(&names.segment(number), &mut text)?;
    }
    append(path, &mut text)?;
    let (mut again, mut decisions) = (String::with_capacity(text.len()), Vec::new());
    let mut closed = false;
    for line in Reader::open(path).map_err(refuse)? {
        let line = line.map_err(refuse)?;
        line.write(&mut again);
        closed = matches!(line, JournalLine::Closing { .. });
        if let JournalLine::Decision(id, record) = line {
            decisions.push((id, record));
        }
    }
    if !closed {
        return Err(LabError::rule(path.display(), "is not finished"));
    }
    // The comparison is of bytes, not of values.
    match text == again.as_bytes() {
        true => Ok(decisions),
        false => Err(LabError::rule(
            path.display(),
            "differs from the form that this program writes",
        )),
    }
}

/// Removes a journal with all its segments and indexes.
///
/// # Errors
///
/// [`LabError::Data`] naming the file that cannot be removed.
pub fn remove(path: &Path) -> Result<(), LabError> {
    let files = Names::of(path)
        .files()
        .map_err(|error| refused(path, error))?;
    files.iter().try_for_each(|file| {
        std::fs::remove_file(file).map_err(|source| LabError::file(file, source))
    })
}

fn append(path: &Path, text: &mut Vec<u8>) -> Result<(), LabError> {
    text.extend(std::fs::read(path).map_err(|source| LabError::file(path, source))?);
    Ok(())
}

fn refused(path: &Path, error: JournalError) -> LabError {
    match error {
        JournalError::Io { path, source, .. } => LabError::file(&path, source),
        JournalError::Corrupt(error) => error.into(),
        other => LabError::rule(path.display(), other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOLDEN: &str = include_str!("../../../heqis-quant/tests/golden/journal.jsonl");

    #[test]
    fn decisions_are_the_bytes_of_a_finished_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, GOLDEN).unwrap();
        let decisions = read(&path).unwrap();
        assert_eq!(decisions.len(), 2);
        for decision in decisions {
            assert!(GOLDEN.contains(&decision[1..decision.len() - 1]));
        }
        let lines: Vec<&str> = GOLDEN.lines().collect();
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.ends_with("is not finished"), "{message}");
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).is_err());
    }
}
