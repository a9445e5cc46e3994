//! Independent tasks on several threads.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::error::DataError;

/// Applies `task` to each item on at most `threads` threads, and returns the results in the order of the items.
///
/// # Errors
///
/// The error of the first item, in their order, that failed, whatever the number of threads; and
/// [`DataError::Rule`] when the threads cannot be started.
pub(super) fn parallel_map<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    task: impl Fn(&T) -> Result<R, DataError> + Sync + Send,
) -> Result<Vec<R>, DataError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.clamp(1, items.len().max(1)))
        .thread_name(|number| format!("prepare-{number}"))
        .build()
        .map_err(|error| DataError::rule_got("threads", "must start", error))?;
    let results: Vec<Result<R, DataError>> = pool.install(|| items.par_iter().map(task).collect());
    results.into_iter().collect()
}
