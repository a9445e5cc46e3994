//! Decisions of a finished journal, byte by byte.

use std::path::Path;

use heqis_quant::decision::journal::{Contents, Line};

use crate::error::LabError;

/// Reads the decisions of a finished journal, as the bytes that stand between place and checksum.
///
/// # Errors
///
/// [`LabError::File`] when the journal cannot be read, [`LabError::Quant`] naming the line that breaks its format, and
/// [`LabError::DataSet`] when it was not finished, or has other bytes than the records that were read from it.
pub fn read(path: &Path) -> Result<Vec<String>, LabError> {
    let text = std::fs::read(path).map_err(|source| LabError::file(path, source))?;
    let contents = Contents::parse(&text, &path.display().to_string())?;
    if !contents.closed {
        return Err(LabError::data_set(path, "is not finished".into()));
    }
    let mut again = String::with_capacity(text.len());
    let mut decisions = Vec::with_capacity(contents.records.len());
    Line::Header.write(&mut again);
    for (place, record) in contents.records {
        Line::Decision(place, record).write(&mut again);
        decisions.push(record.text());
    }
    Line::Closing {
        decisions: decisions.len() as u64,
    }
    .write(&mut again);
    // What is compared are bytes, not what they mean.
    match text == again.as_bytes() {
        true => Ok(decisions),
        false => Err(LabError::data_set(
            path,
            "is not written as this program writes it".into(),
        )),
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
        std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.ends_with("is not finished"), "{told}");
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).is_err());
    }
}
