//! Setting a journal aside under the name of a run, so that a new one can begin. Nothing is removed.
//!
//! The active segment gets its new name first: from then on the journal is a run, and a start that finds segments of it
//! under their old names moves them. The newest finished segment is moved last, which is how such a start is recognised.

use std::fs::File;
use std::path::PathBuf;

use heqis_data::journal::{JournalError, Names, check, reader};

use super::files::{move_new, sync_dir};

/// Renames all files of a journal; returns the names that they have now.
pub(super) fn set_aside(names: &Names) -> Result<Names, JournalError> {
    let run = names.run(names.last_run()? + 1);
    for (from, to) in moves(names, &run)? {
        move_new(&from, &to)?;
    }
    sync_dir(names.dir())?;
    Ok(run)
}

/// The renames, in order.
pub(super) fn moves(names: &Names, run: &Names) -> Result<Vec<(PathBuf, PathBuf)>, JournalError> {
    let found = names.find()?;
    let mut moves = vec![
        (names.active().to_owned(), run.active().to_owned()),
        (names.timings(), run.timings()),
    ];
    moves.extend(
        found
            .indexes
            .iter()
            .map(|&n| (names.index(n), run.index(n))),
    );
    moves.extend(
        found
            .segments
            .iter()
            .map(|&n| (names.segment(n), run.segment(n))),
    );
    moves.retain(|(from, _)| from.exists());
    Ok(moves)
}

/// Moves what a start left that was killed while it set a journal aside. `active` is the active segment of now.
pub(super) fn finish(names: &Names, active: &File) -> Result<(), JournalError> {
    let meta = active
        .metadata()
        .map_err(JournalError::io(names.active(), "open"))?;
    // A new journal is begun only when all files of the old one are away.
    if meta.len() > 0 {
        return Ok(());
    }
    let run = names.run(names.last_run()?);
    if !run.active().is_file() {
        return Ok(());
    }
    let Some(header) = reader::header(run.active(), false)? else {
        return Ok(());
    };
    let Some(last) = header.segment.checked_sub(1).filter(|&last| last > 0) else {
        return Ok(());
    };
    if names.find()?.segments.last() != Some(&last) || run.segment(last).exists() {
        return Ok(());
    }
    let index = [names, &run]
        .iter()
        .find_map(|names| check::index(names, last).ok());
    if index.is_some_and(|index| index.last() != header.before) {
        return Ok(());
    }
    tracing::warn!(run = %run.active().display(), "the rest of a journal that was set aside is moved");
    for (from, to) in moves(names, &run)? {
        if from != names.active() {
            move_new(&from, &to)?;
        }
    }
    sync_dir(names.dir())
}
