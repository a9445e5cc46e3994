//! The files with the rows.

use std::fs;
use std::path::{Path, PathBuf};

use super::reference::Tables;
use crate::error::DataError;
use crate::import_args::InputFile;

/// The file names of tables of bars in a directory.
const PATTERNS: [&str; 6] = [
    "*.csv",
    "*.csv.gz",
    "*.txt",
    "*.txt.gz",
    "*.tsv",
    "*.parquet",
];

/// Resolves paths, directories and patterns with `*` and `?` in the file name into a sorted list without repetition. A
/// directory written by `fetch` contributes its tables of bars to the list, and its other tables to `tables` where none is
/// given.
///
/// # Errors
///
/// [`DataError::File`] when a path does not exist, and [`DataError::Rule`] when nothing matches.
pub fn resolve(given: &[PathBuf], tables: &Tables) -> Result<(Vec<InputFile>, Tables), DataError> {
    let mut files: Vec<InputFile> = Vec::new();
    let mut tables = tables.clone();
    for path in given {
        let before = files.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some((bars, others)) = Tables::fetched(path) {
            files.extend(bars.into_iter().map(|path| (path, true)));
            tables = tables.or(others);
        } else if path.is_dir() {
            for pattern in PATTERNS {
                matching(path, pattern, false, &mut files)?;
            }
        } else if !path.exists() && name.contains(['*', '?']) {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            matching(dir.unwrap_or(Path::new(".")), &name, true, &mut files)?;
        } else {
            let found = fs::metadata(path).map_err(|source| DataError::file(path, source))?;
            if !found.is_file() {
                let rule =
                    "must be a regular file, since it is read twice; a pipe or device is not";
                return Err(DataError::kind(path, rule));
            }
            files.push((path.clone(), true));
        }
        if files.len() == before {
            return Err(DataError::kind(path, "no file matches"));
        }
    }
    // A file given by its own path keeps that mark, even if a pattern matches it too.
    files.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    files.dedup_by(|b, a| a.0 == b.0);
    Ok((files, tables))
}

fn matching(
    dir: &Path,
    pattern: &str,
    by_case: bool,
    files: &mut Vec<InputFile>,
) -> Result<(), DataError> {
    let read = |source| DataError::file(dir, source);
    for entry in fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        let path = entry.path();
        let mut name = entry.file_name().to_string_lossy().into_owned();
        if !by_case {
            name.make_ascii_lowercase();
        }
        if matches(pattern.as_bytes(), name.as_bytes()) && path.is_file() {
            files.push((path, false));
        }
    }
    Ok(())
}

/// Matches a name against a pattern in which `?` is one byte and `*` any number.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skip| matches(rest, &name[skip..])),
        (Some((b'?', rest)), Some((_, name))) => matches(rest, name),
        (Some((byte, rest)), Some((first, name))) => byte == first && matches(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, name, expected) in [
            ("*.csv", "600000.SH.csv", true),
            ("6*.SH.csv", "600000.SH.csv", true),
            ("??????.SH.csv", "600000.SH.csv", true),
            ("?.csv", "600000.SH.csv", false),
            ("*.csv", "600000.SH.csv.gz", false),
            ("", "a", false),
            ("**", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn directories_and_patterns_give_a_sorted_list_without_repetition() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "notes.md"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let given = [dir.path().to_owned(), dir.path().join("?.csv")];
        let none = Tables::default();
        let (files, _) = resolve(&given, &none).unwrap();
        let found = |name: &str| (dir.path().join(name), false);
        assert_eq!(files, [found("a.csv"), found("b.csv")]);
        for wrong in ["missing.csv", "*.parquet"] {
            assert!(
                resolve(&[dir.path().join(wrong)], &none).is_err(),
                "{wrong}"
            );
        }
    }
}
